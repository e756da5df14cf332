//! A lane: the commands that go to one node by one connection after the other, and what they wait for.

use super::command_clock::CommandClock;
use super::nodes::NodeId;
use super::trouble::Trouble;
use super::{LaneKind, Output};
use crate::config::Timeouts;
use crate::connection::{
    ASKING, ConnId, Connection, Journey, Phase, Queue, SlotKind, SlotReply, Unit, WakeupReason,
};
use crate::resp::command_len;
use crate::rng::Rng;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// A lane of a client. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId(pub(crate) u64);

/// See the module's description.
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) kind: LaneKind,
    pub(crate) node: NodeId,
    pub(crate) queue: Queue,
    pub(crate) connection: Option<Connection>,
    /// Logs in beside the live connection, to take over from it.
    pub(crate) successor: Option<Connection>,
    /// What a successor seals commands from: there are none for it. It subscribes, and no more.
    no_queue: Queue,
    /// Has given way to a successor, and waits for the replies that are due.
    pub(crate) retired: Option<Retired>,
    pub(crate) clock: CommandClock,
    /// Whether to keep a connection open although no command waits for one.
    pub(crate) is_wanted: bool,
    /// Whether it may have a connection at all: those beside the nodes' main ones are limited in number.
    pub(crate) has_permit: bool,
    /// When a connection may be opened again.
    pub(crate) retry_at: Instant,
    /// The same where commands wait for it.
    pub(crate) busy_retry_at: Instant,
    /// When to present the current token, which others present at other moments or the server refused before.
    pub(crate) reauth_at: Option<Instant>,
    /// Nothing is sent before: the node is about to go.
    pub(crate) held_until: Option<Instant>,
    /// Nothing is sent before it is known who serves which slot.
    pub(crate) awaits_topology: bool,
    /// Since when nothing is to be done, on lanes that are not kept for ever.
    pub(crate) idle_since: Option<Instant>,
    /// The latest reason why there is no connection.
    pub(crate) trouble: Option<Trouble>,
    /// Attempts to connect that failed in a row.
    failures: u32,
    /// Since when the connection is ready.
    ready_at: Option<Instant>,
    reauth_failures: u32,
    waits_for: Awaited,
    allowance: Allowance,
    timeouts: Timeouts,
}

/// A connection that gave way to another, with the bytes of the commands whose replies it waits for.
pub(crate) struct Retired {
    pub(crate) connection: Connection,
    pub(crate) queue: Queue,
    pub(crate) since: Instant,
}

/// What a connection is to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Live,
    Successor,
    Retired,
}

/// What commands wait for through no fault of the server's command processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Nothing,
    Connect,
    Login,
    Token,
    ReAuth,
}

/// How long the command clock may still stand still in the present outage.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    connect: Duration,
    login: Duration,
    token: Duration,
}

/// The first wait before a reconnect is drawn from zero to this; each further one from twice as much.
const RECONNECT_BASE: Duration = Duration::from_millis(50);

/// Between two attempts to open a connection that takes over.
const SUCCESSOR_GAP: Duration = Duration::from_secs(1);

/// Longest wait before a reconnect that commands wait for: they have some seconds only.
const BUSY_RETRY_MAX: Duration = Duration::from_millis(1500);

/// A connection that held for so long was no failure.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

/// New commands wait so long at most for those that a retired connection still has in flight: so order is kept where
/// that costs little.
const ORDER_KEPT_FOR: Duration = Duration::from_secs(1);

impl Lane {
    pub(crate) fn new(id: LaneId, kind: LaneKind, node: NodeId, timeouts: Timeouts, now: Instant) -> Lane {
        Lane {
            id,
            kind,
            node,
            queue: Queue::default(),
            connection: None,
            successor: None,
            no_queue: Queue::default(),
            retired: None,
            clock: CommandClock::default(),
            is_wanted: false,
            has_permit: true,
            retry_at: now,
            busy_retry_at: now,
            reauth_at: None,
            held_until: None,
            awaits_topology: false,
            idle_since: None,
            trouble: None,
            failures: 0,
            ready_at: None,
            reauth_failures: 0,
            waits_for: Awaited::Nothing,
            allowance: Allowance::new(&timeouts),
            timeouts,
        }
    }

