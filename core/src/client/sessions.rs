//! Sessions: a connection for one caller alone, for as long as the caller wants it. WATCH needs one.

use super::routing::{CROSS_SLOT, Route, transaction_slot};
use super::submit::{malformed, refused, too_large};
use super::{Client, ConnId, ErrorCode, Instant, LaneId, LaneKind, SEED};
use crate::command::{Batch, Command, CommandId, KeySlot, Lane as Needs, facts_of, key_slot};
use crate::connection::Connection;
use crate::error::{Outcome, SubmitError};
use crate::time::Now;

/// A connection that one caller has to itself. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SessionId(pub(crate) u64);

impl SessionId {
    /// The id as a number, for languages that keep it as one.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that has this number; one that was never given out names no session.
    pub const fn from_u64(number: u64) -> SessionId {
        SessionId(number)
    }
}

/// A session that was not closed.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    lane: Option<LaneId>,
    /// Keys are being watched.
    watch: Option<Watch>,
    /// The slot of the keys that were watched last.
    watched_slot: KeySlot,
    /// The latest transaction that depends on what was watched.
    guarded: Option<CommandId>,
}

/// Watched keys, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// The connection that WATCH goes out on is not known yet.
    Waiting,
    On(ConnId),
    /// The connection was lost since.
    Lost,
}

impl Client {
    /// A session. It takes a connection of the pool when its first command is submitted: one to the node of that
    /// command's keys, and waits where none is free.
    pub fn open_session(&mut self, now: Now) -> Result<SessionId, SubmitError> {
        self.observe(now);
        self.check_open()?;
        self.latest_owner += 1;
        let id = SessionId(self.latest_owner);
        self.sessions.push(Session {
            id,
            lane: None,
            watch: None,
            watched_slot: KeySlot::None,
            guarded: None,
        });
        Ok(id)
    }

    /// Submits a command to a session. `WATCH` and `UNWATCH` are allowed here.
    pub fn submit_in(
        &mut self,
        session: SessionId,
        command: Command<'_>,
        now: Now,
    ) -> Result<CommandId, SubmitError> {
        let arguments = command.arguments;
        let facts = facts_of(arguments.iter().copied());
        let len = match facts.lane {
            Needs::Main | Needs::Session => self.check_len(arguments.iter().copied())?,
            Needs::Blocking(_) | Needs::Refused => {
                return Err(refused(facts.lane, arguments.iter().copied()));
            }
        };
        self.admit(len, 1)?;
        let monotonic = self.observe(now);
        let slot = key_slot(&facts, arguments.iter().copied());
        let lane = self.session_lane(session, slot, monotonic)?;
        let timeout = self.timeout_of(command.timeout);
        let id = self.next_id();
        let Some(owner) = self.lane_mut(lane) else { return Err(closed()) };
        let deadline = owner.clock.read(monotonic).saturating_add(timeout);
        owner.queue.push(id, deadline, arguments.iter().copied());
        let conn = owner.connection.as_ref().filter(|_| owner.is_ready()).map(Connection::id);
        let name = arguments.first().copied().unwrap_or_default();
        if let Some(session) = self.sessions.iter_mut().find(|own| own.id == session) {
            if name.eq_ignore_ascii_case(b"WATCH") && session.watch != Some(Watch::Lost) {
                session.watch = Some(conn.map_or(Watch::Waiting, Watch::On));
                session.watched_slot = slot;
            } else if name.eq_ignore_ascii_case(b"UNWATCH") {
                session.watch = None;
            }
        }
        self.settle(monotonic);
        Ok(id)
    }

    /// Submits a transaction to a session: where a key that it watches was written to, the answer is a null. Fails
    /// with [`ErrorCode::WatchLost`], unsent, where the connection was lost since WATCH.
    pub fn submit_transaction_in(
        &mut self,
        session: SessionId,
        bytes: &[u8],
        lengths: &[u32],
        now: Now,
    ) -> Result<CommandId, SubmitError> {
        let batch = Batch::new(bytes, lengths).filter(|_| !lengths.is_empty()).ok_or_else(malformed)?;
        let (len, _) = self.check_all(batch)?;
        if len > self.config.limits.command_len_max {
            return Err(too_large(len));
        }
        self.admit(len, 1)?;
        let monotonic = self.observe(now);
        let own = self.sessions.iter_mut().find(|own| own.id == session).ok_or_else(closed)?;
        if own.watch == Some(Watch::Lost) {
            own.watch = None;
            return Err(watch_lost());
        }
        let lane = self.session_lane(session, transaction_slot(batch.commands()), monotonic)?;
        let timeout = self.timeout_of(None);
        let id = self.next_id();
        if let Some(own) = self.sessions.iter_mut().find(|own| own.id == session) {
            own.guarded = own.watch.take().map(|_| id);
        }
        let Some(owner) = self.lane_mut(lane) else { return Err(closed()) };
        let deadline = owner.clock.read(monotonic).saturating_add(timeout);
        owner.queue.push_transaction(id, deadline, batch.commands());
        self.settle(monotonic);
        Ok(id)
    }

