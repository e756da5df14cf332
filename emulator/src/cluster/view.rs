//! What clients are told about the topology: what the server says, with the nodes in place of the servers, and
//! in the shape of the emulated product.
//!
//! Azure Managed Redis is told from CLUSTER SLOTS alone: short ids, no replicas, TLS ports, no host names, the
//! last slots first. Azure Cache for Redis has the shapes of Redis 6.0.

use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::types::OwnedFrame as Frame;

use super::{ADVERTISED, Cluster, Door, Place};
use crate::dialect::Product;

/// What a client asked about the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Info,
    Nodes,
    /// CLUSTER REPLICAS: an array of the lines of CLUSTER NODES.
    Replicas,
    Shards,
    Slots,
}

/// One row of CLUSTER SLOTS.
struct Row {
    first: i64,
    last: i64,
    /// The primary, then the replicas.
    nodes: Vec<usize>,
}

impl View {
    /// The view that a command asks for.
    pub(crate) fn of(arguments: &[&[u8]]) -> Option<View> {
        let is = |at: usize, word: &str| arguments[at].eq_ignore_ascii_case(word.as_bytes());
        if arguments.len() < 2 || !is(0, "cluster") {
            return None;
        }
        let views = [
            ("info", View::Info),
            ("nodes", View::Nodes),
            ("replicas", View::Replicas),
            ("slaves", View::Replicas),
            ("shards", View::Shards),
            ("slots", View::Slots),
        ];
        views.into_iter().find(|(word, _)| is(1, word)).map(|(_, view)| view)
    }

    /// What the server is asked for it; nothing for what it was asked anyway.
    pub(crate) fn question(self, product: Product) -> Option<&'static [u8]> {
        let from_slots = product == Product::Managed && matches!(self, View::Nodes | View::Shards);
        from_slots.then_some(b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n")
    }
}

impl Cluster {
    /// The reply to a question about the topology, made of the server's; nothing if that is not understood.
    pub(crate) fn show(&self, view: View, door: Door, resp3: bool, reply: &[u8]) -> Option<Vec<u8>> {
        let (frame, _) = decode(reply).ok()??;
        match (self.dialect.product, view) {
            (_, View::Slots) => Some(self.slots(&self.rows(frame)?)),
            (Product::Managed, View::Shards) => Some(self.shards(&self.rows(frame)?, resp3)),
            (Product::Managed, View::Nodes) => {
                Some(text(&self.managed_nodes(&self.rows(frame)?, door), resp3))
            }
            (_, View::Info) => Some(text(&self.info(text_of(&frame)?), resp3)),
            (Product::Cache, View::Nodes) => Some(text(&self.node_lines(text_of(&frame)?), resp3)),
            (Product::Cache, View::Replicas) => {
                let Frame::Array { data, .. } = frame else { return None };
                let lines: Vec<&str> = data.iter().map(text_of).collect::<Option<_>>()?;
                let lines = lines.into_iter().map(|line| bulk(self.node_lines(line).trim_end()));
                Some(array(lines.collect()))
            }
            _ => None,
        }
    }

