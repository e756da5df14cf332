//! A cluster as one of its nodes describes it. Untrusted text: what makes no sense is left out, and what contradicts
//! something before it is not believed.

mod nodes;
mod replies;

pub(crate) use nodes::{Migration, parse_nodes};
pub(crate) use replies::{parse_shards, parse_slots};

use super::checked_host;
use crate::slot::SLOT_COUNT;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// A node's address as the cluster advertises it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    /// A name or an address; never empty.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

/// A primary, its slots and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// First and last of each range, ascending; none where it is about to take its first slot.
    pub(crate) slots: Vec<(u16, u16)>,
    pub(crate) primary: Endpoint,
    pub(crate) replicas: Vec<Endpoint>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    /// By their first slot, those without slots at the end. Each slot is in one shard at most; one at least is in some.
    pub(crate) shards: Vec<Shard>,
}

/// Why a description of a cluster is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopologyError {
    /// It has another form.
    Malformed,
    /// No primary that can be connected to has a slot.
    NoPrimary,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopologyError::Malformed => {
                "the server's description of its cluster has a form that is not known"
            }
            TopologyError::NoPrimary => {
                "the server's description of its cluster names nobody who serves a slot"
            }
        })
    }
}

/// More nodes than that are not believed: servers recommend no more. Primaries go before replicas.
const NODES_MAX: usize = 1000;

/// Each slot may be claimed about twice, while it changes hands; more is not looked at.
const CLAIMS_MAX: usize = 2 * SLOT_COUNT as usize;

/// More replicas of one shard than that are not believed.
const REPLICAS_MAX: usize = 64;

impl Endpoint {
    /// The endpoint, if that is one.
    pub(crate) fn new(host: &str, port: u16) -> Option<Endpoint> {
        let host = checked_host(host.as_bytes())?;
        (port > 0).then(|| Endpoint { host: host.into(), port })
    }
}

impl Topology {
    /// Whether nodes are advertised by name rather than by address.
    pub(crate) fn is_by_name(&self) -> bool {
        self.shards.iter().any(|shard| shard.primary.host.parse::<IpAddr>().is_err())
    }

    /// Every node: each shard's primary, then its replicas.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Endpoint> {
        self.shards.iter().flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas))
    }
}

