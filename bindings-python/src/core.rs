//! The core behind its lock, and everything that comes out of it on its way to Python.
//!
//! While the lock is held, no Python object is made, called or dropped: what comes out is collected first and handed
//! over afterwards. A thread that has to wait for the lock lets go of the interpreter meanwhile.

use crate::call::{Call, Ending, Target, Waiter, Waiters};
use crate::clock;
use crate::command::{Block, Commands};
use crate::error;
use crate::exit::Inside;
use crate::fork::Birth;
use crate::mailbox::Mailboxes;
use crate::reply::Text;
use crate::turn::Turn;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::{PyTraverseError, PyVisit};
use respass::{
    Client, Command, CommandError, CommandId, ConnId, ErrorCode, Notice, Now, Output, ReplyBatch, SessionId,
    SubmitError,
};
use std::mem::ManuallyDrop;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What Python has to do.
#[derive(Clone)]
pub(crate) enum Action {
    Connect { conn: ConnId, host: String, port: u16 },
    Disconnect { conn: ConnId, last_bytes: Vec<u8> },
    TokenNeeded { newer_than: u64 },
}

pub(crate) struct State {
    pub(crate) client: Client,
    pub(crate) waiters: Waiters,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) actions: Vec<Action>,
    pub(crate) notices: Vec<Notice>,
    /// Connections that have bytes to write. There are few.
    transmit: Vec<ConnId>,
    /// The connection whose bytes are in a writer's hands, while it is there.
    pub(crate) taken_from: Option<ConnId>,
    /// Taken, and not by their sockets yet.
    unsent: Vec<(ConnId, Vec<u8>)>,
    /// For when a timer is set, in microseconds of the monotonic clock.
    pub(crate) armed_at: u64,
    /// When the last bytes were received, likewise.
    pub(crate) received_at: u64,
}

/// What came out of the core for those who wait, collected under the lock.
#[derive(Default)]
struct Deliveries {
    /// Waiter, index of the batch, node on its tape.
    replies: Vec<(Waiter, usize, usize)>,
    batches: Vec<ReplyBatch>,
    failures: Vec<(Waiter, CommandError)>,
    /// Those that waited for messages.
    called: Vec<Py<Call>>,
}

impl Deliveries {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.failures.is_empty() && self.called.is_empty()
    }
}

impl State {
    fn drain(&mut self, deliveries: &mut Deliveries) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit { conn } => self.note_transmit(conn),
                Output::Replies(batch) => {
                    deliveries.replies.reserve(batch.answers.len());
                    let index = deliveries.batches.len();
                    for answer in &batch.answers {
                        if let Some(waiter) = self.waiters.take(answer.command) {
                            deliveries.replies.push((waiter, index, answer.node));
                        }
                    }
                    deliveries.batches.push(batch);
                }
                Output::Failed { command, error } => {
                    if let Some(waiter) = self.waiters.take(command) {
                        deliveries.failures.push((waiter, error));
                    }
                }
                Output::Connect { conn, host, port } => {
                    self.actions.push(Action::Connect { conn, host, port });
                }
                Output::Disconnect { conn, last_bytes } => {
                    // Behind a piece that was sent in part nothing can follow.
                    let is_clean = !self.has_unsent(conn) && self.taken_from != Some(conn);
                    let last_bytes = if is_clean { last_bytes } else { Vec::new() };
                    self.forget_bytes(conn);
                    self.actions.push(Action::Disconnect { conn, last_bytes });
                }
                Output::TokenNeeded { newer_than } => self.actions.push(Action::TokenNeeded { newer_than }),
                Output::Notice(notice) => self.notices.push(notice),
                Output::Messages(batch) => deliveries.called.extend(self.mailboxes.put(batch)),
                // A newer core may have more to tell; nothing that must be obeyed.
                _ => {}
            }
        }
    }

    fn note_transmit(&mut self, conn: ConnId) {
        if !self.transmit.contains(&conn) {
            self.transmit.push(conn);
        }
    }

    /// Whether the driver has something to do or to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.actions.is_empty() || !self.notices.is_empty()
    }

    /// Whether nothing is to be done before a write. A wish for a token is no hindrance.
    pub(crate) fn may_write(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::TokenNeeded { .. }))
    }

    /// Whether there are bytes to write.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.transmit.is_empty() || !self.unsent.is_empty()
    }

    /// The connections that have bytes to write.
    pub(crate) fn writable(&self) -> Vec<u64> {
        let mut writable: Vec<u64> = self.unsent.iter().map(|(conn, _)| conn.as_u64()).collect();
        writable
            .extend(self.transmit.iter().filter(|&&conn| !self.has_unsent(conn)).map(|conn| conn.as_u64()));
        writable
    }

    fn has_unsent(&self, conn: ConnId) -> bool {
        self.unsent.iter().any(|&(other, _)| other == conn)
    }

    /// When a timer must be set although one is, in seconds from now.
    pub(crate) fn arm(&mut self, now: Now) -> Option<f64> {
        let at = self.client.poll_timeout(now)?.at.as_micros();
        (at < self.armed_at).then(|| {
            self.armed_at = at;
            std::time::Duration::from_micros(at.saturating_sub(now.monotonic.as_micros())).as_secs_f64()
        })
    }

    /// Bytes of a connection that `is_open`, which then count as written; and whether there may be more.
    pub(crate) fn take_next(
        &mut self,
        now: Now,
        is_open: impl Fn(ConnId) -> bool,
    ) -> Option<(ConnId, Vec<u8>, bool)> {
        let mut index = 0;
        while let Some(&conn) = self.transmit.get(index) {
            if is_open(conn) {
                let bytes = self.take_transmit(conn, now);
                if !bytes.is_empty() {
                    return Some((conn, bytes, !self.transmit.is_empty()));
                }
            }
            // It is still there where it is not open, or where its bytes have to wait.
            index += usize::from(self.transmit.get(index) == Some(&conn));
        }
        None
    }

    fn take_transmit(&mut self, conn: ConnId, now: Now) -> Vec<u8> {
        let bytes = self.client.take_transmit(conn, now);
        if !self.client.has_transmit(conn) {
            self.transmit.retain(|&other| other != conn);
        }
        bytes
    }

    /// The next piece for a blocking socket: what it has not taken yet goes first.
    pub(crate) fn take_piece(&mut self, conn: ConnId, now: Now) -> Vec<u8> {
        let unsent = self.unsent.iter().position(|&(other, _)| other == conn);
        // The caller may hold the socket of a connection that is gone.
        if unsent.is_none() && !self.transmit.contains(&conn) {
            return Vec::new();
        }
        let piece = match unsent {
            Some(index) => self.unsent.swap_remove(index).1,
            None => self.take_transmit(conn, now),
        };
        self.taken_from = (!piece.is_empty()).then_some(conn);
        piece
    }

    /// The socket took `count` bytes of the piece. Whether there is more to write to it at once.
    pub(crate) fn sent(&mut self, piece: &[u8], count: usize) -> bool {
        let Some(conn) = self.taken_from.take() else { return false };
        match piece.get(count..) {
            Some(rest) if !rest.is_empty() => {
                self.unsent.push((conn, rest.to_vec()));
                false
            }
            _ => self.transmit.contains(&conn) && self.actions.is_empty(),
        }
    }

    /// The connection is there no more.
    pub(crate) fn forget_bytes(&mut self, conn: ConnId) {
        self.transmit.retain(|&other| other != conn);
        self.unsent.retain(|&(other, _)| other != conn);
        if self.taken_from == Some(conn) {
            self.taken_from = None;
        }
    }
}

