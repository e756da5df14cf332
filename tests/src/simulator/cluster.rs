//! Who serves which slot, who believes what about it, and what they tell.

use super::slots::SLOTS;
use super::wire::Writer;
use std::collections::BTreeSet;

/// How a cluster shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Azure Managed Redis: one public address, short ids, no replicas, metadata left out.
    Managed,
    /// Azure Cache for Redis: one public address, replicas, no CLUSTER SHARDS.
    Cache,
    /// Open source: an address for each node, replicas, metadata.
    OpenSource,
}

/// The address that nodes behind one name advertise: nobody answers there.
pub const ADVERTISED: &str = "203.0.113.7";

/// Which shard serves each slot, and which node each shard.
#[derive(Clone, Debug)]
pub struct View {
    /// The shard of every slot; `NOBODY` where none has it.
    pub shard_of: Vec<u8>,
    /// The primary of every shard.
    pub primaries: Vec<usize>,
    /// The replicas of every shard.
    pub replicas: Vec<Vec<usize>>,
}

/// A slot that no shard serves.
pub const NOBODY: u8 = u8::MAX;

/// Slots on their way from one shard to another.
#[derive(Clone, Debug)]
pub struct Migration {
    /// First and last slot.
    pub slots: (u16, u16),
    /// The shard that gives them away.
    pub from: u8,
    /// The shard that gets them.
    pub to: u8,
    /// When keys begin to move, and when the last has moved; true time.
    pub during: (u64, u64),
}

impl Migration {
    /// Whether a key has moved by now. Keys move in an order of their own.
    pub fn has_moved(&self, key: &[u8], now: u64) -> bool {
        let hash = key
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        let (begin, end) = self.during;
        let share = now.saturating_sub(begin) * 100 / (end - begin).max(1);
        u64::from(hash % 100) < share
    }

    fn holds(&self, slot: u16) -> bool {
        (self.slots.0..=self.slots.1).contains(&slot)
    }
}

/// What to do with a command at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run it.
    Serve,
    /// Answer this error.
    Refuse(String),
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How it shows itself.
    pub shape: Shape,
    /// How it is.
    pub truth: View,
    /// What a node believes instead, and until when.
    pub stale: Vec<Option<(View, u64)>>,
    /// Slots on their way.
    pub migrations: Vec<Migration>,
    /// Every address that was told in a topology: nothing else may be connected to.
    pub listed: BTreeSet<(String, u16)>,
}

impl Cluster {
    /// A cluster of so many shards, the slots spread evenly; node n is the primary of shard n, and replicas follow.
    pub fn new(shape: Shape, shards: usize) -> Cluster {
        let share = usize::from(SLOTS).div_ceil(shards);
        let replicas = |shard: usize| match shape {
            Shape::Managed => Vec::new(),
            Shape::Cache | Shape::OpenSource => vec![shards + shard],
        };
        let truth = View {
            shard_of: (0..usize::from(SLOTS)).map(|slot| (slot / share) as u8).collect(),
            primaries: (0..shards).collect(),
            replicas: (0..shards).map(replicas).collect(),
        };
        let nodes = truth.primaries.len() + truth.replicas.iter().map(Vec::len).sum::<usize>();
        let stale = vec![None; nodes];
        Cluster { shape, truth, stale, migrations: Vec::new(), listed: BTreeSet::new() }
    }

    /// How many nodes there were so far.
    pub fn nodes(&self) -> usize {
        self.stale.len()
    }

    /// One more node; answers its index.
    pub fn add_node(&mut self) -> usize {
        self.stale.push(None);
        self.stale.len() - 1
    }

    /// The address that a node tells of itself.
    pub fn advertised(&self, node: usize) -> (String, u16) {
        match self.shape {
            Shape::Managed => (ADVERTISED.to_owned(), 8501 + node as u16),
            Shape::Cache => (ADVERTISED.to_owned(), 15000 + node as u16),
            Shape::OpenSource => (format!("10.0.0.{}", node + 1), 6379),
        }
    }

