//! One server: its connection, the commands that wait for it, and what they wait for.

use super::command_clock::CommandClock;
use super::trouble::Trouble;
use crate::config::Timeouts;
use crate::connection::{Connection, Phase, Queue};
use crate::rng::Rng;
use crate::time::Instant;
use std::time::Duration;

/// See the module's description.
pub(crate) struct Node {
    pub(crate) queue: Queue,
    pub(crate) connection: Option<Connection>,
    pub(crate) clock: CommandClock,
    /// Whether to keep a connection open although no command waits for one.
    pub(crate) is_wanted: bool,
    /// When a connection may be opened again.
    pub(crate) retry_at: Instant,
    /// When to present the current token again, after the server refused it on a live connection.
    pub(crate) reauth_at: Option<Instant>,
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

/// A connection that held for so long was no failure.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

impl Node {
    pub(crate) fn new(timeouts: Timeouts, now: Instant) -> Node {
        Node {
            queue: Queue::default(),
            connection: None,
            clock: CommandClock::default(),
            is_wanted: false,
            retry_at: now,
            reauth_at: None,
            trouble: None,
            failures: 0,
            ready_at: None,
            reauth_failures: 0,
            waits_for: Awaited::Nothing,
            allowance: Allowance::new(&timeouts),
            timeouts,
        }
    }

    /// Whether there should be a connection.
    pub(crate) fn needs_connection(&self) -> bool {
        self.is_wanted || !self.queue.is_empty()
    }

    /// Bytes of commands queued and in flight.
    pub(crate) fn held_bytes(&self) -> usize {
        self.queue.len_bytes() + self.connection.as_ref().map_or(0, Connection::in_flight_bytes)
    }

    /// A connection is ready: whatever was wrong is over.
    pub(crate) fn handle_ready(&mut self, now: Instant) {
        self.ready_at = Some(now);
        self.reauth_failures = 0;
        self.trouble = None;
        self.is_wanted = true;
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
        self.retry_at = now + rng.between(Duration::ZERO, ceiling);
        self.failures += 1;
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
            Some((Phase::Ready, _)) => Awaited::Nothing,
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
