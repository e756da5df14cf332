//! The client: the only place that knows of several parts at once and acts on what each of them decides.
//!
//! Every `handle_…` passes the fact down, drains the touched connection's events, turns each into state or outputs,
//! and ends in [`Client::settle`], which brings the rest in line: opens connections, signals what to transmit, lets
//! the command clock run or stand.

mod command_clock;
mod events;
mod messages;
mod node;
mod output;
mod sessions;
mod submit;
mod subscribers;
mod tokens;
mod trouble;

use crate::auth::{Handshake, IssuedToken, Login, TokenFailure};
use crate::command::CommandId;
use crate::config::{Config, Credential};
use crate::connection::{
    Answer, ConnId, Connection, ConnectionToken, Event, Patience, Phase, Removed, WakeupReason,
};
use crate::error::{CommandError, ConfigError, ErrorCode, Outcome};
use crate::rng::Rng;
use crate::time::{ClockWatch, Instant, Now, UnixTime};
use crate::tls::TlsSettings;
pub use messages::{ChannelKind, Message, MessageBatch, MessageEntry, MessageKind, SubscriberId};
use node::Node;
pub use output::{Notice, NoticeKind, Output, OutputKind, ReplyBatch, Severity};
pub use sessions::SessionId;
use std::collections::VecDeque;
use tokens::{Arrival, Tokens};
use trouble::{Stage, Trouble};

/// When to call `handle_timeout`, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// The moment.
    pub at: Instant,
    /// What will be due then.
    pub reason: WakeupReason,
}

/// Why the driver has no socket any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// No connection was made; the text says why.
    ConnectFailed(String),
    /// The peer closed it in an orderly way.
    Closed,
    /// It broke; the text says how.
    Broken(String),
}

/// How a client stands with its login. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthStatus {
    /// Whether a connection is ready.
    pub is_ready: bool,
    /// The object id in the latest token.
    pub oid: Option<String>,
    /// When the token that the connection uses ends, by its own claim.
    pub expires_on: Option<UnixTime>,
    /// The same as well as it is known, on the monotonic clock.
    pub expires_at: Option<Instant>,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: u64,
    /// What last went wrong, if it still does.
    pub last_error: Option<String>,
    /// Every connection that there is.
    pub connections: Vec<ConnectionStatus>,
}

/// How one connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The connection.
    pub conn: ConnId,
    /// The host that was dialled.
    pub host: String,
    /// The port that was dialled.
    pub port: u16,
    /// What it is for.
    pub lane: LaneKind,
    /// Whether it is logged in.
    pub is_ready: bool,
    /// When the token that it uses ends, by its own claim.
    pub expires_on: Option<UnixTime>,
    /// The same as well as it is known, on the monotonic clock.
    pub expires_at: Option<Instant>,
}

/// What a connection is for. The numbers are the same in every language and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum LaneKind {
    /// Ordinary commands, of everybody.
    Main = 1,
    /// One blocking command after the other.
    Blocking = 2,
    /// A session's own.
    Session = 3,
    /// Subscriptions.
    Subscriber = 4,
    /// MONITOR.
    Monitor = 5,
}

impl LaneKind {
    /// A stable name, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            LaneKind::Main => "main",
            LaneKind::Blocking => "blocking",
            LaneKind::Session => "session",
            LaneKind::Subscriber => "subscriber",
            LaneKind::Monitor => "monitor",
        }
    }
}

/// A Redis client without sockets, clocks and threads. See the crate's description for how to drive it.
pub struct Client {
    config: Config,
    tls: Option<TlsSettings>,
    rng: Rng,
    clock: ClockWatch,
    node: Node,
    tokens: Tokens,
    /// A newer token was asked for and is not here.
    is_token_requested: bool,
    outputs: VecDeque<Output>,
    /// `Output::Transmit` was said and not everything was taken since.
    is_transmit_signalled: bool,
    events: Vec<Event>,
    spare: ReplyBatch,
    latest_command: u64,
    latest_conn: u64,
    reauth_count: u64,
    last_error: Option<String>,
    /// No more commands are accepted, and the end of the last one is the client's.
    is_finishing: bool,
    is_closed: bool,
}

impl Client {
    /// A client that connects when the first command is submitted. `seed` feeds jitter and nonces only.
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Result<Client, ConfigError> {
        config.check()?;
        let tls = config.tls.as_ref().map(|tls| TlsSettings::new(tls, &config.host)).transpose();
        let username = match &config.credential {
            Credential::Token { username } => username.clone(),
            Credential::None | Credential::Password { .. } => None,
        };
        let tls = tls.map_err(|error| ConfigError { text: error.to_string() })?;
        if let Some(tls) = &tls {
            tls.set_time(now);
        }
        Ok(Client {
            tls,
            rng: Rng::new(seed),
            clock: ClockWatch::new(now),
            node: Node::new(config.timeouts, now.monotonic),
            tokens: Tokens::new(username),
            is_token_requested: false,
            outputs: VecDeque::new(),
            is_transmit_signalled: false,
            events: Vec::new(),
            spare: ReplyBatch::default(),
            latest_command: 0,
            latest_conn: 0,
            reauth_count: 0,
            last_error: None,
            is_finishing: false,
            is_closed: false,
            config,
        })
    }

