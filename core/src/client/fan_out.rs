//! Commands that several nodes run: in parts, each of which is a command of its own, or as a cursor that goes from one
//! shard to the next.

use super::merge::{Part, merge, rewrite_scan_cursor};
use super::routing::{CROSS_SLOT, Route};
use super::{
    Answer, Client, CommandError, CommandId, ErrorCode, Instant, LaneId, Outcome, Output, ReplyBatch,
};
use crate::command::{Facts, Merge, Routing, facts_of};
use crate::connection::{Journey, Unit};
use crate::resp::{Node, Reply, encode_command, split_encoded};
use crate::slot::{SLOT_COUNT, slot_of};
use std::collections::BTreeMap;

/// The commands that were sent in parts.
#[derive(Default)]
pub(super) struct Joins {
    /// By their first parts: the numbers of a command's parts follow one another.
    by_first_part: BTreeMap<CommandId, Join>,
    /// The first part of each command.
    first_parts: BTreeMap<CommandId, CommandId>,
}

/// A command that was sent in parts.
struct Join {
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
    lane: LaneId,
    slot: Option<u16>,
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
    /// One that is served there; `None` for a replica.
    slot: Option<u16>,
    bytes: Vec<u8>,
    /// Which of the caller's keys it is about.
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
                let bytes = encoded(arguments);
                let lanes = self.lanes_of_all(facts.routing == Routing::AllNodes);
                let sendings = lanes.into_iter().map(|(lane, slot)| Sending {
                    lane,
                    slot,
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
            let slot = if let How::Scan { slot } = how { slot } else { 0 };
            return self.park_command(id, arguments, slot, remaining, now);
        }
        let first_part = CommandId(FIRST_PART + self.latest_part + 1);
        let mut parts = Vec::with_capacity(sendings.len());
        for Sending { lane, slot, bytes, positions } in sendings {
            self.latest_part += 1;
            let part = CommandId(FIRST_PART + self.latest_part);
            let unit = Unit { id: part, bytes, steps: 0, journey: Journey::default(), is_inspected: true };
            self.push_unit(lane, &unit, remaining, false, now);
            parts.push(JoinPart { lane, slot, positions, answer: None });
        }
        self.joins.insert(first_part, Join { id, how, left: parts.len(), parts });
    }

    pub(super) fn fan_out_unit(&mut self, unit: Unit, remaining: u64, now: Instant) {
        if unit.id.is_part() {
            return self.send_part(unit, remaining, now);
        }
        let mut arguments = Vec::new();
        split_encoded(&unit.bytes, &mut arguments);
        let facts = facts_of(arguments.iter().copied());
        self.fan_out(unit.id, &facts, &arguments, remaining, now);
    }

    /// Sends a part that has not run where it belongs by now.
    fn send_part(&mut self, mut unit: Unit, remaining: u64, now: Instant) {
        let Some((join, part)) = self.joins.get(unit.id) else { return };
        match self.route_part(join, part) {
            Some(Route::Lane(lane)) => {
                if matches!(join.how, How::Scan { .. }) && lane != part.lane {
                    // The cursor is another server's: what that one has told so far is told again.
                    let mut arguments = Vec::new();
                    split_encoded(&unit.bytes, &mut arguments);
                    unit.bytes = with_cursor(&arguments, "0");
                }
                if let Some(part) = self.joins.part_mut(unit.id) {
                    part.lane = lane;
                }
                self.push_unit(lane, &unit, remaining, false, now);
            }
            Some(Route::NoNode(slot)) => self.park_for_slot(unit, slot, remaining, now),
            _ => self.fail(unit.id, ErrorCode::NoNode, Outcome::NotSent, "the node has left the cluster"),
        }
    }

    /// A part for a certain node goes there again; where the node is gone, or a primary no more, to the one that has
    /// its slot now. As no node is to run two parts, any other without one will do; `None` where there is none.
    fn route_part(&self, join: &Join, part: &JoinPart) -> Option<Route> {
        let owner = part.slot.map(|slot| self.route_slot(slot));
        let with_replicas = match join.how {
            How::Scan { .. } | How::Merge { routing: Routing::MultiShard { .. }, .. } => return owner,
            How::Merge { routing, .. } => routing == Routing::AllNodes,
        };
        let node = self.lane(part.lane).and_then(|lane| self.node(lane.node));
        if node.is_some_and(|node| node.is_listed && (node.is_primary || with_replicas)) {
            return Some(Route::Lane(part.lane));
        }
        let is_free = |lane: LaneId| !join.parts.iter().any(|part| part.lane == lane);
        match owner {
            Some(Route::Lane(lane)) if lane != part.lane && !is_free(lane) => {}
            Some(route) => return Some(route),
            None => {}
        }
        let mut lanes = self.lanes_of_all(with_replicas).into_iter().map(|(lane, _)| lane);
        lanes.find(|&lane| is_free(lane)).map(Route::Lane)
    }

    fn park_command(&mut self, id: CommandId, arguments: &[&[u8]], slot: u16, remaining: u64, now: Instant) {
        let unit = Unit {
            id,
            bytes: encoded(arguments),
            steps: 0,
            journey: Journey::default(),
            is_inspected: false,
        };
        self.park_for_slot(unit, slot, remaining, now);
    }

