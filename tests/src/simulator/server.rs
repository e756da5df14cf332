//! A model of Redis servers behind one name, with tokens: strict about framing, with a ledger of everything that ran.
//!
//! It shares no code with the core, so that an error in both would have to be made twice.

use super::SECOND;
use super::channels::Subscriptions;
use super::cluster::{Cluster, Shape};
use super::credential;
use super::ledger::Ledger;
use super::lies::{Mood, Temper};
use super::slots::slot_of;
use super::wire::{Arguments, Writer, next_command};
use std::collections::{BTreeMap, VecDeque};

/// A client's index and its number for a connection.
pub type Key = (usize, u64);

/// A connection as its server sees it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) node: usize,
    pub(super) out: Writer,
    pub(super) identity: Option<String>,
    /// When the token of the last successful login ends, in true time.
    pub(super) expires_at: Option<u64>,
    pub(super) queued: Option<Vec<Arguments>>,
    /// A queued command was refused: EXEC will be, too.
    pub(super) is_aborted: bool,
    /// The next command may be for a slot that is being imported.
    pub(super) is_asking: bool,
    pub(super) blocked: Option<Blocked>,
    /// Watched keys, with their versions.
    pub(super) watched: Vec<(Vec<u8>, u64)>,
    pub(super) subscriptions: Subscriptions,
    buffer: Vec<u8>,
    /// Nothing is processed before this moment: a login is being validated.
    busy_until: u64,
    /// The login being validated.
    validating: Option<Arguments>,
    /// The latest wake-up that was asked for.
    armed: Option<u64>,
}

/// A command that waits for an element.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) key: Vec<u8>,
    pub(super) payload: u64,
    /// `None`: for ever.
    pub(super) until: Option<u64>,
}

/// What a server does.
#[derive(Debug)]
pub enum Action {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Closes the connection after what it sent.
    Close,
    /// Wants to be called for this connection.
    WakeAt(u64),
}

/// Whether a node serves anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// As it should.
    #[default]
    Up,
    /// Reads only: it was a primary until a moment ago.
    ReadOnly,
    /// Its port refuses connections.
    Refusing,
    /// Packets to it are lost.
    Silent,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Server {
    pub(super) connections: BTreeMap<Key, Connection>,
    /// `None`: one server that knows of no cluster.
    pub cluster: Option<Cluster>,
    /// Whom each node serves; up where it is not said.
    pub health: BTreeMap<usize, Health>,
    /// What each node answers instead of the truth.
    pub moods: BTreeMap<usize, Mood>,
    /// The node that the configured port leads to.
    pub seed_node: usize,
    /// What happened.
    pub ledger: Ledger,
    /// How long the validation of a login takes, in microseconds.
    pub auth_delay: u64,
    /// So many logins to come are refused whatever their token.
    pub auth_failures: u32,
    /// Whether HELLO is unknown here.
    pub is_hello_unknown: bool,
    /// No reply is sent any more, no connection is closed.
    pub is_silent: bool,
    pub(super) lists: BTreeMap<Vec<u8>, VecDeque<u64>>,
    pub(super) versions: BTreeMap<Vec<u8>, u64>,
    actions: VecDeque<(Key, Action)>,
    /// When each client asked for the topology.
    questions: BTreeMap<usize, VecDeque<u64>>,
}

/// The configured port.
pub const SEED_PORT: u16 = 10_000;

impl Server {
    /// The node behind a port of the configured host, if there is one.
    pub fn node_at(&self, port: u16) -> Option<usize> {
        let Some(cluster) = &self.cluster else { return (port == SEED_PORT).then_some(0) };
        match port {
            SEED_PORT => Some(self.seed_node),
            _ => (0..cluster.nodes()).find(|node| cluster.port(*node) == port),
        }
    }

    /// Whom a node serves.
    pub fn health(&self, node: usize) -> Health {
        self.health.get(&node).copied().unwrap_or_default()
    }

    /// A client connected.
    pub fn accept(&mut self, key: Key, node: usize) {
        self.connections.insert(key, Connection { node, ..Connection::default() });
    }

    /// A client's connection is gone.
    pub fn forget(&mut self, key: Key) {
        self.connections.remove(&key);
    }

