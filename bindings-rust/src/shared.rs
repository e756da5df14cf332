//! The core behind its lock, and those who wait for it. Nothing foreign is called while the lock is held:
//! wakers are collected, and woken or dropped afterwards.

use crate::clock;
use crate::error::Error;
use crate::messages::Mailboxes;
use crate::notices::Listeners;
use crate::reply::Reply;
use crate::waiters::{Exchange, SlotId, Waiters};
use respass::{Client, CommandIds, ConnId, Now, Output, ReplyBatch, SubmitError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Action {
    Connect { conn: ConnId, host: String, port: u16 },
    Disconnect { conn: ConnId, last_bytes: Vec<u8> },
    Transmit { conn: ConnId },
    TokenNeeded { newer_than: u64 },
}

/// What a client's handles, futures and driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The token source has something for the driver.
    has_mail: AtomicBool,
}

pub(crate) struct State {
    pub(crate) client: Client,
    pub(crate) waiters: Waiters,
    pub(crate) listeners: Listeners,
    pub(crate) mailboxes: Mailboxes,
    /// The driver's, while nobody has woken it.
    driver: Option<Waker>,
    /// Commands came since the driver last looked.
    has_commands: bool,
    life: Life,
    /// Those who wait for the driver's end.
    closers: Vec<Waker>,
    /// Batches that were delivered, to be used again once their replies are gone.
    delivered: VecDeque<Arc<ReplyBatch>>,
}

/// The replies to a pipeline come in several batches, which live until all are there.
const KEPT_MAX: usize = 4;

/// A larger batch is not kept for another time.
const KEPT_LEN_MAX: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    Closing,
    Ended,
}

/// What the driver finds when it is woken.
pub(crate) enum Turn {
    /// Commands are coming in: those who are ready to run may have more.
    Gathering,
    Go,
}

impl Shared {
    pub(crate) fn new(client: Client) -> Shared {
        let state = State {
            client,
            waiters: Waiters::default(),
            listeners: Listeners::default(),
            mailboxes: Mailboxes::default(),
            driver: None,
            has_commands: false,
            life: Life::Open,
            closers: Vec::new(),
            delivered: VecDeque::new(),
        };
        Shared { state: Mutex::new(state), has_mail: AtomicBool::new(false) }
    }

    /// Hands commands to the core, and wakes the driver where nobody has done so.
    pub(crate) fn submit(
        &self,
        act: impl FnOnce(&mut Client, Now) -> Result<CommandIds, SubmitError>,
    ) -> Result<SlotId, Error> {
        let now = clock::now();
        let mut state = self.lock();
        let ids = act(&mut state.client, now)?;
        let slot = state.waiters.open(ids);
        state.has_commands = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(slot)
    }

