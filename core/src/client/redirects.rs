//! Commands that a server refused to run: where, or when, they are sent again.
//!
//! Redirects are untrusted text. They are obeyed only for the command's own slot, and only to a node that the cluster's
//! map lists; an unknown one is looked up first. A script may have run and then answered like a server that refuses:
//! it is sent again only where a fresh map gives its slot to another node.

use super::nodes::{NodeId, SEED};
use super::routing::{Route, inner_commands, transaction_slot};
use super::{Client, CommandId, ConnId, ErrorCode, Instant, LaneId, LaneKind, Notice, Outcome, Output};
use crate::cluster::{Endpoint, RedirectKind, parse_redirect};
use crate::command::{Facts, KeySlot, facts_of, key_slot};
use crate::connection::{Journey, Question, SlotReply, Unit};
use crate::resp::{Kind, Reply, split_encoded};
use std::time::Duration;

/// A command that waits to be sent again.
pub(super) struct Parked {
    unit: Unit,
    /// What is left of its time, in microseconds, from `since` on.
    remaining: u64,
    since: Instant,
    until: Until,
    /// What the server said; `None`: it was never sent.
    refusal: Option<Refused>,
}

/// The commands that wait to be sent again.
#[derive(Default)]
pub(super) struct ParkedCommands {
    list: Vec<Parked>,
    len_bytes: usize,
    /// Nothing is due earlier; may be too early.
    earliest: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Until {
    At(Instant),
    /// The cluster's map was asked for: follow the redirect if the map lists where it points to.
    Listed {
        target: Endpoint,
        kind: RedirectKind,
        slot: u16,
        /// How many questions had been asked before: their answers are older than the redirect.
        asked_before: u64,
    },
    /// The same: send a script again if its slot is another node's.
    Moved {
        slot: u16,
        from: NodeId,
        /// Where the redirect points to.
        target: Endpoint,
        asked_before: u64,
    },
    /// Until it is known whether there is a cluster.
    Mapped,
    /// Until somebody serves the slot.
    Served {
        slot: u16,
    },
}

/// A refusal, as it is told where there is no way to go on.
#[derive(Clone, Debug)]
struct Refused {
    code: ErrorCode,
    text: String,
}

/// A command is sent elsewhere so often at most without a wait between: waits end with the command's time.
const REDIRECTS_MAX: u8 = 5;

/// The first wait before a command is sent again that a server refused for now; each further one is twice as long.
const RETRY_BASE: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// MOVED, ASK
    Follow,
    /// TRYAGAIN, LOADING, and the like: the same, later. `refreshes`: somebody else may serve the slot by then.
    Wait { refreshes: bool },
    /// CROSSSLOT of a server that has said nothing of a cluster: the map tells whether the command can be split.
    LookForCluster,
}

impl ParkedCommands {
    fn push(&mut self, parked: Parked) {
        let at = parked.wakeup_at();
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        self.len_bytes += parked.unit.bytes.len();
        self.list.push(parked);
    }

    fn take_if(&mut self, is_meant: impl Fn(&Parked) -> bool) -> Vec<Parked> {
        let taken: Vec<Parked> = self.list.extract_if(.., |parked| is_meant(parked)).collect();
        self.len_bytes -= taken.iter().map(|parked| parked.unit.bytes.len()).sum::<usize>();
        self.earliest = self.list.iter().map(Parked::wakeup_at).min();
        taken
    }

    fn is_due(&self, now: Instant) -> bool {
        self.earliest.is_some_and(|at| now >= at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of the commands.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// When something is to be done about one; may be early.
    pub(super) fn wakeup_at(&self) -> Option<Instant> {
        self.earliest
    }
}

impl Parked {
    fn wakeup_at(&self) -> Instant {
        let end = self.since + Duration::from_micros(self.remaining);
        match self.until {
            Until::At(at) => at.min(end),
            Until::Listed { .. } | Until::Moved { .. } | Until::Mapped | Until::Served { .. } => end,
        }
    }

    fn left(&self, now: Instant) -> u64 {
        let waited = u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX);
        self.remaining.saturating_sub(waited)
    }
}

impl Client {
    /// Whether an inspected reply is a refusal after which the command is sent again.
    pub(super) fn is_sent_again(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        reply: &SlotReply,
        value: &Reply<'_>,
        now: Instant,
    ) -> bool {
        if value.kind() != Kind::Error {
            return false;
        }
        self.handle_refusal(lane, conn, reply, value.as_bytes(), now)
    }