    /// Connects without waiting for a command, and stays connected.
    pub fn connect(&mut self, now: Now) {
        let now = self.observe(now);
        self.node.is_wanted = true;
        self.settle(now);
    }

    /// Gives up on a command: its reply, if one comes, is dropped. Does nothing where it has ended already.
    pub fn cancel(&mut self, id: CommandId) {
        let outcome = match self.node.queue.remove(id) {
            Some(removed) => outcome_of(removed),
            None if self.node.connection.as_mut().is_some_and(|connection| connection.cancel(id)) => {
                Outcome::Indeterminate
            }
            None => return,
        };
        self.fail(id, ErrorCode::Cancelled, outcome, "cancelled");
        self.end_if_finished();
    }

    /// Accepts no more commands, and closes as soon as none waits: each ends by its own deadline at the latest.
    pub fn finish(&mut self, now: Now) {
        let now = self.observe(now);
        self.is_finishing = true;
        self.settle(now);
    }

    /// Ends everything: what waits is told so, the connection is closed, and nothing follows.
    pub fn close(&mut self, now: Now) {
        let now = self.observe(now);
        if !self.is_closed {
            self.end();
            self.settle(now);
        }
    }

    /// Whether nothing follows: `close` was called, or `finish` and the last command has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The socket that was asked for is connected.
    pub fn handle_connected(&mut self, conn: ConnId, now: Now) {
        let now = self.observe(now);
        if let Some(connection) = self.node.connection.as_mut().filter(|connection| connection.id() == conn) {
            connection.handle_connected(now, &mut self.events);
            self.act_on_events(now);
        }
        self.settle(now);
    }

    /// Bytes came in. Those of unknown or closed connections are ignored.
    pub fn handle_received(&mut self, conn: ConnId, bytes: &[u8], now: Now) {
        self.receive(conn, now, |connection, now, answers, events| {
            connection.handle_received(bytes, now, answers, events);
        });
    }

    /// A buffer with room for a read of `room` bytes, or more. What a driver appends to it spares a copy. It is to be
    /// given back by `handle_received_in` before anything else of that connection is received, and with what it held.
    pub fn take_receive_buffer(&mut self, conn: ConnId, room: usize) -> Vec<u8> {
        match self.node.connection.as_mut().filter(|connection| connection.id() == conn) {
            Some(connection) => connection.lend_buffer(room),
            None => Vec::with_capacity(room),
        }
    }

    /// As `handle_received`, for bytes that were appended to the buffer of `take_receive_buffer`. Where nothing was
    /// appended, nothing happens.
    pub fn handle_received_in(&mut self, conn: ConnId, buffer: Vec<u8>, now: Now) {
        self.receive(conn, now, |connection, now, answers, events| {
            connection.handle_filled(buffer, now, answers, events);
        });
    }

    fn receive(
        &mut self,
        conn: ConnId,
        now: Now,
        receive: impl FnOnce(&mut Connection, Instant, &mut Vec<Answer>, &mut Vec<Event>),
    ) {
        let now = self.observe(now);
        let Some(connection) = self.node.connection.as_mut().filter(|connection| connection.id() == conn)
        else {
            return;
        };
        let mut batch = std::mem::take(&mut self.spare);
        receive(connection, now, &mut batch.answers, &mut self.events);
        if connection.has_frames() {
            (batch.bytes, batch.nodes) = connection.take_tape((batch.bytes, batch.nodes));
        }
        if batch.answers.is_empty() {
            self.recycle(batch);
        } else {
            self.outputs.push_back(Output::Replies(batch));
        }
        self.act_on_events(now);
        self.settle(now);
    }

    /// The socket took `len` bytes of `transmit`.
    pub fn handle_transmitted(&mut self, conn: ConnId, len: usize, now: Now) {
        let now = self.observe(now);
        if let Some(connection) = self.node.connection.as_mut().filter(|connection| connection.id() == conn) {
            connection.handle_transmitted(len);
            if connection.unsent().is_empty() && !connection.wants_seal(&self.node.queue) {
                self.is_transmit_signalled = false;
            }
        }
        self.settle(now);
    }

