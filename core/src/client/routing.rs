//! Which lane a command goes to.

use super::nodes::{NodeId, SEED};
use super::redirects::facts_and_slot;
use super::{Client, ErrorCode, Instant, Lane, LaneId, LaneKind, Outcome, lanes};
use crate::command::{Facts, KeySlot, Routing, facts_of, key_slot};
use crate::connection::Unit;
use crate::resp::{command_len, split_encoded};

/// Where a command is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Lane(LaneId),
    /// To several nodes, in parts.
    FanOut,
    /// Nobody serves that slot, as far as is known.
    NoNode(u16),
    /// Its keys are in several slots, and it cannot be split.
    CrossSlot,
}

impl Client {
    /// Where an ordinary command is to go.
    pub(super) fn route<'a>(
        &self,
        facts: &Facts,
        arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Route {
        if !self.cluster.is_cluster {
            return Route::Lane(LaneId(0));
        }
        match facts.routing {
            Routing::AllShards | Routing::AllNodes | Routing::Scan => return Route::FanOut,
            Routing::Any => return self.route_anywhere(),
            Routing::BySlot | Routing::MultiShard { .. } => {}
        }
        match key_slot(facts, arguments) {
            KeySlot::None => self.route_anywhere(),
            KeySlot::One(slot) => self.route_slot(slot),
            KeySlot::Many if matches!(facts.routing, Routing::MultiShard { .. }) => Route::FanOut,
            KeySlot::Many => Route::CrossSlot,
        }
    }

    pub(super) fn route_slot(&self, slot: u16) -> Route {
        match self.owner(slot) {
            Some(node) => Route::Lane(self.main_lane(node)),
            None => Route::NoNode(slot),
        }
    }

