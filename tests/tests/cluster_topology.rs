//! How a client finds out that it talks to a cluster, and who serves what.

use respass::{ClusterMode, Command, Config, ErrorCode, Notice, Outcome};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use respass_tests::conversation_nodes::{HELLO_CLUSTER, PORTS, SEED, bulk, key, three_shards, topology};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn connecting(config: Config) -> Conversation {
    let mut talk = Conversation::new(config);
    talk.client.connect(talk.now());
    talk.pump();
    talk
}

#[test]
fn a_server_that_is_no_cluster_is_never_asked_for_one() {
    let mut talk = connecting(Config::new("localhost", SEED));
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    let standalone = HELLO_OK.replacen("%2", "%3", 1) + "$4\r\nmode\r\n$10\r\nstandalone\r\n";
    talk.receive(&format!("{standalone}{NO_SETINFO}"));
    assert_eq!(talk.sent_commands(), ["GET k"]);
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
    for _ in 0..5 {
        talk.advance(61 * SECOND);
        assert!(talk.sent_commands().iter().all(|command| command.starts_with("PING")));
        talk.disconnect();
        talk.advance(SECOND);
        talk.connect();
        talk.sent();
        talk.receive(&format!("{standalone}{NO_SETINFO}"));
        assert_eq!(talk.sent_commands(), [""; 0]);
    }
}

#[test]
fn a_cluster_is_asked_for_its_map_before_any_command_leaves() {
    let mut talk = connecting(Config::new("localhost", SEED));
    let id = talk.submit(&format!("GET {}", key(1, 0)));
    let seed = talk.node(SEED);
    assert_eq!(talk.sent_on(seed), ["CLUSTER SLOTS"]);
    talk.receive_on(seed, &three_shards());
    let node = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(node), [format!("GET {}", key(1, 0))]);
    talk.receive_on(node, &bulk("v"));
    assert_eq!(talk.reply(id), "v");
    assert!(talk.notices.contains(&Notice::TopologyChanged { primaries: 3 }), "{:?}", talk.notices);
}

#[test]
fn nodes_are_dialled_by_the_configured_host_and_their_advertised_port() {
    let mut talk = Conversation::with_three_shards();
    for (shard, port) in PORTS.into_iter().enumerate() {
        talk.submit(&format!("GET {}", key(shard, 0)));
        talk.node(port);
    }
    assert!(talk.opened.iter().all(|opened| opened.host == "localhost"), "{:?}", talk.opened);
}

#[test]
fn a_node_that_cannot_be_reached_holds_up_nobody_elses_commands() {
    let mut talk = Conversation::with_three_shards();
    let dead = talk.submit(&format!("GET {}", key(0, 0)));
    let alive = talk.submit(&format!("GET {}", key(2, 0)));
    let node = talk.node(PORTS[2]);
    assert_eq!(talk.sent_on(node), [format!("GET {}", key(2, 0))]);
    talk.receive_on(node, &bulk("v"));
    assert_eq!(talk.reply(alive), "v");
    assert_eq!(talk.outcome(dead), None);
    for _ in 0..200 {
        talk.tell_topology(&three_shards());
        let opened = talk.opened.iter().find(|opened| !opened.is_connected).map(|opened| opened.conn);
        if let Some(conn) = opened {
            talk.refuse(conn);
        }
        talk.advance(SECOND / 10);
    }
    assert_eq!(talk.failure(dead).outcome, Outcome::NotSent);
    assert_eq!(talk.failure(dead).code, ErrorCode::Unreachable, "{:?}", talk.failure(dead));
    let again = talk.submit(&format!("GET {}", key(2, 1)));
    assert!(talk.sent_on(node).contains(&format!("GET {}", key(2, 1))));
    assert_eq!(talk.outcome(again), None);
}

#[test]
fn an_error_to_the_question_for_a_map_means_one_server() {
    for error in ["-ERR This instance has cluster support disabled\r\n", "-NOPERM no permissions\r\n"] {
        let mut talk = connecting(Config::new("localhost", SEED));
        talk.submit(&format!("GET {}", key(1, 0)));
        let seed = talk.node(SEED);
        assert_eq!(talk.sent_on(seed), ["CLUSTER SLOTS"]);
        talk.receive_on(seed, error);
        assert_eq!(talk.sent_on(seed), [format!("GET {}", key(1, 0))]);
    }
}

