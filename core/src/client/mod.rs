//! The client: the only place that knows of several parts at once and acts on what each of them decides.
//!
//! Commands go to *lanes*. Each node of a cluster has a main lane; blocking commands, sessions and subscribers have
//! lanes of their own. A lane has a queue and one connection after the other. A server alone is a cluster of one node.
//!
//! Every `handle_…` passes the fact down, drains the touched connection's events, turns each into state or outputs,
//! and ends in [`Client::settle`], which brings the rest in line: opens connections, signals what to transmit, lets
//! the command clocks run or stand.

mod blocking;
mod command_clock;
mod events;
mod fan_out;
mod lane;
mod lanes;
mod login;
mod losses;
mod maintenance;
mod merge;
mod messages;
mod nodes;
mod output;
mod redirects;
mod routing;
mod sessions;
mod status;
mod submit;
mod subscribers;
mod tokens;
mod topology;
mod transmitting;
mod trouble;

use crate::auth::{Handshake, IssuedToken, Login, TokenFailure};
use crate::cluster::Target;
use crate::command::CommandId;
use crate::config::{Config, Credential};
use crate::connection::{
    Answer, ConnId, Connection, ConnectionToken, Event, Patience, Phase, Removed, WakeupReason,
};
use crate::error::{CommandError, ConfigError, ErrorCode, Outcome};
use crate::rng::Rng;
use crate::time::{ClockWatch, Instant, Now};
use crate::tls::TlsSettings;
use blocking::BlockingJob;
use fan_out::Joins;
use lane::{Lane, LaneId, Role};
pub use messages::{ChannelKind, Message, MessageBatch, MessageEntry, MessageKind, SubscriberId};
use nodes::{Node, NodeId, SEED};
pub use output::{Notice, NoticeKind, Output, OutputKind, ReplyBatch, Severity};
use redirects::ParkedCommands;
use sessions::Session;
pub use sessions::SessionId;
pub use status::{AuthStatus, ConnectionStatus, LaneKind};
use std::collections::VecDeque;
use subscribers::Subscriber;
use tokens::{Arrival, Tokens};
use topology::Cluster;
use trouble::{Stage, Trouble};

/// When to call `handle_timeout`, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// The moment.
    pub at: Instant,
    /// What will be due then.
    pub reason: WakeupReason,
}

/// Why the driver has no socket any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// No connection was made; the text says why.
    ConnectFailed(String),
    /// The peer closed it in an orderly way.
    Closed,
    /// It broke; the text says how.
    Broken(String),
}

/// A Redis client without sockets, clocks and threads. See the crate's description for how to drive it.
pub struct Client {
    config: Config,
    tls: Option<TlsSettings>,
    rng: Rng,
    clock: ClockWatch,
    /// The seed, which is always there and first, and the nodes of the cluster.
    nodes: Vec<Node>,
    /// By their ids, which ascend. The first is the seed's main lane, which is always there.
    lanes: Vec<Lane>,
    /// Whose each connection is, by the connections' ids, which ascend.
    conns: Vec<(ConnId, LaneId)>,
    cluster: Cluster,
    /// Commands that a server refused to run for now, or that no known node would run.
    parked: ParkedCommands,
    /// Commands that were sent in parts.
    joins: Joins,
    blocking: Vec<BlockingJob>,
    sessions: Vec<Session>,
    subscribers: Vec<Subscriber>,
    tokens: Tokens,
    /// A newer token was asked for and is not here.
    is_token_requested: bool,
    outputs: VecDeque<Output>,
    events: Vec<Event>,
    spare: ReplyBatch,
    latest_command: u64,
    latest_part: u64,
    latest_conn: u64,
    latest_lane: u64,
    latest_owner: u64,
    reauth_count: u64,
    /// What the service told last.
    latest_maintenance: Vec<u8>,
    last_error: Option<String>,
    /// No more commands are accepted, and the end of the last one is the client's.
    is_finishing: bool,
    is_closed: bool,
}

