//! One connection to one server: TLS, login, pairing of replies with commands, re-authentication, keep-alive.
//!
//! It is fed bytes and time, and reports [`Event`]s, which its owner acts on at once. Any doubt about which reply
//! belongs to which command is [`Event::Broken`]: the connection is of no further use.
//!
//! ```text
//! Connecting ── handle_connected ──▶ LoggingIn ── login accepted ──▶ Ready ◀──▶ Draining ──▶ (drained)
//! ```

mod in_flight;
mod inbound;
mod login;
mod outbound;
mod probe;
mod queue;
mod sealing;
mod subscriptions;
mod timers;
mod transaction;

use crate::auth::{Handshake, Login, LoginRefusal};
use crate::command::CommandId;
use crate::resp::{DecodeError, DecodeLimits, Decoder, Node};
use crate::time::{Instant, UnixTime};
use crate::tls::{TlsError, TlsSession};
use in_flight::InFlight;
pub(crate) use in_flight::SlotKind;
use outbound::Outbound;
use probe::Probes;
pub(crate) use queue::{ASKING, Journey, Queue, Removed, Unit};
use std::time::Duration;
pub use subscriptions::ChannelKind;
use subscriptions::Subscriptions;
pub(crate) use subscriptions::Wish;
pub use timers::WakeupReason;
use transaction::TransactionProgress;
use zeroize::Zeroize;

/// A TCP connection of a client. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// The id as a number, for languages that keep it as one.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that has this number; one that was never given out names no connection.
    pub const fn from_u64(number: u64) -> ConnId {
        ConnId(number)
    }
}

/// The reply to a command: where on the tape it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// The command it answers.
    pub command: CommandId,
    /// Index of the reply's first node.
    pub node: usize,
}

/// What a connection tells its owner.
#[derive(Debug)]
pub(crate) enum Event {
    /// Logged in and set up.
    Ready,
    LoginRefused(LoginRefusal),
    /// The server answered NOAUTH: the server knows nothing of the login any more.
    LoginLost,
    /// The server accepted the token of this generation.
    ReAuthenticated {
        generation: u64,
    },
    ReAuthRefused {
        generation: u64,
        refusal: LoginRefusal,
    },
    /// MULTI (step 0) or a command behind it was refused, and EXEC was an error. `has_run`: something was not queued.
    TransactionRefused {
        reply: SlotReply,
        step: u32,
        text: Vec<u8>,
        has_run: bool,
    },
    /// A reply that the client wants to see first: of a part of a command, of a blocking command; or an error that
    /// says that the command did not run here, and may run elsewhere or later.
    Inspected(SlotReply),
    /// The answer to a question about the cluster.
    Topology {
        question: Question,
        node: usize,
    },
    /// A message of a subscription, a line of MONITOR, or the answer to that.
    Pushed {
        node: usize,
    },
    /// A subscription was confirmed, or refused (an error).
    WishAnswered {
        wish: Wish,
        node: usize,
    },
    /// The sign that was asked for: what was published before has come.
    Marked,
    Broken(Breakage),
}

/// A reply, and the command that it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotReply {
    pub(crate) id: CommandId,
    /// On the command clock.
    pub(crate) deadline: u64,
    /// Where the command is in the queue's stream.
    pub(crate) at: u64,
    pub(crate) len: u32,
    pub(crate) journey: Journey,
    pub(crate) is_asking: bool,
    pub(crate) kind: SlotKind,
    /// The reply's first node.
    pub(crate) node: usize,
}

/// What a connection is asked about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `CLUSTER SLOTS`: every server that has clusters knows it, and lets everybody ask.
    Slots,
    /// `CLUSTER SHARDS`, since Redis 7.
    Shards,
    /// `CLUSTER NODES`: tells also which slots are on their way.
    Nodes,
}

/// Why a connection is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    Protocol(DecodeError),
    SurplusReply,
    NonceMismatch,
    Tls(TlsError),
    /// Nothing more will come: TLS' close_notify, ahead of the socket's own end.
    PeerClosed,
    ConnectTimeout,
    LoginTimeout,
    SilentPeer,
    TokenEnded,
    /// The driver did not give back the buffer that it read into.
    BufferLost,
}

