//! Commands with keys on several shards, or for all of them; transactions.

use respass::{Command, ErrorCode, Outcome};
use respass_tests::conversation::Conversation;
use respass_tests::conversation_nodes::{PORTS, bulk, key, slot, three_shards};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Answers what each shard was sent; the shards that were sent something.
fn answer(talk: &mut Conversation, reply: impl Fn(&str) -> String) -> Vec<(usize, Vec<String>)> {
    let mut seen = Vec::new();
    for (shard, port) in PORTS.into_iter().enumerate() {
        if !talk.has_opened(port) {
            continue;
        }
        let node = talk.node(port);
        let sent = talk.sent_on(node);
        if !sent.is_empty() {
            let replies: String = sent.iter().map(|command| reply(command)).collect();
            talk.receive_on(node, &replies);
            seen.push((shard, sent));
        }
    }
    seen
}

/// Four keys in three slots on three shards, in an order that goes to and fro.
fn keys() -> [String; 4] {
    [key(2, 0), key(0, 0), key(1, 0), format!("{{{}}}:more", key(0, 0))]
}

/// How a command is refused without being sent.
fn refused(talk: &mut Conversation, line: &str) -> ErrorCode {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let id = match talk.client.submit(Command::new(&words), talk.now()) {
        Ok(id) => id,
        Err(error) => return error.code,
    };
    talk.pump();
    assert_eq!(talk.failure(id).outcome, Outcome::NotSent);
    talk.failure(id).code
}

#[test]
fn mget_is_split_and_its_values_come_in_the_order_of_the_keys() {
    let mut talk = Conversation::with_three_shards();
    let [a, b, c, d] = keys();
    let id = talk.submit(&format!("MGET {a} {b} {c} {d}"));
    let seen = answer(&mut talk, |command| {
        let values: Vec<String> = command.split(' ').skip(1).map(|key| bulk(&format!("v:{key}"))).collect();
        format!("*{}\r\n{}", values.len(), values.concat())
    });
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0].1, [format!("MGET {b} {d}")]);
    assert_eq!(talk.reply(id), format!("[v:{a} v:{b} v:{c} v:{d}]"));
}

#[test]
fn numbers_of_the_parts_are_added_up() {
    for name in ["DEL", "UNLINK", "EXISTS", "TOUCH"] {
        let mut talk = Conversation::with_three_shards();
        let id = talk.submit(&format!("{name} {}", keys().join(" ")));
        let seen = answer(&mut talk, |command| format!(":{}\r\n", command.split(' ').count() - 1));
        assert_eq!(seen.len(), 3);
        assert_eq!(talk.reply(id), "4", "{name}");
    }
}

#[test]
fn mset_takes_each_value_with_its_key() {
    let mut talk = Conversation::with_three_shards();
    let [a, b, c, d] = keys();
    let id = talk.submit(&format!("MSET {a} 1 {b} 2 {c} 3 {d} 4"));
    let seen = answer(&mut talk, |_| "+OK\r\n".to_owned());
    assert_eq!(seen[0].1, [format!("MSET {b} 2 {d} 4")]);
    assert_eq!(seen[2].1, [format!("MSET {a} 1")]);
    assert_eq!(talk.reply(id), "OK");
}

#[test]
fn a_command_of_many_keys_on_one_shard_is_one_per_slot_or_whole_and_answered_once() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("MGET {a}1 {a}2 {a}3");
    let seen = answer(&mut talk, |_| format!("*3\r\n{}{}{}", bulk("1"), bulk("2"), bulk("3")));
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1, ["MGET {a}1 {a}2 {a}3"]);
    assert_eq!(talk.reply(id), "[1 2 3]");
}

#[test]
fn where_one_part_is_refused_the_whole_has_that_error() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("DEL {}", keys().join(" ")));
    answer(&mut talk, |command| match command.split(' ').count() {
        3 => "-NOPERM no\r\n".to_owned(),
        _ => ":1\r\n".to_owned(),
    });
    assert_eq!(talk.reply(id), "NOPERM no");
}

