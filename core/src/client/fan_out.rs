//! Commands that several nodes run: in parts, each of which is a command of its own, or as a cursor that goes from one
//! shard to the next.

use super::merge::{Part, merge, rewrite_scan_cursor};
use super::routing::CROSS_SLOT;
use super::{
    Answer, Client, CommandError, CommandId, ErrorCode, Instant, LaneId, Outcome, Output, ReplyBatch,
};
use crate::command::{Facts, Merge, Routing, facts_of};
use crate::connection::Unit;
use crate::resp::{Node, Reply, encode_command, split_encoded};
use crate::slot::{SLOT_COUNT, slot_of};
use std::collections::BTreeMap;

/// A command that was sent in parts.
pub(super) struct Join {
    id: CommandId,
    how: How,
    parts: Vec<JoinPart>,
    /// Parts without an answer.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Merge {
        merge: Merge,
        routing: Routing,
        count: usize,
    },
    /// SCAN of the shard that serves this slot, which is its lowest.
    Scan {
        slot: u16,
    },
}

struct JoinPart {
    id: CommandId,
    lane: LaneId,
    /// Which of the caller's keys it is about.
    positions: Vec<u32>,
    answer: Option<PartAnswer>,
}

enum PartAnswer {
    Reply(Vec<Node>, Vec<u8>),
    Failed(CommandError),
}

/// What is to be sent, and where.
struct Sending {
    lane: LaneId,
    bytes: Vec<u8>,
    positions: Vec<u32>,
}

impl CommandId {
    /// Whether it is a part of a command, which no caller knows of.
    pub(super) fn is_part(self) -> bool {
        self.0 > FIRST_PART
    }
}

/// Parts are counted from here: callers never come so far.
const FIRST_PART: u64 = 1 << 52;

impl Client {
    /// Sends a command of several nodes in parts. `remaining`: of its time, in microseconds.
    pub(super) fn fan_out(
        &mut self,
        id: CommandId,
        facts: &Facts,
        arguments: &[&[u8]],
        remaining: u64,
        now: Instant,
    ) {
        let (how, sendings) = match facts.routing {
            Routing::Scan => match self.scan(arguments) {
                Ok(scan) => scan,
                Err(text) => return self.fail(id, ErrorCode::InvalidCommand, Outcome::NotSent, text),
            },
            Routing::AllShards | Routing::AllNodes => {
                let mut bytes = Vec::new();
                encode_command(arguments.iter().copied(), &mut bytes);
                let lanes = self.lanes_of_all(facts.routing == Routing::AllNodes);
                let sendings = lanes.into_iter().map(|lane| Sending {
                    lane,
                    bytes: bytes.clone(),
                    positions: Vec::new(),
                });
                (How::Merge { merge: facts.merge, routing: facts.routing, count: 0 }, sendings.collect())
            }
            Routing::MultiShard { first, step } => {
                match self.split(arguments, usize::from(first), usize::from(step.max(1))) {
                    Ok((sendings, count)) => {
                        (How::Merge { merge: facts.merge, routing: facts.routing, count }, sendings)
                    }
                    Err(slot) => return self.park_command(id, arguments, slot, remaining, now),
                }
            }
            Routing::BySlot | Routing::Any => {
                return self.fail(id, ErrorCode::CrossSlot, Outcome::NotSent, CROSS_SLOT);
            }
        };
        if sendings.is_empty() {
            return self.park_command(id, arguments, 0, remaining, now);
        }
        let mut parts = Vec::with_capacity(sendings.len());
        for Sending { lane, bytes, positions } in sendings {
            self.latest_part += 1;
            let part = CommandId(FIRST_PART + self.latest_part);
            let unit = Unit { id: part, bytes, steps: 0, attempts: 0, redirects: 0, is_inspected: true };
            self.push_unit(lane, &unit, remaining, false, now);
            parts.push(JoinPart { id: part, lane, positions, answer: None });
        }
        self.joins.push(Join { id, how, left: parts.len(), parts });
    }

    pub(super) fn fan_out_unit(&mut self, unit: Unit, remaining: u64, now: Instant) {
        let mut arguments = Vec::new();
        split_encoded(&unit.bytes, &mut arguments);
        let facts = facts_of(arguments.iter().copied());
        if unit.id.is_part() {
            return self.send_part(&unit, remaining, now);
        }
        self.fan_out(unit.id, &facts, &arguments, remaining, now);
    }