/// A token as a connection uses it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionToken {
    pub(crate) login: Login,
    pub(crate) generation: u64,
    /// By its own claim.
    pub(crate) expires_on: Option<UnixTime>,
    /// Where a newer token could not be presented by then, another connection takes over.
    pub(crate) handover_at: Instant,
    /// From here on nothing new is sent.
    pub(crate) close_at: Instant,
    /// The server closes about here.
    pub(crate) expires_at: Instant,
}

/// How patient a connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) login: Duration,
    pub(crate) idle: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) alignment: Duration,
    pub(crate) silence: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    /// TLS, then HELLO and what goes with it.
    LoggingIn,
    Ready,
    /// The token is about to end: waits for the replies that are due.
    Draining,
}

enum Transport {
    Plain,
    Tls(Box<TlsSession>),
}

/// A re-authentication of the live connection: `AUTH` and `PING <nonce>` written together, because `+OK` alone could
/// be any command's reply.
#[derive(Debug)]
enum ReAuth {
    /// Waits for a safe boundary.
    Due { token: ConnectionToken, since: Instant },
    Sent {
        token: ConnectionToken,
        nonce: String,
        refusal: Option<LoginRefusal>,
        at: Instant,
        /// When it became due.
        since: Instant,
    },
}

/// What a connection is made of.
pub(crate) struct Setup {
    pub(crate) id: ConnId,
    /// Host and port.
    pub(crate) dialled: (Box<str>, u16),
    pub(crate) session: Option<TlsSession>,
    pub(crate) handshake: Handshake,
    pub(crate) token: Option<ConnectionToken>,
    pub(crate) decode_limits: DecodeLimits,
    pub(crate) sealed_ahead_max: usize,
    pub(crate) patience: Patience,
}

pub(crate) struct Connection {
    id: ConnId,
    dialled: (Box<str>, u16),
    phase: Phase,
    transport: Transport,
    handshake: Handshake,
    has_begun_login: bool,
    decoder: Decoder,
    in_flight: InFlight,
    outbound: Outbound,
    /// Plaintext on its way into TLS records.
    scratch: Vec<u8>,
    /// Memory for TLS records as they are received; empty between reads.
    records: Vec<u8>,
    sealed_ahead_max: usize,
    token: Option<ConnectionToken>,
    reauth: Option<ReAuth>,
    probes: Probes,
    patience: Patience,
    phase_since: Instant,
    received_at: Instant,
    /// When the peer last had nothing to answer and was then given something: silence before that is no evidence.
    busy_since: Instant,
    /// A command has left in part: nothing of our own may come between.
    is_mid_command: bool,
    transaction: TransactionProgress,
    /// A command was answered.
    was_useful: bool,
    /// `Output::Transmit` was said and not everything was taken since.
    pub(crate) is_transmit_signalled: bool,
    /// Commands that wait are not sent for now.
    pub(crate) is_held: bool,
    /// To be asked at the next safe boundary.
    question: Option<Question>,
    /// Asked, and not answered.
    asked: Option<Question>,
    /// What was watched is let go at the next safe boundary.
    is_unwatch_due: bool,
    subscriptions: Subscriptions,
}

/// A server that does not answer a re-authentication for so long is busy with something else.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);