#[test]
fn where_one_part_is_lost_the_whole_may_have_run() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("DEL {}", keys().join(" ")));
    let nodes = PORTS.map(|port| talk.node(port));
    for node in nodes {
        assert_eq!(talk.sent_on(node).len(), 1);
    }
    talk.receive_on(nodes[0], ":2\r\n");
    talk.receive_on(nodes[1], ":1\r\n");
    talk.lose(nodes[2]);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
}

#[test]
fn a_part_that_is_redirected_is_sent_on_alone() {
    let mut talk = Conversation::with_three_shards();
    let (a, b) = (key(0, 0), key(2, 0));
    let id = talk.submit(&format!("MGET {a} {b}"));
    let nodes = [talk.node(PORTS[0]), talk.node(PORTS[2])];
    talk.sent_on(nodes[0]);
    talk.sent_on(nodes[1]);
    talk.receive_on(nodes[0], &format!("-MOVED {} 203.0.113.7:8503\r\n", slot(&a)));
    assert_eq!(talk.sent_on(nodes[1]).iter().filter(|sent| **sent == format!("MGET {a}")).count(), 1);
    talk.receive_on(nodes[1], &format!("*1\r\n{}*1\r\n{}", bulk("two"), bulk("one")));
    assert_eq!(talk.reply(id), "[one two]");
}

#[test]
fn a_split_command_that_is_cancelled_keeps_no_part_waiting() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(&format!("MGET {} {}", key(0, 0), key(2, 0)));
    let nodes = [talk.node(PORTS[0]), talk.node(PORTS[2])];
    nodes.into_iter().for_each(|node| drop(talk.sent_on(node)));
    talk.client.cancel(id);
    talk.pump();
    assert_eq!(talk.failure(id).code, ErrorCode::Cancelled);
    for node in nodes {
        talk.receive_on(node, &format!("*1\r\n{}", bulk("late")));
    }
    let next = talk.submit(&format!("GET {}", key(0, 0)));
    talk.sent_on(nodes[0]);
    talk.receive_on(nodes[0], &bulk("own"));
    assert_eq!(talk.reply(next), "own");
}

#[test]
fn dbsize_asks_every_shard_and_adds_up() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("DBSIZE");
    let seen = answer(&mut talk, |_| ":5\r\n".to_owned());
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(talk.reply(id), "15");
}

#[test]
fn keys_asks_every_shard_and_puts_the_lists_together() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("KEYS *");
    answer(&mut talk, |_| format!("*2\r\n{}{}", bulk("a"), bulk("b")));
    assert_eq!(talk.reply(id), "[a b a b a b]");
}

#[test]
fn flushall_is_done_everywhere_or_told_to_have_failed() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit("FLUSHALL");
    let seen = answer(&mut talk, |_| "+OK\r\n".to_owned());
    assert_eq!(seen.len(), 3);
    assert_eq!(talk.reply(id), "OK");
    let id = talk.submit("FLUSHALL");
    let nodes = PORTS.map(|port| talk.node(port));
    nodes.into_iter().for_each(|node| drop(talk.sent_on(node)));
    talk.receive_on(nodes[0], "+OK\r\n");
    talk.receive_on(nodes[1], "-NOPERM no\r\n");
    talk.receive_on(nodes[2], "+OK\r\n");
    assert_eq!(talk.reply(id), "NOPERM no");
}

