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
mod outbound;
mod probe;
mod queue;
mod timers;
mod transaction;

use crate::auth::{Handshake, Login, LoginRefusal, Progress, encode_auth};
use crate::command::CommandId;
use crate::resp::{DecodeError, DecodeLimits, Decoder, Frame, Node, Reply, encode_command};
use crate::rng::Rng;
use crate::time::Instant;
use crate::tls::{TlsError, TlsSession};
use in_flight::InFlight;
pub(crate) use in_flight::SlotKind;
use outbound::Outbound;
use probe::Probes;
use queue::Sealed;
pub(crate) use queue::{Queue, Removed};
use std::time::Duration;
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
        id: CommandId,
        step: u32,
        text: Vec<u8>,
        has_run: bool,
    },
    Broken(Breakage),
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
    Due(ConnectionToken),
    Sent {
        token: ConnectionToken,
        nonce: String,
        refusal: Option<LoginRefusal>,
        at: Instant,
    },
}

pub(crate) struct Connection {
    id: ConnId,
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
}

impl Connection {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, and every one of them is part of a new connection"
    )]
    pub(crate) fn new(
        id: ConnId,
        session: Option<TlsSession>,
        handshake: Handshake,
        token: Option<ConnectionToken>,
        decode_limits: DecodeLimits,
        sealed_ahead_max: usize,
        patience: Patience,
        now: Instant,
    ) -> Connection {
        Connection {
            id,
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

    /// A buffer for the next read, with room for so many bytes.
    pub(crate) fn lend_buffer(&mut self, room: usize) -> Vec<u8> {
        match self.transport {
            Transport::Plain => self.decoder.lend(room),
            Transport::Tls(_) => {
                let mut records = std::mem::take(&mut self.records);
                records.reserve(room);
                records
            }
        }
    }

    /// Memory for the next large reply.
    pub(crate) fn donate(&mut self, block: Vec<u8>) {
        self.decoder.donate(block);
    }

    /// As `handle_received`, for bytes that were appended to the buffer lent.
    pub(crate) fn handle_filled(
        &mut self,
        mut buffer: Vec<u8>,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        match self.transport {
            Transport::Plain => match self.decoder.take_back(buffer) {
                Some(0) => {}
                Some(_) => self.handle_bytes(None, now, answers, events),
                None => events.push(Event::Broken(Breakage::BufferLost)),
            },
            Transport::Tls(_) => {
                if !buffer.is_empty() {
                    self.handle_received(&buffer, now, answers, events);
                }
                buffer.clear();
                self.records = buffer;
            }
        }
    }

    /// Bytes were received: answers to user commands are appended to `answers`.
    pub(crate) fn handle_received(
        &mut self,
        bytes: &[u8],
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        if self.decoder.is_lent() {
            return events.push(Event::Broken(Breakage::BufferLost));
        }
        let tls_error = match &mut self.transport {
            Transport::Plain => {
                self.decoder.receive(bytes);
                None
            }
            Transport::Tls(session) => {
                session.receive(bytes, self.decoder.receive_into(bytes.len()), self.outbound.tail()).err()
            }
        };
        self.handle_bytes(tls_error, now, answers, events);
    }

    /// The decoder has new bytes.
    fn handle_bytes(
        &mut self,
        tls_error: Option<TlsError>,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        self.received_at = now;
        if tls_error.is_none()
            && self.phase == Phase::LoggingIn
            && !self.has_begun_login
            && self.is_verified()
        {
            self.begin_login(events);
        }
        // Whole frames that came before a TLS error were verified: they still count.
        if let Err(breakage) = self.handle_frames(now, answers, events) {
            events.push(Event::Broken(breakage));
        } else if let Some(error) = tls_error {
            events.push(Event::Broken(Breakage::Tls(error)));
        } else if self.has_peer_closed() {
            events.push(Event::Broken(Breakage::PeerClosed));
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

    /// Seals what may go out now.
    pub(crate) fn seal(&mut self, queue: &mut Queue, now: Instant, rng: &mut Rng, events: &mut Vec<Event>) {
        let room = self.sealed_ahead_max.saturating_sub(self.outbound.len());
        if !matches!(self.phase, Phase::Ready | Phase::Draining) || room == 0 {
            return;
        }
        if matches!(self.reauth, Some(ReAuth::Due(_))) {
            // The safe boundary is the end of the command that has left in part, ahead of all others.
            self.seal_commands(queue, queue.rest_of_first().min(room), now);
            if queue.is_mid_command() {
                return self.flush_scratch(events);
            }
            self.write_reauth(now, rng);
        }
        let room = if self.phase == Phase::Ready { room } else { queue.rest_of_first().min(room) };
        self.seal_commands(queue, room, now);
        self.flush_scratch(events);
    }

    fn seal_commands(&mut self, queue: &mut Queue, room: usize, now: Instant) {
        if room > 0 && self.in_flight.is_empty() {
            self.busy_since = now;
        }
        let out = match self.transport {
            Transport::Plain => self.outbound.tail(),
            Transport::Tls(_) => &mut self.scratch,
        };
        queue.seal(room, out, |sealed| match sealed {
            Sealed::Begun(command) => {
                for _ in 0..command.steps {
                    self.in_flight.push_step(command.id);
                }
            }
            Sealed::Whole(command) => {
                let kind = if command.steps > 0 { SlotKind::Transaction } else { SlotKind::Command };
                self.in_flight.push_command(command, kind);
            }
        });
        self.is_mid_command = queue.is_mid_command();
    }

    /// Whether `seal` would find something to do.
    pub(crate) fn wants_seal(&self, queue: &Queue) -> bool {
        match self.phase {
            Phase::Ready => !queue.is_empty() || matches!(self.reauth, Some(ReAuth::Due(_))),
            Phase::Draining => queue.is_mid_command() || matches!(self.reauth, Some(ReAuth::Due(_))),
            Phase::Connecting | Phase::LoggingIn => false,
        }
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
    pub(crate) fn reauthenticate(&mut self, token: ConnectionToken) {
        match &self.reauth {
            // Its answer decides first; the owner offers the newer token again then.
            Some(ReAuth::Sent { .. }) => {}
            Some(ReAuth::Due(_)) | None => self.reauth = Some(ReAuth::Due(token)),
        }
    }

    /// The generation of the token that this connection uses or is about to use.
    pub(crate) fn latest_generation(&self) -> u64 {
        match &self.reauth {
            Some(ReAuth::Due(token) | ReAuth::Sent { token, .. }) => token.generation,
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

    // Login

    fn begin_login(&mut self, events: &mut Vec<Event>) {
        self.has_begun_login = true;
        let replies = self.handshake.begin(&mut self.scratch);
        self.write_own(replies, SlotKind::Login, events);
    }

    /// Sends what is in `scratch`, a command of our own with so many replies.
    fn write_own(&mut self, replies: usize, kind: SlotKind, events: &mut Vec<Event>) {
        for _ in 0..replies {
            self.in_flight.push_own(kind);
        }
        if matches!(self.transport, Transport::Plain) {
            self.outbound.tail().extend_from_slice(&self.scratch);
        }
        self.flush_scratch(events);
    }

    /// Seals the scratch into TLS records and wipes it: it may have held a secret.
    fn flush_scratch(&mut self, events: &mut Vec<Event>) {
        if let Transport::Tls(session) = &mut self.transport
            && let Err(error) = session.send(&self.scratch, self.outbound.tail())
        {
            events.push(Event::Broken(Breakage::Tls(error)));
        }
        if self.phase == Phase::LoggingIn || matches!(self.reauth, Some(ReAuth::Sent { .. })) {
            self.scratch.zeroize();
        } else {
            self.scratch.clear();
        }
    }

    fn handle_login_reply(&mut self, frame: Frame, now: Instant, events: &mut Vec<Event>) {
        let (nodes, bytes) = self.decoder.tape();
        match self.handshake.handle_reply(&Reply::at(nodes, bytes, frame.node)) {
            Progress::Waiting => {}
            Progress::FallBack => {
                let replies = self.handshake.fall_back(&mut self.scratch);
                self.write_own(replies, SlotKind::Login, events);
            }
            Progress::Done => {
                self.enter(Phase::Ready, now);
                self.probes.handle_proven(now);
                events.push(Event::Ready);
            }
            Progress::Refused(refusal) => events.push(Event::LoginRefused(refusal)),
        }
    }

    fn write_reauth(&mut self, now: Instant, rng: &mut Rng) {
        let Some(ReAuth::Due(token)) = self.reauth.take_if(|reauth| matches!(reauth, ReAuth::Due(_))) else {
            return;
        };
        let nonce = format!("{:016x}", rng.nonce());
        let out = match self.transport {
            Transport::Plain => self.outbound.tail(),
            Transport::Tls(_) => &mut self.scratch,
        };
        if let Some(secret) = &token.login.secret {
            encode_auth(&token.login.username, secret, out);
            self.in_flight.push_own(SlotKind::ReAuth);
        }
        encode_command([&b"PING"[..], nonce.as_bytes()].into_iter(), out);
        self.in_flight.push_own(SlotKind::ReAuthPing);
        self.reauth = Some(ReAuth::Sent { token, nonce, refusal: None, at: now });
    }
}
