//! The lanes of a client: which there are, and whose a connection is.

use super::{Client, Connection, Instant, Lane, LaneId, LaneKind, NodeId, SEED};
use crate::connection::ConnId;
use crate::error::ErrorCode;
use std::time::Duration;

/// The lane of that id.
pub(super) fn get(lanes: &mut [Lane], id: LaneId) -> Option<&mut Lane> {
    let index = lanes.binary_search_by_key(&id, |lane| lane.id).ok()?;
    lanes.get_mut(index)
}

/// An idle connection of the pool is kept for so long.
const IDLE_KEPT: Duration = Duration::from_secs(60);

impl Client {
    pub(super) fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        get(&mut self.lanes, id)
    }

    pub(super) fn lane(&self, id: LaneId) -> Option<&Lane> {
        let index = self.lanes.binary_search_by_key(&id, |lane| lane.id).ok()?;
        self.lanes.get(index)
    }

    /// The lane whose connection this is.
    pub(super) fn lane_of(&self, conn: ConnId) -> Option<LaneId> {
        let index = self.conns.binary_search_by_key(&conn, |&(conn, _)| conn).ok()?;
        self.conns.get(index).map(|&(_, lane)| lane)
    }

    pub(super) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let lane = self.lane_of(conn)?;
        self.lane_mut(lane)?.connection_of(conn)
    }

    pub(super) fn forget_conn(&mut self, conn: ConnId) {
        if let Ok(index) = self.conns.binary_search_by_key(&conn, |&(conn, _)| conn) {
            self.conns.remove(index);
        }
    }

    pub(super) fn add_lane(&mut self, kind: LaneKind, node: NodeId, now: Instant) -> LaneId {
        self.latest_lane += 1;
        let id = LaneId(self.latest_lane);
        self.lanes.push(Lane::new(id, kind, node, self.config.timeouts, now));
        id
    }

    /// Takes a lane away, which has no connection and nothing to send.
    pub(super) fn remove_lane(&mut self, id: LaneId) {
        if id > LaneId(0)
            && let Ok(index) = self.lanes.binary_search_by_key(&id, |lane| lane.id)
        {
            self.lanes.remove(index);
        }
    }

    /// A lane to that node for one caller alone: one that is idle, or a new one, which waits for its turn where there
    /// are too many.
    pub(super) fn own_lane(&mut self, kind: LaneKind, node: NodeId, now: Instant) -> LaneId {
        let idle = self.lanes.iter_mut().find(|lane| lane.node == node && lane.idle_since.is_some());
        if let Some(lane) = idle {
            lane.idle_since = None;
            lane.kind = kind;
            return lane.id;
        }
        let may = self.may_have_another();
        let id = self.add_lane(kind, node, now);
        let held_until = self.lane(self.main_lane(node)).and_then(|main| main.held_until);
        if let Some(lane) = self.lane_mut(id) {
            lane.has_permit = may;
            lane.held_until = held_until;
        }
        id
    }

    /// A lane of the pool has nothing to do any more.
    pub(super) fn free_lane(&mut self, id: LaneId, now: Instant) {
        let is_waited_for = self.lanes.iter().any(|lane| !lane.has_permit);
        let Some(lane) = self.lane_mut(id) else { return };
        let is_clean =
            lane.connection.as_ref().is_some_and(super::Connection::is_idle) && lane.queue.is_empty();
        let is_kept = lane.is_ready() && is_clean && !is_waited_for;
        if is_kept {
            lane.idle_since = Some(now);
        } else {
            self.end_lane(id);
        }
    }

    /// Closes what a lane has, and takes it away.
    pub(super) fn end_lane(&mut self, id: LaneId) {
        self.fail_queue(id, ErrorCode::Closed, "the session was closed before it could be sent");
        self.drop_connections(id, ErrorCode::ConnectionLost, "nobody needs it any more");
        self.remove_lane(id);
        let next = self.lanes.iter().find(|lane| !lane.has_permit).map(|lane| lane.id);
        if let Some(next) = next.filter(|_| self.has_permit_left())
            && let Some(lane) = self.lane_mut(next)
        {
            lane.has_permit = true;
        }
    }

    /// Lanes whose blocking command has ended are freed; those that were idle for long enough are ended.
    pub(super) fn end_idle_lanes(&mut self, now: Instant) {
        while let Some(lane) = self.lanes.iter().find(|lane| self.is_job_over(lane)).map(|lane| lane.id) {
            self.free_lane(lane, now);
        }
        while let Some(lane) = self
            .lanes
            .iter()
            .find(|lane| lane.idle_since.is_some_and(|since| now >= since + IDLE_KEPT || !lane.is_ready()))
            .map(|lane| lane.id)
        {
            self.end_lane(lane);
        }
    }

    /// Lanes where a blocking command waits that nobody waits for are ended at once: the server would take out an
    /// element for nobody.
    pub(super) fn end_lanes_that_wait_for_nobody(&mut self) {
        let is_idle = |lane: &Lane| lane.connection.as_ref().is_none_or(Connection::is_idle);
        while let Some(lane) = self.lanes.iter().find(|lane| !is_idle(lane) && self.is_job_over(lane)) {
            self.end_lane(lane.id);
        }
    }

    fn is_job_over(&self, lane: &Lane) -> bool {
        lane.kind == LaneKind::Blocking
            && lane.idle_since.is_none()
            && !self.blocking.iter().any(|job| job.lane == lane.id)
    }

    /// When the next idle lane ends.
    pub(super) fn idle_lanes_end(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.idle_since).min().map(|since| since + IDLE_KEPT)
    }

    /// Whether the pool has a connection left, or has one after one is closed that nobody uses.
    pub(super) fn may_have_another(&mut self) -> bool {
        self.has_permit_left() || self.end_an_idle_lane()
    }

    fn has_permit_left(&self) -> bool {
        let taken = self.lanes.iter().filter(|lane| lane.kind.is_pooled() && lane.has_permit).count();
        taken < self.config.limits.own_connections_max
    }

    fn end_an_idle_lane(&mut self) -> bool {
        let oldest =
            self.lanes.iter().filter(|lane| lane.idle_since.is_some()).min_by_key(|lane| lane.idle_since);
        let Some(oldest) = oldest.map(|lane| lane.id) else { return false };
        self.end_lane(oldest);
        true
    }

    /// The main lane of a node; the seed's where the node is there no more.
    pub(super) fn main_lane(&self, node: NodeId) -> LaneId {
        let seed = LaneId(0);
        if node == SEED {
            return seed;
        }
        self.node(node).map_or(seed, |node| node.main)
    }
}