    /// A part for a certain node goes there again; where the node is gone, or a primary no more, to one that has none
    /// of the parts.
    fn send_part(&mut self, unit: &Unit, remaining: u64, now: Instant) {
        let Some(join) = self.joins.iter().find(|join| join.parts.iter().any(|part| part.id == unit.id))
        else {
            return;
        };
        let lane = join.parts.iter().find(|part| part.id == unit.id).map_or(LaneId(0), |part| part.lane);
        let node = self.lane(lane).and_then(|lane| self.node(lane.node));
        let wants_replicas = matches!(join.how, How::Merge { routing: Routing::AllNodes, .. });
        let lane = if node.is_some_and(|node| node.is_listed && (node.is_primary || wants_replicas)) {
            Some(lane)
        } else {
            let is_free = |lane: &LaneId| !join.parts.iter().any(|part| part.lane == *lane);
            self.lanes_of_all(false).into_iter().find(is_free)
        };
        match lane {
            Some(lane) => self.push_unit(lane, unit, remaining, false, now),
            None => self.fail(unit.id, ErrorCode::NoNode, Outcome::NotSent, "the node has left the cluster"),
        }
    }

    fn park_command(&mut self, id: CommandId, arguments: &[&[u8]], slot: u16, remaining: u64, now: Instant) {
        let mut bytes = Vec::new();
        encode_command(arguments.iter().copied(), &mut bytes);
        let unit = Unit { id, bytes, steps: 0, attempts: 0, redirects: 0, is_inspected: id.is_part() };
        self.park_for_slot(unit, slot, remaining, now);
    }

    /// The main lanes of all primaries, in the order of their slots; of replicas, too, behind them.
    fn lanes_of_all(&self, with_replicas: bool) -> Vec<LaneId> {
        let mut lanes: Vec<LaneId> = Vec::new();
        for slot in self.cluster.map.first_slots() {
            if let Some(owner) = self.owner(slot) {
                let lane = self.main_lane(owner);
                if !lanes.contains(&lane) {
                    lanes.push(lane);
                }
            }
        }
        if with_replicas {
            lanes.extend(
                self.nodes.iter().filter(|node| node.is_listed && !node.is_primary).map(|node| node.main),
            );
        }
        lanes
    }

    /// The parts of a command by the slots of its keys (servers take no others, also where two slots are theirs), and
    /// how many keys there are; the slot that nobody serves.
    fn split(&self, arguments: &[&[u8]], first: usize, step: usize) -> Result<(Vec<Sending>, usize), u16> {
        let (head, keys) = arguments.split_at_checked(first).unwrap_or((arguments, &[]));
        let mut parts: BTreeMap<u16, (Vec<&[u8]>, Vec<u32>)> = BTreeMap::new();
        let mut count = 0;
        for (position, group) in (0..).zip(keys.chunks(step)) {
            let slot = slot_of(group.first().copied().unwrap_or_default());
            let (words, positions) = parts.entry(slot).or_insert_with(|| (head.to_vec(), Vec::new()));
            words.extend_from_slice(group);
            positions.push(position);
            count += 1;
        }
        let mut sendings = Vec::with_capacity(parts.len());
        for (slot, (words, positions)) in parts {
            let lane = self.main_lane(self.owner(slot).ok_or(slot)?);
            let mut bytes = Vec::new();
            encode_command(words.into_iter(), &mut bytes);
            sendings.push(Sending { lane, bytes, positions });
        }
        Ok((sendings, count))
    }

