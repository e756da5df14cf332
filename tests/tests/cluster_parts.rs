//! Where the parts of a command go when nodes are replaced before all of them have run.

use respass::{ErrorCode, Outcome};
use respass_tests::conversation::Conversation;
use respass_tests::conversation_nodes::{ADVERTISED, PORTS, SEED, bulk, key, topology};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

/// The three shards with these primaries.
fn shards_of(primaries: [u16; 3]) -> String {
    let [first, second, third] = primaries;
    topology(&[(0, 5460, first), (5461, 10_922, second), (10_923, 16_383, third)])
}

/// The reply to CLUSTER SLOTS: first slot, last slot, ports of the primary and its replicas.
fn with_replicas(rows: &[(u16, u16, &[u16])]) -> String {
    let node = |port: &u16| format!("*3\r\n{}:{port}\r\n{}", bulk(ADVERTISED), bulk(&port.to_string()));
    let rows = rows.iter().map(|(first, last, ports)| {
        let nodes: String = ports.iter().map(node).collect();
        format!("*{}\r\n:{first}\r\n:{last}\r\n{nodes}", ports.len() + 2)
    });
    let rows: Vec<String> = rows.collect();
    format!("*{}\r\n{}", rows.len(), rows.concat())
}

/// Two seconds in which the nodes of this map can be reached, know it and answer as told; what was sent, and where to.
fn serve(talk: &mut Conversation, map: &str, reply: impl Fn(u16, &str) -> String) -> Vec<(u16, String)> {
    let mut seen = Vec::new();
    for _ in 0..40 {
        talk.advance(SECOND / 20);
        for opened in talk.opened.clone() {
            if !opened.is_connected {
                if opened.port != SEED && !map.contains(&format!(":{}\r\n", opened.port)) {
                    continue;
                }
                talk.log_in(opened.conn);
            }
            for command in talk.sent_on(opened.conn) {
                if command == "CLUSTER SLOTS" {
                    talk.receive_on(opened.conn, map);
                } else if let Some(nonce) = command.strip_prefix("PING ") {
                    talk.receive_on(opened.conn, &bulk(nonce));
                } else {
                    talk.receive_on(opened.conn, &reply(opened.port, &command));
                    seen.push((opened.port, command));
                }
            }
        }
    }
    seen.sort();
    seen
}

/// These nodes cannot be reached.
fn refuse(talk: &mut Conversation, ports: &[u16]) {
    for port in ports {
        let conn = talk.opened.iter().rfind(|opened| opened.port == *port).expect("a connection").conn;
        talk.refuse(conn);
    }
}

fn ok(_: u16, _: &str) -> String {
    "+OK\r\n".to_owned()
}

fn at(ports: &[u16], command: &str) -> Vec<(u16, String)> {
    ports.iter().map(|port| (*port, command.to_owned())).collect()
}