    /// The port at which a node is really to be reached, on the configured host.
    pub fn port(&self, node: usize) -> u16 {
        match self.shape {
            Shape::OpenSource => 7000 + node as u16,
            Shape::Managed | Shape::Cache => self.advertised(node).1,
        }
    }

    /// What a node believes.
    pub fn view(&self, node: usize, now: u64) -> &View {
        match &self.stale[node] {
            Some((view, until)) if now < *until => view,
            _ => &self.truth,
        }
    }

    /// Everybody but these goes on believing in the present state for a while.
    pub fn keep_stale(&mut self, until: u64, but: &[usize]) {
        for (node, stale) in self.stale.iter_mut().enumerate() {
            if !but.contains(&node) {
                *stale = Some((self.truth.clone(), until));
            }
        }
    }

    /// Whether a command for these keys, all of `slot`, is run by `node`.
    pub fn route(&self, node: usize, slot: u16, keys: &[&[u8]], is_asking: bool, now: u64) -> Verdict {
        let view = self.view(node, now);
        let shard = view.shard_of[usize::from(slot)];
        let Some(&owner) = view.primaries.get(usize::from(shard)) else {
            return refuse("CLUSTERDOWN Hash slot not served");
        };
        let migration = self.migrations.iter().find(|migration| migration.holds(slot));
        let moved = |migration: &Migration| keys.iter().filter(|key| migration.has_moved(key, now)).count();
        if owner == node {
            let Some(migration) = migration.filter(|migration| migration.from == shard) else {
                return Verdict::Serve;
            };
            return match moved(migration) {
                0 => Verdict::Serve,
                all if all == keys.len() => {
                    self.redirect("ASK", slot, self.truth.primaries[usize::from(migration.to)])
                }
                _ => refuse(TRYAGAIN),
            };
        }
        let importing = migration.filter(|migration| view.primaries[usize::from(migration.to)] == node);
        match importing.filter(|_| is_asking) {
            Some(migration) if keys.len() > 1 && moved(migration) < keys.len() => refuse(TRYAGAIN),
            Some(_) => Verdict::Serve,
            None => self.redirect("MOVED", slot, owner),
        }
    }

    fn redirect(&self, word: &str, slot: u16, node: usize) -> Verdict {
        let (host, port) = self.advertised(node);
        Verdict::Refuse(format!("{word} {slot} {host}:{port}"))
    }

    /// The move is done: the slots belong to their new shard.
    pub fn settle_migration(&mut self, index: usize) -> Migration {
        let migration = self.migrations.remove(index);
        for slot in migration.slots.0..=migration.slots.1 {
            self.truth.shard_of[usize::from(slot)] = migration.to;
        }
        migration
    }

    /// `CLUSTER …` as `node` answers it.
    pub fn answer(&mut self, node: usize, subcommand: &str, now: u64, out: &mut Writer) {
        match subcommand {
            "SLOTS" => self.answer_slots(node, now, out),
            "NODES" => self.answer_nodes(node, now, out),
            "SHARDS" if self.shape != Shape::Cache => self.answer_shards(node, now, out),
            "SHARDS" => {
                out.error(
                    "ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.",
                );
            }
            other => out.error(&format!("ERR unknown subcommand '{other}'. Try CLUSTER HELP.")),
        }
    }