    /// There is no socket any more, or none was made.
    pub fn handle_disconnected(&mut self, conn: ConnId, cause: DisconnectCause, now: Now) {
        let now = self.observe(now);
        let connection = self.node.connection.as_ref().filter(|connection| connection.id() == conn);
        if let Some(stage) = connection.map(Stage::of) {
            let trouble = match cause {
                DisconnectCause::ConnectFailed(text) => Trouble { code: ErrorCode::Unreachable, text },
                DisconnectCause::Closed => Trouble::of_orderly_end(stage),
                DisconnectCause::Broken(text) => Trouble::of_breakdown(text, stage),
            };
            self.lose_connection(trouble, false, now);
        }
        self.settle(now);
    }

    /// A token came from the source.
    pub fn handle_token(&mut self, token: &IssuedToken, now: Now) {
        let now = self.observe(now);
        if self.is_closed {
            return;
        }
        match self.tokens.handle_token(token) {
            Arrival::New => {
                self.is_token_requested = false;
                self.node.reauth_at = None;
                if self.node.connection.is_none() && !self.can_login(now) {
                    let left = token.expires_at().since(now);
                    let text = format!("the credential's token ends in {left:.1?}: too soon to log in with");
                    self.node.trouble = Some(Trouble { code: ErrorCode::TokenUnavailable, text });
                }
                self.offer_token(now);
            }
            Arrival::Known => {
                if self.tokens.is_refused() && self.node.connection.is_none() {
                    self.give_up_login(now);
                }
            }
            Arrival::OtherIdentity => {
                self.outputs.push_back(Output::Notice(Notice::IdentityChanged));
                self.refuse_token(
                    "the token names another identity than the one that logged in: make a new client for it",
                );
            }
            Arrival::NoIdentity => {
                self.refuse_token(
                    "the token names no object id (oid): give it as the user name (the object id of the identity \
                     that is assigned to the cache)",
                );
            }
        }
        self.settle(now);
    }

    /// The source could not get a token. It goes on trying by itself.
    pub fn handle_token_failed(&mut self, failure: &TokenFailure, now: Now) {
        let now = self.observe(now);
        self.last_error = Some(failure.text.clone());
        if self.node.connection.is_none() && self.is_token_requested && !self.can_login(now) {
            let trouble = Trouble { code: ErrorCode::TokenUnavailable, text: failure.text.clone() };
            if failure.is_permanent {
                self.fail_queue(trouble.code, &trouble.text);
            }
            self.node.trouble = Some(trouble);
        }
        self.settle(now);
    }

