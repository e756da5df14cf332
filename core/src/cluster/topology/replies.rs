//! CLUSTER SLOTS and CLUSTER SHARDS.

use super::super::checked_host;
use super::{Builder, Endpoint, NODES_MAX, Topology, TopologyError};
use crate::resp::{Kind, Reply};
use crate::slot::SLOT_COUNT;

/// Reads the answer to CLUSTER SLOTS: rows of first slot, last slot, primary, replicas. `asked` is who answered.
pub(crate) fn parse_slots(reply: &Reply<'_>, asked: &Endpoint) -> Result<Topology, TopologyError> {
    if reply.kind() != Kind::Array {
        return Err(TopologyError::Malformed);
    }
    let mut builder = Builder::new();
    for row in reply.elements().take(usize::from(SLOT_COUNT)) {
        let mut cells = row.elements();
        let (first, last) = (cells.next(), cells.next());
        let range = first.and_then(|cell| cell.as_integer()).zip(last.and_then(|cell| cell.as_integer()));
        let primary = cells.next().and_then(|cell| node(cell, asked));
        let Some((range, primary)) = range.zip(primary) else { continue };
        let Some(shard) = builder.shard(primary) else { continue };
        builder.assign(shard, range.0, range.1);
        for replica in cells.filter_map(|cell| node(cell, asked)) {
            builder.add_replica(shard, replica);
        }
    }
    builder.finish()
}

/// A node of CLUSTER SLOTS: host and port; what may follow is not needed.
fn node(cell: Reply<'_>, asked: &Endpoint) -> Option<Endpoint> {
    let mut parts = cell.elements();
    let host = host(parts.next()?, asked)?;
    endpoint(host, parts.next()?)
}

/// Reads the answer to CLUSTER SHARDS. `asked` is who answered, `is_tls` how.
pub(crate) fn parse_shards(
    reply: &Reply<'_>,
    asked: &Endpoint,
    is_tls: bool,
) -> Result<Topology, TopologyError> {
    if reply.kind() != Kind::Array {
        return Err(TopologyError::Malformed);
    }
    let mut builder = Builder::new();
    for shard in reply.elements().take(NODES_MAX) {
        let (mut slots, mut nodes) = (None, None);
        for (key, value) in pairs(shard) {
            match key {
                b"slots" => slots = Some(value),
                b"nodes" => nodes = Some(value),
                _ => {}
            }
        }
        let Some((slots, nodes)) = slots.zip(nodes) else { continue };
        let primaries = || nodes.elements().filter_map(|node| Listed::read(node, asked, is_tls));
        // While a failover is under way, both are listed.
        let best = primaries().filter(|node| node.is_primary).min_by_key(|node| node.health);
        let Some(shard) = best.and_then(|node| builder.shard(node.endpoint)) else { continue };
        let mut numbers = slots.elements().map(|number| number.as_integer());
        while let (Some(first), Some(last)) = (numbers.next(), numbers.next()) {
            if let Some((first, last)) = first.zip(last) {
                builder.assign(shard, first, last);
            }
        }
        for replica in primaries().filter(|node| !node.is_primary && node.health == Health::Online) {
            builder.add_replica(shard, replica.endpoint);
        }
    }
    builder.finish()
}

/// The better, the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Online,
    Loading,
    Failed,
}

/// A node of CLUSTER SHARDS.
struct Listed {
    endpoint: Endpoint,
    is_primary: bool,
    health: Health,
}

impl Listed {
    fn read(node: Reply<'_>, asked: &Endpoint, is_tls: bool) -> Option<Listed> {
        let (mut name, mut port, mut tls_port) = (None, None, None);
        let (mut is_primary, mut health) = (false, Health::Online);
        for (key, value) in pairs(node) {
            match key {
                b"endpoint" => name = Some(value),
                b"port" => port = Some(value),
                b"tls-port" => tls_port = Some(value),
                b"role" => is_primary = value.is_text(b"master") || value.is_text(b"primary"),
                b"health" if value.is_text(b"loading") => health = Health::Loading,
                b"health" if !value.is_text(b"online") => health = Health::Failed,
                _ => {}
            }
        }
        // What listens without TLS cannot be spoken to with it; where only one port is told, it is the one to use.
        let port = if is_tls { tls_port.or(port) } else { port }?;
        let endpoint = endpoint(host(name?, asked)?, port)?;
        Some(Listed { endpoint, is_primary, health })
    }
}