    /// The same for a transaction, of which a command was refused when it was to be queued: nothing ran.
    pub(super) fn is_transaction_sent_again(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        reply: &SlotReply,
        text: &[u8],
        now: Instant,
    ) -> bool {
        self.handle_refusal(lane, conn, reply, text, now)
    }

    fn handle_refusal(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        reply: &SlotReply,
        text: &[u8],
        now: Instant,
    ) -> bool {
        let Some(remedy) = remedy_of(text) else { return false };
        let Some(owner) = self.lane_mut(lane) else { return false };
        // What a session has seen and watched is there, and nowhere else.
        if owner.kind == LaneKind::Session {
            if self.cluster.is_cluster {
                self.want_topology(Question::Slots);
            }
            return false;
        }
        let (node, clock) = (owner.node, owner.clock.read(now));
        let Some(unit) = owner.sealed_unit(conn, reply) else { return false };
        let remaining = reply.deadline.saturating_sub(clock);
        let refusal = Refused {
            code: ErrorCode::of_reply(text),
            text: String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(300).collect(),
        };
        let refused = Refusal { unit, node, conn, remaining, refusal };
        match remedy {
            Remedy::Follow => self.follow(refused, text, now),
            Remedy::Wait { refreshes } => self.wait(refused, refreshes, now),
            Remedy::LookForCluster => self.look_for_cluster_of(refused, now),
        }
    }

    fn wait(&mut self, mut refused: Refusal, refreshes: bool, now: Instant) -> bool {
        let is_over = refused.remaining == 0 || self.is_blocking_overdue(refused.unit.id, now);
        if is_over || is_script(&refused.unit) {
            return false;
        }
        if refreshes && self.cluster.is_cluster {
            self.want_topology(Question::Slots);
        }
        refused.unit.journey.redirects = 0;
        let ceiling = RETRY_BASE.saturating_mul(1 << refused.unit.journey.attempts.min(10)).min(RETRY_MAX);
        let at = now + self.rng.between(ceiling / 2, ceiling);
        self.park(refused, Until::At(at), now);
        true
    }

    fn look_for_cluster_of(&mut self, refused: Refusal, now: Instant) -> bool {
        if self.cluster.is_cluster || self.cluster.is_known_single || is_script(&refused.unit) {
            return false;
        }
        self.want_topology(Question::Slots);
        self.park(refused, Until::Mapped, now);
        true
    }

    fn follow(&mut self, mut refused: Refusal, text: &[u8], now: Instant) -> bool {
        let redirect = match parse_redirect(text) {
            Some(Ok(redirect)) => redirect,
            _ => return self.ignore(&refused, "it is malformed"),
        };
        let (facts, slot) = facts_and_slot(&refused.unit);
        if slot != KeySlot::One(redirect.slot) {
            return self.ignore(&refused, "it is for another slot than the command's");
        }
        // A blocking command is not asked elsewhere while its slot is on its way: soon it has arrived.
        if redirect.kind == RedirectKind::Ask && self.is_blocking(refused.unit.id) {
            return self.wait(refused, true, now);
        }
        let journey = &mut refused.unit.journey;
        journey.redirects = journey.redirects.saturating_add(1);
        if journey.redirects > REDIRECTS_MAX {
            return self.ignore(&refused, "the command was sent on too often");
        }
        self.want_topology(Question::Slots);
        let (kind, slot) = (redirect.kind, redirect.slot);
        let asked = self.node(refused.node).map(|own| own.endpoint.host.clone());
        let host = if redirect.host.is_empty() { asked.unwrap_or_default() } else { redirect.host.into() };
        let target = Endpoint { host, port: redirect.port };
        let asked_before = self.cluster.questions;
        if facts.is_some_and(|facts| facts.is_script) {
            let from = refused.node;
            refused.unit.journey.avoids.get_or_insert(from.0);
            self.park(refused, Until::Moved { slot, from, target, asked_before }, now);
            return true;
        }
        let Journey { attempts, redirects, .. } = refused.unit.journey;
        match self.listed_node(&target) {
            // Once more to where it came from, or in a circle: not at full speed.
            Some(_) if redirects > 2 => {
                let at = now + RETRY_BASE.saturating_mul(1 << attempts.min(6));
                self.park(refused, Until::At(at), now);
            }
            Some(to) => self.send_on(&refused.unit, to, kind, slot, refused.remaining, now),
            None => {
                if kind == RedirectKind::Ask {
                    self.want_topology(Question::Nodes);
                }
                self.park(refused, Until::Listed { target, kind, slot, asked_before }, now);
            }
        }
        true
    }

