//! Blocking commands: each has a connection to itself while it waits.
//!
//! At the server it waits in slices, and between two of them the connection may present a newer token, a silent peer is
//! noticed, and a command whose key has moved follows it. The caller sees one wait, as long as it asked for.

use super::routing::Route;
use super::{Client, CommandId, Instant, Lane, LaneId, LaneKind, lanes};
use crate::command::{Facts, OwnTimeout, TimeoutAt, block_at, own_timeout};
use crate::connection::{Connection, Journey, SlotReply, Unit};
use crate::resp::{Kind, Reply, encode_command, split_encoded};
use std::time::Duration;

/// A blocking command that has not ended.
pub(super) struct BlockingJob {
    id: CommandId,
    pub(super) lane: LaneId,
    /// As the caller gave it.
    bytes: Vec<u8>,
    at: TimeoutAt,
    /// When the caller's own timeout ends; `None`: never.
    ends_at: Option<Instant>,
    /// How long the server may take beyond what it waits, in microseconds.
    patience: u64,
    /// It waits once, and not in slices: what comes between two would be missed.
    is_single: bool,
}

/// A command waits so long at most at the server before it is sent again.
const SLICE_MAX: Duration = Duration::from_secs(30);

/// It makes no sense to wait for less.
const SLICE_MIN: Duration = Duration::from_millis(100);

impl Client {
    /// Sends a blocking command on a connection of its own.
    pub(super) fn submit_blocking(
        &mut self,
        id: CommandId,
        at: TimeoutAt,
        facts: &Facts,
        arguments: &[&[u8]],
        patience: u64,
        now: Instant,
    ) -> Result<(), Route> {
        let node = match self.route(facts, arguments.iter().copied()) {
            Route::Lane(lane) => self.lane(lane).map_or(super::SEED, |lane| lane.node),
            // Until the map tells, any node does: it says where to go.
            Route::NoNode(_) => super::SEED,
            route => return Err(route),
        };
        let ends_at = match own_timeout(at, arguments.iter().copied()) {
            Some(OwnTimeout::After(timeout)) => Some(now + timeout),
            Some(OwnTimeout::Never) => None,
            // Malformed: the server says so at once.
            None => Some(now),
        };
        let mut bytes = Vec::new();
        encode_command(arguments.iter().copied(), &mut bytes);
        let lane = self.own_lane(LaneKind::Blocking, node, now);
        let is_single = at == TimeoutAt::MillisBlock && arguments.contains(&&b"$"[..]);
        self.blocking.push(BlockingJob { id, lane, bytes, at, ends_at, patience, is_single });
        self.send_slice(id, Journey::default(), now);
        Ok(())
    }

    /// Sends a blocking command, to wait for as long as it may at once.
    fn send_slice(&mut self, id: CommandId, journey: Journey, now: Instant) {
        let Some(job) = self.blocking.iter().find(|job| job.id == id) else { return };
        // It may log in only now, with the token that there is.
        let token_ends = self.tokens.for_connection(now).map(|token| token.close_at);
        let Some(lane) = lanes::get(&mut self.lanes, job.lane) else { return };
        let slice = job.slice(lane, token_ends, now);
        let bytes = job.bytes_for(slice);
        let unit = Unit { id, bytes, steps: 0, journey, is_inspected: true };
        let wait =
            slice.map_or(u64::MAX / 2, |slice| u64::try_from(slice.as_micros()).unwrap_or(u64::MAX / 2));
        let deadline = lane.clock.read(now).saturating_add(wait).saturating_add(job.patience);
        lane.queue.push_unit(&unit, deadline, false);
    }

    /// The reply to a blocking command. Whether it is the caller's: after a slice without a result the next one begins.
    pub(super) fn ends_blocking(
        &mut self,
        lane: LaneId,
        reply: &SlotReply,
        value: &Reply<'_>,
        now: Instant,
    ) -> bool {
        let Some(job) = self.blocking.iter().find(|job| job.id == reply.id && job.lane == lane) else {
            return true;
        };
        let has_time = job.ends_at.is_none_or(|end| now < end) && !job.is_single;
        let is_freed = value.kind() == Kind::Error && value.as_bytes().starts_with(b"UNBLOCKED");
        if has_time && (value.kind() == Kind::Null || is_freed) {
            self.wait_on(reply.id, is_freed, now);
            return false;
        }
        self.end_blocking(reply.id);
        true
    }