impl Client {
    /// A client that connects when the first command is submitted. `seed` feeds jitter and nonces only.
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Result<Client, ConfigError> {
        config.check()?;
        let tls = config.tls.as_ref().map(|tls| TlsSettings::new(tls, &config.host)).transpose();
        let username = match &config.credential {
            Credential::Token { username } => username.clone(),
            Credential::None | Credential::Password { .. } => None,
        };
        let tls = tls.map_err(|error| ConfigError { text: error.to_string() })?;
        if let Some(tls) = &tls {
            tls.set_time(now);
        }
        let lane = Lane::new(LaneId(0), LaneKind::Main, SEED, config.timeouts, now.monotonic);
        let node = Node::seed(&config.host, config.port, lane.id);
        Ok(Client {
            tls,
            rng: Rng::new(seed),
            clock: ClockWatch::new(now),
            nodes: vec![node],
            lanes: vec![lane],
            conns: Vec::new(),
            cluster: Cluster::new(config.cluster),
            parked: ParkedCommands::default(),
            joins: Joins::default(),
            blocking: Vec::new(),
            sessions: Vec::new(),
            subscribers: Vec::new(),
            tokens: Tokens::new(username),
            is_token_requested: false,
            outputs: VecDeque::new(),
            events: Vec::new(),
            spare: ReplyBatch::default(),
            latest_command: 0,
            latest_part: 0,
            latest_conn: 0,
            latest_lane: 0,
            latest_owner: 0,
            reauth_count: 0,
            latest_maintenance: Vec::new(),
            last_error: None,
            is_finishing: false,
            is_closed: false,
            config,
        })
    }

    /// Connects without waiting for a command, and stays connected.
    pub fn connect(&mut self, now: Now) {
        let now = self.observe(now);
        if let Some(lane) = self.lanes.first_mut() {
            lane.is_wanted = true;
        }
        self.settle(now);
    }

    /// Accepts no more commands, and closes as soon as none waits: each ends by its own deadline at the latest.
    pub fn finish(&mut self, now: Now) {
        let now = self.observe(now);
        self.is_finishing = true;
        self.settle(now);
    }

    /// Ends everything: what waits is told so, the connections are closed, and nothing follows.
    pub fn close(&mut self, now: Now) {
        let now = self.observe(now);
        if !self.is_closed {
            self.end();
            self.settle(now);
        }
    }

    /// Whether nothing follows: `close` was called, or `finish` and the last command has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The socket that was asked for is connected.
    pub fn handle_connected(&mut self, conn: ConnId, now: Now) {
        let now = self.observe(now);
        let Some(lane) = self.lane_of(conn) else { return };
        let Client { lanes, events, .. } = self;
        if let Some(connection) = lanes::get(lanes, lane).and_then(|lane| lane.connection_of(conn)) {
            connection.handle_connected(now, events);
            self.act_on_events(lane, conn, now);
        }
        self.settle(now);
    }

    /// Bytes came in. Those of unknown or closed connections are ignored.
    pub fn handle_received(&mut self, conn: ConnId, bytes: &[u8], now: Now) {
        self.receive(conn, now, |connection, now, answers, events| {
            connection.handle_received(bytes, now, answers, events);
        });
    }

    /// A buffer with room for a read of `room` bytes, or more. What a driver appends to it spares a copy. It is to be
    /// given back by `handle_received_in` before anything else of that connection is received, and with what it held.
    pub fn take_receive_buffer(&mut self, conn: ConnId, room: usize) -> Vec<u8> {
        match self.connection_mut(conn) {
            Some(connection) => connection.lend_buffer(room),
            None => Vec::with_capacity(room),
        }
    }

    /// As `handle_received`, for bytes that were appended to the buffer of `take_receive_buffer`. Where nothing was
    /// appended, nothing happens.
    pub fn handle_received_in(&mut self, conn: ConnId, buffer: Vec<u8>, now: Now) {
        self.receive(conn, now, |connection, now, answers, events| {
            connection.handle_filled(buffer, now, answers, events);
        });
    }

    fn receive(
        &mut self,
        conn: ConnId,
        now: Now,
        receive: impl FnOnce(&mut Connection, Instant, &mut Vec<Answer>, &mut Vec<Event>),
    ) {
        let now = self.observe(now);
        let Some(lane) = self.lane_of(conn) else { return };
        let Client { lanes, events, spare, .. } = self;
        let Some(owner) = lanes::get(lanes, lane) else { return };
        let Some(connection) = owner.connection_of(conn) else { return };
        let mut batch = std::mem::take(spare);
        receive(connection, now, &mut batch.answers, events);
        if connection.has_frames() {
            (batch.bytes, batch.nodes) = connection.take_tape((batch.bytes, batch.nodes));
        }
        let had_events = !events.is_empty();
        if had_events {
            self.inspect(lane, conn, &mut batch, now);
        }
        if let Some(lane) = lanes::get(&mut self.lanes, lane) {
            lane.release(conn);
        }
        if batch.answers.is_empty() {
            self.recycle(batch);
        } else {
            self.outputs.push_back(Output::Replies(batch));
        }
        self.act_on_events(lane, conn, now);
        // Nothing but answers: nobody else is touched.
        if had_events { self.settle(now) } else { self.settle_lane(lane, now) }
    }