/// A client core as its Python objects share it.
pub(crate) struct Shared {
    state: ManuallyDrop<Mutex<State>>,
    pub(crate) text: Text,
    pub(crate) turn: Turn,
    /// See [`State::has_news`]; may be out of date for a moment.
    has_errands: AtomicBool,
    birth: Birth,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // After a fork the lock may be held, for good, by a thread of the parent: leave everything behind it alone.
        if self.birth.is_here() {
            // SAFETY: dropped here once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.state) };
        }
    }
}

impl Shared {
    pub(crate) fn new(client: Client, text: Text) -> Shared {
        let state = State {
            client,
            waiters: Waiters::default(),
            mailboxes: Mailboxes::default(),
            actions: Vec::new(),
            notices: Vec::new(),
            transmit: Vec::new(),
            taken_from: None,
            unsent: Vec::new(),
            armed_at: u64::MAX,
            received_at: clock::now().monotonic.as_micros(),
        };
        Shared {
            state: ManuallyDrop::new(Mutex::new(state)),
            text,
            turn: Turn::default(),
            has_errands: AtomicBool::new(false),
            birth: Birth::here(),
        }
    }

    /// Does something with the core, and hands over what came of it.
    pub(crate) fn run<R>(&self, py: Python<'_>, act: impl FnOnce(&mut State, Now) -> R) -> PyResult<R> {
        self.birth.check(py)?;
        let mut deliveries = Deliveries::default();
        let result = {
            let mut state = self.state.lock_py_attached(py).map_err(|_| error::broken(py))?;
            let result = act(&mut state, clock::now());
            state.drain(&mut deliveries);
            if state.has_news() {
                self.has_errands.store(true, Ordering::Relaxed);
            }
            result
        };
        if !deliveries.is_empty() {
            self.deliver(py, deliveries);
        }
        Ok(result)
    }

    /// Takes what there is to tell.
    pub(crate) fn take_notices(&self, py: Python<'_>) -> PyResult<Vec<Notice>> {
        self.has_errands.store(false, Ordering::Relaxed);
        self.peek(py, |state| std::mem::take(&mut state.notices))
    }

    pub(crate) fn has_errands(&self) -> bool {
        self.has_errands.load(Ordering::Relaxed)
    }

    /// Looks at the state; whatever the core has to say stays there.
    pub(crate) fn peek<R>(&self, py: Python<'_>, look: impl FnOnce(&mut State) -> R) -> PyResult<R> {
        self.birth.check(py)?;
        let mut state = self.state.lock_py_attached(py).map_err(|_| error::broken(py))?;
        Ok(look(&mut state))
    }

