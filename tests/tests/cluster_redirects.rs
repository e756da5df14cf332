//! Redirects are untrusted text: what is followed, and what never leads anywhere.

use respass::{ConnId, ErrorCode};
use respass_tests::conversation::{Conversation, Outcome};
use respass_tests::conversation_nodes::{PORTS, bulk, key, slot, three_shards, topology};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A client that has sent this to the first shard, and the connection there.
fn with_sent(line: &str) -> (Conversation, respass::CommandId, ConnId) {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(line);
    let node = talk.node(PORTS[0]);
    assert_eq!(talk.sent_on(node), [line]);
    (talk, id, node)
}

fn get() -> String {
    format!("GET {}", key(0, 0))
}

#[test]
fn a_redirect_to_a_node_that_is_known_is_followed_at_once() {
    let (mut talk, id, node) = with_sent(&get());
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    assert_eq!(talk.outcome(id), None);
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), [get()]);
    talk.receive_on(other, &bulk("v"));
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn a_redirect_without_a_host_names_a_port_of_the_same_one() {
    let (mut talk, id, node) = with_sent(&get());
    talk.receive_on(node, &format!("-MOVED {} :8503\r\n", slot(&key(0, 0))));
    let other = talk.node(PORTS[2]);
    assert_eq!(talk.sent_on(other), [get()]);
    assert_eq!(talk.outcome(id), None);
}

#[test]
fn a_redirect_to_a_stranger_is_followed_once_a_node_lists_it_and_not_before() {
    let (mut talk, id, node) = with_sent(&get());
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8504\r\n", slot(&key(0, 0))));
    assert!(!talk.has_opened(8504), "{:?}", talk.opened);
    assert_eq!(talk.outcome(id), None);
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, 2 * SECOND), "no question");
    let other = talk.node_within(8504, SECOND);
    assert_eq!(talk.sent_on(other), [get()]);
    talk.receive_on(other, &bulk("v"));
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn a_redirect_to_a_stranger_that_no_node_lists_is_an_error() {
    let (mut talk, id, node) = with_sent(&get());
    let opened = talk.opened.len();
    talk.receive_on(node, &format!("-MOVED {} stranger.example:6379\r\n", slot(&key(0, 0))));
    for _ in 0..100 {
        // Whoever the map says has the slot may be asked again; it says the same.
        for (conn, command) in talk.attend(&three_shards()).0 {
            assert_eq!(command, get());
            talk.receive_on(conn, &format!("-MOVED {} stranger.example:6379\r\n", slot(&key(0, 0))));
        }
        talk.advance(SECOND / 20);
    }
    assert_eq!(talk.refusal(id).0, ErrorCode::Moved);
    assert!(talk.opened.len() <= opened, "{:?}", talk.opened);
}

#[test]
fn redirects_that_are_not_well_formed_or_for_another_slot_are_replies_and_nothing_else() {
    let own = slot(&key(0, 0));
    let bad = [
        format!("MOVED {} 203.0.113.7:8502", own + 1),
        format!("MOVED {own} ?:8502"),
        format!("MOVED {own} 203.0.113.7:0"),
        format!("MOVED {own} 203.0.113.7:65536"),
        format!("MOVED {own} 203.0.113.7"),
        format!("MOVED {own}"),
        format!("MOVED {own} 203.0.113.7:8502 8503"),
        format!("MOVED  {own} 203.0.113.7:8502"),
        format!("MOVED +{own} 203.0.113.7:8502"),
        "MOVED 16384 203.0.113.7:8502".to_owned(),
        "MOVED -1 203.0.113.7:8502".to_owned(),
        format!("ASK {} 203.0.113.7:8502", own + 1),
        "ASK".to_owned(),
    ];
    for text in bad {
        let (mut talk, id, node) = with_sent(&get());
        let opened = talk.opened.clone();
        talk.receive_on(node, &format!("-{text}\r\n"));
        assert!(matches!(talk.outcome(id), Some(Outcome::Reply(told)) if *told == text), "{text}");
        assert_eq!(talk.opened, opened, "{text}");
        // The map is as it was.
        talk.submit(&format!("GET {}", key(0, 1)));
        assert_eq!(talk.sent_on(node), [format!("GET {}", key(0, 1))], "{text}");
    }
}

