//! CLUSTER NODES, which alone tells of slots on their way from one node to another.

use super::super::{checked_host, decimal};
use super::{Builder, Endpoint, Topology, TopologyError};
use std::collections::BTreeMap;

/// A slot on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Migration {
    pub(crate) slot: u16,
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
}

/// More lines than that are not looked at.
const LINES_MAX: usize = 8192;

/// Reads the answer to CLUSTER NODES. `asked` is who answered; with `by_name`, nodes that have names are called by
/// them instead of by their addresses.
pub(crate) fn parse_nodes(
    text: &[u8],
    asked: &Endpoint,
    by_name: bool,
) -> Result<(Topology, Vec<Migration>), TopologyError> {
    // In RESP3 it is a verbatim string.
    let text = std::str::from_utf8(text.strip_prefix(b"txt:").unwrap_or(text));
    let text = text.map_err(|_| TopologyError::Malformed)?;
    let lines: Vec<Line<'_>> =
        text.lines().take(LINES_MAX).filter_map(|line| Line::read(line, asked, by_name)).collect();
    if lines.is_empty() {
        return Err(TopologyError::Malformed);
    }
    let mut builder = Builder::new();
    let mut shard_of = BTreeMap::new();
    for line in lines.iter().filter(|line| line.is_worth_listing()) {
        let Some(shard) = builder.shard(line.endpoint.clone()) else { continue };
        shard_of.entry(line.id).or_insert(shard);
        for (first, last) in line.slots().filter_map(range) {
            builder.assign(shard, first, last);
        }
    }
    for line in lines.iter().filter(|line| !line.is_primary && !line.has_failed) {
        if let Some(&shard) = shard_of.get(line.primary) {
            builder.add_replica(shard, line.endpoint.clone());
        }
    }
    let migrations = migrations(&lines);
    Ok((builder.finish()?, migrations))
}

/// A line: `id ip:port@cport,hostname flags primary ping pong epoch link slots…`
struct Line<'a> {
    id: &'a str,
    endpoint: Endpoint,
    is_primary: bool,
    has_failed: bool,
    /// The id of its primary.
    primary: &'a str,
    /// What it serves, and what is on its way.
    slots: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str, asked: &Endpoint, by_name: bool) -> Option<Line<'a>> {
        let mut fields = line.splitn(9, ' ');
        let id = fields.next().filter(|id| !id.is_empty())?;
        let endpoint = endpoint(fields.next()?, asked, by_name)?;
        let flags = fields.next()?;
        let has = |flag| flags.split(',').any(|other| other == flag);
        if has("noaddr") || has("handshake") {
            return None;
        }
        let is_primary = has("master") || has("primary");
        let primary = fields.next()?;
        let slots = fields.nth(4).unwrap_or_default();
        Some(Line { id, endpoint, is_primary, has_failed: has("fail"), primary, slots })
    }

    fn slots(&self) -> impl Iterator<Item = &'a str> {
        self.slots.split(' ').filter(|word| !word.starts_with('['))
    }

    /// A failed primary stays one while nobody else has its slots.
    fn is_worth_listing(&self) -> bool {
        self.is_primary && (!self.has_failed || self.slots().any(|word| range(word).is_some()))
    }
}

fn endpoint(field: &str, asked: &Endpoint, by_name: bool) -> Option<Endpoint> {
    let mut parts = field.split(',');
    let address = parts.next()?.split('@').next()?;
    let (host, port) = address.rsplit_once(':')?;
    let name = parts.next().filter(|name| by_name && checked_host(name.as_bytes()).is_some());
    // A node that does not know its own address says none.
    let host = name.unwrap_or(if host.is_empty() { &asked.host } else { host });
    Endpoint::new(host, decimal(port.as_bytes())?)
}

fn range(word: &str) -> Option<(i64, i64)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((decimal(first.as_bytes())?.into(), decimal(last.as_bytes())?.into()))
}