#[test]
fn scan_goes_through_all_shards_with_one_cursor() {
    let mut talk = Conversation::with_three_shards();
    let (mut cursor, mut found, mut rounds) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let id = talk.submit(&format!("SCAN {cursor} COUNT 10"));
        let mut asked = 0;
        for (shard, port) in PORTS.into_iter().enumerate() {
            if !talk.has_opened(port) {
                continue;
            }
            let node = talk.node(port);
            for command in talk.sent_on(node) {
                asked += 1;
                // Each shard has two rounds: cursor 0, then 17.
                let first = command.starts_with("SCAN 0 ");
                assert!(first || command.starts_with("SCAN 17 "), "{command}");
                assert!(command.ends_with("COUNT 10"), "{command}");
                let name = format!("s{shard}{}", if first { "a" } else { "b" });
                let next = if first { bulk("17") } else { bulk("0") };
                talk.receive_on(node, &format!("*2\r\n{next}*1\r\n{}", bulk(&name)));
            }
        }
        assert_eq!(asked, 1);
        let reply = talk.reply(id).trim_matches(['[', ']']).to_owned();
        let (next, names) = reply.split_once(' ').expect("a cursor and names");
        found.push(names.trim_matches(['[', ']']).to_owned());
        cursor = next.to_owned();
        rounds += 1;
        if cursor == "0" || rounds > 10 {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ["s0a", "s0b", "s1a", "s1b", "s2a", "s2b"]);
}

#[test]
fn keys_on_several_slots_are_refused_here_where_no_split_is_possible() {
    let mut talk = Conversation::with_three_shards();
    for line in ["RENAME", "SINTER", "RPOPLPUSH"] {
        let line = format!("{line} {} {}", key(0, 0), key(1, 0));
        assert_eq!(refused(&mut talk, &line), ErrorCode::CrossSlot, "{line}");
    }
    assert!(PORTS.iter().all(|port| !talk.has_opened(*port)), "nothing was sent anywhere");
    assert_eq!(refused(&mut talk, &format!("EVAL s 2 {} {}", key(0, 0), key(1, 0))), ErrorCode::CrossSlot);
}

#[test]
fn a_transaction_goes_to_the_node_of_its_keys_as_one_unit() {
    let mut talk = Conversation::with_three_shards();
    let own = key(1, 0);
    let id = talk.submit_transaction(&[&format!("INCR {own}"), "PING", &format!("GET {own}")]);
    let node = talk.node(PORTS[1]);
    let get = format!("GET {own}");
    assert_eq!(
        talk.sent_on(node),
        ["MULTI".to_owned(), format!("INCR {own}"), "PING".into(), get, "EXEC".into()]
    );
    talk.receive_on(node, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n+PONG\r\n$1\r\n1\r\n");
    assert_eq!(talk.reply(id), "[1 PONG 1]");
}

#[test]
fn a_transaction_over_several_slots_is_refused_here() {
    let mut talk = Conversation::with_three_shards();
    let lines = [format!("GET {}", key(0, 0)), format!("GET {}", key(1, 0))];
    let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
    for line in &lines {
        lengths.push(2);
        lengths.extend(line.split(' ').map(|word| word.len() as u32));
        bytes.extend(line.split(' ').flat_map(str::bytes));
    }
    let code = match talk.client.submit_transaction(&bytes, &lengths, talk.now()) {
        Err(error) => error.code,
        Ok(id) => {
            talk.pump();
            talk.failure(id).code
        }
    };
    assert_eq!(code, ErrorCode::CrossSlot);
}

#[test]
fn a_transaction_that_is_redirected_while_it_is_queued_goes_on_whole() {
    let mut talk = Conversation::with_three_shards();
    let own = key(0, 0);
    let id = talk.submit_transaction(&[&format!("INCR {own}"), &format!("GET {own}")]);
    let node = talk.node(PORTS[0]);
    let whole = talk.sent_on(node);
    let moved = format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&own));
    talk.receive_on(node, &format!("+OK\r\n{moved}{moved}-EXECABORT Transaction discarded\r\n"));
    assert_eq!(talk.outcome(id), None);
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), whole);
    talk.receive_on(other, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n");
    assert_eq!(talk.reply(id), "[1 1]");
}