    /// SCAN: the caller's cursor holds the server's own and the shard, which is named by its lowest slot.
    fn scan(&self, arguments: &[&[u8]]) -> Result<(How, Vec<Sending>), &'static str> {
        let cursor = arguments.get(1).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u128>().ok());
        let cursor = cursor.ok_or("SCAN: the cursor is no number")?;
        let slot = u16::try_from(cursor % u128::from(SLOT_COUNT)).unwrap_or(0);
        let own = (cursor / u128::from(SLOT_COUNT)).to_string();
        let Some(owner) = self.owner(slot) else {
            return Ok((How::Scan { slot }, Vec::new()));
        };
        let mut words = arguments.to_vec();
        if let Some(word) = words.get_mut(1) {
            *word = own.as_bytes();
        }
        let mut bytes = Vec::new();
        encode_command(words.into_iter(), &mut bytes);
        let sending = Sending { lane: self.main_lane(owner), bytes, positions: Vec::new() };
        Ok((How::Scan { slot }, vec![sending]))
    }

    /// The lowest slot of the shard behind the one that has this slot; `None` behind the last.
    fn next_shard(&self, slot: u16) -> Option<u16> {
        self.cluster.map.first_slots().into_iter().filter(|&first| first > slot).min()
    }

    /// A part was answered.
    pub(super) fn handle_part(&mut self, id: CommandId, reply: &Reply<'_>, now: Instant) {
        let (nodes, bytes) = reply.to_tape();
        self.answer_part(id, PartAnswer::Reply(nodes, bytes), now);
    }

    pub(super) fn fail_part(&mut self, id: CommandId, error: CommandError) {
        self.answer_part(id, PartAnswer::Failed(error), Instant::default());
    }

    fn answer_part(&mut self, id: CommandId, answer: PartAnswer, now: Instant) {
        let _ = now;
        let Some(index) = self.joins.iter().position(|join| join.parts.iter().any(|part| part.id == id))
        else {
            return;
        };
        let Some(join) = self.joins.get_mut(index) else { return };
        if let Some(part) = join.parts.iter_mut().find(|part| part.id == id && part.answer.is_none()) {
            part.answer = Some(answer);
            join.left -= 1;
        }
        if join.left == 0 {
            let join = self.joins.swap_remove(index);
            self.finish_join(&join);
        }
    }

    /// All parts were answered.
    fn finish_join(&mut self, join: &Join) {
        if let Some(error) = join.failure() {
            return self.fail(join.id, error.code, error.outcome, &error.text);
        }
        let mut batch = ReplyBatch::default();
        match join.how {
            How::Merge { merge: how, routing, count } => {
                merge(how, routing, &join.replies(), count, &mut batch.nodes, &mut batch.bytes);
            }
            How::Scan { slot } => {
                let Some(part) = join.replies().pop() else { return };
                let cursor = self.next_cursor(&part.reply, slot);
                rewrite_scan_cursor(part.reply, cursor.as_bytes(), &mut batch.nodes, &mut batch.bytes);
            }
        }
        if join.id.is_part() {
            let (nodes, bytes) = (batch.nodes, batch.bytes);
            return self.answer_part(join.id, PartAnswer::Reply(nodes, bytes), Instant::default());
        }
        batch.answers.push(Answer { command: join.id, node: 0 });
        self.outputs.push_back(Output::Replies(batch));
    }

    /// The caller's next cursor, by the reply of the shard.
    fn next_cursor(&self, reply: &Reply<'_>, slot: u16) -> String {
        let own = reply.elements().next().map_or(&b"0"[..], |cursor| cursor.as_bytes());
        let own = std::str::from_utf8(own).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let slots = u128::from(SLOT_COUNT);
        match own {
            0 => self.next_shard(slot).map_or(0, u128::from),
            own => u128::from(own) * slots + u128::from(slot),
        }
        .to_string()
    }

    /// Takes back a command that was sent in parts, as far as that is possible.
    pub(super) fn withdraw_parts(&mut self, id: CommandId) -> Option<Outcome> {
        let index = self.joins.iter().position(|join| join.id == id)?;
        let join = self.joins.swap_remove(index);
        let mut outcome = Outcome::NotSent;
        for part in &join.parts {
            let was_sent = match &part.answer {
                None => self.withdraw(part.id).is_some_and(|own| own != Outcome::NotSent),
                Some(PartAnswer::Failed(error)) => error.outcome != Outcome::NotSent,
                Some(PartAnswer::Reply(..)) => true,
            };
            if was_sent {
                outcome = Outcome::Indeterminate;
            }
        }
        Some(outcome)
    }
}

impl Join {
    fn replies(&self) -> Vec<Part<'_>> {
        let answered = self.parts.iter().filter_map(|part| match &part.answer {
            Some(PartAnswer::Reply(nodes, bytes)) => {
                Some(Part { reply: Reply::at(nodes, bytes, 0), positions: &part.positions })
            }
            _ => None,
        });
        answered.collect()
    }

    /// The first part that failed; what became of the whole follows from all.
    fn failure(&self) -> Option<CommandError> {
        let failed = |part: &JoinPart| match &part.answer {
            Some(PartAnswer::Failed(error)) => Some(error.clone()),
            _ => None,
        };
        let error = self.parts.iter().find_map(failed)?;
        let outcomes = self.parts.iter().map(|part| failed(part).map(|error| error.outcome));
        let is_whole = outcomes.clone().all(|outcome| outcome == Some(error.outcome));
        let outcome = if is_whole { error.outcome } else { Outcome::Indeterminate };
        Some(CommandError { outcome, ..error })
    }
}