    /// There is no socket any more, or none was made.
    pub fn handle_disconnected(&mut self, conn: ConnId, cause: DisconnectCause, now: Now) {
        let now = self.observe(now);
        if let Some(stage) = self.connection_mut(conn).map(|connection| Stage::of(connection)) {
            let trouble = match cause {
                DisconnectCause::ConnectFailed(text) => Trouble { code: ErrorCode::Unreachable, text },
                DisconnectCause::Closed => Trouble::of_orderly_end(stage),
                DisconnectCause::Broken(text) => Trouble::of_breakdown(text, stage),
            };
            self.lose_connection(conn, trouble, false, now);
        }
        self.settle(now);
    }

    /// Time has passed. Safe to call at any moment.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = self.observe(now);
        self.fail_overdue(now);
        for index in 0..self.conns.len() {
            let Some(&(conn, lane)) = self.conns.get(index) else { break };
            let Client { lanes, events, rng, .. } = self;
            if let Some(connection) = lanes::get(lanes, lane).and_then(|lane| lane.connection_of(conn)) {
                connection.handle_timeout(now, rng, events);
            }
            if !self.events.is_empty() {
                self.act_on_events(lane, conn, now);
            }
        }
        self.present_due_tokens(now);
        self.retry_parked(now);
        self.refresh_topology(now);
        self.settle(now);
    }

    /// What to do next; `None` where nothing is left to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether `poll_output` would find something.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// When `handle_timeout` wants to be called. May be early: then that call does nothing.
    pub fn poll_timeout(&self, now: Now) -> Option<Wakeup> {
        if self.is_closed {
            return None;
        }
        let now = now.monotonic;
        let mut next: Option<(Instant, WakeupReason)> = None;
        let mut note = |at: Option<(Instant, WakeupReason)>| {
            if let Some(at) = at
                && next.is_none_or(|next| at.0 < next.0)
            {
                next = Some(at);
            }
        };
        for lane in &self.lanes {
            let can_connect = || self.can_login(now) && self.may_shake_hands(lane.node);
            let may_connect = lane.connection.is_none() && lane.needs_connection() && can_connect();
            note(lane.poll_timeout(can_connect, now));
            note(may_connect.then(|| (lane.may_open_at(), WakeupReason::Reconnect)));
        }
        note(self.parked.wakeup_at().map(|at| (at, WakeupReason::Retry)));
        let can_ask = || self.can_login(now) && self.may_shake_hands(SEED);
        note(self.topology_due_at(&can_ask).map(|at| (at, WakeupReason::Topology)));
        note(self.idle_lanes_end().map(|at| (at, WakeupReason::KeepAlive)));
        let (at, reason) = next?;
        Some(Wakeup { at, reason })
    }

    fn end(&mut self) {
        self.is_closed = true;
        self.end_parked(ErrorCode::Closed, "the client was closed");
        self.subscribers.clear();
        while let Some(lane) = self.lanes.last().map(|lane| lane.id) {
            if let Some(lane) = lanes::get(&mut self.lanes, lane) {
                lane.is_wanted = false;
            }
            self.fail_queue(lane, ErrorCode::Closed, "the client was closed");
            self.drop_connections(lane, ErrorCode::Closed, "the client was closed");
            if lane == LaneId(0) {
                break;
            }
            self.lanes.pop();
        }
    }

    fn end_if_finished(&mut self) {
        if !self.is_finishing || self.is_closed {
            return;
        }
        if !self.lanes.iter().any(Lane::has_waiters) && self.parked.is_empty() {
            self.end();
        }
    }

    fn observe(&mut self, now: Now) -> Instant {
        if self.clock.has_seen(now) {
            return now.monotonic;
        }
        let (now, jump) = self.clock.observe(now);
        if let Some(tls) = &self.tls {
            tls.set_time(now);
        }
        if let Some(ahead) = jump.filter(|_| !self.is_closed) {
            self.tokens.handle_clock_jump(ahead);
            self.outputs.push_back(Output::Notice(Notice::ClockJumped { ahead }));
        }
        now.monotonic
    }
}

fn outcome_of(removed: Removed) -> Outcome {
    match removed {
        Removed::Untouched => Outcome::NotSent,
        Removed::RefusedBefore => Outcome::Refused,
        Removed::PartlySealed => Outcome::Indeterminate,
    }
}