#[test]
fn a_cluster_that_is_required_and_not_there_is_an_error() {
    let mut config = Config::new("localhost", SEED);
    config.cluster = ClusterMode::Require;
    let mut talk = connecting(config);
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    if talk.sent_commands() == ["CLUSTER SLOTS"] {
        talk.receive("-ERR This instance has cluster support disabled\r\n");
    }
    talk.advance_slowly(6 * SECOND);
    assert_eq!(talk.failure(id).code, ErrorCode::NoNode);
    assert_eq!(talk.failure(id).outcome, Outcome::NotSent);
    // The server is asked again by the next command, which fares no better.
    let next = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    assert_eq!(talk.sent_commands(), ["CLUSTER SLOTS"]);
    talk.receive("-ERR This instance has cluster support disabled\r\n");
    assert_eq!(talk.failure(next).code, ErrorCode::NoNode);
}

#[test]
fn a_map_that_nobody_can_use_replaces_none_that_works() {
    let bad = [
        "*0\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        topology(&[(9000, 3, 8501)]),
        topology(&[(0, 16_383, 0)]),
        topology(&[(0, 16_383, 8501)]).replace("$11\r\n203.0.113.7", "$1\r\n?"),
        topology(&[(0, 16_383, 8501)]).replace(":16383", ":70000"),
        topology(&[(0, 16_383, 8501)]).replace(":0\r\n", ":-4\r\n"),
        "*1\r\n*2\r\n$1\r\n0\r\n*1\r\n$9\r\n127.0.0.1\r\n".to_owned(),
        "_\r\n".to_owned(),
        "-ERR unknown\r\n".to_owned(),
    ];
    for reply in bad {
        let mut talk = Conversation::with_three_shards();
        assert!(talk.tell_topology_within(&reply, 65 * SECOND), "no periodic question");
        let before = talk.opened.len();
        talk.submit(&format!("GET {}", key(1, 0)));
        let node = talk.node(PORTS[1]);
        assert_eq!(talk.sent_on(node), [format!("GET {}", key(1, 0))], "{reply}");
        assert!(talk.opened.iter().all(|opened| PORTS.contains(&opened.port) || opened.port == SEED));
        assert!(talk.opened.len() <= before + 1);
    }
}

#[test]
fn a_map_of_nodes_that_no_token_goes_to_replaces_none_that_works() {
    let mut config = Conversation::with_tokens();
    config.port = SEED;
    let mut talk = connecting(config);
    talk.give_token(1, 3600);
    let log_in = |talk: &mut Conversation, conn| {
        talk.establish(conn);
        assert!(talk.sent_on(conn)[0].starts_with("HELLO 3 AUTH "));
        talk.receive_on(conn, &format!("{HELLO_CLUSTER}{NO_SETINFO}"));
    };
    let seed = talk.opened[0].conn;
    log_in(&mut talk, seed);
    assert_eq!(talk.sent_on(seed), ["CLUSTER SLOTS"]);
    talk.receive_on(seed, &three_shards());
    let line = format!("GET {}", key(0, 0));
    talk.submit(&line);
    let node = talk.opened.iter().rfind(|opened| opened.port == PORTS[0]).expect("a connection").conn;
    log_in(&mut talk, node);
    assert_eq!(talk.sent_on(node), [line.as_str()]);
    talk.receive_on(node, "_\r\n");
    let row = |first, last, host| format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{}:1\r\n", bulk(host));
    let strangers = format!("*2\r\n{}{}", row(0, 8191, "a.example"), row(8192, 16_383, "b.example"));
    assert!(talk.tell_topology_within(&strangers, 90 * SECOND), "no periodic question");
    talk.submit(&line);
    assert_eq!(talk.sent_within(node, SECOND), [line]);
}