    /// Tells the core what a caller wants besides commands, and wakes the driver.
    pub(crate) fn tell<R>(&self, act: impl FnOnce(&mut State, Now) -> R) -> R {
        let now = clock::now();
        let mut state = self.lock();
        let result = act(&mut state, now);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Nobody waits for these commands any more.
    pub(crate) fn cancel(&self, slot: SlotId) {
        let mut state = self.lock();
        let (commands, waker) = state.waiters.abandon(slot);
        commands.into_iter().for_each(|command| state.client.cancel(command));
        drop(state);
        drop(waker);
    }

    /// Ends everything. What waits is told by the driver.
    pub(crate) fn close(&self) {
        self.tell(|state, now| {
            if state.life == Life::Open {
                state.life = Life::Closing;
                state.client.close(now);
            }
        });
    }

    /// Whether the driver has ended; `waker` is woken when it has.
    pub(crate) fn poll_ended(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if state.life == Life::Ended {
            return Poll::Ready(());
        }
        if !state.closers.iter().any(|known| known.will_wake(waker)) {
            state.closers.push(waker.clone());
        }
        Poll::Pending
    }

    /// There is no driver any more.
    pub(crate) fn handle_ended(&self) {
        let mut state = self.lock();
        state.life = Life::Ended;
        let mut wakers = std::mem::take(&mut state.closers);
        state.listeners.end(&mut wakers);
        state.mailboxes.end(&mut wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The token source has something for the driver.
    pub(crate) fn ring(&self) {
        self.has_mail.store(true, Ordering::Release);
        self.wake_driver();
    }

    pub(crate) fn take_mail_flag(&self) -> bool {
        self.has_mail.swap(false, Ordering::AcqRel)
    }

    /// Begins one poll of the driver, which is woken by whatever comes in from now on. `is_patient`: it may
    /// still wait for others to submit.
    pub(crate) fn begin_turn(&self, context: &Context<'_>, is_patient: bool) -> Turn {
        let mut old = None;
        let mut state = self.lock();
        if state.has_commands && is_patient {
            return Turn::Gathering;
        }
        state.has_commands = false;
        Exchange { new: context.waker(), old: &mut old }.put(&mut state.driver);
        drop(state);
        Turn::Go
    }

    /// Tells the core facts, and drains what comes of it: answers go to their waiters, the rest to `actions`.
    pub(crate) fn run<R>(&self, turn: &mut TurnBuffers, act: impl FnOnce(&mut Client, Now) -> R) -> R {
        let now = clock::now();
        let mut state = self.lock();
        let result = act(&mut state.client, now);
        state.drain(turn);
        drop(state);
        turn.wakers.drain(..).for_each(Waker::wake);
        result
    }

    /// Tells the core what was read.
    pub(crate) fn receive(&self, turn: &mut TurnBuffers, conn: ConnId, bytes: &[u8]) {
        let now = clock::now();
        let mut state = self.lock();
        state.recycle();
        state.client.handle_received(conn, bytes, now);
        state.drain(turn);
        drop(state);
        turn.wakers.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().life != Life::Open
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held would be a defect of ours; the core stays memory-safe and checks itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_driver(&self) {
        let driver = self.lock().driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// What one look at the core brought; kept for its memory.
#[derive(Default)]
pub(crate) struct TurnBuffers {
    pub(crate) actions: Vec<Action>,
    wakers: Vec<Waker>,
}

impl State {
    fn drain(&mut self, turn: &mut TurnBuffers) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Replies(batch) => self.deliver(batch, &mut turn.wakers),
                Output::Failed { command, error } => {
                    self.waiters.answer(command, || Err(error.into()), &mut turn.wakers);
                }
                Output::Messages(batch) => self.mailboxes.deliver(batch, &mut turn.wakers),
                Output::Notice(notice) => self.listeners.tell(&notice, &mut turn.wakers),
                Output::Connect { conn, host, port } => {
                    turn.actions.push(Action::Connect { conn, host, port });
                }
                Output::Disconnect { conn, last_bytes } => {
                    turn.actions.push(Action::Disconnect { conn, last_bytes });
                }
                Output::Transmit { conn } => turn.actions.push(Action::Transmit { conn }),
                Output::TokenNeeded { newer_than } => turn.actions.push(Action::TokenNeeded { newer_than }),
                // A newer core may have more to tell; nothing that must be obeyed.
                _ => {}
            }
        }
    }

    fn deliver(&mut self, batch: ReplyBatch, wakers: &mut Vec<Waker>) {
        let batch = Arc::new(batch);
        for answer in &batch.answers {
            self.waiters.answer(answer.command, || Ok(Reply::new(&batch, answer.node)), wakers);
        }
        if batch.bytes.capacity() <= KEPT_LEN_MAX && self.delivered.len() < KEPT_MAX {
            self.delivered.push_back(batch);
        }
    }

    /// Gives the core the memory of a batch of which nobody keeps a reply.
    fn recycle(&mut self) {
        for _ in 0..self.delivered.len() {
            match self.delivered.pop_front().map(Arc::try_unwrap) {
                Some(Ok(batch)) => return self.client.recycle(batch),
                Some(Err(kept)) => self.delivered.push_back(kept),
                None => {}
            }
        }
    }
}
