//! Subscriptions at the servers.

use super::ledger::Publication;
use super::server::{Connection, Server};
use super::wire::Writer;
use std::collections::BTreeSet;

/// What a connection is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Channel => "",
            Kind::Pattern => "p",
            Kind::Shard => "s",
        }
    }
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub struct Subscriptions(pub BTreeSet<(Kind, Vec<u8>)>);

impl Subscriptions {
    fn count(&self, kind: Kind) -> i64 {
        self.0.iter().filter(|(other, _)| (*other == Kind::Shard) == (kind == Kind::Shard)).count() as i64
    }

    pub(super) fn subscribe(&mut self, kind: Kind, names: &[Vec<u8>], out: &mut Writer) {
        for name in names {
            self.0.insert((kind, name.clone()));
            out.push(3);
            out.bulk(format!("{}subscribe", kind.prefix()));
            out.bulk(name);
            out.integer(self.count(kind));
        }
    }

    pub(super) fn unsubscribe(&mut self, kind: Kind, names: &[Vec<u8>], out: &mut Writer) {
        let mut names = names.to_vec();
        if names.is_empty() {
            names = self.0.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name.clone()).collect();
        }
        let word = format!("{}unsubscribe", kind.prefix());
        if names.is_empty() {
            out.push(3);
            out.bulk(&word);
            out.null_bulk();
            out.integer(self.count(kind));
        }
        for name in names {
            self.0.remove(&(kind, name.clone()));
            out.push(3);
            out.bulk(&word);
            out.bulk(&name);
            out.integer(self.count(kind));
        }
    }

    /// The slots of sharded channels went elsewhere.
    pub(super) fn drop_shard_channels(&mut self, is_moved: impl Fn(&[u8]) -> bool, out: &mut Writer) {
        let moved: Vec<Vec<u8>> = self
            .0
            .iter()
            .filter(|(kind, name)| *kind == Kind::Shard && is_moved(name))
            .map(|(_, name)| name.clone())
            .collect();
        if !moved.is_empty() {
            self.unsubscribe(Kind::Shard, &moved, out);
        }
    }
}

impl Server {
    /// Everybody who is subscribed gets it, at whatever node; of sharded channels, at this one.
    pub(super) fn publish(&mut self, node: usize, kind: Kind, channel: &[u8], payload: u64, now: u64) {
        let name = [kind.prefix().as_bytes(), channel].concat();
        self.ledger.published.entry(name).or_default().push(Publication { payload, at: now });
        let mut reached = Vec::new();
        for (key, connection) in &mut self.connections {
            if !connection.subscriptions.0.is_empty()
                && deliver(connection, kind, (kind == Kind::Shard).then_some(node), channel, payload)
            {
                reached.push(*key);
            }
        }
        reached.into_iter().for_each(|key| self.flush(key));
    }

    /// The subscriptions of a client at all servers, each as often as a connection has it.
    pub fn subscriptions_of(&self, client: usize) -> Vec<(Kind, Vec<u8>)> {
        let own = self.connections.range((client, 0)..(client + 1, 0));
        let mut all: Vec<_> =
            own.flat_map(|(_, connection)| connection.subscriptions.0.iter().cloned()).collect();
        all.sort();
        all
    }
}

fn deliver(
    connection: &mut Connection,
    kind: Kind,
    node: Option<usize>,
    channel: &[u8],
    payload: u64,
) -> bool {
    if node.is_some_and(|node| node != connection.node) {
        return false;
    }
    let out = &mut connection.out;
    let payload = payload.to_string();
    let mut reached = false;
    for (subscribed, name) in &connection.subscriptions.0 {
        let words: Vec<&[u8]> = match subscribed {
            Kind::Channel | Kind::Shard if *subscribed == kind && name == channel => {
                let word: &[u8] = if kind == Kind::Shard { b"smessage" } else { b"message" };
                vec![word, channel, payload.as_bytes()]
            }
            Kind::Pattern if kind == Kind::Channel && channel.starts_with(&name[..name.len() - 1]) => {
                vec![b"pmessage", name, channel, payload.as_bytes()]
            }
            _ => continue,
        };
        reached = true;
        out.push(words.len());
        words.iter().for_each(|word| out.bulk(word));
    }
    reached
}