    /// The main lanes of all primaries, each with its lowest slot, in their order; of replicas, too, behind them.
    fn lanes_of_all(&self, with_replicas: bool) -> Vec<(LaneId, Option<u16>)> {
        let first_slots = self.cluster.map.first_slots().into_iter();
        let primaries = first_slots.filter_map(|slot| Some((self.main_lane(self.owner(slot)?), Some(slot))));
        let replicas = self.nodes.iter().filter(|node| with_replicas && node.is_listed && !node.is_primary);
        primaries.chain(replicas.map(|node| (node.main, None))).collect()
    }

    /// The parts of a command by the slots of its keys (servers take no others, also where two slots are theirs), and
    /// how many keys there are; the slot that nobody serves. A malformed one is a single part: nothing of it must run,
    /// and the server says what is wrong.
    fn split(&self, arguments: &[&[u8]], first: usize, step: usize) -> Result<(Vec<Sending>, usize), u16> {
        let (head, keys) = arguments.split_at_checked(first).unwrap_or((arguments, &[]));
        let group_len = if keys.len().is_multiple_of(step) { step } else { keys.len() };
        let mut parts: BTreeMap<u16, (Vec<&[u8]>, Vec<u32>)> = BTreeMap::new();
        let mut count = 0;
        for (position, group) in (0..).zip(keys.chunks(group_len)) {
            let slot = slot_of(group.first().copied().unwrap_or_default());
            let (words, positions) = parts.entry(slot).or_insert_with(|| (head.to_vec(), Vec::new()));
            words.extend_from_slice(group);
            positions.push(position);
            count += 1;
        }
        let mut sendings = Vec::with_capacity(parts.len());
        for (slot, (words, positions)) in parts {
            let lane = self.main_lane(self.owner(slot).ok_or(slot)?);
            sendings.push(Sending { lane, slot: Some(slot), bytes: encoded(&words), positions });
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
        let bytes = with_cursor(arguments, &own);
        let sending = Sending { lane: self.main_lane(owner), slot: Some(slot), bytes, positions: Vec::new() };
        Ok((How::Scan { slot }, vec![sending]))
    }

    /// The lowest slot of the shard behind the one that has this slot; `None` behind the last.
    fn next_shard(&self, slot: u16) -> Option<u16> {
        self.cluster.map.first_slots().into_iter().filter(|&first| first > slot).min()
    }

    /// A part was answered.
    pub(super) fn handle_part(&mut self, id: CommandId, reply: &Reply<'_>) {
        let (nodes, bytes) = reply.to_tape();
        self.answer_part(id, PartAnswer::Reply(nodes, bytes));
    }

    pub(super) fn fail_part(&mut self, id: CommandId, error: CommandError) {
        self.answer_part(id, PartAnswer::Failed(error));
    }

    fn answer_part(&mut self, id: CommandId, answer: PartAnswer) {
        if let Some(join) = self.joins.answer(id, answer) {
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
        let (first_part, join) = self.joins.remove(id)?;
        let mut outcome = Outcome::NotSent;
        for (part, id) in join.parts.iter().zip(first_part.0..) {
            let was_sent = match &part.answer {
                None => self.withdraw(CommandId(id)).is_some_and(|own| own != Outcome::NotSent),
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

/// A command as it is sent.
fn encoded(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(arguments.iter().copied(), &mut bytes);
    bytes
}

/// SCAN with another cursor.
fn with_cursor(arguments: &[&[u8]], cursor: &str) -> Vec<u8> {
    let mut arguments = arguments.to_vec();
    if let Some(word) = arguments.get_mut(1) {
        *word = cursor.as_bytes();
    }
    encoded(&arguments)
}

impl Joins {
    fn insert(&mut self, first_part: CommandId, join: Join) {
        self.first_parts.insert(join.id, first_part);
        self.by_first_part.insert(first_part, join);
    }

    /// The first part of the same command, and how many parts there are between the two.
    fn place_of(&self, part: CommandId) -> Option<(CommandId, usize)> {
        let (&first, join) = self.by_first_part.range(..=part).next_back()?;
        let index = usize::try_from(part.0 - first.0).ok()?;
        (index < join.parts.len()).then_some((first, index))
    }

    fn get(&self, part: CommandId) -> Option<(&Join, &JoinPart)> {
        let (first, index) = self.place_of(part)?;
        let join = self.by_first_part.get(&first)?;
        Some((join, join.parts.get(index)?))
    }

    fn part_mut(&mut self, part: CommandId) -> Option<&mut JoinPart> {
        let (first, index) = self.place_of(part)?;
        self.by_first_part.get_mut(&first)?.parts.get_mut(index)
    }

    /// Keeps the answer to a part; the command, if it was the last.
    fn answer(&mut self, part: CommandId, answer: PartAnswer) -> Option<Join> {
        let (first, index) = self.place_of(part)?;
        let join = self.by_first_part.get_mut(&first)?;
        join.parts.get_mut(index).filter(|part| part.answer.is_none())?.answer = Some(answer);
        join.left -= 1;
        if join.left > 0 {
            return None;
        }
        let id = join.id;
        self.remove(id).map(|(_, join)| join)
    }

    /// Forgets a command; its first part.
    fn remove(&mut self, id: CommandId) -> Option<(CommandId, Join)> {
        self.by_first_part.remove_entry(&self.first_parts.remove(&id)?)
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