    /// The connections to a node.
    pub fn connections_to(&self, node: usize) -> Vec<Key> {
        let own = self.connections.iter().filter(|(_, connection)| connection.node == node);
        own.map(|(key, _)| *key).collect()
    }

    /// What the servers want done since the last call.
    pub fn take_action(&mut self) -> Option<(Key, Action)> {
        self.actions.pop_front()
    }

    /// Bytes from a client at true time `now`.
    pub fn receive(&mut self, key: Key, bytes: &[u8], now: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.buffer.extend_from_slice(bytes);
        self.process(key, now);
    }

    /// Time has passed for a connection.
    pub fn wake(&mut self, key: Key, now: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.armed = connection.armed.filter(|at| now < *at);
        if connection.expires_at.is_some_and(|at| now >= at) && !self.is_silent {
            self.ledger.lapses += 1;
            self.connections.remove(&key);
            self.actions.push_back((key, Action::Close));
            return;
        }
        if let Some(blocked) = connection.blocked.take_if(|blocked| blocked.until.is_some_and(|at| now >= at))
        {
            self.ledger.send_away(blocked.payload);
            connection.out.null_array();
        }
        self.process(key, now);
    }

    /// Slots went from one node to another: those who wait or are subscribed there are sent away.
    pub fn hand_over(&mut self, from: usize, to: usize, is_moved: impl Fn(u16) -> bool, now: u64) {
        let Some(cluster) = &self.cluster else { return };
        let (host, port) = cluster.advertised(to);
        for key in self.connections_to(from) {
            let connection = self.connections.get_mut(&key).expect("a connection to the node");
            if let Some(blocked) = connection.blocked.take_if(|blocked| is_moved(slot_of(&blocked.key))) {
                self.ledger.send_away(blocked.payload);
                connection.out.error(&format!("MOVED {} {host}:{port}", slot_of(&blocked.key)));
            }
            connection.subscriptions.drop_shard_channels(|name| is_moved(slot_of(name)), &mut connection.out);
            self.process(key, now);
        }
    }

    /// A node is a primary no more: those who wait there are sent away.
    pub fn demote(&mut self, node: usize, now: u64) {
        for key in self.connections_to(node) {
            let connection = self.connections.get_mut(&key).expect("a connection to the node");
            if let Some(blocked) = connection.blocked.take() {
                self.ledger.send_away(blocked.payload);
                connection.out.error(
                    "UNBLOCKED force unblock from blocking operation, \
                     instance state changed (master -> replica?)",
                );
            }
            connection.subscriptions.drop_shard_channels(|_| true, &mut connection.out);
            self.process(key, now);
        }
    }

    /// Runs what has come, until there is nothing more or something must be waited for.
    pub(super) fn process(&mut self, key: Key, now: u64) {
        if self.is_silent {
            return;
        }
        let Some(mut connection) = self.connections.remove(&key) else { return };
        while now >= connection.busy_until && connection.blocked.is_none() {
            let command = match connection.validating.take() {
                Some(command) => command,
                None => {
                    let Some(command) = next_command(&mut connection.buffer) else { break };
                    if self.auth_delay > 0 && connection.queued.is_none() && has_credentials(&command) {
                        connection.busy_until = now + self.auth_delay;
                        connection.validating = Some(command);
                        break;
                    }
                    command
                }
            };
            self.execute(key, &mut connection, command, now);
        }
        check_what_waits(&connection);
        let busy = Some(connection.busy_until).filter(|until| *until > now);
        let blocked = connection.blocked.as_ref().and_then(|blocked| blocked.until);
        let wake_at = [busy, connection.expires_at, blocked].into_iter().flatten().min();
        if let Some(at) = wake_at.filter(|at| connection.armed != Some(*at)) {
            connection.armed = Some(at);
            self.actions.push_back((key, Action::WakeAt(at)));
        }
        self.connections.insert(key, connection);
        self.flush(key);
    }

    /// What was written to a connection leaves.
    pub(super) fn flush(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let bytes = std::mem::take(&mut connection.out.bytes);
        if !bytes.is_empty() {
            self.actions.push_back((key, Action::Send(bytes)));
        }
    }