impl Connection {
    pub(crate) fn new(setup: Setup, now: Instant) -> Connection {
        let Setup { id, dialled, session, handshake, token, decode_limits, sealed_ahead_max, patience } =
            setup;
        Connection {
            id,
            dialled,
            phase: Phase::Connecting,
            transport: session.map_or(Transport::Plain, |session| Transport::Tls(Box::new(session))),
            handshake,
            has_begun_login: false,
            decoder: Decoder::new(decode_limits),
            in_flight: InFlight::default(),
            outbound: Outbound::default(),
            scratch: Vec::new(),
            records: Vec::new(),
            sealed_ahead_max,
            token,
            reauth: None,
            probes: Probes::new(now),
            patience,
            phase_since: now,
            received_at: now,
            busy_since: now,
            is_mid_command: false,
            transaction: TransactionProgress::default(),
            was_useful: false,
            is_transmit_signalled: false,
            is_held: false,
            question: None,
            asked: None,
            is_unwatch_due: false,
            subscriptions: Subscriptions::default(),
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn token(&self) -> Option<&ConnectionToken> {
        self.token.as_ref()
    }

    /// Bytes of commands whose replies are due.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight.len_bytes()
    }

    /// Whether it is ready, and nothing but commands and replies concerns it.
    pub(crate) fn is_calm(&self) -> bool {
        self.phase == Phase::Ready && self.reauth.is_none() && !self.is_held
    }

    /// When something was last heard of the server.
    pub(crate) fn heard_at(&self) -> Instant {
        self.received_at
    }

    /// The host and the port that were dialled.
    pub(crate) fn dialled(&self) -> (&str, u16) {
        (&self.dialled.0, self.dialled.1)
    }

    /// Whether it was ever logged in.
    pub(crate) fn was_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Draining)
    }

    /// Whether nothing is due any more of a connection that sends nothing new.
    pub(crate) fn is_done(&self) -> bool {
        !self.in_flight.has_callers() && self.outbound.len() == 0
    }

    /// Whether any command was answered over it.
    pub(crate) fn was_useful(&self) -> bool {
        self.was_useful
    }

    /// Whether no reply is due and nothing is on its way out.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.outbound.len() == 0
    }

    /// Whether anybody waits for a reply that is due.
    pub(crate) fn has_waiters(&self) -> bool {
        self.in_flight.has_waiters()
    }

    /// Whether the next reply due is that of a re-authentication: everything behind it waits for the server's
    /// validation of the token.
    pub(crate) fn is_held_by_reauth(&self) -> bool {
        matches!(self.in_flight.front_kind(), Some(SlotKind::ReAuth))
    }

    /// The socket is connected.
    pub(crate) fn handle_connected(&mut self, now: Instant, events: &mut Vec<Event>) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.enter(Phase::LoggingIn, now);
        self.received_at = now;
        match &mut self.transport {
            Transport::Plain => self.begin_login(events),
            Transport::Tls(session) => session.write_records(self.outbound.tail()),
        }
    }

    /// Whether `take_tape` would hand over anything.
    pub(crate) fn has_frames(&self) -> bool {
        self.decoder.has_frames()
    }

    /// The bytes and the tape that the answers refer to.
    pub(crate) fn take_tape(&mut self, spare: (Vec<u8>, Vec<Node>)) -> (Vec<u8>, Vec<Node>) {
        self.decoder.take(spare)
    }

    /// Sealed bytes that were not transmitted.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.outbound.unsent()
    }

    pub(crate) fn take_unsent(&mut self, spare: Vec<u8>) -> Vec<u8> {
        self.outbound.take(spare)
    }

    pub(crate) fn handle_transmitted(&mut self, len: usize) {
        self.outbound.transmitted(len);
    }

    /// A newer token is here: log in with it at the next safe boundary.
    pub(crate) fn reauthenticate(&mut self, token: ConnectionToken, now: Instant) {
        match &self.reauth {
            // Its answer decides first; the owner offers the newer token again then.
            Some(ReAuth::Sent { .. }) => {}
            Some(ReAuth::Due { since, .. }) => self.reauth = Some(ReAuth::Due { token, since: *since }),
            None => self.reauth = Some(ReAuth::Due { token, since: now }),
        }
    }

    /// Asks about the cluster at the next safe boundary. Not answered before: asked once.
    pub(crate) fn ask(&mut self, question: Question) {
        if self.asked != Some(question) {
            self.question = Some(question);
        }
    }

    /// Subscribes or unsubscribes at the next safe boundary.
    pub(crate) fn wish(&mut self, wish: Wish) {
        self.subscriptions.wish(wish);
    }

    /// Lets go of what was watched.
    pub(crate) fn unwatch(&mut self) {
        self.is_unwatch_due = true;
    }

    /// Asks for a sign that everything was brought which was published before it.
    pub(crate) fn mark(&mut self) {
        self.subscriptions.is_marker_due = true;
    }

    /// Asks for every command that the server runs.
    pub(crate) fn monitor(&mut self) {
        self.subscriptions.is_monitor_due = true;
    }

    /// Whether subscriptions were sent that nobody confirmed, or are to be sent.
    pub(crate) fn has_open_wishes(&self) -> bool {
        self.subscriptions.has_open_wishes()
    }

    /// Whether it speaks RESP2.
    pub(crate) fn is_resp2(&self) -> bool {
        self.handshake.is_resp2()
    }

    /// Channels that are left with this connection's end, and somebody waits to hear of it.
    pub(crate) fn unconfirmed_ends(&self) -> Vec<Wish> {
        self.subscriptions.unconfirmed_ends().cloned().collect()
    }

    /// Whether the server said that it is a node of a cluster.
    pub(crate) fn is_cluster_node(&self) -> bool {
        self.handshake.is_cluster_node()
    }

    /// Where the bytes begin that belong to replies which are due.
    pub(crate) fn oldest_at(&self) -> Option<u64> {
        self.in_flight.oldest_at()
    }

    /// When another connection should take over: a newer token is there, and found no safe boundary or no answer.
    pub(crate) fn handover_at(&self) -> Option<Instant> {
        let since = match &self.reauth {
            Some(ReAuth::Due { since, .. } | ReAuth::Sent { since, .. }) => *since,
            None => return None,
        };
        if !self.can_reauthenticate() {
            return Some(since);
        }
        let used = self.token.as_ref().map_or(since, |token| token.handover_at);
        Some(used.max(since + HANDOVER_PATIENCE))
    }

    /// Whether the protocol lets it log in again: not while subscribed in RESP2.
    fn can_reauthenticate(&self) -> bool {
        !(self.handshake.is_resp2() && self.subscriptions.is_subscribed())
    }

    /// The generation of the token that this connection uses or is about to use.
    pub(crate) fn latest_generation(&self) -> u64 {
        match &self.reauth {
            Some(ReAuth::Due { token, .. } | ReAuth::Sent { token, .. }) => token.generation,
            None => self.token.as_ref().map_or(0, |token| token.generation),
        }
    }

    /// Detaches one command's waiter; whether there was one.
    pub(crate) fn cancel(&mut self, id: CommandId) -> bool {
        self.in_flight.detach(id)
    }

    /// Detaches the waiters whose deadline on the command clock has passed.
    pub(crate) fn cancel_overdue(&mut self, clock: u64, overdue: impl FnMut(CommandId)) {
        if self.in_flight.detach_overdue(clock, overdue) {
            self.probes.doubt();
        }
    }

    /// No reply is due earlier on the command clock.
    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.in_flight.earliest_deadline()
    }

    /// The connection's end: everybody who still waits and cannot be told what became of the command, and the
    /// last bytes worth writing. What left in part and cannot have run waits in the queue for the next one.
    pub(crate) fn end(mut self, queue: &mut Queue) -> (Vec<CommandId>, Vec<u8>) {
        // The progress is that of the transaction whose replies come next, which may be an earlier one.
        let cut = queue.rewind(|id| self.in_flight.begins_with(id) && self.transaction.is_only_queued());
        let waiters = self.in_flight.drain_waiters().chain(cut).collect();
        let mut last_bytes = Vec::new();
        if let Transport::Tls(session) = &mut self.transport
            && self.phase != Phase::Connecting
        {
            session.close(&mut last_bytes);
        }
        self.scratch.zeroize();
        (waiters, last_bytes)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.phase_since = now;
    }

    fn has_peer_closed(&self) -> bool {
        matches!(&self.transport, Transport::Tls(session) if session.has_peer_closed())
    }

    /// Whether application data may flow.
    pub(crate) fn is_verified(&self) -> bool {
        match &self.transport {
            Transport::Plain => true,
            Transport::Tls(session) => session.is_verified(),
        }
    }

    /// What the server said to the first words of the login, if that was an error.
    pub(crate) fn login_error(&self) -> Option<&LoginRefusal> {
        self.handshake.hello_error().filter(|_| self.phase == Phase::LoggingIn)
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }
}