#[test]
fn slots_that_no_node_serves_fail_their_commands_alone() {
    let mut talk = connecting(Config::new("localhost", SEED));
    let seed = talk.node(SEED);
    talk.sent_on(seed);
    talk.receive_on(seed, &topology(&[(0, 5460, PORTS[0]), (10_923, 16_383, PORTS[2])]));
    let lost = talk.submit(&format!("GET {}", key(1, 0)));
    talk.submit(&format!("GET {}", key(0, 0)));
    let node = talk.node(PORTS[0]);
    assert_eq!(talk.sent_on(node), [format!("GET {}", key(0, 0))]);
    talk.receive_on(node, &bulk("v"));
    for _ in 0..80 {
        talk.tell_topology(&topology(&[(0, 5460, PORTS[0]), (10_923, 16_383, PORTS[2])]));
        talk.advance(SECOND / 10);
    }
    assert_eq!(talk.failure(lost).code, ErrorCode::NoNode);
    assert_eq!(talk.failure(lost).outcome, Outcome::NotSent);
}

#[test]
fn a_lost_node_makes_the_client_look_at_the_map_again() {
    let mut talk = Conversation::with_three_shards();
    talk.submit(&format!("GET {}", key(0, 0)));
    let node = talk.node(PORTS[0]);
    talk.sent_on(node);
    talk.receive_on(node, &bulk("v"));
    talk.lose(node);
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, SECOND), "no question");
    talk.submit(&format!("GET {}", key(0, 1)));
    let node = talk.node_within(8504, SECOND);
    assert_eq!(talk.sent_within(node, SECOND), [format!("GET {}", key(0, 1))]);
}

#[test]
fn what_waits_for_a_node_that_was_replaced_goes_to_its_successor() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("GET {}", key(0, 0)));
    let dead = talk.opened.iter().find(|opened| opened.port == PORTS[0]).expect("asked for").conn;
    talk.refuse(dead);
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    let mut left = 100;
    while !talk.has_opened(8504) && left > 0 {
        talk.tell_topology(&moved);
        if let Some(conn) = talk.opened.iter().find(|o| o.port == PORTS[0] && !o.is_connected).map(|o| o.conn)
        {
            talk.refuse(conn);
        }
        talk.advance(SECOND / 50);
        left -= 1;
    }
    let node = talk.node(8504);
    assert_eq!(talk.sent_within(node, SECOND), [format!("GET {}", key(0, 0))]);
    talk.receive_on(node, &bulk("v"));
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn when_every_node_is_gone_the_configured_address_is_asked() {
    let mut talk = Conversation::with_three_shards();
    for (shard, port) in PORTS.into_iter().enumerate() {
        talk.submit(&format!("GET {}", key(shard, 0)));
        let node = talk.node(port);
        talk.sent_on(node);
        talk.receive_on(node, &bulk("v"));
    }
    for opened in talk.opened.clone() {
        talk.lose(opened.conn);
    }
    let renewed = topology(&[(0, 16_383, 8509)]);
    talk.submit(&format!("GET {}", key(1, 1)));
    let mut left = 300;
    while !talk.has_opened(8509) && left > 0 {
        for opened in talk.opened.clone().into_iter().filter(|opened| !opened.is_connected) {
            if opened.port == SEED { talk.log_in(opened.conn) } else { talk.refuse(opened.conn) }
        }
        talk.tell_topology(&renewed);
        talk.advance(SECOND / 100);
        left -= 1;
    }
    let node = talk.node(8509);
    assert_eq!(talk.sent_within(node, SECOND), [format!("GET {}", key(1, 1))]);
}