    /// `HELLO` and `AUTH`.
    pub(super) fn greet(&mut self, connection: &mut Connection, command: &Arguments, now: u64) {
        assert!(connection.queued.is_none(), "B8: a login inside a transaction");
        let is_hello = command[0].eq_ignore_ascii_case(b"HELLO");
        if is_hello && self.is_hello_unknown {
            connection.out.error("ERR unknown command 'HELLO'");
            return;
        }
        let credentials = match is_hello {
            false => Some(0),
            true => command.iter().position(|part| part.eq_ignore_ascii_case(b"AUTH")),
        };
        if let Some(at) = credentials
            && !self.login(connection, &command[at + 1], &command[at + 2], now)
        {
            connection.out.error("WRONGPASS invalid username-password pair or user is disabled.");
            return;
        }
        if !is_hello {
            connection.out.simple("OK");
            return;
        }
        connection.out.is_resp3 = command.get(1).is_some_and(|version| version == b"3");
        let (mode, out) =
            (if self.cluster.is_some() { "cluster" } else { "standalone" }, &mut connection.out);
        out.map(7);
        for (name, value) in [("server", "model"), ("version", "7.4.0"), ("mode", mode), ("role", "master")] {
            out.bulk(name);
            out.bulk(value);
        }
        out.bulk("proto");
        out.integer(if out.is_resp3 { 3 } else { 2 });
        out.bulk("id");
        out.integer(7);
        out.bulk("modules");
        out.array(0);
    }

    fn login(&mut self, connection: &mut Connection, user: &[u8], token: &[u8], now: u64) -> bool {
        let claims = credential::read(token).filter(|(oid, exp)| oid.as_bytes() == user && *exp > now);
        let refused_by_fault = self.auth_failures > 0;
        self.auth_failures = self.auth_failures.saturating_sub(1);
        let Some((oid, exp)) = claims.filter(|_| !refused_by_fault) else {
            self.ledger.refusals += 1;
            return false;
        };
        if let Some(before) = connection.expires_at {
            self.ledger.reauths += 1;
            let lead = before.saturating_sub(now);
            self.ledger.smallest_lead = Some(self.ledger.smallest_lead.map_or(lead, |least| least.min(lead)));
        }
        self.ledger.logins.push(now);
        connection.identity = Some(oid);
        connection.expires_at = Some(exp);
        true
    }

    /// `CLUSTER …`
    pub(super) fn tell_topology(&mut self, key: Key, connection: &mut Connection, what: &str, now: u64) {
        let out = &mut connection.out;
        let Some(cluster) = &mut self.cluster else {
            out.error("ERR This instance has cluster support disabled");
            return;
        };
        self.ledger.topologies += 1;
        let questions = self.questions.entry(key.0).or_default();
        questions.retain(|at| now - at < SECOND);
        questions.push_back(now);
        assert!(questions.len() <= QUESTIONS_MAX, "C6: {} topologies within a second", questions.len());
        match self.moods.get(&connection.node).filter(|mood| now < mood.until).map(|mood| mood.temper) {
            Some(Temper::Maps(lie)) if what == "SLOTS" => {
                self.ledger.map_lies += 1;
                lie.tell(cluster, out);
            }
            _ => cluster.answer(connection.node, what, now, out),
        }
    }

    /// How the cluster shows itself; `None` where there is none.
    pub fn shape(&self) -> Option<Shape> {
        self.cluster.as_ref().map(|cluster| cluster.shape)
    }
}

/// Two within the smallest gap of 100 ms, with jitter; and one for each ASK that names a stranger.
const QUESTIONS_MAX: usize = 12;

/// What lies behind a blocking command must not be a login that it may keep from the server for too long.
fn check_what_waits(connection: &Connection) {
    let Some(blocked) = connection.blocked.as_ref().filter(|_| !connection.buffer.is_empty()) else { return };
    let Some(next) = next_command(&mut connection.buffer.clone()) else { return };
    let outlasts = match (blocked.until, connection.expires_at) {
        (None, Some(_)) => true,
        (Some(until), Some(end)) => until > end,
        (_, None) => false,
    };
    assert!(!(has_credentials(&next) && outlasts), "B8: a login behind a blocking command");
}

fn has_credentials(command: &Arguments) -> bool {
    command[0].eq_ignore_ascii_case(b"AUTH")
        || (command[0].eq_ignore_ascii_case(b"HELLO")
            && command.iter().any(|part| part.eq_ignore_ascii_case(b"AUTH")))
}