#[test]
fn a_transaction_that_is_redirected_when_it_is_to_run_goes_on_whole() {
    let mut talk = Conversation::with_three_shards();
    let own = key(0, 0);
    let id = talk.submit_transaction(&[&format!("INCR {own}")]);
    let node = talk.node(PORTS[0]);
    let whole = talk.sent_on(node);
    talk.receive_on(node, &format!("+OK\r\n+QUEUED\r\n-MOVED {} 203.0.113.7:8502\r\n", slot(&own)));
    assert_eq!(talk.outcome(id), None);
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), whole);
    talk.receive_on(other, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    assert_eq!(talk.reply(id), "[1]");
}

#[test]
fn a_transaction_that_exec_refuses_for_now_is_sent_again() {
    for text in [
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
        "EXECABORT Transaction discarded because of: LOADING Redis is loading the dataset in memory",
    ] {
        let mut talk = Conversation::with_three_shards();
        let id = talk.submit_transaction(&[&format!("INCR {}", key(0, 0))]);
        let node = talk.node(PORTS[0]);
        let whole = talk.sent_on(node);
        talk.receive_on(node, &format!("+OK\r\n+QUEUED\r\n-{text}\r\n"));
        assert_eq!(talk.outcome(id), None, "{text}");
        let mut again = Vec::new();
        for _ in 0..50 {
            again.extend(talk.attend(&three_shards()).0.into_iter().map(|(_, command)| command));
            talk.advance(Duration::from_millis(10));
        }
        assert_eq!(again, whole, "{text}");
    }
}

#[test]
fn a_transaction_that_exec_refuses_for_good_has_that_answer() {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit_transaction(&[&format!("INCR {}", key(0, 0))]);
    let node = talk.node(PORTS[0]);
    talk.sent_on(node);
    let text = "EXECABORT Transaction discarded because of previous errors.";
    talk.receive_on(node, &format!("+OK\r\n+QUEUED\r\n-{text}\r\n"));
    assert_eq!(talk.reply(id), text);
}

#[test]
fn a_redirect_that_stands_inside_the_answer_of_exec_is_a_value() {
    let mut talk = Conversation::with_three_shards();
    let own = key(0, 0);
    let id = talk.submit_transaction(&[&format!("EVAL s 1 {own}")]);
    let node = talk.node(PORTS[0]);
    talk.sent_on(node);
    let text = format!("MOVED {} stranger.example:6379", slot(&own));
    talk.receive_on(node, &format!("+OK\r\n+QUEUED\r\n*1\r\n-{text}\r\n"));
    assert_eq!(talk.reply(id), format!("[{text}]"));
    talk.tell_topology_within(&three_shards(), SECOND);
    assert!(talk.opened.iter().all(|opened| opened.port != 6379));
}

#[test]
fn a_transaction_that_is_asked_elsewhere_has_asking_before_its_multi() {
    let mut talk = Conversation::with_three_shards();
    let own = key(0, 0);
    let id = talk.submit_transaction(&[&format!("INCR {own}")]);
    let node = talk.node(PORTS[0]);
    let whole = talk.sent_on(node);
    let ask = format!("-ASK {} 203.0.113.7:8502\r\n", slot(&own));
    talk.receive_on(node, &format!("+OK\r\n{ask}-EXECABORT Transaction discarded\r\n"));
    let other = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(other), [vec!["ASKING".to_owned()], whole].concat());
    talk.receive_on(other, "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    assert_eq!(talk.reply(id), "[1]");
}

#[test]
fn a_batch_for_several_shards_goes_out_side_by_side() {
    let mut talk = Conversation::with_three_shards();
    let keys = keys();
    let bytes: Vec<u8> = keys.iter().flat_map(|key| format!("GET{key}").into_bytes()).collect();
    let lengths: Vec<u32> = keys.iter().flat_map(|key| [2, 3, key.len() as u32]).collect();
    let ids = talk.client.submit_batch(&bytes, &lengths, talk.now()).expect("accepted");
    talk.pump();
    let seen = answer(&mut talk, |command| bulk(&command[4..]));
    assert_eq!(seen.len(), 3);
    for (id, key) in ids.iter().zip(&keys) {
        assert_eq!(talk.reply(id), key);
    }
}
