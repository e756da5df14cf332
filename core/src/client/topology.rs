//! The map of the cluster: when to ask for it, whom, and what to do with it.
//!
//! Any node that is logged in may be asked; where that does not help, the configured endpoint is, with a fresh name
//! look-up: a topology may list nodes that are long gone, and all known ones may be.

use super::nodes::{Node, NodeId, SEED};
use super::{
    Client, ConnId, Credential, ErrorCode, Instant, LaneId, LaneKind, Notice, Output, Trouble, lanes,
};
use crate::cluster::{
    AddressMapRules, Endpoint, MapMode, Migration, Shard, SlotMap, Target, Targets, Topology, map,
    parse_nodes, parse_shards, parse_slots,
};
use crate::config::{AddressMap, ClusterMode};
use crate::connection::{Connection, Phase, Question};
use crate::resp::{Kind, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    mode: ClusterMode,
    /// A server has described one.
    pub(super) is_cluster: bool,
    /// A server that was asked for one said that there is none.
    pub(super) is_known_single: bool,
    pub(super) map: SlotMap,
    /// Redirects have changed the map since it came.
    pub(super) is_patched: bool,
    topology: Topology,
    /// Slots that are on their way to another node.
    pub(super) migrations: Vec<Migration>,
    /// To be asked next.
    wanted: Option<Question>,
    asked: Option<Asked>,
    /// How many questions were asked.
    pub(super) questions: u64,
    /// The latest one that was answered well: its number, from 1 on, and what it was.
    pub(super) answered: Option<(u64, Question)>,
    /// Not asked before.
    not_before: Instant,
    /// When to look without any other reason.
    next_at: Option<Instant>,
    /// Since when the seed's connection is waited for, to ask it.
    seed_awaited_since: Option<Instant>,
    /// Questions in a row that brought nothing.
    failures: u32,
    /// A node was reached where the addresses that are advertised are mapped to.
    pub(super) is_mapping_proven: bool,
    /// Why some nodes are not connected to.
    pub(super) complaint: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    conn: ConnId,
    lane: LaneId,
    number: u64,
    at: Instant,
}

/// An answer is not waited for longer: another node may know better.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Between two questions, at least.
const QUESTION_GAP: Duration = Duration::from_millis(100);

/// Between two questions where the last ones brought nothing, at most.
const QUESTION_GAP_MAX: Duration = Duration::from_secs(5);

/// Between two looks while commands wait for a node that cannot be reached.
const URGENT_PERIOD: Duration = Duration::from_millis(400);

impl Cluster {
    pub(super) fn new(mode: ClusterMode) -> Cluster {
        Cluster {
            mode,
            is_cluster: false,
            is_known_single: false,
            map: SlotMap::new(),
            is_patched: false,
            topology: Topology { shards: Vec::new() },
            migrations: Vec::new(),
            wanted: None,
            asked: None,
            questions: 0,
            answered: None,
            not_before: Instant::default(),
            next_at: None,
            seed_awaited_since: None,
            failures: 0,
            is_mapping_proven: false,
            complaint: None,
        }
    }

    /// Whether the lane's connection is being asked.
    pub(super) fn asks(&self, lane: LaneId) -> bool {
        self.asked.is_some_and(|asked| asked.lane == lane) || (self.wanted.is_some() && lane == LaneId(0))
    }

    /// Whether somebody is being asked, or is about to be.
    pub(super) fn is_being_asked(&self) -> bool {
        self.wanted.is_some() || self.asked.is_some()
    }
}

