//! The driver: one future that owns a client's socket and timer and obeys the core. It decides nothing.

use crate::bell::DriverWaker;
use crate::connector::Connector;
use crate::link::Link;
use crate::shared::{Action, Shared, Turn, TurnBuffers};
use crate::tokens::{News, Subscription};
use respass::ConnId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// See the module's description.
pub(crate) struct Driver<C: Connector> {
    shared: Arc<Shared>,
    connector: Arc<C>,
    tokens: Option<Subscription>,
    /// The connections that the core knows of.
    links: Vec<Link<C::Stream>>,
    /// What rings where one of them has something.
    waker: DriverWaker,
    alarm: Option<Alarm>,
    buffers: TurnBuffers,
    received: Box<[u8]>,
    /// Others were let run before this turn's commands go out.
    has_waited: bool,
}

/// The one timer, moved only to earlier moments.
struct Alarm {
    /// Microseconds of the monotonic clock.
    at: u64,
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What a socket gives in one read, at most.
const READ_LEN: usize = 64 << 10;

/// After so many reads and writes in one poll, other tasks have their turn.
const ROUNDS_MAX: usize = 32;

impl<C: Connector> Driver<C> {
    pub(crate) fn new(shared: Arc<Shared>, connector: Arc<C>, tokens: Option<Subscription>) -> Driver<C> {
        Driver {
            shared,
            connector,
            tokens,
            links: Vec::new(),
            waker: DriverWaker::default(),
            alarm: None,
            buffers: TurnBuffers::default(),
            received: vec![0; READ_LEN].into_boxed_slice(),
            has_waited: false,
        }
    }

    /// One step of everything that can move; whether anything did.
    fn round(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_moved = self.obey();
        for index in 0..self.links.len() {
            let Some(link) = self.links.get_mut(index) else { break };
            has_moved |= link.poll(&self.shared, &mut self.buffers, &mut self.received);
        }
        self.links.retain(|link| !link.is_over());
        has_moved |= self.poll_tokens(context);
        has_moved |= !self.buffers.actions.is_empty();
        has_moved || self.poll_alarm(context)
    }

    /// Carries out what the core wants done.
    fn obey(&mut self) -> bool {
        let mut actions = std::mem::take(&mut self.buffers.actions);
        let has_any = !actions.is_empty();
        for action in actions.drain(..) {
            match action {
                Action::Connect { conn, host, port } => {
                    let connector = Arc::clone(&self.connector);
                    let socket = Box::pin(async move { connector.connect(&host, port).await });
                    self.links.push(Link::new(conn, socket, &self.waker));
                }
                Action::Disconnect { conn, last_bytes } => {
                    if let Some(link) = self.link(conn) {
                        link.end(last_bytes);
                    }
                }
                Action::Transmit { conn } => {
                    if let Some(link) = self.link(conn) {
                        link.want_write();
                    }
                }
                Action::TokenNeeded { newer_than } => {
                    let token = self.tokens.as_ref().and_then(|tokens| tokens.request(newer_than));
                    if let Some(token) = token {
                        self.shared.run(&mut self.buffers, |client, now| client.handle_token(&token, now));
                    }
                }
            }
        }
        // The list itself is kept for its memory; carrying out may have brought more.
        actions.append(&mut self.buffers.actions);
        self.buffers.actions = actions;
        has_any
    }

    fn link(&mut self, conn: ConnId) -> Option<&mut Link<C::Stream>> {
        self.links.iter_mut().find(|link| link.conn() == conn)
    }

    /// Asks the credential where the source wants that, and passes on what came.
    fn poll_tokens(&mut self, context: &mut Context<'_>) -> bool {
        let Some(tokens) = &mut self.tokens else { return false };
        let mut has_moved = tokens.poll_answers(context);
        if self.shared.take_mail_flag() {
            has_moved = true;
            for news in tokens.collect() {
                self.shared.run(&mut self.buffers, |client, now| match &news {
                    News::Token(token) => client.handle_token(token, now),
                    News::Failed(failure) => client.handle_token_failed(failure, now),
                });
            }
        }
        has_moved
    }

    /// Tells the core that time has passed, when it wants to know; whether it did.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> bool {
        self.set_alarm();
        let Some(alarm) = &mut self.alarm else { return false };
        if alarm.sleep.as_mut().poll(context).is_pending() {
            return false;
        }
        self.alarm = None;
        self.shared.run(&mut self.buffers, |client, now| client.handle_timeout(now));
        self.tokens.iter().for_each(Subscription::handle_timeout);
        true
    }

    fn set_alarm(&mut self) {
        let now = crate::clock::now();
        let client = self.shared.lock().client.poll_timeout(now).map(|wakeup| wakeup.at.as_micros());
        let source = self.tokens.as_ref().and_then(Subscription::poll_timeout);
        let Some(at) = [client, source].into_iter().flatten().min() else { return };
        if self.alarm.as_ref().is_none_or(|alarm| at < alarm.at) {
            let wait = Duration::from_micros(at.saturating_sub(now.monotonic.as_micros()));
            let connector = Arc::clone(&self.connector);
            self.alarm = Some(Alarm { at, sleep: Box::pin(async move { connector.sleep(wait).await }) });
        }
    }
}

impl<C: Connector> Future for Driver<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Some executors run a task that was woken before those that were ready: the first of a hundred
        // commands would leave alone. So the driver goes once to the end of their queue.
        if let Turn::Gathering = this.shared.begin_turn(context, !this.has_waited) {
            this.has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.has_waited = false;
        this.waker.set(context.waker());
        this.links.iter_mut().for_each(Link::begin_turn);
        // The first look drains what submitting and cancelling left.
        this.shared.run(&mut this.buffers, |_, _| ());
        for _ in 0..ROUNDS_MAX {
            if !this.round(context) {
                return if this.shared.is_closing() && this.links.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
        }
        // A socket that always has more to read must not keep the time from passing.
        this.poll_alarm(context);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// However the driver ends, nobody is left waiting.
impl<C: Connector> Drop for Driver<C> {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.run(&mut self.buffers, |_, _| ());
        self.shared.handle_ended();
    }
}