/// Gathers shards in any order and any number of pieces.
struct Builder {
    shards: Vec<Shard>,
    by_primary: BTreeMap<Endpoint, u16>,
    /// Which shard has a slot: whoever claimed it first.
    owners: Vec<Option<u16>>,
    /// How many slots may still be claimed.
    claims_left: usize,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            shards: Vec::new(),
            by_primary: BTreeMap::new(),
            owners: vec![None; usize::from(SLOT_COUNT)],
            claims_left: CLAIMS_MAX,
        }
    }

    /// The number of this primary's shard; `None` where there are too many.
    fn shard(&mut self, primary: Endpoint) -> Option<u16> {
        if let Some(&shard) = self.by_primary.get(&primary) {
            return Some(shard);
        }
        let shard =
            u16::try_from(self.shards.len()).ok().filter(|&number| usize::from(number) < NODES_MAX)?;
        self.by_primary.insert(primary.clone(), shard);
        self.shards.push(Shard { slots: Vec::new(), primary, replicas: Vec::new() });
        Some(shard)
    }

    /// Gives a range to a shard, but for what others have already. A range that is none is ignored.
    fn assign(&mut self, shard: u16, first: i64, last: i64) {
        let (Ok(first), Ok(last)) = (usize::try_from(first), usize::try_from(last)) else { return };
        // Empty where first > last or last is no slot.
        let claimed = self.owners.get_mut(first..=last).unwrap_or_default();
        let Some(claims_left) = self.claims_left.checked_sub(claimed.len()) else { return };
        self.claims_left = claims_left;
        for owner in claimed {
            owner.get_or_insert(shard);
        }
    }

    fn add_replica(&mut self, shard: u16, replica: Endpoint) {
        let Some(shard) = self.shards.get_mut(usize::from(shard)) else { return };
        let has_room = shard.replicas.len() < REPLICAS_MAX;
        if has_room && replica != shard.primary && !shard.replicas.contains(&replica) {
            shard.replicas.push(replica);
        }
    }

    fn finish(mut self) -> Result<Topology, TopologyError> {
        let mut room = NODES_MAX - self.shards.len();
        for shard in &mut self.shards {
            shard.replicas.truncate(room);
            room -= shard.replicas.len();
        }
        let mut first = 0;
        for run in self.owners.chunk_by(|one, other| one == other) {
            let end = first + run.len();
            let owner =
                run.first().copied().flatten().and_then(|shard| self.shards.get_mut(usize::from(shard)));
            if let (Some(shard), Ok(first), Ok(last)) = (owner, u16::try_from(first), u16::try_from(end - 1))
            {
                shard.slots.push((first, last));
            }
            first = end;
        }
        self.shards.sort_by_key(|shard| shard.slots.first().map_or(SLOT_COUNT, |range| range.0));
        let has_slots = self.shards.first().is_some_and(|shard| !shard.slots.is_empty());
        if has_slots { Ok(Topology { shards: self.shards }) } else { Err(TopologyError::NoPrimary) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::resp::{DecodeLimits, Decoder, Reply};

    /// The topology of an endpoint's shard, in short: `host:port[ranges] +replica`.
    pub(crate) fn shown(topology: &Topology) -> Vec<String> {
        let shard = |shard: &Shard| {
            let ranges: Vec<String> = shard.slots.iter().map(|(a, b)| format!("{a}-{b}")).collect();
            let mut text = format!("{}:{} {}", shard.primary.host, shard.primary.port, ranges.join(","));
            for replica in &shard.replicas {
                text += &format!(" +{}:{}", replica.host, replica.port);
            }
            text
        };
        topology.shards.iter().map(shard).collect()
    }

    pub(crate) fn asked() -> Endpoint {
        Endpoint::new("cache.example", 10000).expect("an endpoint")
    }

    /// Lets `look` see what the core's decoder makes of some bytes.
    pub(crate) fn with_reply<T>(bytes: &[u8], look: impl FnOnce(Reply<'_>) -> T) -> Option<T> {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.receive(bytes);
        let frame = decoder.next_frame().ok()??;
        let (nodes, bytes) = decoder.tape();
        Some(look(Reply::at(nodes, bytes, frame.node)))
    }

    /// What holds of every topology, whatever it was read from.
    pub(crate) fn check(topology: &Topology) {
        let mut slots = vec![false; usize::from(SLOT_COUNT)];
        for shard in &topology.shards {
            assert!(shard.slots.is_sorted(), "{topology:?}");
            for &(first, last) in &shard.slots {
                assert!(first <= last && last < SLOT_COUNT, "{topology:?}");
                for slot in first..=last {
                    assert!(!std::mem::replace(&mut slots[usize::from(slot)], true), "{slot}: {topology:?}");
                }
            }
        }
        assert!(slots.contains(&true), "{topology:?}");
        assert!(
            topology.shards.is_sorted_by_key(|shard| shard.slots.first().map_or(SLOT_COUNT, |range| range.0))
        );
        assert!(topology.nodes().all(|node| Endpoint::new(&node.host, node.port).is_some()), "{topology:?}");
    }

    #[test]
    fn an_endpoint_is_a_name_or_an_address_and_a_port() {
        for host in ["h", "10.0.0.1", "::1", "fe80::1%eth0", "a-b.c_d", &"h".repeat(253)] {
            assert!(Endpoint::new(host, 1).is_some(), "{host}");
        }
        for host in ["", "?", "a b", "a\n", "a\r\nFLUSHALL", "h/x", "é", "u@h", &"h".repeat(254)] {
            assert!(Endpoint::new(host, 1).is_none(), "{host}");
        }
        assert!(Endpoint::new("h", 0).is_none());
    }

    #[test]
    fn a_slot_belongs_to_whoever_claimed_it_first() {
        let mut builder = Builder::new();
        let endpoint = |port| Endpoint::new("h", port).expect("an endpoint");
        let one = builder.shard(endpoint(1)).expect("room");
        let other = builder.shard(endpoint(2)).expect("room");
        builder.assign(other, 100, 200);
        builder.assign(one, 0, 150);
        builder.assign(one, 300, 250);
        builder.assign(one, 400, 16384);
        builder.assign(one, -5, 3);
        builder.assign(one, i64::MIN, i64::MAX);
        builder.assign(other, 16383, 16383);
        assert_eq!(builder.shard(endpoint(1)), Some(one));
        let topology = builder.finish().expect("slots");
        assert_eq!(shown(&topology), ["h:1 0-99", "h:2 100-200,16383-16383"]);
    }

    #[test]
    fn who_claims_all_slots_again_and_again_costs_no_more_than_who_does_so_twice() {
        let mut builder = Builder::new();
        let shard = builder.shard(asked()).expect("room");
        for _ in 0..1_000_000 {
            builder.assign(shard, 0, 16382);
        }
        builder.assign(shard, 16383, 16383);
        assert_eq!(builder.claims_left, 1);
        assert_eq!(shown(&builder.finish().expect("slots")), ["cache.example:10000 0-16383"]);
    }

    #[test]
    fn nobody_who_serves_a_slot_is_no_cluster() {
        let mut builder = Builder::new();
        builder.shard(asked()).expect("room");
        assert_eq!(builder.finish(), Err(TopologyError::NoPrimary));
    }

    #[test]
    fn shards_and_replicas_beyond_all_measure_are_left_out() {
        let mut builder = Builder::new();
        let endpoint = |host: usize| Endpoint::new(&format!("h{host}"), 1).expect("an endpoint");
        for number in 0..NODES_MAX - 100 {
            assert!(builder.shard(endpoint(number)).is_some());
        }
        builder.assign(0, 0, 5);
        (1..1000).for_each(|number| builder.add_replica(0, endpoint(number)));
        (1..1000).for_each(|number| builder.add_replica(1, endpoint(number)));
        builder.add_replica(0, endpoint(0));
        let topology = builder.finish().expect("slots");
        assert_eq!(topology.shards[0].replicas.len(), REPLICAS_MAX);
        assert_eq!(topology.shards[1].replicas.len(), 100 - REPLICAS_MAX);
        assert_eq!(topology.nodes().count(), NODES_MAX);
        let mut builder = Builder::new();
        for number in 0..NODES_MAX {
            assert!(builder.shard(endpoint(number)).is_some());
        }
        assert_eq!(builder.shard(endpoint(NODES_MAX)), None);
        builder.assign(0, 0, 5);
        builder.add_replica(0, endpoint(1));
        assert_eq!(builder.finish().expect("slots").nodes().count(), NODES_MAX);
    }
}