    fn answer_slots(&mut self, node: usize, now: u64, out: &mut Writer) {
        let view = self.view(node, now).clone();
        let mut ranges = ranges(&view);
        if self.shape == Shape::Managed {
            // Shards come in no order there.
            ranges.reverse();
        }
        out.array(ranges.len());
        for (first, last, shard) in ranges {
            let nodes: Vec<usize> =
                std::iter::once(view.primaries[shard]).chain(view.replicas[shard].iter().copied()).collect();
            out.array(2 + nodes.len());
            out.integer(i64::from(first));
            out.integer(i64::from(last));
            for node in nodes {
                let (host, port) = self.advertised(node);
                out.array(if self.shape == Shape::OpenSource { 4 } else { 3 });
                out.bulk(&host);
                out.integer(i64::from(port));
                out.bulk(self.id(node));
                if self.shape == Shape::OpenSource {
                    out.map(1);
                    out.bulk("hostname");
                    out.bulk("");
                }
                self.listed.insert((host, port));
            }
        }
    }

    fn answer_nodes(&mut self, myself: usize, now: u64, out: &mut Writer) {
        let view = self.view(myself, now).clone();
        let mut text = String::new();
        for (shard, &primary) in view.primaries.iter().enumerate() {
            for &node in std::iter::once(&primary).chain(&view.replicas[shard]) {
                let (host, port) = self.advertised(node);
                let me = if node == myself { "myself," } else { "" };
                let (role, master) = match node == primary {
                    true => ("master", "-".to_owned()),
                    false => ("slave", self.id(primary)),
                };
                let bus =
                    if self.shape == Shape::Managed { String::new() } else { format!("@{}", port + 10_000) };
                text += &format!("{} {host}:{port}{bus} {me}{role} {master} 0 0 0 connected", self.id(node));
                if node == primary {
                    for (first, last, _) in ranges(&view).into_iter().filter(|range| range.2 == shard) {
                        text += &if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
                    }
                }
                text += "\n";
                self.listed.insert((host, port));
            }
        }
        out.bulk(text);
    }

    fn answer_shards(&mut self, node: usize, now: u64, out: &mut Writer) {
        let view = self.view(node, now).clone();
        out.array(view.primaries.len());
        for (shard, &primary) in view.primaries.iter().enumerate() {
            let own: Vec<_> = ranges(&view).into_iter().filter(|range| range.2 == shard).collect();
            out.map(2);
            out.bulk("slots");
            out.array(2 * own.len());
            for (first, last, _) in own {
                out.integer(i64::from(first));
                out.integer(i64::from(last));
            }
            out.bulk("nodes");
            let nodes: Vec<usize> =
                std::iter::once(primary).chain(view.replicas[shard].iter().copied()).collect();
            out.array(nodes.len());
            for node in nodes {
                let (host, port) = self.advertised(node);
                out.map(6);
                let role = if node == primary { "master" } else { "replica" };
                for (name, value) in [("id", self.id(node)), ("endpoint", host.clone())] {
                    out.bulk(name);
                    out.bulk(value);
                }
                out.bulk(if self.shape == Shape::Managed { "tls-port" } else { "port" });
                out.integer(i64::from(port));
                for (name, value) in [("ip", "10.9.9.9"), ("role", role), ("health", "online")] {
                    out.bulk(name);
                    out.bulk(value);
                }
                self.listed.insert((host, port));
            }
        }
    }

    fn id(&self, node: usize) -> String {
        match self.shape {
            Shape::Managed => (node + 3).to_string(),
            Shape::Cache | Shape::OpenSource => format!("{:040x}", 0xa5_0000 + node),
        }
    }
}

const TRYAGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";

fn refuse(text: &str) -> Verdict {
    Verdict::Refuse(text.to_owned())
}

/// Neighbouring slots of one shard: first, last, shard.
fn ranges(view: &View) -> Vec<(u16, u16, usize)> {
    let mut ranges: Vec<(u16, u16, usize)> = Vec::new();
    for (slot, &shard) in view.shard_of.iter().enumerate().filter(|(_, shard)| **shard != NOBODY) {
        match ranges.last_mut() {
            Some(range) if range.2 == usize::from(shard) && usize::from(range.1) + 1 == slot => {
                range.1 = slot as u16;
            }
            _ => ranges.push((slot as u16, slot as u16, usize::from(shard))),
        }
    }
    ranges
}