    /// What a connection is to this lane; `None` where it is another's.
    pub(crate) fn role_of(&self, conn: ConnId) -> Option<Role> {
        let is = |connection: &Connection| connection.id() == conn;
        if self.connection.as_ref().is_some_and(is) {
            Some(Role::Live)
        } else if self.successor.as_ref().is_some_and(is) {
            Some(Role::Successor)
        } else if self.retired.as_ref().is_some_and(|retired| is(&retired.connection)) {
            Some(Role::Retired)
        } else {
            None
        }
    }

    pub(crate) fn connection_of(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections_mut().find(|connection| connection.id() == conn)
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Connection> {
        let retired = self.retired.as_ref().map(|retired| &retired.connection);
        [self.connection.as_ref(), self.successor.as_ref(), retired].into_iter().flatten()
    }

    pub(crate) fn connections_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        let retired = self.retired.as_mut().map(|retired| &mut retired.connection);
        [self.connection.as_mut(), self.successor.as_mut(), retired].into_iter().flatten()
    }

    /// The connection and the queue that it seals from.
    pub(crate) fn sender(&mut self, conn: ConnId) -> Option<(&mut Connection, &mut Queue)> {
        if let Some(connection) = self.connection.as_mut().filter(|connection| connection.id() == conn) {
            return Some((connection, &mut self.queue));
        }
        let retired = self.retired.as_mut().filter(|retired| retired.connection.id() == conn);
        if let Some(Retired { connection, queue, .. }) = retired {
            return Some((connection, queue));
        }
        let successor = self.successor.as_mut().filter(|connection| connection.id() == conn);
        successor.map(|connection| (connection, &mut self.no_queue))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.phase() == Phase::Ready)
    }

    /// When something was last heard of the live connection.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.connection.as_ref().map(Connection::heard_at)
    }

    /// Whether commands wait for a connection that cannot be made.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.queue.is_empty() && !self.is_ready() && self.trouble.is_some()
    }

    /// Whether anybody waits for anything of it.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.queue.is_empty() || self.connections().any(Connection::has_waiters)
    }

    /// Forgets the bytes of commands that were answered.
    pub(crate) fn release(&mut self, conn: ConnId) {
        if let Some((connection, queue)) = self.sender(conn) {
            queue.release_to(connection.oldest_at());
        }
    }

    /// A command that was sealed, to be sent again.
    pub(crate) fn sealed_unit(&mut self, conn: ConnId, reply: &SlotReply) -> Option<Unit> {
        let (_, queue) = self.sender(conn)?;
        let bytes = queue.sealed_bytes(reply.at, reply.len as usize);
        let bytes = if reply.is_asking { bytes.get(ASKING.len()..)? } else { bytes };
        let steps = match reply.kind {
            SlotKind::Transaction => count_commands(bytes).saturating_sub(1),
            _ => 0,
        };
        (!bytes.is_empty()).then(|| Unit {
            id: reply.id,
            bytes: bytes.to_vec(),
            steps,
            journey: Journey { attempts: reply.journey.attempts.saturating_add(1), ..reply.journey },
            is_inspected: reply.kind == SlotKind::Inspected,
        })
    }

    /// The successor is ready: it takes over, and the one before waits for its replies. Not in the middle of a
    /// command, whose rest must follow where its beginning went. Whether it happened.
    pub(crate) fn hand_over(&mut self, now: Instant) -> bool {
        if self.queue.is_mid_command() {
            return false;
        }
        let Some(successor) = self.successor.take() else { return false };
        let queue = self.queue.split_sealed();
        if let Some(connection) = self.connection.replace(successor) {
            self.retired = Some(Retired { connection, queue, since: now });
        }
        self.update_hold(now);
        true
    }

    /// Whether commands that wait may be sent.
    pub(crate) fn update_hold(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| now >= until) {
            self.held_until = None;
        }
        let keeps_order = self
            .retired
            .as_ref()
            .is_some_and(|retired| retired.connection.has_waiters() && now < retired.since + ORDER_KEPT_FOR);
        let is_held = self.held_until.is_some() || self.awaits_topology || keeps_order;
        if let Some(connection) = &mut self.connection
            && connection.is_held != is_held
        {
            connection.is_held = is_held;
        }
    }

    /// Says of each connection that has something to write.
    pub(crate) fn signal_transmit(&mut self, outputs: &mut VecDeque<Output>) {
        let Lane { queue, connection, successor, no_queue, retired, .. } = self;
        let live = connection.as_mut().map(|connection| (connection, &*queue));
        let successor = successor.as_mut().map(|connection| (connection, &*no_queue));
        let retired = retired.as_mut().map(|retired| (&mut retired.connection, &retired.queue));
        for (connection, queue) in [live, successor, retired].into_iter().flatten() {
            let has_bytes = !connection.unsent().is_empty() || connection.wants_seal(queue);
            if has_bytes && !connection.is_transmit_signalled {
                connection.is_transmit_signalled = true;
                outputs.push_back(Output::Transmit { conn: connection.id() });
            }
        }
    }

    /// The connection, where it is ready and nothing but commands and replies concerns the lane: what is so most of the
    /// time is to cost little.
    pub(crate) fn calm(&self) -> Option<&Connection> {
        let is_alone = self.successor.is_none() && self.retired.is_none();
        let is_free = self.held_until.is_none() && !self.awaits_topology && is_alone;
        self.connection.as_ref().filter(|connection| is_free && connection.is_calm())
    }

    /// The same for a lane that is calm.
    pub(crate) fn signal_calm(&mut self) -> Option<ConnId> {
        let connection = self.connection.as_mut()?;
        if connection.is_transmit_signalled
            || (connection.unsent().is_empty() && !connection.wants_seal(&self.queue))
        {
            return None;
        }
        connection.is_transmit_signalled = true;
        Some(connection.id())
    }

    /// When `handle_timeout` has something to do for it. `can_connect`: whether another connection may be opened.
    pub(crate) fn poll_timeout(
        &self,
        can_connect: impl Fn() -> bool,
        now: Instant,
    ) -> Option<(Instant, WakeupReason)> {
        if let Some(connection) = self.calm().filter(|_| self.reauth_at.is_none()) {
            let command = earlier(self.queue.earliest_deadline(), connection.earliest_deadline());
            let command = command.map(|deadline| (self.clock.when(deadline, now), WakeupReason::Command));
            let own = connection.poll_timeout();
            return match (command, own) {
                (Some(command), Some(own)) => Some(if command.0 <= own.0 { command } else { own }),
                (command, own) => command.or(own),
            };
        }
        let in_flight = self.connections().filter_map(Connection::earliest_deadline).min();
        let command = [self.queue.earliest_deadline(), in_flight].into_iter().flatten().min();
        let connection = self.connections().filter_map(Connection::poll_timeout).min_by_key(|(at, _)| *at);
        let handover = match (&self.connection, &self.successor) {
            (Some(connection), None) if self.retired.is_none() => {
                connection.handover_at().filter(|_| can_connect())
            }
            _ => None,
        };
        let order = self.retired.as_ref().map(|retired| retired.since + ORDER_KEPT_FOR);
        let order = order.filter(|at| *at > now);
        let times = [
            command.map(|deadline| (self.clock.when(deadline, now), WakeupReason::Command)),
            connection,
            self.reauth_at.map(|at| (at, WakeupReason::ReAuthenticate)),
            handover.map(|at| (at.max(self.retry_at), WakeupReason::Handover)),
            order.map(|at| (at, WakeupReason::Handover)),
            self.held_until.map(|at| (at, WakeupReason::Handover)),
        ];
        times.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether there should be a connection.
    pub(crate) fn needs_connection(&self) -> bool {
        self.has_permit && (self.is_wanted || !self.queue.is_empty())
    }

    /// Bytes of commands queued and in flight.
    pub(crate) fn held_bytes(&self) -> usize {
        let live = self.connection.as_ref().map_or(0, Connection::in_flight_bytes);
        let retired = self.retired.as_ref().map_or(0, |retired| retired.connection.in_flight_bytes());
        self.queue.len_bytes() + live + retired
    }

    /// A connection is ready: whatever was wrong is over.
    pub(crate) fn handle_ready(&mut self, now: Instant) {
        self.ready_at = Some(now);
        self.reauth_failures = 0;
        self.trouble = None;
        self.held_until = None;
        self.reauth_at = None;
        self.allowance = Allowance::new(&self.timeouts);
    }

    /// The server accepted a newer token.
    pub(crate) fn handle_reauthenticated(&mut self) {
        self.reauth_failures = 0;
        self.reauth_at = None;
    }

    /// A connection was lost or could not be made: sets when to try again. `was_useful`: it answered commands.
    pub(crate) fn handle_lost(&mut self, trouble: Trouble, was_useful: bool, now: Instant, rng: &mut Rng) {
        // A server that accepts the login and closes at once is met with growing waits all the same.
        if self.ready_at.take().is_some_and(|at| now.since(at) >= PROVEN_AFTER) {
            self.failures = 0;
        } else if was_useful {
            self.failures = self.failures.min(1);
        }
        self.reauth_at = None;
        self.trouble = Some(trouble);
        let ceiling =
            RECONNECT_BASE.saturating_mul(1 << self.failures.min(10)).min(self.timeouts.reconnect_max);
        let wait = rng.between(Duration::ZERO, ceiling);
        self.retry_at = now + wait;
        self.busy_retry_at = now
            + if ceiling > BUSY_RETRY_MAX {
                wait.mul_f64(BUSY_RETRY_MAX.div_duration_f64(ceiling))
            } else {
                wait
            };
        self.failures += 1;
    }

    /// When its connection may be opened again.
    pub(crate) fn may_open_at(&self) -> Instant {
        if self.queue.is_empty() { self.retry_at } else { self.busy_retry_at.min(self.retry_at) }
    }

    /// Its connection may be opened again at once.
    pub(crate) fn forget_wait(&mut self, now: Instant) {
        self.retry_at = now;
        self.busy_retry_at = now;
    }

    /// A connection that was to take over was lost: sets when to try another.
    pub(crate) fn handle_successor_lost(&mut self, now: Instant, rng: &mut Rng) {
        self.retry_at = now + rng.between(SUCCESSOR_GAP / 2, SUCCESSOR_GAP);
        self.busy_retry_at = self.retry_at;
    }

    /// The server refused a newer token on the live connection: sets when to present it again.
    pub(crate) fn handle_reauth_refused(&mut self, now: Instant, rng: &mut Rng) {
        let ceiling = Duration::from_secs(2 << self.reauth_failures.min(4)).min(Duration::from_secs(30));
        self.reauth_at = Some(now + rng.between(ceiling / 2, ceiling));
        self.reauth_failures += 1;
    }

    /// Lets the command clock stand still while commands wait for something that is not theirs to wait for.
    pub(crate) fn update_clock(&mut self, is_token_awaited: bool, now: Instant) {
        let awaited = match self.connection.as_ref().map(|connection| (connection.phase(), connection)) {
            Some((Phase::Connecting, _)) => Awaited::Connect,
            Some((Phase::LoggingIn, _)) => Awaited::Login,
            Some((Phase::Ready, connection)) if connection.is_held_by_reauth() => Awaited::ReAuth,
            Some((Phase::Ready, connection)) if connection.is_held => Awaited::Login,
            Some((Phase::Ready, _)) => Awaited::Nothing,
            Some((Phase::Draining, _)) if self.successor.is_some() => Awaited::Login,
            Some((Phase::Draining, _)) | None if is_token_awaited => Awaited::Token,
            Some((Phase::Draining, _)) | None => Awaited::Nothing,
        };
        if awaited == self.waits_for {
            return;
        }
        let paused = self.clock.resume(now);
        self.allowance.spend(self.waits_for, paused);
        self.waits_for = awaited;
        if awaited != Awaited::Nothing {
            self.clock.pause(self.allowance.left(awaited, &self.timeouts), now);
        }
    }
}

impl Allowance {
    fn new(timeouts: &Timeouts) -> Allowance {
        Allowance { connect: timeouts.connect, login: timeouts.login, token: timeouts.token }
    }

    fn left(&self, awaited: Awaited, timeouts: &Timeouts) -> Duration {
        match awaited {
            Awaited::Nothing => Duration::ZERO,
            Awaited::Connect => self.connect,
            Awaited::Login => self.login,
            Awaited::Token => self.token,
            // Each re-authentication is the server's own delay, not part of an outage.
            Awaited::ReAuth => timeouts.login,
        }
    }

    fn spend(&mut self, awaited: Awaited, paused: Duration) {
        let left = match awaited {
            Awaited::Nothing | Awaited::ReAuth => return,
            Awaited::Connect => &mut self.connect,
            Awaited::Login => &mut self.login,
            Awaited::Token => &mut self.token,
        };
        *left = left.saturating_sub(paused);
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How many commands one after the other are in `bytes`.
fn count_commands(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while !bytes.is_empty() {
        let len = command_len(bytes);
        if len == 0 {
            break;
        }
        bytes = bytes.get(len..).unwrap_or_default();
        count += 1;
    }
    count
}