    /// The node that serves a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<NodeId> {
        if !self.cluster.is_cluster {
            return Some(SEED);
        }
        self.cluster.map.get(slot).map(NodeId).filter(|&id| self.node(id).is_some())
    }

    /// A node for what any node does.
    pub(super) fn any_node(&self) -> NodeId {
        match self.route_anywhere() {
            Route::Lane(lane) => self.lane(lane).map_or(SEED, |lane| lane.node),
            Route::FanOut | Route::NoNode(_) | Route::CrossSlot => SEED,
        }
    }

    /// Any node will do: one that is connected, rather.
    fn route_anywhere(&self) -> Route {
        let mut primaries = self.nodes.iter().filter(|node| node.is_listed && node.is_primary);
        let is_ready = |lane: LaneId| self.lane(lane).is_some_and(super::Lane::is_ready);
        if !self.cluster.is_cluster {
            return Route::Lane(LaneId(0));
        }
        let first = primaries.clone().next().map_or(LaneId(0), |node| node.main);
        Route::Lane(primaries.find(|node| is_ready(node.main)).map_or(first, |node| node.main))
    }

    /// The slot of a transaction: all its keys are in one.
    pub(super) fn route_transaction<'a, C>(&self, commands: impl Iterator<Item = C>) -> Route
    where
        C: ExactSizeIterator<Item = &'a [u8]> + Clone,
    {
        if !self.cluster.is_cluster {
            return Route::Lane(LaneId(0));
        }
        match transaction_slot(commands) {
            KeySlot::None => self.route_anywhere(),
            KeySlot::One(slot) => self.route_slot(slot),
            KeySlot::Many => Route::CrossSlot,
        }
    }

    /// Where a command that was encoded before is to go.
    pub(super) fn route_unit(&self, unit: &Unit) -> Route {
        if unit.steps > 0 {
            let commands: Vec<Vec<&[u8]>> = inner_commands(&unit.bytes);
            return self.route_transaction(commands.iter().map(|command| command.iter().copied()));
        }
        let mut arguments = Vec::new();
        split_encoded(&unit.bytes, &mut arguments);
        self.route(&facts_of(arguments.iter().copied()), arguments.iter().copied())
    }

    /// Sends a command wherever it belongs by now. `remaining`: of its time, in microseconds.
    pub(super) fn send_unit(&mut self, unit: Unit, remaining: u64, now: Instant) {
        match self.route_unit(&unit) {
            Route::Lane(lane) if self.is_avoided(&unit, lane) => {
                self.fail(unit.id, ErrorCode::Moved, Outcome::Refused, SCRIPT_CAME_BACK);
            }
            Route::Lane(lane) => {
                if !self.move_blocking(&unit, lane, now) {
                    self.push_unit(lane, &unit, remaining, false, now);
                }
            }
            Route::FanOut => self.fan_out_unit(unit, remaining, now),
            Route::NoNode(slot) => self.park_for_slot(unit, slot, remaining, now),
            Route::CrossSlot => {
                self.fail(unit.id, ErrorCode::CrossSlot, Outcome::NotSent, CROSS_SLOT);
            }
        }
    }

    /// Whether it is the lane of a node that may have run the script, and then said that it belongs elsewhere.
    fn is_avoided(&self, unit: &Unit, lane: LaneId) -> bool {
        unit.journey.avoids.is_some_and(|node| self.lane(lane).is_some_and(|lane| lane.node.0 == node))
    }

    pub(super) fn push_unit(
        &mut self,
        lane: LaneId,
        unit: &Unit,
        remaining: u64,
        is_asking: bool,
        now: Instant,
    ) {
        let Some(lane) = lanes::get(&mut self.lanes, lane) else { return };
        let deadline = lane.clock.read(now).saturating_add(remaining);
        lane.queue.push_unit(unit, deadline, is_asking);
    }

    /// The map has changed: what waits in a queue goes where it belongs now.
    pub(super) fn reroute(&mut self, now: Instant) {
        let moves = |lane: &&super::Lane| matches!(lane.kind, LaneKind::Main | LaneKind::Blocking);
        let lanes: Vec<LaneId> = self.lanes.iter().filter(moves).map(|lane| lane.id).collect();
        let mut moved = Vec::new();
        for id in lanes {
            let Some(lane) = lanes::get(&mut self.lanes, id) else { continue };
            let clock = lane.clock.read(now);
            lane.queue.take_units(|unit, deadline| moved.push((unit, deadline.saturating_sub(clock))));
        }
        for (unit, remaining) in moved {
            self.send_unit(unit, remaining, now);
        }
        self.move_sessions(now);
    }

    /// Sessions that are not connected, or wait for the map, and so have seen nothing yet, go where their keys are.
    fn move_sessions(&mut self, now: Instant) {
        let waits = |lane: &&Lane| {
            let has_seen_nothing = !lane.is_ready() || lane.awaits_topology;
            lane.kind == LaneKind::Session && !lane.queue.is_empty() && has_seen_nothing
        };
        let waiting: Vec<LaneId> = self.lanes.iter().filter(waits).map(|lane| lane.id).collect();
        for id in waiting {
            let mut slot = KeySlot::None;
            let Some(lane) = lanes::get(&mut self.lanes, id) else { continue };
            let mut units = Vec::new();
            lane.queue.take_units(|unit, deadline| units.push((unit, deadline)));
            for (unit, deadline) in units {
                if slot == KeySlot::None {
                    slot = facts_and_slot(&unit).1;
                }
                lane.queue.push_unit(&unit, deadline, false);
            }
            let KeySlot::One(slot) = slot else { continue };
            let Some(node) = self.owner(slot) else { continue };
            if self.lane(id).is_some_and(|lane| lane.node == node) {
                continue;
            }
            self.drop_connections(id, ErrorCode::ConnectionLost, "its keys are at another node");
            if let Some(lane) = self.lane_mut(id) {
                lane.node = node;
                lane.forget_wait(now);
            }
        }
    }
}

/// The slot of a transaction's keys.
pub(super) fn transaction_slot<'a, C>(commands: impl Iterator<Item = C>) -> KeySlot
where
    C: ExactSizeIterator<Item = &'a [u8]> + Clone,
{
    let mut shared = KeySlot::None;
    for command in commands {
        let slot = key_slot(&facts_of(command.clone()), command);
        match (shared, slot) {
            (_, KeySlot::None) => {}
            (KeySlot::None, slot) => shared = slot,
            (shared, slot) if shared == slot => {}
            _ => return KeySlot::Many,
        }
    }
    shared
}

/// The commands between MULTI and EXEC.
pub(super) fn inner_commands(mut bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut commands = Vec::new();
    while let Some((command, rest)) =
        bytes.split_at_checked(command_len(bytes)).filter(|(c, _)| !c.is_empty())
    {
        let mut arguments = Vec::new();
        split_encoded(command, &mut arguments);
        commands.push(arguments);
        bytes = rest;
    }
    commands.pop();
    commands.into_iter().skip(1).collect()
}

/// Why a command is refused whose keys are in several slots.
pub(super) const CROSS_SLOT: &str = "the command's keys are in different slots of the cluster: keys that are used \
     together need a common hash tag, such as {user1}:name and {user1}:mail";

/// Why a script is not sent again.
const SCRIPT_CAME_BACK: &str = "MOVED: not followed, the script would come back to the node that said so, and may have \
     run there";