    /// For the garbage collector. Where the lock is taken nothing is said, and nothing is freed.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock() {
            Ok(state) => {
                state.waiters.traverse(visit)?;
                state.mailboxes.traverse(visit)
            }
            Err(_) => Ok(()),
        }
    }

    /// Lets go of those who wait, who are garbage.
    pub(crate) fn clear(&self) {
        if self.birth.is_here() {
            let those = self
                .state
                .try_lock()
                .map(|mut state| (std::mem::take(&mut state.waiters), std::mem::take(&mut state.mailboxes)));
            drop(those);
        }
    }

    fn deliver(&self, py: Python<'_>, deliveries: Deliveries) {
        let _inside = Inside::enter(py);
        let Deliveries { replies, batches, failures, called } = deliveries;
        for (waiter, batch, node) in replies {
            let Some(batch) = batches.get(batch) else { continue };
            let reply = respass::resp::Reply::at(&batch.nodes, &batch.bytes, node);
            waiter.end(py, &self.text, Ending::Reply(reply));
        }
        for (waiter, error) in failures {
            waiter.end(py, &self.text, Ending::Failed(&error));
        }
        called.iter().for_each(|call| call.get().wake(py));
        if batches.is_empty() {
            return;
        }
        if let Ok(mut state) = self.state.lock_py_attached(py) {
            for batch in batches {
                state.client.recycle(batch);
            }
        }
    }

    /// Submits the commands of one call, to a session where there is one.
    pub(crate) fn submit(
        &self,
        py: Python<'_>,
        call: &Bound<'_, Call>,
        commands: &Commands,
        is_transaction: bool,
        session: Option<SessionId>,
    ) -> PyResult<()> {
        // Made before the lock is taken: a reference to a Python object each.
        let count = if is_transaction { 1 } else { commands.shapes.len() };
        let waiters: Vec<Waiter> = (0..count)
            .map(|index| Waiter {
                target: Target::Call(call.clone().unbind(), index),
                shape: commands.shapes.get(index).copied().unwrap_or_default(),
            })
            .collect();
        let block = &commands.block;
        let refused = self.run(py, |state, now| {
            let client = &mut state.client;
            let submitted = match (session, is_transaction) {
                (None, true) => client.submit_transaction(&block.bytes, &block.lengths, now),
                (None, false) => client.submit_batch(&block.bytes, &block.lengths, now).map(|ids| ids.first),
                (Some(session), true) => {
                    client.submit_transaction_in(session, &block.bytes, &block.lengths, now)
                }
                (Some(session), false) => submit_each_in(client, session, block, now),
            };
            match submitted {
                Ok(first) => {
                    call.get().set_ids(first, count);
                    push_all(&mut state.waiters, first, waiters);
                    None
                }
                Err(error) => Some((error, waiters)),
            }
        })?;
        match refused {
            None => Ok(()),
            Some((error, _waiters)) => Err(error::submit(py, &error)),
        }
    }

    /// Submits commands of many callers. One that is refused says so to its own caller alone.
    pub(crate) fn submit_each(
        &self,
        py: Python<'_>,
        state: &mut State,
        commands: &Commands,
        waiters: Vec<Waiter>,
        now: Now,
    ) -> Vec<(Waiter, SubmitError)> {
        let _ = py;
        let block = &commands.block;
        if let Ok(ids) = state.client.submit_batch(&block.bytes, &block.lengths, now) {
            push_all(&mut state.waiters, ids.first, waiters);
            return Vec::new();
        }
        let mut refused = Vec::new();
        for ((bytes, lengths), waiter) in block.commands().zip(waiters) {
            match state.client.submit_batch(bytes, lengths, now) {
                Ok(ids) => state.waiters.push(ids.first, waiter),
                Err(error) => refused.push((waiter, error)),
            }
        }
        refused
    }
}

/// Submits commands to a session, one after the other; the id of the first. Where one is refused, those before it are
/// withdrawn.
fn submit_each_in(
    client: &mut Client,
    session: SessionId,
    block: &Block,
    now: Now,
) -> Result<CommandId, SubmitError> {
    let mut first = None;
    let mut submitted = Vec::new();
    for (mut bytes, lengths) in block.commands() {
        let mut arguments = Vec::with_capacity(lengths.len());
        for &len in lengths.iter().skip(1) {
            let Some((argument, rest)) = bytes.split_at_checked(len as usize) else { break };
            arguments.push(argument);
            bytes = rest;
        }
        let command = Command::new(&arguments);
        match client.submit_in(session, command, now) {
            Ok(id) => submitted.push(id),
            Err(error) => {
                submitted.into_iter().for_each(|id| client.cancel(id));
                return Err(error);
            }
        }
        first = first.or(submitted.first().copied());
    }
    let none = || SubmitError { code: ErrorCode::InvalidCommand, text: "no command".to_owned() };
    first.ok_or_else(none)
}

fn push_all(queue: &mut Waiters, first: CommandId, waiters: Vec<Waiter>) {
    for (id, waiter) in (first.as_u64()..).zip(waiters) {
        queue.push(CommandId::from_u64(id), waiter);
    }
}