    /// A command that was refused waits to be sent again.
    fn park(&mut self, refused: Refusal, until: Until, now: Instant) {
        let Refusal { unit, remaining, refusal, .. } = refused;
        self.parked.push(Parked { unit, remaining, since: now, until, refusal: Some(refusal) });
    }

    /// Sends a command where a redirect points to.
    fn send_on(
        &mut self,
        unit: &Unit,
        to: NodeId,
        kind: RedirectKind,
        slot: u16,
        remaining: u64,
        now: Instant,
    ) {
        if kind == RedirectKind::Moved {
            self.cluster.map.set(slot, Some(to.0));
            self.cluster.is_patched = true;
        }
        let lane = self.main_lane(to);
        if !self.move_blocking(unit, lane, now) {
            self.push_unit(lane, unit, remaining, kind == RedirectKind::Ask, now);
        }
    }

    /// A redirect is not followed, and the caller gets to see it.
    fn ignore(&mut self, refused: &Refusal, why: &str) -> bool {
        let cause = format!("{}: {why}", refused.refusal.text);
        self.outputs.push_back(Output::Notice(Notice::RedirectIgnored { conn: refused.conn, cause }));
        false
    }

    fn listed_node(&self, endpoint: &Endpoint) -> Option<NodeId> {
        self.nodes.iter().find(|node| node.is_listed && node.endpoint == *endpoint).map(|node| node.id)
    }

    /// A command for a slot that nobody serves waits until somebody does.
    pub(super) fn park_for_slot(&mut self, unit: Unit, slot: u16, remaining: u64, now: Instant) {
        self.want_topology(Question::Slots);
        self.parked.push(Parked {
            unit,
            remaining,
            since: now,
            until: Until::Served { slot },
            refusal: None,
        });
    }

    /// Sends those again whose moment has come.
    pub(super) fn retry_parked(&mut self, now: Instant) {
        if self.parked.is_due(now) {
            let is_due = |parked: &Parked| matches!(parked.until, Until::At(at) if now >= at);
            for parked in self.parked.take_if(is_due) {
                let remaining = parked.left(now);
                self.send_unit(parked.unit, remaining, now);
            }
        }
        let waits = |parked: &Parked| matches!(parked.until, Until::Served { .. });
        if !self.cluster.is_being_asked() && self.parked.list.iter().any(waits) {
            self.want_topology(Question::Slots);
        }
    }

    /// The question about the cluster was answered, well or not: who waited for that goes on, or is told.
    pub(super) fn resolve_parked(&mut self, now: Instant) {
        for parked in self.parked.take_if(|parked| !matches!(parked.until, Until::At(_))) {
            self.resolve(parked, now);
        }
    }

    fn resolve(&mut self, parked: Parked, now: Instant) {
        let remaining = parked.left(now);
        match &parked.until {
            Until::At(_) => self.parked.push(parked),
            Until::Mapped if self.cluster.is_cluster => self.send_unit(parked.unit, remaining, now),
            Until::Mapped => self.tell_refusal(parked, "the server knows of no cluster"),
            Until::Served { slot } => match self.route_slot(*slot) {
                Route::Lane(_) => self.send_unit(parked.unit, remaining, now),
                _ => {
                    self.want_topology(Question::Slots);
                    self.parked.push(parked);
                }
            },
            Until::Moved { slot, from, target, asked_before } => match self.owner(*slot) {
                // The configured address is one of the nodes, nobody knows which: so the redirect has to be right.
                Some(owner)
                    if owner != *from && (*from != SEED || self.listed_node(target) == Some(owner)) =>
                {
                    self.send_unit(parked.unit, remaining, now);
                }
                _ if self.has_answer(*asked_before, RedirectKind::Moved) => self
                    .tell_refusal(parked, "the cluster's map still gives the slot to the node that said so"),
                _ => self.parked.push(parked),
            },
            Until::Listed { target, kind, slot, asked_before } => match self.listed_node(target) {
                Some(to) => {
                    let (kind, slot) = (*kind, *slot);
                    self.send_on(&parked.unit, to, kind, slot, remaining, now);
                }
                // The map knows better than the redirect.
                None if self.has_answer(*asked_before, *kind) => {
                    self.tell_refusal(parked, "no node of the cluster's map has that address");
                }
                None => self.parked.push(parked),
            },
        }
    }