#[test]
fn a_redirect_inside_a_reply_is_a_value() {
    let (mut talk, id, node) = with_sent(&format!("LRANGE {} 0 1", key(0, 0)));
    talk.receive_on(node, &format!("*1\r\n-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    assert_eq!(talk.reply(id), format!("[MOVED {} 203.0.113.7:8502]", slot(&key(0, 0))));
    assert!(!talk.has_opened(PORTS[1]));
}

#[test]
fn a_redirect_to_a_command_without_keys_is_a_reply() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("ECHO x");
    let asked = talk.opened.clone().into_iter().find_map(|opened| {
        let conn = talk.node(opened.port);
        (talk.sent_on(conn) == ["ECHO x"]).then_some(conn)
    });
    talk.receive_on(asked.expect("sent to somebody"), "-MOVED 7 203.0.113.7:8502\r\n");
    assert_eq!(talk.reply(id), "MOVED 7 203.0.113.7:8502");
}

#[test]
fn redirects_without_end_end_in_an_error() {
    let (mut talk, id, node) = with_sent(&get());
    let mut hops = 0;
    let moved = |port: u16| format!("-MOVED {} 203.0.113.7:{port}\r\n", slot(&key(0, 0)));
    talk.receive_on(node, &moved(PORTS[1]));
    for _ in 0..400 {
        for opened in talk.opened.clone() {
            let conn = talk.node(opened.port);
            for command in talk.sent_on(conn) {
                if command == "CLUSTER SLOTS" {
                    talk.receive_on(conn, &three_shards());
                } else {
                    assert_eq!(command, get());
                    hops += 1;
                    let there = opened.port == PORTS[1];
                    talk.receive_on(conn, &moved(if there { PORTS[0] } else { PORTS[1] }));
                }
            }
        }
        talk.advance(SECOND / 100);
    }
    assert!(hops <= 5, "{hops} redirects");
    assert!(talk.outcome(id).is_some(), "after {hops} redirects");
}

#[test]
fn ask_is_followed_with_asking_right_before_the_command_and_changes_no_map() {
    let (mut talk, id, node) = with_sent(&get());
    // Others are on their way there: ASKING must not fall apart from its command.
    talk.submit(&format!("GET {}", key(1, 0)));
    talk.receive_on(node, &format!("-ASK {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    talk.submit(&format!("GET {}", key(1, 1)));
    let other = talk.node(PORTS[1]);
    let sent = talk.sent_on(other);
    let at = sent.iter().position(|command| command == "ASKING").expect("ASKING");
    assert_eq!(sent[at + 1], get(), "{sent:?}");
    assert_eq!(sent.len(), 4, "{sent:?}");
    let replies = sent.iter().map(|command| if command == "ASKING" { "+OK\r\n" } else { "$1\r\nv\r\n" });
    let replies: String = replies.collect();
    talk.receive_on(other, &replies);
    assert_eq!(talk.reply(id), "v");
    talk.submit(&format!("GET {}", key(0, 1)));
    assert_eq!(talk.sent_on(node), [format!("GET {}", key(0, 1))]);
}

#[test]
fn ask_to_a_stranger_opens_nothing_before_a_node_lists_it() {
    let (mut talk, id, node) = with_sent(&get());
    talk.receive_on(node, &format!("-ASK {} 203.0.113.7:8504\r\n", slot(&key(0, 0))));
    assert!(!talk.has_opened(8504));
    let mut question = None;
    for _ in 0..200 {
        for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
            let sent = talk.sent_on(opened.conn);
            if let Some(command) = sent.first().filter(|command| command.starts_with("CLUSTER")) {
                question.get_or_insert_with(|| (opened.conn, command.clone()));
            }
        }
        talk.advance(SECOND / 100);
    }
    let (conn, command) = question.expect("a question");
    assert_eq!(command, "CLUSTER NODES", "importing nodes own no slot");
    let nodes = "3 203.0.113.7:8501 myself,master - 0 0 0 connected 0-16383\n\
                 6 203.0.113.7:8504 master - 0 0 0 connected\n";
    talk.receive_on(conn, &bulk(nodes));
    let other = talk.node_within(8504, SECOND);
    assert_eq!(talk.sent_on(other), ["ASKING".to_owned(), get()]);
    talk.receive_on(other, "+OK\r\n$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn a_script_that_says_moved_is_not_sent_again_and_changes_nothing() {
    for text in ["MOVED", "ASK"] {
        for host in ["stranger.example:6379", "203.0.113.7:8502"] {
            let eval = format!("EVAL s 1 {}", key(0, 0));
            let (mut talk, id, node) = with_sent(&eval);
            let forged = format!("{text} {} {host}", slot(&key(0, 0)));
            talk.receive_on(node, &format!("-{forged}\r\n"));
            talk.tell_topology_within(&three_shards(), 2 * SECOND);
            talk.advance_slowly(SECOND);
            let (_, told) = talk.refusal(id);
            assert!(told.starts_with(&forged), "{told}");
            assert_eq!(talk.sent_on(node), [""; 0]);
            assert!(talk.opened.iter().all(|opened| opened.port != 6379));
            talk.submit(&get());
            assert_eq!(talk.sent_on(node), [get()], "the map is as it was");
        }
    }
}

#[test]
fn a_script_whose_slot_has_really_moved_is_sent_to_where_it_is() {
    let eval = format!("EVAL s 1 {}", key(0, 0));
    let (mut talk, id, node) = with_sent(&eval);
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    assert_eq!(talk.outcome(id), None);
    let moved = topology(&[(0, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, 2 * SECOND), "no question");
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), [eval]);
    talk.receive_on(other, ":1\r\n");
    assert_eq!(talk.reply(id), "1");
}

#[test]
fn a_server_that_is_no_cluster_redirects_nobody() {
    let mut talk = Conversation::ready();
    let id = talk.submit(&get());
    talk.sent();
    let text = format!("MOVED {} localhost:8502", slot(&key(0, 0)));
    talk.receive(&format!("-{text}\r\n"));
    // It did not say what it is: so it is asked, and says that it is none.
    assert_eq!(talk.sent_commands(), ["CLUSTER SLOTS"]);
    talk.receive("-ERR This instance has cluster support disabled\r\n");
    assert_eq!(talk.refusal(id).0, ErrorCode::Moved);
    assert_eq!(talk.opened.len(), 1);
}

#[test]
fn a_moved_slot_takes_the_next_commands_along() {
    let (mut talk, _, node) = with_sent(&get());
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    let other = talk.node(PORTS[1]);
    talk.sent_on(other);
    talk.receive_on(other, &bulk("v"));
    let moved = topology(&[(0, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    talk.tell_topology_within(&moved, 2 * SECOND);
    talk.submit(&get());
    assert_eq!(talk.sent_on(other), [get()]);
}

#[test]
fn a_redirect_is_followed_however_often_the_command_had_to_wait_before() {
    let (mut talk, id, node) = with_sent(&get());
    for wait in 0..6 {
        talk.receive_on(node, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
        assert_eq!(talk.outcome(id), None);
        assert_eq!(talk.sent_within(node, SECOND), [get()], "after {wait} waits");
    }
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    assert_eq!(talk.outcome(id), None);
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_within(other, SECOND), [get()]);
}

#[test]
fn a_slot_on_its_way_that_asks_and_puts_off_in_turn_ends_no_command_before_its_time() {
    let (mut talk, id, node) = with_sent(&get());
    let ask = format!("-ASK {} 203.0.113.7:8502\r\n", slot(&key(0, 0)));
    talk.receive_on(node, &ask);
    let other = talk.node(PORTS[1]);
    let mut asks = 1;
    for _ in 0..200 {
        for (conn, command) in talk.attend(&three_shards()).0 {
            if conn == node {
                asks += 1;
                talk.receive_on(node, &ask);
            } else if command == "ASKING" {
                talk.receive_on(other, "+OK\r\n");
            } else {
                talk.receive_on(other, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
            }
        }
        assert_eq!(talk.outcome(id), None, "after {asks} redirects");
        talk.advance(SECOND / 50);
    }
    assert!(asks > 6, "{asks}");
}

/// Two commands that were sent to the first shard, of which the first was redirected: a question about the map is in
/// flight. The second command, the connection to that shard and the one that was asked.
fn with_question_in_flight(line: &str) -> (Conversation, respass::CommandId, ConnId, ConnId) {
    let (mut talk, _, node) = with_sent(&get());
    let second = talk.submit(line);
    talk.sent_on(node);
    talk.advance(SECOND);
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
    let connected = talk.opened.clone().into_iter().filter(|opened| opened.is_connected);
    let conns: Vec<ConnId> = connected.map(|opened| opened.conn).collect();
    let asked = conns.into_iter().find(|&conn| talk.sent_on(conn).contains(&"CLUSTER SLOTS".to_owned()));
    (talk, second, node, asked.expect("a question"))
}

#[test]
fn an_answer_older_than_a_redirect_says_nothing_against_it() {
    for kind in ["MOVED", "ASK"] {
        let (mut talk, id, node, asked) = with_question_in_flight(&format!("GET {}", key(0, 1)));
        talk.receive_on(node, &format!("-{kind} {} 203.0.113.7:8504\r\n", slot(&key(0, 1))));
        talk.receive_on(asked, &three_shards());
        assert_eq!(talk.outcome(id), None, "{kind}");
    }
    let (mut talk, id, node, asked) = with_question_in_flight(&format!("GET {}", key(0, 1)));
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8504\r\n", slot(&key(0, 1))));
    talk.receive_on(asked, &three_shards());
    talk.advance(SECOND);
    let mut moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
        if talk.sent_on(opened.conn).contains(&"CLUSTER SLOTS".to_owned()) {
            talk.receive_on(opened.conn, &std::mem::take(&mut moved));
        }
    }
    let new = talk.node_within(8504, SECOND);
    assert!(talk.sent_within(new, SECOND).contains(&format!("GET {}", key(0, 1))));
    assert_eq!(talk.outcome(id), None);
}

#[test]
fn an_answer_older_than_a_scripts_redirect_does_not_end_it() {
    let script = format!("EVAL s 1 {}", key(0, 1));
    let (mut talk, id, node, asked) = with_question_in_flight(&script);
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&key(0, 1))));
    talk.receive_on(asked, &three_shards());
    assert_eq!(talk.outcome(id), None);
    let moved = topology(&[(0, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    for _ in 0..100 {
        for (conn, command) in talk.attend(&moved).0 {
            assert_eq!((conn, command), (node, get()));
            talk.receive_on(conn, "_\r\n");
        }
        talk.advance(SECOND / 50);
    }
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), [script]);
}

#[test]
fn a_question_that_fails_says_nothing_against_a_redirect() {
    let (mut talk, id, node) = with_sent(&get());
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:8504\r\n", slot(&key(0, 0))));
    assert!(talk.tell_topology_within("-ERR busy\r\n", 2 * SECOND));
    assert_eq!(talk.outcome(id), None);
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, 2 * SECOND));
    let new = talk.node_within(8504, SECOND);
    assert_eq!(talk.sent_within(new, SECOND), [get()]);
}

#[test]
fn a_blocking_command_waits_for_its_slot_to_arrive_for_as_long_as_it_may_take() {
    let mut talk = Conversation::with_three_shards();
    let line = format!("BLPOP {}", key(0, 0));
    let forever = talk.submit(&format!("{line} 0"));
    let node = talk.node(PORTS[0]);
    let limited = talk.submit(&format!("{line} 2"));
    let other = talk.node(PORTS[0]);
    for tick in 0..1000 {
        for (conn, command) in talk.attend(&three_shards()).0 {
            assert!(conn == node || conn == other, "{command}");
            assert!(command.starts_with(&line), "{command}");
            talk.receive_on(conn, &format!("-ASK {} 203.0.113.7:8502\r\n", slot(&key(0, 0))));
        }
        assert_eq!(talk.outcome(forever), None, "after {tick} ticks");
        assert!(tick > 200 || talk.outcome(limited).is_none(), "after {tick} ticks");
        talk.advance(SECOND / 100);
    }
    assert_eq!(talk.refusal(limited).0, ErrorCode::Ask);
}

#[test]
fn a_script_does_not_come_back_to_the_node_that_may_have_run_it_when_the_map_turns_back() {
    let mut talk = Conversation::with_three_shards();
    let line = format!("EVAL s 1 {}", key(0, 0));
    let id = talk.submit(&line);
    let node = talk.node(PORTS[0]);
    assert_eq!(talk.sent_on(node), [line.as_str()]);
    talk.receive_on(node, &format!("-MOVED {} 203.0.113.7:{}\r\n", slot(&key(0, 0)), PORTS[1]));
    let moved = topology(&[(0, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, 2 * SECOND));
    // It waits for a node that cannot be reached, and then the map says that it was the first one's after all.
    assert_eq!(talk.outcome(id), None);
    for _ in 0..40 {
        for opened in talk.opened.clone().into_iter().filter(|opened| opened.port == PORTS[1]) {
            talk.refuse(opened.conn);
        }
        talk.tell_topology(&three_shards());
        assert!(talk.sent_on(node).iter().all(|sent| *sent != line), "the script was sent there again");
        talk.advance(SECOND / 20);
        if talk.outcome(id).is_some() {
            break;
        }
    }
    assert_eq!(
        (talk.failure(id).code, talk.failure(id).outcome),
        (ErrorCode::Moved, respass::Outcome::Refused)
    );
}