    /// Ends a session: its connection goes back to the pool, without its watches.
    pub fn close_session(&mut self, session: SessionId, now: Now) {
        let now = self.observe(now);
        let Some(index) = self.sessions.iter().position(|own| own.id == session) else { return };
        let session = self.sessions.swap_remove(index);
        let Some(lane) = session.lane else { return };
        if session.watch.is_some()
            && let Some(connection) = self.lane_mut(lane).and_then(|lane| lane.connection.as_mut())
        {
            connection.unwatch();
        }
        self.free_lane(lane, now);
        self.settle(now);
    }

    /// The session's lane: that to the node of its first keys.
    fn session_lane(&mut self, id: SessionId, slot: KeySlot, now: Instant) -> Result<LaneId, SubmitError> {
        let session = self.sessions.iter().find(|own| own.id == id).ok_or_else(closed)?;
        let watch = session.watch;
        let node = match slot {
            KeySlot::None => None,
            KeySlot::One(slot) => Some(match self.route_slot(slot) {
                Route::Lane(lane) => self.lane(lane).map_or(SEED, |lane| lane.node),
                _ => SEED,
            }),
            KeySlot::Many if !self.cluster.is_cluster => None,
            KeySlot::Many => {
                return Err(SubmitError { code: ErrorCode::CrossSlot, text: CROSS_SLOT.to_owned() });
            }
        };
        if let Some(lane) = session.lane.and_then(|lane| self.lane(lane)) {
            let is_elsewhere = node.is_some_and(|node| node != lane.node);
            if !is_elsewhere {
                return Ok(lane.id);
            }
            if watch.is_some() && slot == session.watched_slot {
                // The slot has gone to another node, and nobody watches it there.
                let lane = lane.id;
                return Err(self.lose_watch(id, lane));
            }
            if watch.is_some() || lane.has_waiters() {
                let text = "the session watches keys, or waits for replies, of another node of the cluster";
                return Err(SubmitError { code: ErrorCode::CrossSlot, text: text.to_owned() });
            }
            let old = lane.id;
            self.free_lane(old, now);
        }
        let any = self.any_node();
        let lane = self.own_lane(LaneKind::Session, node.unwrap_or(any), now);
        if let Some(session) = self.sessions.iter_mut().find(|own| own.id == id) {
            session.lane = Some(lane);
        }
        Ok(lane)
    }

    /// What a session watches at a node tells nothing any more.
    fn lose_watch(&mut self, id: SessionId, lane: LaneId) -> SubmitError {
        if let Some(connection) = self.lane_mut(lane).and_then(|lane| lane.connection.as_mut()) {
            connection.unwatch();
        }
        if let Some(session) = self.sessions.iter_mut().find(|own| own.id == id) {
            session.watch = None;
        }
        watch_lost()
    }

    /// The connection of a session is ready, or another one is.
    pub(super) fn handle_session_ready(&mut self, lane: LaneId, conn: ConnId) {
        if let Some(session) = self.sessions.iter_mut().find(|own| own.lane == Some(lane))
            && session.watch == Some(Watch::Waiting)
        {
            session.watch = Some(Watch::On(conn));
        }
    }

    /// The connection of a session is lost, and what it watched with it, if it ever was ready.
    pub(super) fn handle_session_lost(&mut self, lane: LaneId, was_ready: bool) {
        let Some(session) = self.sessions.iter_mut().find(|own| own.lane == Some(lane)) else {
            return self.end_lane(lane);
        };
        if !was_ready {
            return;
        }
        session.watch = session.watch.map(|_| Watch::Lost);
        // On another connection it would be judged by nothing.
        if let Some(id) = session.guarded.take()
            && self.lane_mut(lane).is_some_and(|lane| lane.queue.remove(id).is_some())
        {
            self.fail(id, ErrorCode::WatchLost, Outcome::NotSent, WATCH_LOST);
        }
    }
}

const WATCH_LOST: &str = "the connection was lost since WATCH: nobody knows whether the keys were written to";

fn watch_lost() -> SubmitError {
    SubmitError { code: ErrorCode::WatchLost, text: WATCH_LOST.to_owned() }
}

fn closed() -> SubmitError {
    SubmitError { code: ErrorCode::Closed, text: "the session is closed".to_owned() }
}