impl Client {
    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        let index = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(index)
    }

    /// Asks for the map as soon as that may be.
    pub(super) fn want_topology(&mut self, question: Question) {
        // Those tell more.
        if !matches!(self.cluster.wanted, Some(Question::Nodes | Question::Shards)) {
            self.cluster.wanted = Some(question);
        }
    }

    /// A connection is ready: a node of a cluster is sent nothing before the map is known.
    pub(super) fn look_for_cluster(&mut self, id: LaneId, is_cluster_node: bool, now: Instant) {
        let is_told = is_cluster_node || self.cluster.mode == ClusterMode::Require;
        if !self.cluster.is_cluster && is_told {
            self.want_topology(Question::Slots);
            if let Some(lane) = self.lane_mut(id) {
                lane.awaits_topology = true;
                lane.update_hold(now);
            }
        }
    }

    /// When the map is to be asked for.
    pub(super) fn topology_due_at(&self, can_connect: &dyn Fn() -> bool) -> Option<Instant> {
        let cluster = &self.cluster;
        match (cluster.asked, cluster.wanted) {
            (Some(asked), _) => Some(asked.at + ANSWER_PATIENCE),
            (None, Some(_)) if self.topology_source().is_some() => Some(cluster.not_before),
            (None, Some(_)) => match cluster.seed_awaited_since {
                // The seed's connection is on its way.
                Some(since) => Some((since + ANSWER_PATIENCE).max(cluster.not_before)),
                None => {
                    let seed = self.lanes.first().filter(|seed| seed.connection.is_none() && can_connect());
                    seed.map(|seed| cluster.not_before.max(seed.may_open_at()))
                }
            },
            (None, None) => cluster.next_at,
        }
    }

    /// Asks for the map where that is due.
    pub(super) fn refresh_topology(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        if self.cluster.asked.is_some_and(|asked| now >= asked.at + ANSWER_PATIENCE) {
            self.cluster.asked = None;
            self.handle_topology_failed(now);
        }
        if let Some(at) = self.cluster.next_at.filter(|at| *at > now + URGENT_PERIOD && self.is_urgent()) {
            self.cluster.next_at = Some(at.min(now + URGENT_PERIOD));
        }
        if self.cluster.next_at.is_some_and(|at| now >= at) {
            self.cluster.next_at = Some(self.next_look(now));
            self.want_topology(Question::Slots);
        }
        let Some(mut question) = self.cluster.wanted.filter(|_| self.cluster.asked.is_none()) else { return };
        // While slots are on their way, nodes matter that have none yet.
        if !self.cluster.migrations.is_empty() && self.cluster.failures == 0 {
            question = Question::Nodes;
        }
        if now < self.cluster.not_before {
            return;
        }
        let Some(lane) = self.topology_source() else {
            // The configured endpoint is always good for a question.
            if let Some(seed) = self.lanes.first_mut() {
                seed.is_wanted = true;
            }
            let since = *self.cluster.seed_awaited_since.get_or_insert(now);
            if now >= since + ANSWER_PATIENCE {
                self.cluster.seed_awaited_since = None;
                self.handle_topology_failed(now);
            }
            return self.open_connection(LaneId(0), now);
        };
        self.cluster.seed_awaited_since = None;
        let Some(connection) = self.lane_mut(lane).and_then(|lane| lane.connection.as_mut()) else { return };
        connection.ask(question);
        let conn = connection.id();
        let gap = self.rng.between(QUESTION_GAP, QUESTION_GAP * 3 / 2);
        self.cluster.questions += 1;
        self.cluster.asked = Some(Asked { conn, lane, number: self.cluster.questions, at: now });
        self.cluster.wanted = None;
        self.cluster.not_before = now + gap;
    }

    /// Whom to ask: a node that is logged in, or, where that brought nothing last time, the seed. `None` where the seed
    /// is to be asked and is not logged in.
    fn topology_source(&self) -> Option<LaneId> {
        let is_open = |connection: &Connection| connection.phase() == Phase::Ready;
        let mut ready = self
            .lanes
            .iter()
            .filter(|lane| lane.kind == LaneKind::Main && lane.connection.as_ref().is_some_and(is_open));
        if self.cluster.failures % 2 == 1 {
            return ready.find(|lane| lane.id == LaneId(0)).map(|lane| lane.id);
        }
        ready.max_by_key(|lane| lane.heard_at()).map(|lane| lane.id)
    }

    fn next_look(&mut self, now: Instant) -> Instant {
        // While commands wait for a node, somebody may be taking over from it.
        let period = if self.is_urgent() { URGENT_PERIOD } else { self.config.timeouts.topology };
        now + self.rng.between(period * 9 / 10, period * 11 / 10)
    }

    fn is_urgent(&self) -> bool {
        self.lanes.iter().any(|lane| lane.kind == LaneKind::Main && lane.is_troubled())
    }

    fn handle_topology_failed(&mut self, now: Instant) {
        let cluster = &mut self.cluster;
        cluster.failures += 1;
        let gap = QUESTION_GAP.saturating_mul(1 << cluster.failures.min(6)).min(QUESTION_GAP_MAX);
        cluster.not_before = now + self.rng.between(gap / 2, gap);
        self.want_topology(Question::Slots);
    }

    /// A connection is lost: if it was being asked, somebody else is. Its node may be gone, too.
    pub(super) fn handle_source_lost(&mut self, lane: LaneId, now: Instant) {
        if self.cluster.asked.is_some_and(|asked| asked.lane == lane) {
            self.cluster.asked = None;
            self.handle_topology_failed(now);
        } else if self.cluster.is_cluster {
            // The seed could not be reached: the others may know.
            if lane == LaneId(0) && self.cluster.wanted.is_some() && self.cluster.failures % 2 == 1 {
                self.cluster.failures += 1;
            }
            self.want_topology(Question::Slots);
        }
        if let Some(lane) = self.lane_mut(lane) {
            lane.awaits_topology = false;
        }
    }

    /// The answer to a question about the cluster.
    pub(super) fn handle_topology(
        &mut self,
        lane: LaneId,
        question: Question,
        reply: &Reply<'_>,
        now: Instant,
    ) {
        let asked = self.cluster.asked.take_if(|asked| asked.lane == lane);
        let conn = asked.map(|asked| asked.conn);
        let Some(node) = self.lane(lane).map(|lane| lane.node) else { return };
        let Some(endpoint) = self.node(node).map(|node| node.endpoint.clone()) else { return };
        let parsed = match question {
            Question::Slots => parse_slots(reply, &endpoint).map(|topology| (topology, None)),
            Question::Shards => {
                parse_shards(reply, &endpoint, self.tls.is_some()).map(|topology| (topology, None))
            }
            Question::Nodes => parse_nodes(reply.as_bytes(), &endpoint, self.cluster.topology.is_by_name())
                .map(|(topology, migrations)| (topology, Some(migrations))),
        };
        let is_answer = parsed.is_ok() || (reply.kind() == Kind::Error && !self.cluster.is_cluster);
        if is_answer && let Some(asked) = asked {
            self.cluster.answered = Some((asked.number, question));
        }
        match parsed {
            Ok((topology, migrations)) => {
                self.cluster.migrations = migrations.unwrap_or_default();
                self.cluster.failures = 0;
                self.cluster.next_at = Some(self.next_look(now));
                self.apply_topology(topology, conn, now);
                self.resolve_parked(now);
            }
            Err(_) if reply.kind() == Kind::Error && !self.cluster.is_cluster => {
                self.handle_no_cluster(reply, now);
            }
            Err(error) => {
                self.handle_topology_failed(now);
                // What cannot be read of one description may be told by the other.
                if question == Question::Slots && reply.kind() != Kind::Error {
                    self.cluster.wanted = Some(Question::Shards);
                }
                if let Some(conn) = conn {
                    let cause = error.to_string();
                    self.outputs.push_back(Output::Notice(Notice::RedirectIgnored { conn, cause }));
                }
                self.resolve_parked(now);
            }
        }
        self.move_channels(now);
        for lane in &mut self.lanes {
            lane.awaits_topology = false;
            lane.update_hold(now);
        }
    }

    /// The server knows of no cluster: it is the only node.
    fn handle_no_cluster(&mut self, reply: &Reply<'_>, now: Instant) {
        self.cluster.wanted = None;
        self.cluster.is_known_single = true;
        self.resolve_parked(now);
        if self.cluster.mode == ClusterMode::Require {
            let text = String::from_utf8_lossy(reply.as_bytes());
            let text = format!("the server is no node of a cluster: {text}");
            self.last_error = Some(text.clone());
            self.fail_queue(LaneId(0), ErrorCode::NoNode, &text);
            let Some(seed) = self.lanes.first_mut() else { return };
            seed.is_wanted = false;
            // The next command asks again: what is configured may be mended meanwhile.
            if let Some(conn) = seed.connection.as_ref().map(Connection::id) {
                self.lose_connection(conn, Trouble { code: ErrorCode::NoNode, text }, true, now);
            }
        }
    }

    /// Takes the map over as a whole.
    fn apply_topology(&mut self, topology: Topology, conn: Option<ConnId>, now: Instant) {
        let is_same = self.cluster.is_cluster && topology == self.cluster.topology;
        self.cluster.is_cluster = true;
        if is_same && !self.cluster.is_patched {
            return;
        }
        let mapped = map(self.rules(), &topology);
        let mut complaints = mapped.values().filter_map(|target| target.as_ref().err());
        self.cluster.complaint = complaints.next().cloned();
        if let (Some(cause), Some(conn)) = (self.cluster.complaint.clone(), conn) {
            self.outputs.push_back(Output::Notice(Notice::RedirectIgnored { conn, cause }));
        }
        let is_usable = |shard: &Shard| {
            !shard.slots.is_empty() && mapped.get(&shard.primary).is_some_and(|targets| targets.is_ok())
        };
        // A map whose nodes are all out of bounds replaces none that works.
        if !topology.shards.iter().any(is_usable) && self.nodes.iter().any(|node| node.is_listed) {
            return;
        }
        self.cluster.is_patched = false;
        let ids = self.update_nodes(mapped, &topology, now);
        self.cluster.map = SlotMap::from_topology(&topology, |primary| ids.get(primary).map(|id| id.0));
        let primaries = topology.shards.len();
        self.cluster.topology = topology;
        self.outputs.push_back(Output::Notice(Notice::TopologyChanged { primaries }));
        self.reroute(now);
    }

    /// Makes the list of nodes that of the topology; each endpoint's node.
    fn update_nodes(
        &mut self,
        mapped: BTreeMap<Endpoint, Result<Targets, String>>,
        topology: &Topology,
        now: Instant,
    ) -> BTreeMap<Endpoint, NodeId> {
        let mut ids = BTreeMap::new();
        let primaries: BTreeSet<&Endpoint> = topology.shards.iter().map(|shard| &shard.primary).collect();
        let known = KnownNodes::new(&self.nodes);
        for node in &mut self.nodes {
            node.is_listed = false;
        }
        for (endpoint, targets) in mapped {
            let Ok(targets) = targets else { continue };
            let Some(id) = self.node_at(&known, &endpoint, &targets, now) else { continue };
            if let Ok(index) = self.nodes.binary_search_by_key(&id, |node| node.id)
                && let Some(node) = self.nodes.get_mut(index)
            {
                node.is_listed = true;
                node.is_primary = primaries.contains(&endpoint);
                node.endpoint = endpoint.clone();
                node.set_targets(targets);
            }
            ids.insert(endpoint, id);
        }
        for node in self.nodes.iter().filter(|node| !node.is_listed) {
            if let Some(lane) = lanes::get(&mut self.lanes, node.main) {
                lane.is_wanted = false;
            }
        }
        ids
    }

    /// The node of that endpoint: one that is known, by its name or by where it is, or a new one.
    fn node_at(
        &mut self,
        known: &KnownNodes,
        endpoint: &Endpoint,
        targets: &Targets,
        now: Instant,
    ) -> Option<NodeId> {
        let is_free = |id: &NodeId| self.node(*id).is_some_and(|node| !node.is_listed);
        let by_place = || known.by_place.get(&place(&targets.first))?.iter().copied().find(is_free);
        if let Some(id) = known.by_endpoint.get(endpoint).copied().or_else(by_place) {
            return Some(id);
        }
        // The ids ascend from 0 on: the first that is left out, or the next one.
        let is_gap = |&(node, id): &(&Node, u16)| node.id != NodeId(id);
        let gap = self.nodes.iter().zip(0..u16::MAX).find(is_gap).map(|(_, id)| id);
        let id = NodeId(gap.or_else(|| u16::try_from(self.nodes.len()).ok()).filter(|&id| id < u16::MAX)?);
        let main = self.add_lane(LaneKind::Main, id, now);
        let index = self.nodes.partition_point(|node| node.id < id);
        self.nodes.insert(index, Node::new(id, endpoint.clone(), targets.clone(), main));
        Some(id)
    }

    fn rules(&self) -> AddressMapRules<'_> {
        let has_token = matches!(self.config.credential, Credential::Token { .. });
        AddressMapRules {
            mode: match &self.config.address_map {
                AddressMap::Auto => MapMode::Auto,
                AddressMap::Azure => MapMode::Azure,
                AddressMap::Advertised { .. } => MapMode::Advertised,
                AddressMap::Table(_) => MapMode::Table,
                AddressMap::Driver => MapMode::Driver,
            },
            configured_host: &self.config.host,
            is_tls: self.tls.is_some(),
            has_token,
            allowed_hosts: match &self.config.address_map {
                AddressMap::Advertised { allowed_hosts } => allowed_hosts,
                _ => &[],
            },
            table: match &self.config.address_map {
                AddressMap::Table(table) => table,
                _ => &[],
            },
        }
    }
}

/// The nodes that are known, by what they are called and by where they are.
struct KnownNodes {
    by_endpoint: BTreeMap<Endpoint, NodeId>,
    by_place: BTreeMap<(Box<str>, u16), Vec<NodeId>>,
}

impl KnownNodes {
    fn new(nodes: &[Node]) -> KnownNodes {
        let mut known = KnownNodes { by_endpoint: BTreeMap::new(), by_place: BTreeMap::new() };
        for node in nodes {
            if node.id != SEED {
                known.by_endpoint.entry(node.endpoint.clone()).or_insert(node.id);
            }
            known.by_place.entry(place(node.first_target())).or_default().push(node.id);
        }
        known
    }
}

fn place(target: &Target) -> (Box<str>, u16) {
    (target.host.clone(), target.port)
}