    /// Time has passed. Safe to call at any moment.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = self.observe(now);
        self.fail_overdue(now);
        if let Some(connection) = &mut self.node.connection {
            connection.handle_timeout(now, &mut self.rng, &mut self.events);
            self.act_on_events(now);
        }
        if self.node.reauth_at.is_some_and(|at| now >= at) {
            self.node.reauth_at = None;
            self.offer_token(now);
        }
        self.settle(now);
    }

    /// What to do next; `None` where nothing is left to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether `poll_output` would find something.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Bytes to write. The prefix stays the same until it is reported by `handle_transmitted`; further bytes may
    /// follow then. What was shown here counts as handed over.
    pub fn transmit(&mut self, conn: ConnId, now: Now) -> &[u8] {
        self.seal(conn, now);
        match self.node.connection.as_ref().filter(|connection| connection.id() == conn) {
            Some(connection) => {
                if connection.unsent().is_empty() {
                    self.is_transmit_signalled = false;
                }
                connection.unsent()
            }
            None => &[],
        }
    }

    /// Bytes to write, for hosts that write asynchronously: they count as transmitted. Call until it is empty.
    pub fn take_transmit(&mut self, conn: ConnId, now: Now) -> Vec<u8> {
        self.exchange_transmit(conn, Vec::new(), now)
    }

    /// The same for hosts that give back the buffer of the last bytes, for the memory in it.
    pub fn exchange_transmit(&mut self, conn: ConnId, spare: Vec<u8>, now: Now) -> Vec<u8> {
        self.seal(conn, now);
        let Some(connection) = self.node.connection.as_mut().filter(|connection| connection.id() == conn)
        else {
            return Vec::new();
        };
        let bytes = connection.take_unsent(spare);
        if !connection.wants_seal(&self.node.queue) {
            self.is_transmit_signalled = false;
        }
        bytes
    }

    /// Whether there is something to transmit that was not taken: [`Output::Transmit`] comes only once for it.
    pub fn has_transmit(&self, conn: ConnId) -> bool {
        let _ = conn;
        self.is_transmit_signalled
    }

    /// When `handle_timeout` wants to be called. May be early: then that call does nothing.
    pub fn poll_timeout(&self, now: Now) -> Option<Wakeup> {
        if self.is_closed {
            return None;
        }
        let now = now.monotonic;
        let node = &self.node;
        let queued = node.queue.earliest_deadline();
        let in_flight = node.connection.as_ref().and_then(Connection::earliest_deadline);
        let command = [queued, in_flight].into_iter().flatten().min();
        let connection = node.connection.as_ref().and_then(Connection::poll_timeout);
        let may_connect = node.connection.is_none() && node.needs_connection() && self.can_login(now);
        let times = [
            command.map(|deadline| (node.clock.when(deadline, now), WakeupReason::Command)),
            connection,
            node.reauth_at.map(|at| (at, WakeupReason::ReAuthenticate)),
            may_connect.then_some((node.retry_at, WakeupReason::Reconnect)),
        ];
        let (at, reason) = times.into_iter().flatten().min_by_key(|(at, _)| *at)?;
        Some(Wakeup { at, reason })
    }

    /// Whether the server has nothing to answer: bytes that come now are its own idea, or the connection's end. A
    /// driver that does not read all the time does well to look for them before it writes.
    pub fn is_idle(&self, conn: ConnId) -> bool {
        let _ = conn;
        self.node.connection.as_ref().is_none_or(Connection::is_idle)
    }

    /// Takes back a batch that was read, for the memory in it. That of a large reply is kept for another like it, but
    /// not for long.
    pub fn recycle(&mut self, mut batch: ReplyBatch) {
        if batch.bytes.capacity() > SPARE_LEN_MAX
            && let Some(connection) = &mut self.node.connection
        {
            return connection.donate(batch.bytes);
        }
        if batch.bytes.capacity() <= SPARE_LEN_MAX && batch.nodes.capacity() <= SPARE_NODES_MAX {
            batch.answers.clear();
            self.spare = batch;
        }
    }

    /// How the client stands with its login.
    pub fn auth_status(&self) -> AuthStatus {
        let connection = self.node.connection.as_ref();
        let used = connection.and_then(Connection::token);
        let is_current = |token: &&IssuedToken| used.is_none_or(|used| used.generation == token.generation());
        AuthStatus {
            is_ready: connection.is_some_and(|connection| connection.phase() == Phase::Ready),
            oid: self.tokens.current().and_then(|token| token.oid().map(str::to_owned)),
            expires_on: self.tokens.current().filter(is_current).and_then(IssuedToken::expires_on),
            expires_at: used.map(|token| token.expires_at),
            reauth_count: self.reauth_count,
            last_error: self.last_error.clone(),
            connections: Vec::new(),
        }
    }

    fn end(&mut self) {
        self.is_closed = true;
        self.node.is_wanted = false;
        self.fail_queue(ErrorCode::Closed, "the client was closed");
        self.drop_connection(ErrorCode::Closed, "the client was closed");
    }

    fn end_if_finished(&mut self) {
        if !self.is_finishing || self.is_closed {
            return;
        }
        let node = &self.node;
        let has_waiters =
            !node.queue.is_empty() || node.connection.as_ref().is_some_and(Connection::has_waiters);
        if !has_waiters {
            self.end();
        }
    }

    /// A token came that cannot be used. A connection that is logged in goes on.
    fn refuse_token(&mut self, text: &str) {
        self.last_error = Some(text.to_owned());
        if self.node.connection.is_none() {
            self.fail_queue(ErrorCode::TokenRefused, text);
            self.node.trouble = Some(Trouble { code: ErrorCode::TokenRefused, text: text.to_owned() });
        }
    }

    fn observe(&mut self, now: Now) -> Instant {
        if self.clock.has_seen(now) {
            return now.monotonic;
        }
        let (now, jump) = self.clock.observe(now);
        if let Some(tls) = &self.tls {
            tls.set_time(now);
        }
        if let Some(ahead) = jump.filter(|_| !self.is_closed) {
            self.tokens.handle_clock_jump(ahead);
            self.outputs.push_back(Output::Notice(Notice::ClockJumped { ahead }));
        }
        now.monotonic
    }

    fn seal(&mut self, conn: ConnId, now: Now) {
        let now = self.observe(now);
        let Some(connection) = self.node.connection.as_mut().filter(|connection| connection.id() == conn)
        else {
            return;
        };
        connection.seal(&mut self.node.queue, now, &mut self.rng, &mut self.events);
        if !self.events.is_empty() {
            self.act_on_events(now);
            self.settle(now);
        }
        self.node.update_clock(self.is_token_awaited(), now);
    }

    /// Whether commands wait for a token, with no failure that explains why.
    fn is_token_awaited(&self) -> bool {
        let trouble = self.node.trouble.as_ref();
        self.is_token_requested && !trouble.is_some_and(|trouble| trouble.code.is_about_login())
    }
}

/// A larger spare does for a large reply only.
const SPARE_LEN_MAX: usize = 4 << 20;
const SPARE_NODES_MAX: usize = 1 << 18;

fn outcome_of(removed: Removed) -> Outcome {
    match removed {
        Removed::Untouched => Outcome::NotSent,
        Removed::PartlySealed => Outcome::Indeterminate,
    }
}
