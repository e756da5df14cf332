//! What happened: the counters and the list of connections that `/stats` shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use crate::cluster::Door;
use crate::token::{Grant, Proof, Refusal, unix_now};

/// All counts since the start.
pub(crate) struct Census {
    counts: Mutex<Counts>,
}

/// The form of `/stats`.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Counts {
    /// AUTH and HELLO … AUTH that arrived.
    auth_total: u64,
    /// The same for each node that had any: its number, or `seed` for the configured endpoint.
    auth_by_node: BTreeMap<String, u64>,
    auth_accepted: u64,
    auth_refused: u64,
    auth_refusals: BTreeMap<Refusal, u64>,
    /// Accepted on a connection that was logged in already.
    reauth_total: u64,
    /// Arrivals in each of the recent seconds that had any, oldest first.
    auth_per_second: VecDeque<Second>,
    connections: Vec<Connection>,
    connections_accepted: u64,
    closed_at_expiry: u64,
    closed: BTreeMap<Cause, u64>,
    /// Ordinary commands answered, by the object id that the connection was logged in with.
    commands: BTreeMap<String, u64>,
    tokens_issued: u64,
    /// Those of the identity endpoints, by what they were given for.
    tokens_issued_by_proof: BTreeMap<Proof, u64>,
    /// Requests for tokens, at all endpoints and at each.
    identity_requests: u64,
    identity_requests_by_endpoint: BTreeMap<&'static str, u64>,
    /// Requests for the documents that lead to Entra's token endpoint.
    discovery_requests: u64,
    /// Names in the TLS handshake (SNI) of the connections that a token arrived on; empty where there was
    /// none.
    token_hosts: BTreeSet<String>,
    servers: Vec<Server>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The client closed it.
    Client,
    /// redis-server closed it.
    Server,
    /// Its token expired.
    Expired,
    /// It was silent for too long.
    Idle,
    /// It was closed before TLS.
    BeforeTls,
    CloseAll,
    /// Its node went away.
    NodeClosed,
    /// The server behind it is no primary any more.
    Failover,
    KeysDisabled,
    AssignmentRevoked,
    /// A fault cut a reply.
    Truncated,
    /// redis-protocol cannot read what the server sent.
    Unreadable,
}

#[derive(Clone, Serialize)]
struct Second {
    /// Seconds since 1970.
    at: i64,
    count: u64,
}

#[derive(Clone, Serialize)]
struct Connection {
    id: u64,
    node: Door,
    oid: Option<String>,
    /// Seconds since 1970; null for an access key.
    token_exp: Option<i64>,
    /// main, subscriptions, blocking, transactions or monitor.
    lane: &'static str,
    logged_in: bool,
    /// Logins accepted.
    auth_count: u64,
}

#[derive(Clone, Serialize)]
struct Server {
    pid: u32,
}

impl Census {
    pub(crate) fn new(server_pids: Vec<u32>) -> Census {
        let servers = server_pids.into_iter().map(|pid| Server { pid }).collect();
        Census { counts: Mutex::new(Counts { servers, ..Counts::default() }) }
    }

    pub(crate) fn snapshot(&self) -> Counts {
        let mut counts = self.counts();
        forget_old_seconds(&mut counts.auth_per_second, unix_now());
        counts.clone()
    }

    /// A connection finished its TLS handshake; the answer is its number.
    pub(crate) fn connected(&self, door: Door) -> u64 {
        let mut counts = self.counts();
        counts.connections_accepted += 1;
        let id = counts.connections_accepted;
        counts.connections.push(Connection {
            id,
            node: door,
            oid: None,
            token_exp: None,
            lane: "main",
            logged_in: false,
            auth_count: 0,
        });
        id
    }

    pub(crate) fn disconnected(&self, id: u64, cause: Cause) {
        self.counts().connections.retain(|connection| connection.id != id);
        self.closed(cause);
    }

    /// A connection ended, perhaps before it counted as one.
    pub(crate) fn closed(&self, cause: Cause) {
        let mut counts = self.counts();
        *counts.closed.entry(cause).or_default() += 1;
        counts.closed_at_expiry += u64::from(cause == Cause::Expired);
    }

    /// What a connection is used for, as its commands show.
    pub(crate) fn in_lane(&self, id: u64, lane: &'static str) {
        let mut counts = self.counts();
        if let Some(connection) = counts.connections.iter_mut().find(|connection| connection.id == id) {
            connection.lane = lane;
        }
    }

    /// A login arrived at a door, on a connection whose handshake named `host`.
    pub(crate) fn login_arrived(&self, door: Door, host: &str) {
        let now = unix_now();
        let mut counts = self.counts();
        counts.auth_total += 1;
        *counts.auth_by_node.entry(door.to_string()).or_default() += 1;
        if !counts.token_hosts.contains(host) {
            counts.token_hosts.insert(host.to_owned());
        }
        forget_old_seconds(&mut counts.auth_per_second, now);
        match counts.auth_per_second.back_mut() {
            Some(second) if second.at == now => second.count += 1,
            _ => counts.auth_per_second.push_back(Second { at: now, count: 1 }),
        }
    }

    /// The server said yes to a login.
    pub(crate) fn login_accepted(&self, id: u64, grant: &Grant) {
        let mut counts = self.counts();
        counts.auth_accepted += 1;
        let Some(connection) = counts.connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        let again = connection.logged_in;
        connection.logged_in = true;
        connection.auth_count += 1;
        connection.oid = Some(grant.oid.clone());
        connection.token_exp = grant.expires_at;
        counts.reauth_total += u64::from(again);
    }

    pub(crate) fn login_refused(&self, refusal: Refusal) {
        let mut counts = self.counts();
        counts.auth_refused += 1;
        *counts.auth_refusals.entry(refusal).or_default() += 1;
    }

    pub(crate) fn commands_answered(&self, oid: &str, count: u64) {
        let mut counts = self.counts();
        match counts.commands.get_mut(oid) {
            Some(total) => *total += count,
            None => drop(counts.commands.insert(oid.to_owned(), count)),
        }
    }

    pub(crate) fn identity_requested(&self, endpoint: &'static str) {
        let mut counts = self.counts();
        counts.identity_requests += 1;
        *counts.identity_requests_by_endpoint.entry(endpoint).or_default() += 1;
    }

    pub(crate) fn discovery_requested(&self) {
        self.counts().discovery_requests += 1;
    }

    /// A token was issued: by an identity endpoint for a proof, or by the admin endpoint.
    pub(crate) fn token_issued(&self, proof: Option<Proof>) {
        let mut counts = self.counts();
        counts.tokens_issued += 1;
        if let Some(proof) = proof {
            *counts.tokens_issued_by_proof.entry(proof).or_default() += 1;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics with this lock held")
    }
}

fn forget_old_seconds(seconds: &mut VecDeque<Second>, now: i64) {
    while seconds.front().is_some_and(|second| second.at <= now - AUTH_SECONDS_KEPT) {
        seconds.pop_front();
    }
}

const AUTH_SECONDS_KEPT: i64 = 60;
