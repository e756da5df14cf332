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

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::view::View;
pub(crate) use crate::backend::SLOT_COUNT;
use crate::backend::{Control, Servers};
use crate::dialect::{Dialect, Product};

pub(crate) struct Cluster {
    dialect: Dialect,
    seats: Vec<Seat>,
    /// Whether new nodes get ports in a row, and not any that are free.
    ports_in_a_row: bool,
    state: Mutex<State>,
    /// Whether commands have to wait, because slots are moving.
    held: watch::Sender<bool>,
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

impl<'d> Deserialize<'d> for Door {
    /// `"seed"`, or the number of a node.
    fn deserialize<D: serde::Deserializer<'d>>(deserializer: D) -> Result<Door, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Name {
            Number(usize),
            Word(String),
        }
        match Name::deserialize(deserializer)? {
            Name::Number(node) => Ok(Door::Node(node)),
            Name::Word(word) if word == "seed" => Ok(Door::Seed),
            Name::Word(_) => Err(serde::de::Error::custom("node is a number, or \"seed\"")),
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
    pub(crate) fn new(dialect: Dialect, servers: &Servers, ports: &[u16], ports_in_a_row: bool) -> Cluster {
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
        let state = Mutex::new(State { primaries, nodes });
        Cluster { dialect, seats, ports_in_a_row, state, held: watch::Sender::new(false) }
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

    /// Where a server listens.
    pub(crate) fn socket(&self, server: usize) -> &Path {
        self.seats[server].control.socket()
    }

    /// The server behind a door.
    pub(crate) fn server(&self, door: Door) -> usize {
        match (door, self.dialect.product) {
            (Door::Seed, _) => self.state().primaries[0],
            (Door::Node(node), Product::Managed) => self.state().primaries[node],
            (Door::Node(node), Product::Cache) => node,
        }
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.state().primaries.len()
    }

    pub(crate) fn primary(&self, shard: usize) -> usize {
        self.state().primaries[shard]
    }

    pub(crate) fn set_primary(&self, shard: usize, server: usize) {
        self.state().primaries[shard] = server;
    }

    /// The way to a server.
    pub(crate) fn control(&self, server: usize) -> &Control {
        &self.seats[server].control
    }

    pub(crate) fn server_count(&self) -> usize {
        self.seats.len()
    }

    /// The node id of a server, and the port where other servers reach it.
    pub(crate) fn name(&self, server: usize) -> (&str, u16) {
        (&self.seats[server].id, self.seats[server].port)
    }

    /// The door to the node that stands for a server; the configured endpoint where there are no nodes.
    pub(crate) fn door(&self, server: usize) -> Door {
        if self.dialect.clustered { Door::Node(self.node_of(server)) } else { Door::Seed }
    }

    /// Waits while commands are held back.
    pub(crate) async fn admit(&self) {
        if *self.held.borrow() {
            // It fails only at the end of everything.
            let _ = self.held.subscribe().wait_for(|held| !held).await;
        }
    }

    /// Holds back commands, or lets them go on.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// The port that the next new node gets; 0 for any that is free.
    pub(crate) fn new_port(&self) -> u16 {
        let highest = self.state().nodes.iter().map(|node| node.at.port).max().unwrap_or(0);
        if self.ports_in_a_row { highest + 1 } else { 0 }
    }

    /// A node is another one from now on; the topology says so later.
    pub(crate) fn replace(&self, node: usize, port: u16) {
        let mut state = self.state();
        let number = state.nodes.iter().map(|node| node.at.number).max().unwrap_or(0) + 1;
        state.nodes[node].at = Place { number, port };
    }

    /// The topology says where a node is.
    pub(crate) fn list(&self, node: usize) {
        let node = &mut self.state().nodes[node];
        node.listed = node.at;
    }

    /// The listed port of the node at a door, and that of the node after it.
    pub(crate) fn listed_ports(&self, door: Door) -> (u16, u16) {
        let state = self.state();
        let node = if let Door::Node(node) = door { node } else { 0 };
        let port =
            |node: usize| state.nodes.get(node % state.nodes.len().max(1)).map_or(0, |one| one.listed.port);
        let step = if self.dialect.product == Product::Managed { 1 } else { 2 };
        (port(node), port(node + step))
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

/// Where every node is said to be. Nobody listens there.
pub(crate) const ADVERTISED: &str = "127.0.0.2";

/// The lowest node id on Azure Managed Redis; its port is 8502.
const FIRST_NUMBER: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{ClusterRefusal, Select};
    use crate::options::Profile;

    #[test]
    fn nodes_have_the_ports_that_azure_gives_them() {
        let ports = |profile, shards| {
            let dialect = Dialect::new(profile, ClusterRefusal::Disabled, Select::Ignore);
            let count = Cluster::node_count(dialect, shards);
            let ports = (0..count).map(|node| Cluster::node_port(dialect, node, count, 8_502));
            ports.collect::<Vec<u16>>()
        };
        assert_eq!(ports(Profile::AmrOss, 3), [8_504, 8_503, 8_502]);
        assert_eq!(ports(Profile::AcrCluster, 2), [8_502, 8_503, 8_504, 8_505]);
        assert!(ports(Profile::AmrNocluster, 1).is_empty());
    }
}