#[test]
fn where_two_nodes_are_replaced_each_successor_has_one_part() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    refuse(&mut talk, &PORTS[..2]);
    let seen = serve(&mut talk, &shards_of([8504, 8505, PORTS[2]]), ok);
    assert_eq!(seen, at(&[PORTS[2], 8504, 8505], "FLUSHALL"));
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn a_part_follows_its_own_shard_where_the_successor_of_another_is_free_too() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    for port in [PORTS[0], PORTS[2]] {
        let node = talk.node(port);
        assert_eq!(talk.sent_on(node), ["FLUSHALL"]);
        talk.receive_on(node, "+OK\r\n");
    }
    refuse(&mut talk, &[PORTS[1]]);
    let seen = serve(&mut talk, &shards_of([8504, 8505, PORTS[2]]), ok);
    assert_eq!(seen, at(&[8505], "FLUSHALL"));
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn a_part_leaves_a_primary_that_has_become_a_replica() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    let map = with_replicas(&[
        (0, 5460, &[8504, PORTS[0]]),
        (5461, 10_922, &[PORTS[1]]),
        (10_923, 16_383, &[PORTS[2]]),
    ]);
    let node = talk.node(PORTS[0]);
    assert_eq!(talk.sent_on(node), ["FLUSHALL"]);
    talk.receive_on(node, READONLY);
    let reply = |port, _: &str| if port == PORTS[0] { READONLY } else { "+OK\r\n" }.to_owned();
    let seen = serve(&mut talk, &map, reply);
    let count = |port| seen.iter().filter(|(at, _)| *at == port).count();
    assert_eq!([8504, PORTS[1], PORTS[2]].map(count), [1; 3], "{seen:?}");
    assert!(count(PORTS[0]) < 5, "{seen:?}");
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn where_two_replicas_are_replaced_each_new_one_has_one_part() {
    let map = |replicas: [u16; 2]| {
        let [first, second] = [[PORTS[0], replicas[0]], [PORTS[1], replicas[1]]];
        with_replicas(&[(0, 5460, &first), (5461, 10_922, &second), (10_923, 16_383, &PORTS[2..])])
    };
    let mut talk = Conversation::with_three_shards();
    talk.submit(&format!("GET {}", key(0, 0)));
    refuse(&mut talk, &[PORTS[0]]);
    serve(&mut talk, &map([8504, 8505]), |_, _| "_\r\n".to_owned());
    let id = talk.submit("SCRIPT FLUSH");
    refuse(&mut talk, &[8504, 8505]);
    let seen = serve(&mut talk, &map([8506, 8507]), ok);
    assert_eq!(seen, at(&[PORTS[0], PORTS[1], PORTS[2], 8506, 8507], "SCRIPT FLUSH"));
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn a_part_whose_shard_is_that_of_a_node_with_another_part_goes_to_one_without() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    refuse(&mut talk, &PORTS[..1]);
    let seen = serve(&mut talk, &shards_of([PORTS[1], 8504, PORTS[2]]), ok);
    assert_eq!(seen, at(&[PORTS[1], PORTS[2], 8504], "FLUSHALL"));
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn a_part_whose_shard_nobody_serves_waits_until_somebody_does() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("DBSIZE");
    refuse(&mut talk, &[PORTS[0]]);
    let one = |_: u16, _: &str| ":1\r\n".to_owned();
    let hole = topology(&[(5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert_eq!(serve(&mut talk, &hole, one), at(&PORTS[1..], "DBSIZE"));
    assert_eq!(talk.outcome(id), None);
    assert_eq!(serve(&mut talk, &shards_of([8504, PORTS[1], PORTS[2]]), one), at(&[8504], "DBSIZE"));
    assert_eq!(talk.reply(id), "3");
}

#[test]
fn a_part_fails_where_its_shard_is_gone_and_every_node_has_one() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    refuse(&mut talk, &[PORTS[0]]);
    let map = topology(&[(0, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert_eq!(serve(&mut talk, &map, ok), at(&PORTS[1..], "FLUSHALL"));
    assert_eq!(talk.failure(id).code, ErrorCode::NoNode);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
}

#[test]
fn a_scan_of_a_shard_that_nobody_serves_waits_until_somebody_does() {
    let mut talk = Conversation::with_three_shards();
    let lost = talk.submit(&format!("GET {}", key(1, 0)));
    refuse(&mut talk, &PORTS[1..2]);
    let hole = topology(&[(0, 5460, PORTS[0]), (10_923, 16_383, PORTS[2])]);
    serve(&mut talk, &hole, |_, _| "_\r\n".to_owned());
    let id = talk.submit(&format!("SCAN {}", 17 * 16_384 + 5461));
    let empty = |_: u16, _: &str| format!("*2\r\n{}*0\r\n", bulk("0"));
    assert!(serve(&mut talk, &hole, empty).is_empty());
    talk.client.cancel(lost);
    assert_eq!(serve(&mut talk, &shards_of([PORTS[0], 8505, PORTS[2]]), empty), at(&[8505], "SCAN 17"));
    assert_eq!(talk.reply(id), "[10923 []]");
}

/// A SCAN of the second shard, whose own cursor is 17, when the map becomes this: what is sent, and the reply.
fn scan_of_the_second_shard(map: &str) -> (Vec<(u16, String)>, String) {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("SCAN {} COUNT 10", 17 * 16_384 + 5461));
    refuse(&mut talk, &[PORTS[1]]);
    let seen = serve(&mut talk, map, |_, _| format!("*2\r\n{}*1\r\n{}", bulk("7"), bulk("a")));
    (seen, talk.reply(id).to_owned())
}

#[test]
fn a_scan_starts_its_shard_over_at_the_successor_of_its_node() {
    let (seen, reply) = scan_of_the_second_shard(&shards_of([PORTS[0], 8505, PORTS[2]]));
    assert_eq!(seen, at(&[8505], "SCAN 0 COUNT 10"), "another server's cursor means nothing there");
    assert_eq!(reply, format!("[{} [a]]", 7 * 16_384 + 5461));
}

#[test]
fn a_scan_goes_on_where_it_was_when_another_node_is_replaced() {
    let (seen, reply) = scan_of_the_second_shard(&shards_of([8504, PORTS[1], PORTS[2]]));
    assert_eq!(seen, at(&[PORTS[1]], "SCAN 17 COUNT 10"));
    assert_eq!(reply, format!("[{} [a]]", 7 * 16_384 + 5461));
}

#[test]
fn no_part_of_a_malformed_command_is_sent() {
    let mut talk = Conversation::with_three_shards();
    let line = format!("MSET {} 1 {}", key(1, 0), key(0, 0));
    let id = talk.submit(&line);
    let error = "ERR wrong number of arguments for 'mset' command";
    let seen = serve(&mut talk, &shards_of(PORTS), |_, _| format!("-{error}\r\n"));
    assert_eq!(seen, at(&[PORTS[1]], &line));
    assert_eq!(talk.reply(id), error);
}

#[test]
fn a_malformed_command_goes_whole_to_the_successor_of_its_node() {
    let mut talk = Conversation::with_three_shards();
    let line = format!("MSET {} 1 {}", key(1, 0), key(0, 0));
    let id = talk.submit(&line);
    refuse(&mut talk, &[PORTS[1]]);
    let seen = serve(&mut talk, &shards_of([PORTS[0], 8505, PORTS[2]]), |_, _| "-ERR no\r\n".to_owned());
    assert_eq!(seen, at(&[8505], &line));
    assert_eq!(talk.reply(id), "ERR no");
}

#[test]
fn of_many_commands_in_parts_each_has_its_own_replies_in_whatever_order_they_come() {
    let mut talk = Conversation::with_three_shards();
    let nodes = PORTS.map(|port| {
        let shard = PORTS.iter().position(|own| *own == port).expect("a shard");
        talk.submit(&format!("GET {}", key(shard, 0)));
        let node = talk.node(port);
        talk.sent_on(node);
        talk.receive_on(node, "_\r\n");
        node
    });
    let ids: Vec<_> = (0..200)
        .map(|number| {
            let keys: Vec<String> = (0..3).map(|shard| key(shard, number)).collect();
            talk.submit(&format!("MGET {}", keys.join(" ")))
        })
        .collect();
    let gone = ids[100];
    talk.client.cancel(gone);
    talk.pump();
    // The last shard answers first.
    for node in nodes.into_iter().rev() {
        let replies = talk.sent_on(node).into_iter().map(|command| format!("*1\r\n{}", bulk(&command[5..])));
        let replies: String = replies.collect();
        talk.receive_on(node, &replies);
    }
    assert_eq!(talk.failure(gone).code, ErrorCode::Cancelled);
    for (number, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != gone) {
        let keys: Vec<String> = (0..3).map(|shard| key(shard, number)).collect();
        assert_eq!(talk.reply(id), format!("[{}]", keys.join(" ")));
    }
}