    /// A redirect of the server's with the node in place of the server; nothing for any other text.
    pub(crate) fn redirect(&self, text: &str) -> Option<String> {
        let mut words = text.split(' ');
        let (Some(word @ ("MOVED" | "ASK")), Some(slot), Some(address), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        let port = address.strip_prefix("127.0.0.1:")?.parse().ok()?;
        let place = self.listed(self.node_at(port)?);
        Some(format!("{word} {slot} {ADVERTISED}:{}", place.port))
    }

    fn listed(&self, node: usize) -> Place {
        self.state().nodes[node].listed
    }

    /// The rows of CLUSTER SLOTS in the order of the product.
    fn rows(&self, frame: Frame) -> Option<Vec<Row>> {
        let Frame::Array { data, .. } = frame else { return None };
        let mut rows = data.iter().map(|row| self.row(row)).collect::<Option<Vec<Row>>>()?;
        if self.dialect.product == Product::Managed {
            rows.reverse();
        }
        Some(rows)
    }

    fn row(&self, frame: &Frame) -> Option<Row> {
        let Frame::Array { data, .. } = frame else { return None };
        let [Frame::Number { data: first, .. }, Frame::Number { data: last, .. }, nodes @ ..] =
            data.as_slice()
        else {
            return None;
        };
        let node = |frame: &Frame| {
            let Frame::Array { data, .. } = frame else { return None };
            let Some(Frame::Number { data: port, .. }) = data.get(1) else { return None };
            self.node_at(u16::try_from(*port).ok()?)
        };
        let primary = node(nodes.first()?)?;
        let nodes = match self.dialect.product {
            Product::Managed => vec![primary],
            // A 7.0 server leaves out replicas that have not seen any data yet, and a 6.0 does not.
            Product::Cache => vec![primary, primary ^ 1],
        };
        Some(Row { first: *first, last: *last, nodes })
    }

    fn slots(&self, rows: &[Row]) -> Vec<u8> {
        let node = |node: &usize| {
            let place = self.listed(*node);
            array(vec![bulk(ADVERTISED), number(i64::from(place.port)), bulk(&self.id(*node, place))])
        };
        let row = |row: &Row| {
            let range = [number(row.first), number(row.last)].into_iter();
            array(range.chain(row.nodes.iter().map(node)).collect())
        };
        array(rows.iter().map(row).collect())
    }

    fn id(&self, node: usize, place: Place) -> String {
        match self.dialect.product {
            Product::Managed => place.number.to_string(),
            Product::Cache => self.seats[node].id.clone(),
        }
    }

    /// One shard for each primary, at the place of its first row.
    fn shards(&self, rows: &[Row], resp3: bool) -> Vec<u8> {
        let shard = |(primary, ranges): (usize, Vec<(i64, i64)>)| {
            let place = self.listed(primary);
            let slots = ranges.iter().flat_map(|(first, last)| [number(*first), number(*last)]).collect();
            let node = [
                ("id", bulk(&self.id(primary, place))),
                ("tls-port", number(i64::from(place.port))),
                ("ip", bulk(&format!("10.0.0.{}", 10 - place.number.min(9)))),
                ("endpoint", bulk(ADVERTISED)),
                ("hostname", bulk("")),
                ("role", bulk("master")),
                ("replication-offset", number(0)),
                ("health", bulk("online")),
            ];
            map(&[("slots", array(slots)), ("nodes", array(vec![map(&node, resp3)]))], resp3)
        };
        array(by_primary(rows).into_iter().map(shard).collect())
    }

    fn managed_nodes(&self, rows: &[Row], door: Door) -> String {
        let myself = if let Door::Node(node) = door { node } else { 0 };
        let line = |(primary, ranges): (usize, Vec<(i64, i64)>)| {
            let Place { number, port } = self.listed(primary);
            let myself = if primary == myself { "myself," } else { "" };
            let range =
                |(first, last)| if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
            let slots: String = ranges.into_iter().map(range).collect();
            format!("{number} {ADVERTISED}:{port} {myself}master - 0 0 0 connected{slots}\n")
        };
        by_primary(rows).into_iter().map(line).collect()
    }

    /// Lines of CLUSTER NODES with the nodes' ports in place of the servers'.
    fn node_lines(&self, lines: &str) -> String {
        let line = |line: &str| {
            let (id, rest) = line.split_once(' ')?;
            let (_, rest) = rest.split_once(' ')?;
            let node = self.seats.iter().position(|seat| seat.id == id)?;
            // A setting of this cluster, and none of Azure's.
            let rest = rest.replacen(",nofailover", "", 1);
            let (port, bus_port) = (self.listed(node).port, FIRST_BUS_PORT + node);
            Some(format!("{id} {ADVERTISED}:{port}@{bus_port} {rest}\n"))
        };
        lines.lines().filter_map(line).collect()
    }

    fn info(&self, text: &str) -> String {
        let nodes = self.state().nodes.len();
        let line = |line: &str| match (self.dialect.product, line.split_once(':')) {
            // Later than 6.0.
            (_, Some(("total_cluster_links_buffer_limit_exceeded", _))) => None,
            (Product::Managed, Some((key @ "cluster_known_nodes", _))) => Some(format!("{key}:{nodes}\r\n")),
            (Product::Managed, Some((key @ ("cluster_current_epoch" | "cluster_my_epoch"), _))) => {
                Some(format!("{key}:0\r\n"))
            }
            _ => Some(format!("{line}\r\n")),
        };
        text.lines().filter_map(line).collect()
    }
}

/// The ports from which Azure Cache for Redis has its servers talk about the cluster.
const FIRST_BUS_PORT: usize = 10_221;

/// The primaries in the order of their first rows, each with its ranges.
fn by_primary(rows: &[Row]) -> Vec<(usize, Vec<(i64, i64)>)> {
    let mut shards: Vec<(usize, Vec<(i64, i64)>)> = Vec::new();
    for row in rows {
        let range = (row.first, row.last);
        match shards.iter_mut().find(|(primary, _)| row.nodes.first() == Some(primary)) {
            Some((_, ranges)) => ranges.push(range),
            None => shards.extend(row.nodes.first().map(|primary| (*primary, vec![range]))),
        }
    }
    shards.iter_mut().for_each(|(_, ranges)| ranges.sort_unstable());
    shards
}

fn text_of(frame: &Frame) -> Option<&str> {
    match frame {
        Frame::BlobString { data, .. } | Frame::VerbatimString { data, .. } => std::str::from_utf8(data).ok(),
        _ => None,
    }
}

fn number(number: i64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A text for people, as the server marks it.
fn text(text: &str, resp3: bool) -> Vec<u8> {
    match resp3 {
        true => format!("={}\r\ntxt:{text}\r\n", text.len() + 4).into_bytes(),
        false => bulk(text),
    }
}

fn array(elements: Vec<Vec<u8>>) -> Vec<u8> {
    [format!("*{}\r\n", elements.len()).into_bytes(), elements.concat()].concat()
}

fn map(pairs: &[(&str, Vec<u8>)], resp3: bool) -> Vec<u8> {
    let head = if resp3 { format!("%{}\r\n", pairs.len()) } else { format!("*{}\r\n", 2 * pairs.len()) };
    let pairs = pairs.iter().map(|(key, value)| [bulk(key), value.clone()].concat());
    [head.into_bytes(), pairs.collect::<Vec<_>>().concat()].concat()
}