/// `[93->-id]` where the slot leaves, `[93-<-id]` where it arrives; each once, though both ends may tell of it.
fn migrations(lines: &[Line<'_>]) -> Vec<Migration> {
    let by_id: BTreeMap<&str, &Endpoint> = lines.iter().map(|line| (line.id, &line.endpoint)).collect();
    let mut migrations = BTreeMap::new();
    for line in lines {
        for word in line.slots.split(' ') {
            let Some(word) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) else { continue };
            let leaves = word.split_once("->-").map(|(slot, id)| (slot, id, true));
            let arrives = || word.split_once("-<-").map(|(slot, id)| (slot, id, false));
            let Some((slot, id, leaves)) = leaves.or_else(arrives) else { continue };
            let slot = decimal(slot.as_bytes()).filter(|&slot| slot < crate::slot::SLOT_COUNT);
            let (Some(slot), Some(&other)) = (slot, by_id.get(id)) else { continue };
            let (from, to) = if leaves { (&line.endpoint, other) } else { (other, &line.endpoint) };
            migrations.entry(slot).or_insert_with(|| Migration { slot, from: from.clone(), to: to.clone() });
        }
    }
    migrations.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, check, shown};
    use super::*;

    fn nodes(text: &str) -> Vec<String> {
        shown(&parse_nodes(text.as_bytes(), &asked(), false).expect("a cluster").0)
    }

    const AMR: &str = "3 10.1.2.3:8502 master - 0 0 0 connected 8192-16383\n\
        4 10.1.2.3:8503 myself,master - 0 0 0 connected 0-8191\n";

    const REDIS_7: &str = "\
        07c 127.0.0.1:30004@31004,host4.example slave e7d 0 1426238317239 4 connected\n\
        67e 127.0.0.1:30002@31002,host2.example master - 0 1426238316232 2 connected 5461-10922\n\
        292 127.0.0.1:30003@31003,host3.example,shard-id=aa master - 0 1426238318243 3 connected 10923-16383\n\
        6ec ::1:30005@31005 slave,fail 67e 0 1426238316232 5 connected\n\
        824 127.0.0.1:30006@31006 slave,fail? 292 0 1426238317741 6 connected\n\
        e7d :30001@31001 myself,master - 0 0 1 connected 0-5459 5460 [93->-292] [77-<-67e]\n\
        111 127.0.0.1:30007@31007 master - 0 0 7 connected\n\
        112 127.0.0.1:0@0 master,noaddr - 0 0 7 disconnected\n\
        113 127.0.0.1:30009@31009 handshake - 0 0 0 connected\n\
        114 127.0.0.1:30010@31010 master,fail - 0 0 0 disconnected\n";

    #[test]
    fn the_nodes_of_azure_managed_redis_are_read() {
        assert_eq!(nodes(AMR), ["10.1.2.3:8503 0-8191", "10.1.2.3:8502 8192-16383"]);
        assert_eq!(nodes(&format!("txt:{AMR}")), nodes(AMR));
    }

    #[test]
    fn the_nodes_of_open_source_servers_are_read_and_who_has_no_slot_is_listed_last() {
        assert_eq!(
            nodes(REDIS_7),
            [
                "cache.example:30001 0-5460 +127.0.0.1:30004",
                "127.0.0.1:30002 5461-10922",
                "127.0.0.1:30003 10923-16383 +127.0.0.1:30006",
                "127.0.0.1:30007 ",
            ]
        );
    }

    #[test]
    fn nodes_are_called_by_name_where_that_is_asked_for() {
        let (topology, _) = parse_nodes(REDIS_7.as_bytes(), &asked(), true).expect("a cluster");
        assert_eq!(
            shown(&topology)[..2],
            ["cache.example:30001 0-5460 +host4.example:30004", "host2.example:30002 5461-10922"]
        );
        assert!(topology.is_by_name());
    }

    #[test]
    fn slots_on_their_way_are_told_with_both_ends() {
        let (_, migrations) = parse_nodes(REDIS_7.as_bytes(), &asked(), false).expect("a cluster");
        let shown: Vec<_> = migrations
            .iter()
            .map(|migration| (migration.slot, migration.from.port, migration.to.port))
            .collect();
        assert_eq!(shown, [(77, 30002, 30001), (93, 30001, 30003)]);
    }

    #[test]
    fn slots_on_their_way_to_nobody_are_not_told() {
        let text = "a h:1 master - 0 0 0 connected 0-5 [1->-b] [x->-a] [16384->-a] [2->-] [ [3<-a] ]";
        let (_, migrations) = parse_nodes(text.as_bytes(), &asked(), false).expect("a cluster");
        assert_eq!(migrations, []);
    }

    #[test]
    fn a_failed_primary_keeps_its_slots_until_another_has_them() {
        let text = "a h:1 master,fail - 0 0 0 disconnected 0-5\nb h:2 slave a 0 0 0 connected\n";
        assert_eq!(nodes(text), ["h:1 0-5 +h:2"]);
    }

    #[test]
    fn what_is_no_list_of_nodes_is_no_cluster() {
        for (text, error) in [
            (&b""[..], TopologyError::Malformed),
            (b"ERR no", TopologyError::Malformed),
            (b"a h master - 0 0 0 connected 0-5", TopologyError::Malformed),
            (b"a h:0 master - 0 0 0 connected 0-5", TopologyError::Malformed),
            (b"a ?:1 master - 0 0 0 connected 0-5", TopologyError::Malformed),
            (b"a \xff:1 master - 0 0 0 connected 0-5", TopologyError::Malformed),
            (b"a h:1 master - 0 0 0 connected", TopologyError::NoPrimary),
            (b"a h:1 master - 0 0 0 connected 5-0 16384 70000 x --", TopologyError::NoPrimary),
        ] {
            assert_eq!(parse_nodes(text, &asked(), false).map(drop), Err(error), "{text:?}");
        }
    }

    #[test]
    fn mutated_lists_never_give_overlapping_slots() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for round in 0..10_000 {
            let mut bytes = [AMR, REDIS_7][round % 2].as_bytes().to_vec();
            for _ in 0..rng.usize(1..8) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..3) {
                    0 => bytes[at] = rng.u8(..128),
                    1 => bytes[at] = *rng.choice(b"0123456789-:@,[]<> \n").expect("some"),
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Ok((topology, migrations)) = parse_nodes(&bytes, &asked(), round % 3 == 0) {
                read += 1;
                check(&topology);
                assert!(migrations.iter().all(|migration| migration.slot < crate::slot::SLOT_COUNT));
            }
        }
        assert!(read > 1000, "only {read} were read");
    }
}