    /// The next slice: on the same connection, unless the keys are another node's by now.
    fn wait_on(&mut self, id: CommandId, is_freed: bool, now: Instant) {
        if is_freed && self.cluster.is_cluster {
            self.want_topology(crate::connection::Question::Slots);
        }
        self.send_slice(id, Journey::default(), now);
    }

    pub(super) fn is_blocking(&self, id: CommandId) -> bool {
        self.blocking.iter().any(|job| job.id == id)
    }

    /// Whether it is a blocking command whose own time is over, and the patience with the server too.
    pub(super) fn is_blocking_overdue(&self, id: CommandId, now: Instant) -> bool {
        let job = self.blocking.iter().find(|job| job.id == id);
        let end = job.and_then(|job| Some(job.ends_at? + Duration::from_micros(job.patience)));
        end.is_some_and(|end| now >= end)
    }

    /// A command is to go to the node of that lane: a blocking one does so on a connection of its own. Whether it is
    /// one.
    pub(super) fn move_blocking(&mut self, unit: &Unit, lane: LaneId, now: Instant) -> bool {
        let Some(node) = self.lane(lane).map(|lane| lane.node) else { return false };
        let Some(before) = self.blocking.iter().find(|job| job.id == unit.id).map(|job| job.lane) else {
            return false;
        };
        if self.lane(before).is_none_or(|lane| lane.node != node) {
            let own = self.own_lane(LaneKind::Blocking, node, now);
            if let Some(job) = self.blocking.iter_mut().find(|job| job.id == unit.id) {
                job.lane = own;
            }
        }
        self.send_slice(unit.id, unit.journey, now);
        true
    }

    /// A command has ended, which may have been a blocking one.
    pub(super) fn end_blocking(&mut self, id: CommandId) {
        self.blocking.retain(|job| job.id != id);
    }
}

impl BlockingJob {
    /// How long to wait at the server this time; `None`: for ever.
    fn slice(&self, lane: &Lane, token_ends: Option<Instant>, now: Instant) -> Option<Duration> {
        let left = self.ends_at.map(|end| end.since(now));
        // The token is renewed well before its end where there is an opportunity: so there have to be several.
        let token = lane.connection.as_ref().and_then(Connection::token);
        let life = token.map(|token| token.close_at).or(token_ends).map(|end| end.since(now));
        if self.is_single {
            return [left, life].into_iter().flatten().min();
        }
        let slice = life.map_or(SLICE_MAX, |life| SLICE_MAX.min(life / 4)).max(SLICE_MIN);
        Some(left.map_or(slice, |left| left.min(slice)))
    }

    /// The command, with its timeout replaced.
    fn bytes_for(&self, slice: Option<Duration>) -> Vec<u8> {
        let mut arguments = Vec::new();
        split_encoded(&self.bytes, &mut arguments);
        let slice = slice.unwrap_or_default();
        // 0 would be for ever.
        let timeout = match self.at {
            TimeoutAt::MillisBlock => slice.as_millis().max(1).to_string(),
            TimeoutAt::SecondsFirst | TimeoutAt::SecondsLast => {
                let millis = slice.as_millis().max(1);
                format!("{}.{:03}", millis / 1000, millis % 1000)
            }
        };
        let place = match self.at {
            _ if own_timeout(self.at, arguments.iter().copied()).is_none() => None,
            TimeoutAt::SecondsFirst => arguments.get_mut(1),
            TimeoutAt::SecondsLast => arguments.last_mut(),
            TimeoutAt::MillisBlock => {
                let at = block_at(arguments.iter().copied());
                at.and_then(|at| arguments.get_mut(at))
            }
        };
        // A wait without end and without slices stays what it is.
        if let Some(place) = place.filter(|_| !(self.is_single && slice.is_zero())) {
            *place = timeout.as_bytes();
        }
        let mut bytes = Vec::new();
        encode_command(arguments.into_iter(), &mut bytes);
        bytes
    }
}
