//! The nodes as clients see them, and the servers behind them.
//!
//! On Azure Managed Redis a node is an endpoint of a proxy: it stands for a shard, whichever server is its
//! primary, and replicas are not seen. On Azure Cache for Redis a node is a server. Nodes are advertised at an
//! address where nobody listens, so a client that dials what it is told cannot connect.
//!
//! - `view`: replies about the topology, and redirects, as clients get them.

mod view;

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

pub(crate) use self::view::View;
use crate::backend::{Control, Servers};
use crate::dialect::{Dialect, Product};

pub(crate) struct Cluster {
    dialect: Dialect,
    seats: Vec<Seat>,
    state: Mutex<State>,
}

/// A server.
struct Seat {
    control: Control,
    /// Its name in the cluster; both are of no use for a single server.
    id: String,
    port: u16,
}

struct State {
    /// The server that is the primary of each shard.
    primaries: Vec<usize>,
    nodes: Vec<Node>,
}

/// A node of a cluster, as clients see it.
#[derive(Clone, Copy)]
struct Node {
    at: Place,
    /// What topologies and redirects say of it.
    listed: Place,
}

#[derive(Clone, Copy)]
struct Place {
    /// The node id on Azure Managed Redis.
    number: u16,
    port: u16,
}

/// A node as `/stats` shows it.
#[derive(Serialize)]
pub(crate) struct NodeStatus {
    node: usize,
    port: u16,
    /// Another than `port` while the topology is stale.
    listed_port: u16,
    shard: usize,
    role: &'static str,
}

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// The configured endpoint; of a cluster it behaves as the first node.
    Seed,
    Node(usize),
}

impl std::fmt::Display for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Door::Seed => formatter.write_str("seed"),
            Door::Node(node) => write!(formatter, "{node}"),
        }
    }
}

impl Serialize for Door {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Cluster {
    /// `ports` are those of the nodes' doors, and empty for a single server.
    pub(crate) fn new(dialect: Dialect, servers: &Servers, ports: &[u16]) -> Cluster {
        let controls = servers.controls().into_iter();
        let seats = match servers.seats.is_empty() {
            true => controls.map(|control| Seat { control, id: String::new(), port: 0 }).collect(),
            false => (controls.zip(&servers.seats))
                .map(|(control, seat)| Seat { control, id: seat.id.clone(), port: seat.port })
                .collect(),
        };
        let count = ports.len();
        let place = |(node, port): (usize, &u16)| {
            let number = FIRST_NUMBER + u16::try_from(count - 1 - node).unwrap_or(0);
            Place { number, port: *port }
        };
        let nodes = ports.iter().enumerate().map(place).map(|at| Node { at, listed: at }).collect();
        let primaries = (0..servers.seats.len().max(1)).step_by(2).collect();
        Cluster { dialect, seats, state: Mutex::new(State { primaries, nodes }) }
    }

    /// How many nodes clients see for so many shards.
    pub(crate) fn node_count(dialect: Dialect, shards: usize) -> usize {
        match (dialect.clustered, dialect.product) {
            (false, _) => 0,
            (true, Product::Managed) => shards,
            (true, Product::Cache) => 2 * shards,
        }
    }

    /// The port of a node if they start at `first`. Managed Redis has the last shard at the first port.
    pub(crate) fn node_port(dialect: Dialect, node: usize, count: usize, first: u16) -> u16 {
        let position = match dialect.product {
            Product::Managed => count - 1 - node,
            Product::Cache => node,
        };
        first.saturating_add(u16::try_from(position).unwrap_or(u16::MAX))
    }

    /// Where the server behind a door listens.
    pub(crate) fn socket(&self, door: Door) -> &Path {
        self.seats[self.server(door)].control.socket()
    }

    /// The nodes as `/stats` shows them.
    pub(crate) fn nodes(&self) -> Vec<NodeStatus> {
        let state = self.state();
        let status = |(node, Node { at, listed }): (usize, &Node)| {
            let shard = if self.dialect.product == Product::Managed { node } else { node / 2 };
            let is_primary = self.dialect.product == Product::Managed || state.primaries[shard] == node;
            let role = if is_primary { "primary" } else { "replica" };
            NodeStatus { node, port: at.port, listed_port: listed.port, shard, role }
        };
        state.nodes.iter().enumerate().map(status).collect()
    }

    fn server(&self, door: Door) -> usize {
        let node = if let Door::Node(node) = door { node } else { 0 };
        match self.dialect.product {
            _ if !self.dialect.clustered => 0,
            Product::Managed => self.state().primaries[node],
            Product::Cache => node,
        }
    }

    /// The node that stands for a server.
    fn node_of(&self, server: usize) -> usize {
        match self.dialect.product {
            Product::Managed => server / 2,
            Product::Cache => server,
        }
    }

    /// The node of the server with this port.
    fn node_at(&self, port: u16) -> Option<usize> {
        self.seats.iter().position(|seat| seat.port == port).map(|server| self.node_of(server))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with this lock held")
    }
}

/// The lowest node id on Azure Managed Redis; its port is 8502.
const FIRST_NUMBER: u16 = 3;