#[test]
fn one_question_for_the_map_is_under_way_at_a_time() {
    let mut talk = Conversation::with_three_shards();
    talk.submit(&format!("GET {}", key(0, 0)));
    talk.submit(&format!("GET {}", key(1, 0)));
    let nodes = [talk.node(PORTS[0]), talk.node(PORTS[1])];
    for (shard, node) in nodes.into_iter().enumerate() {
        talk.sent_on(node);
        for number in 1..40 {
            talk.submit(&format!("GET {}", key(shard, number)));
        }
        talk.sent_on(node);
        // Everything has moved to the third shard.
        for number in 0..40 {
            let slot = respass_tests::conversation_nodes::slot(&key(shard, number));
            talk.receive_on(node, &format!("-MOVED {slot} 203.0.113.7:8503\r\n"));
        }
    }
    let mut questions = 0;
    for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
        questions += talk.sent_on(opened.conn).iter().filter(|sent| *sent == "CLUSTER SLOTS").count();
    }
    assert!(questions <= 1, "{questions} questions at once");
}

#[test]
fn every_new_connection_of_a_cluster_is_logged_in_like_the_first() {
    let mut talk = connecting(Conversation::with_password("u", "secret"));
    talk.establish(talk.opened[0].conn);
    let first = talk.sent_on(talk.opened[0].conn)[0].clone();
    assert!(first.starts_with("HELLO 3 AUTH u secret"), "{first}");
    talk.receive(&format!("{HELLO_CLUSTER}{NO_SETINFO}"));
    assert_eq!(talk.sent_commands(), ["CLUSTER SLOTS"]);
    talk.receive(&three_shards());
    talk.submit(&format!("GET {}", key(2, 0)));
    let opened = talk.opened.iter().find(|opened| opened.port == PORTS[2]).expect("asked for").conn;
    talk.establish(opened);
    let sent = talk.sent_on(opened);
    assert_eq!(sent[0], first);
    assert!(!sent.iter().any(|command| command.starts_with("GET")), "{sent:?}");
}

/// The reply to CLUSTER SLOTS of shards with one slot each, and ten nodes each.
fn many_nodes(shards: u32) -> String {
    let mut reply = format!("*{shards}\r\n");
    for shard in 0..shards {
        reply += &format!("*12\r\n:{shard}\r\n:{shard}\r\n");
        for node in 0..10 {
            reply += &format!("*2\r\n{}:1\r\n", bulk(&format!("10.{node}.{}.{}", shard / 200, shard % 200)));
        }
    }
    reply
}

#[test]
fn of_a_map_of_thousands_of_nodes_a_thousand_are_taken_over_at_once() {
    let mut talk = connecting(Config::new("localhost", SEED));
    let seed = talk.node(SEED);
    assert_eq!(talk.sent_on(seed), ["CLUSTER SLOTS"]);
    let begin = std::time::Instant::now();
    talk.receive_on(seed, &many_nodes(2000));
    assert!(begin.elapsed() < 5 * SECOND, "{:?}", begin.elapsed());
    assert!(talk.notices.iter().any(|notice| matches!(notice, Notice::TopologyChanged { primaries: 1000 })));
}

#[test]
fn a_server_that_tells_nothing_of_a_cluster_is_asked_once_keys_turn_out_to_be_in_several_slots() {
    let refused = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    let mut talk = Conversation::ready_with(Config::new("localhost", SEED));
    let line = format!("MGET {} {}", key(0, 0), key(1, 0));
    let id = talk.submit(&line);
    assert_eq!(talk.sent_commands(), [line.as_str()]);
    talk.receive(refused);
    assert_eq!(talk.sent_commands(), ["CLUSTER SLOTS"]);
    talk.receive(&three_shards());
    for (shard, port) in PORTS.into_iter().enumerate().take(2) {
        let node = talk.node(port);
        assert_eq!(talk.sent_on(node), [format!("MGET {}", key(shard, 0))]);
        talk.receive_on(node, &format!("*1\r\n{}", bulk(&shard.to_string())));
    }
    assert_eq!(talk.reply(id), "[0 1]");

    let mut talk = Conversation::ready_with(Config::new("localhost", SEED));
    let id = talk.submit(&line);
    talk.sent();
    talk.receive(refused);
    talk.sent();
    talk.receive("-ERR This instance has cluster support disabled\r\n");
    assert_eq!(talk.failure(id).code, ErrorCode::CrossSlot);
    // It is asked no second time.
    let id = talk.submit(&line);
    talk.sent();
    talk.receive(refused);
    assert!(talk.reply(id).starts_with("CROSSSLOT"));
}