/// Keys and values: of a map, or of the flat array that it is in RESP2.
fn pairs(reply: Reply<'_>) -> impl Iterator<Item = (&[u8], Reply<'_>)> {
    let mut elements = reply.elements();
    std::iter::from_fn(move || Some((elements.next()?.as_bytes(), elements.next()?)))
}

/// The host of a node; nothing in its place means the host that was asked.
fn host<'a>(cell: Reply<'a>, asked: &'a Endpoint) -> Option<&'a str> {
    match (cell.kind(), cell.as_bytes()) {
        (Kind::Null, _) | (Kind::SimpleString | Kind::BulkString, b"") => Some(&asked.host),
        (Kind::SimpleString | Kind::BulkString, host) => checked_host(host),
        _ => None,
    }
}

fn endpoint(host: &str, port: Reply<'_>) -> Option<Endpoint> {
    Endpoint::new(host, u16::try_from(port.as_integer()?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, check, shown, with_reply};
    use super::*;

    fn slots(bytes: &str) -> Result<Vec<String>, TopologyError> {
        let parse = |reply: Reply<'_>| parse_slots(&reply, &asked()).map(|topology| shown(&topology));
        with_reply(bytes.as_bytes(), parse).expect("a whole reply")
    }

    fn shards(bytes: &str, is_tls: bool) -> Result<Vec<String>, TopologyError> {
        let parse =
            |reply: Reply<'_>| parse_shards(&reply, &asked(), is_tls).map(|topology| shown(&topology));
        with_reply(bytes.as_bytes(), parse).expect("a whole reply")
    }

    /// An array of RESP from its elements; words are bulk strings, numbers integers, what begins with `*`, `%`, `_`,
    /// `$` or `+` stays as it is.
    fn array(elements: &[&str]) -> String {
        let mut text = format!("*{}\r\n", elements.len());
        for element in elements {
            text += &value(element);
        }
        text
    }

    fn value(text: &str) -> String {
        match text.parse::<i64>() {
            Ok(number) => format!(":{number}\r\n"),
            Err(_) if text.starts_with(['*', '%', '_', '$', '+']) => text.to_owned(),
            Err(_) => format!("${}\r\n{text}\r\n", text.len()),
        }
    }

    fn map(elements: &[&str]) -> String {
        let flat = array(elements);
        flat.replacen(&format!("*{}", elements.len()), &format!("%{}", elements.len() / 2), 1)
    }

    #[test]
    fn the_slots_of_azure_managed_redis_are_read() {
        let reply = array(&[
            &array(&["8192", "16383", &array(&["10.1.2.3", "8502", "+3\r\n"])]),
            &array(&["0", "8191", &array(&["10.1.2.3", "8503", "$1\r\n4\r\n"])]),
        ]);
        assert_eq!(slots(&reply), Ok(vec!["10.1.2.3:8503 0-8191".into(), "10.1.2.3:8502 8192-16383".into()]));
    }

    #[test]
    fn the_slots_of_azure_cache_for_redis_have_replicas() {
        let id = "a".repeat(40);
        let node = |port| array(&["13.90.202.154", port, &id]);
        let reply = array(&[
            &array(&["0", "8191", &node("15001"), &node("15000")]),
            &array(&["8192", "16383", &node("15003"), &node("15004")]),
        ]);
        let expected = [
            "13.90.202.154:15001 0-8191 +13.90.202.154:15000",
            "13.90.202.154:15003 8192-16383 +13.90.202.154:15004",
        ];
        assert_eq!(slots(&reply).as_deref(), Ok(&expected.map(str::to_owned)[..]));
    }

    #[test]
    fn the_slots_of_redis_7_have_more_about_each_node_and_of_the_oldest_less() {
        let more = array(&["hostname", "n1.example"]);
        let reply = array(&[
            &array(&[
                "0",
                "5",
                &array(&["::1", "7000", "id", &more]),
                &array(&["::1", "7001", "id", &map(&["ip", "x"])]),
            ]),
            &array(&["10", "11", &array(&["::1", "7000"])]),
            &array(&["6", "9", &array(&["n2.example", "7002", "id", "*0\r\n"]), "what", "5"]),
        ]);
        let expected = ["::1:7000 0-5,10-11 +::1:7001", "n2.example:7002 6-9"];
        assert_eq!(slots(&reply).as_deref(), Ok(&expected.map(str::to_owned)[..]));
    }

    #[test]
    fn no_host_means_the_one_that_was_asked_and_a_question_mark_none() {
        let row = |first: &str, host: &str, port: &str| array(&[first, first, &array(&[host, port])]);
        let rows = [
            row("0", "_\r\n", "8500"),
            row("1", "$-1\r\n", "8501"),
            row("2", "$0\r\n\r\n", "8502"),
            row("3", "?", "8503"),
            row("4", "h", "0"),
            row("5", "h", "65536"),
            row("6", "h", "-1"),
            row("7", "a b", "1"),
            row("8", "7", "1"),
        ];
        let reply = array(&rows.each_ref().map(String::as_str));
        let expected = ["cache.example:8500 0-0", "cache.example:8501 1-1", "cache.example:8502 2-2"];
        assert_eq!(slots(&reply).as_deref(), Ok(&expected.map(str::to_owned)[..]));
    }

    #[test]
    fn rows_that_make_no_sense_are_left_out_and_of_rows_that_overlap_the_first_counts() {
        let node = array(&["h", "1"]);
        let other = array(&["h", "2"]);
        let reply = array(&[
            "what",
            "*0\r\n",
            &array(&["0"]),
            &array(&["0", "5"]),
            &array(&["a", "b", &node]),
            &array(&["9", "3", &other]),
            &array(&["16380", "16384", &other]),
            &array(&["-1", "3", &other]),
            &array(&["0", "5", &node]),
            &array(&["3", "8", &other]),
            &array(&["4", "4", &other]),
        ]);
        assert_eq!(slots(&reply), Ok(vec!["h:1 0-5".into(), "h:2 6-8".into()]));
    }

    #[test]
    fn what_names_no_primary_never_is_a_map() {
        for (reply, error) in [
            ("*0\r\n", TopologyError::NoPrimary),
            ("_\r\n", TopologyError::Malformed),
            ("-ERR This instance has cluster support disabled\r\n", TopologyError::Malformed),
            ("%0\r\n", TopologyError::Malformed),
            ("+OK\r\n", TopologyError::Malformed),
        ] {
            assert_eq!(slots(reply), Err(error), "{reply}");
            assert_eq!(shards(reply, true), Err(error), "{reply}");
        }
        let unknown = array(&[&array(&["0", "16383", &array(&["?", "7000"]), &array(&["h", "7001"])])]);
        assert_eq!(slots(&unknown), Err(TopologyError::NoPrimary));
    }

    const AMR_SHARDS: &str = "*2\r\n\
        %2\r\n$5\r\nslots\r\n*2\r\n:8192\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%8\r\n$2\r\nid\r\n$1\r\n3\r\n\
        $8\r\ntls-port\r\n:8502\r\n$2\r\nip\r\n$8\r\n10.0.0.7\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n\
        $8\r\nhostname\r\n$0\r\n\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n\
        $6\r\nhealth\r\n$6\r\nonline\r\n\
        %2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n$5\r\nnodes\r\n*1\r\n%8\r\n$2\r\nid\r\n$1\r\n4\r\n\
        $8\r\ntls-port\r\n:8503\r\n$2\r\nip\r\n$8\r\n10.0.0.6\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n\
        $8\r\nhostname\r\n$0\r\n\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n\
        $6\r\nhealth\r\n$6\r\nonline\r\n";

    #[test]
    fn the_shards_of_azure_managed_redis_are_read_as_maps_and_as_flat_arrays() {
        let expected = Ok(vec!["127.0.0.1:8503 0-8191".to_owned(), "127.0.0.1:8502 8192-16383".to_owned()]);
        assert_eq!(shards(AMR_SHARDS, true), expected);
        assert_eq!(shards(&AMR_SHARDS.replace("%8", "*16").replace("%2", "*4"), true), expected);
        // There is no port for those who come without TLS.
        assert_eq!(shards(AMR_SHARDS, false), Err(TopologyError::NoPrimary));
    }

    fn shard(ranges: &[&str], nodes: &[&str]) -> String {
        map(&["slots", &array(ranges), "nodes", &array(nodes)])
    }

    #[test]
    fn the_shards_of_redis_7_have_both_ports_and_nodes_in_any_health() {
        let node = |port: &str, tls_port: &str, role: &str, health: &str| {
            map(&[
                "id",
                "x",
                "port",
                port,
                "tls-port",
                tls_port,
                "ip",
                "10.0.0.9",
                "endpoint",
                "_\r\n",
                "role",
                role,
                "replication-offset",
                "7",
                "health",
                health,
            ])
        };
        let reply = array(&[
            &shard(
                &["0", "5", "7", "9"],
                &[
                    &node("1", "11", "master", "fail"),
                    &node("2", "12", "replica", "failed"),
                    &node("3", "13", "master", "online"),
                    &node("4", "14", "replica", "loading"),
                    &node("5", "15", "replica", "online"),
                ],
            ),
            &shard(&["10", "12"], &[&node("6", "16", "master", "failed")]),
            &shard(&["20"], &[&node("7", "17", "master", "loading")]),
            &shard(&["30", "31"], &[&node("8", "18", "replica", "online")]),
            &shard(&[], &[&node("0", "0", "master", "online")]),
        ]);
        let expected = |add: i32| {
            let at = |port: i32| format!("cache.example:{}", port + add);
            vec![format!("{} 0-5,7-9 +{}", at(3), at(5)), format!("{} 10-12", at(6)), format!("{} ", at(7))]
        };
        assert_eq!(shards(&reply, false), Ok(expected(0)));
        assert_eq!(shards(&reply, true), Ok(expected(10)));
    }

    #[test]
    fn shards_whose_nodes_cannot_be_reached_are_left_out() {
        let node = |fields: &[&str]| map(&[fields, &["role", "master", "health", "online"]].concat());
        let reply = array(&[
            &shard(&["0", "1"], &[&node(&["port", "1", "endpoint", "?"])]),
            &shard(&["2", "3"], &[&node(&["port", "1"])]),
            &shard(&["4", "5"], &[&node(&["endpoint", "h"])]),
            &shard(&["6", "7"], &[&node(&["endpoint", "", "port", "1"])]),
            &shard(&["8", "9", "a", "b", "11"], &[&node(&["endpoint", "h", "port", "2"]), "what"]),
            "what",
            &map(&["slots", "*0\r\n"]),
        ]);
        assert_eq!(shards(&reply, false), Ok(vec!["cache.example:1 6-7".into(), "h:2 8-9".into()]));
    }

    /// Bytes that were replies once: never a panic, never a slot in two shards.
    #[test]
    fn mutated_replies_never_give_overlapping_slots() {
        let node = |port| array(&["10.0.0.1", port, "x"]);
        let samples = [
            AMR_SHARDS.to_owned(),
            array(&[
                &array(&["0", "100", &node("1"), &node("2")]),
                &array(&["101", "9999", &node("3"), "_\r\n"]),
                &array(&["10000", "16383", &node("4")]),
            ]),
        ];
        let mut rng = fastrand::Rng::with_seed(11);
        let mut read = 0;
        for round in 0..20_000 {
            let mut bytes = samples[round % 2].clone().into_bytes();
            for _ in 0..rng.usize(1..5) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..4) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes[at] = *rng.choice(b"0123456789-:$*%_+\r\n").expect("some"),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, rng.u8(b'0'..=b'9')),
                }
            }
            let parsed = with_reply(&bytes, |reply| {
                [parse_slots(&reply, &asked()), parse_shards(&reply, &asked(), round % 3 > 0)]
            });
            for topology in parsed.into_iter().flatten().flatten() {
                read += 1;
                check(&topology);
            }
        }
        assert!(read > 1000, "only {read} were read");
    }
}