    /// Whether a question that was asked later than so many others was answered, and told what a redirect of this kind
    /// needs: CLUSTER SLOTS names no nodes without slots, which is where ASK may point to. If not, it is asked.
    fn has_answer(&mut self, asked_before: u64, kind: RedirectKind) -> bool {
        let needed = match kind {
            RedirectKind::Ask if self.cluster.is_cluster => Question::Nodes,
            RedirectKind::Ask | RedirectKind::Moved => Question::Slots,
        };
        let is_told = match self.cluster.answered {
            Some((number, Question::Slots)) => number > asked_before && needed == Question::Slots,
            Some((number, Question::Shards | Question::Nodes)) => number > asked_before,
            None => false,
        };
        if !is_told {
            self.want_topology(needed);
        }
        is_told
    }

    fn tell_refusal(&mut self, parked: Parked, why: &str) {
        if let Some(refusal) = parked.refusal {
            let text = format!("{}: not followed, {why}", refusal.text);
            self.fail(parked.unit.id, refusal.code, Outcome::Refused, &text);
            self.end_blocking(parked.unit.id);
        }
    }

    pub(super) fn withdraw_parked(&mut self, id: CommandId) -> Option<Outcome> {
        let is_parked = self.parked.list.iter().any(|parked| parked.unit.id == id);
        let parked = is_parked.then(|| self.parked.take_if(|parked| parked.unit.id == id).pop())??;
        self.end_blocking(id);
        Some(if parked.refusal.is_some() { Outcome::Refused } else { Outcome::NotSent })
    }

    pub(super) fn fail_overdue_parked(&mut self, now: Instant) {
        if !self.parked.is_due(now) {
            return;
        }
        for parked in self.parked.take_if(|parked| parked.left(now) == 0) {
            let attempts = parked.unit.journey.attempts;
            let (code, outcome, text) = match (parked.refusal, parked.until) {
                (Some(refusal), _) => {
                    let text = format!("{} (sent {attempts} times until its time was up)", refusal.text);
                    (refusal.code, Outcome::Refused, text)
                }
                (None, Until::Served { slot }) => {
                    let why = self.cluster.complaint.clone().map_or(String::new(), |why| format!(": {why}"));
                    let text = format!("timed out; no node of the cluster serves slot {slot}{why}");
                    (ErrorCode::NoNode, Outcome::NotSent, text)
                }
                (None, _) => {
                    (ErrorCode::Timeout, Outcome::NotSent, "timed out before it was sent".to_owned())
                }
            };
            self.fail(parked.unit.id, code, outcome, &text);
            self.end_blocking(parked.unit.id);
        }
    }

    /// Ends all that wait.
    pub(super) fn end_parked(&mut self, code: ErrorCode, text: &str) {
        for parked in std::mem::take(&mut self.parked).list {
            let outcome = if parked.refusal.is_some() { Outcome::Refused } else { Outcome::NotSent };
            self.fail(parked.unit.id, code, outcome, text);
        }
    }
}

/// A command that was refused, and by whom.
struct Refusal {
    unit: Unit,
    node: NodeId,
    conn: ConnId,
    /// Of its time, in microseconds.
    remaining: u64,
    refusal: Refused,
}

fn remedy_of(text: &[u8]) -> Option<Remedy> {
    Some(match ErrorCode::of_reply(text) {
        ErrorCode::Moved | ErrorCode::Ask => Remedy::Follow,
        ErrorCode::TryAgain | ErrorCode::Loading => Remedy::Wait { refreshes: false },
        ErrorCode::ClusterDown | ErrorCode::MasterDown | ErrorCode::ReadOnly => {
            Remedy::Wait { refreshes: true }
        }
        ErrorCode::CrossSlot => Remedy::LookForCluster,
        _ => return None,
    })
}

/// The facts of a command (none of a transaction), and the slot of its keys.
pub(super) fn facts_and_slot(unit: &Unit) -> (Option<Facts>, KeySlot) {
    if unit.steps > 0 {
        let commands = inner_commands(&unit.bytes);
        return (None, transaction_slot(commands.iter().map(|command| command.iter().copied())));
    }
    let mut arguments = Vec::new();
    split_encoded(&unit.bytes, &mut arguments);
    let facts = facts_of(arguments.iter().copied());
    let slot = key_slot(&facts, arguments.iter().copied());
    (Some(facts), slot)
}

/// Whether it runs a script: of a transaction none has run, for nothing of it has.
fn is_script(unit: &Unit) -> bool {
    facts_and_slot(unit).0.is_some_and(|facts| facts.is_script)
}