/// A command waits for a node that refuses every connection; the map then gives its slot to another node, which is
/// connected to within two seconds.
fn check_that_it_follows_its_slot(talk: &mut Conversation) {
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    for _ in 0..200 {
        for opened in talk.opened.clone() {
            if opened.port == PORTS[0] {
                talk.refuse(opened.conn);
            }
        }
        talk.attend(&moved);
        if talk.has_opened(8504) {
            return;
        }
        talk.advance(SECOND / 100);
    }
    panic!("{:?}", talk.opened);
}

#[test]
fn a_blocking_command_that_waits_for_a_node_follows_its_slot() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("BLPOP {} 0", key(0, 0)));
    check_that_it_follows_its_slot(&mut talk);
    let node = talk.node(8504);
    assert!(talk.sent_within(node, SECOND)[0].starts_with("BLPOP"));
    assert_eq!(talk.outcome(id), None);
}

#[test]
fn a_session_that_waits_for_a_node_follows_its_slot() {
    let mut talk = Conversation::with_three_shards();
    let session = talk.open_session();
    let watch = format!("WATCH {}", key(0, 0));
    let id = talk.submit_in(session, &watch);
    check_that_it_follows_its_slot(&mut talk);
    let node = talk.node(8504);
    assert_eq!(talk.sent_within(node, SECOND), [watch]);
    assert_eq!(talk.outcome(id), None);
    talk.receive_on(node, "+OK\r\n");
    let set = format!("SET {} v", key(0, 0));
    talk.submit_transaction_in(session, &[&set]).expect("accepted");
    assert_eq!(talk.sent_on(node), ["MULTI".to_owned(), set, "EXEC".to_owned()]);
}

#[test]
fn commands_that_wait_for_a_slot_take_room_until_they_end() {
    let mut config = Config::new("localhost", SEED);
    config.limits.queued_bytes_max = 10_000;
    let mut talk = connecting(config);
    let seed = talk.node(SEED);
    talk.sent_on(seed);
    let holes = topology(&[(5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    talk.receive_on(seed, &holes);
    let own = key(0, 0);
    let words: [&[u8]; 2] = [b"GET", own.as_bytes()];
    for _ in 0..2 {
        let mut ids = Vec::new();
        let refusal = loop {
            match talk.client.submit(Command::new(&words), talk.now()) {
                Ok(id) => ids.push(id),
                Err(error) => break error,
            }
        };
        assert_eq!(refusal.code, ErrorCode::QueueFull);
        assert!((200..1000).contains(&ids.len()), "{}", ids.len());
        for _ in 0..700 {
            talk.attend(&holes);
            talk.advance(SECOND / 100);
        }
        assert!(ids.into_iter().all(|id| talk.failure(id).code == ErrorCode::NoNode));
    }
}

#[test]
fn a_session_or_a_wait_that_comes_first_of_all_goes_where_its_keys_are() {
    let mut talk = Conversation::new(Config::new("localhost", SEED));
    let session = talk.open_session();
    let watch = talk.submit_in(session, &format!("WATCH {}", key(2, 0)));
    let wait = talk.submit(&format!("BLPOP {} 0", key(1, 0)));
    for _ in 0..4 {
        for opened in talk.opened.clone().into_iter().filter(|opened| !opened.is_connected) {
            talk.log_in(opened.conn);
        }
        for opened in talk.opened.clone() {
            for command in talk.sent_on(opened.conn) {
                let reply = match command.split(' ').next() {
                    Some("CLUSTER") => three_shards(),
                    Some("WATCH") if opened.port == PORTS[2] => "+OK\r\n".to_owned(),
                    Some("BLPOP") if opened.port == PORTS[1] => "*2\r\n+k\r\n+v\r\n".to_owned(),
                    _ => panic!("{command} at {}", opened.port),
                };
                talk.receive_on(opened.conn, &reply);
            }
        }
        talk.advance(SECOND / 10);
    }
    assert_eq!((talk.reply(watch), talk.reply(wait)), ("OK", "[k v]"));
}
