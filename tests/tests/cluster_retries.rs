//! Refusals that pass: sent again within the command's time, and not a command more.

use respass::{ConnId, ErrorCode};
use respass_tests::conversation::{Conversation, Outcome};
use respass_tests::conversation_nodes::{PORTS, bulk, key, three_shards, topology};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

const PASSING: [&str; 4] = [
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
];

fn with_sent(line: &str) -> (Conversation, respass::CommandId, ConnId) {
    let mut talk = Conversation::with_three_shards();
    let id = talk.submit(line);
    let node = talk.node(PORTS[0]);
    assert_eq!(talk.sent_on(node), [line]);
    (talk, id, node)
}

/// Lets time pass until the command comes again; topologies are told meanwhile.
fn sent_again(talk: &mut Conversation, node: ConnId, line: &str, map: &str) -> bool {
    for _ in 0..600 {
        let (others, _) = talk.attend(map);
        if let Some((conn, command)) = others.into_iter().next() {
            assert_eq!((conn, command.as_str()), (node, line), "something else was sent");
            return true;
        }
        talk.advance(SECOND / 100);
    }
    false
}

#[test]
fn what_a_server_cannot_do_yet_is_asked_again_after_a_while() {
    for text in PASSING {
        let line = format!("INCR {}", key(0, 0));
        let (mut talk, id, node) = with_sent(&line);
        talk.receive_on(node, &format!("-{text}\r\n"));
        assert_eq!(talk.outcome(id), None, "{text}");
        assert!(!talk.sent_on(node).contains(&line), "{text}: without a wait");
        assert!(sent_again(&mut talk, node, &line, &three_shards()), "{text}");
        talk.receive_on(node, ":1\r\n");
        assert_eq!(talk.reply(id), "1");
    }
}

#[test]
fn a_server_that_never_can_is_not_asked_longer_than_the_command_may_take() {
    for text in PASSING {
        let line = format!("INCR {}", key(0, 0));
        let (mut talk, id, node) = with_sent(&line);
        talk.receive_on(node, &format!("-{text}\r\n"));
        let mut attempts = 1;
        while sent_again(&mut talk, node, &line, &three_shards()) {
            attempts += 1;
            talk.receive_on(node, &format!("-{text}\r\n"));
            assert!(attempts < 200, "{text}: a hot loop");
        }
        assert!(attempts > 3, "{text}: {attempts} attempts in five seconds");
        match talk.outcome(id).expect("an outcome") {
            Outcome::Reply(reply) => assert_eq!(reply, text),
            Outcome::Failed(error) => assert_ne!(error.outcome, respass::Outcome::Indeterminate, "{error:?}"),
        }
    }
}

#[test]
fn a_script_that_says_so_is_not_sent_again() {
    for text in PASSING {
        let (mut talk, id, node) = with_sent(&format!("EVAL s 1 {}", key(0, 0)));
        talk.receive_on(node, &format!("-{text}\r\n"));
        assert_eq!(talk.reply(id), text);
        talk.advance_slowly(SECOND);
        assert_eq!(talk.sent_on(node), [""; 0]);
    }
}

#[test]
fn a_primary_that_became_a_replica_is_asked_no_more_once_the_map_says_so() {
    let line = format!("INCR {}", key(0, 0));
    let (mut talk, id, node) = with_sent(&line);
    talk.receive_on(node, "-READONLY You can't write against a read only replica.\r\n");
    assert_eq!(talk.outcome(id), None);
    let moved = topology(&[(0, 5460, 8504), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])]);
    // Until the map says so it may be asked again, and says the same.
    for _ in 0..200 {
        let (others, _) = talk.attend(&moved);
        for (conn, command) in others {
            assert_eq!((conn, &command), (node, &line));
            talk.receive_on(node, "-READONLY You can't write against a read only replica.\r\n");
        }
        if talk.has_opened(8504) {
            break;
        }
        talk.advance(SECOND / 100);
    }
    let other = talk.node(8504);
    assert_eq!(talk.sent_within(other, SECOND), [line]);
    talk.receive_on(other, ":1\r\n");
    assert_eq!(talk.reply(id), "1");
}

#[test]
fn errors_that_do_not_pass_are_replies() {
    for text in ["OOM command not allowed", "NOPERM no", "WRONGTYPE no", "ERR no", "BUSYGROUP x"] {
        let (mut talk, id, node) = with_sent(&format!("INCR {}", key(0, 0)));
        talk.receive_on(node, &format!("-{text}\r\n"));
        assert_eq!(talk.reply(id), text);
    }
}

#[test]
fn what_left_and_was_not_answered_is_not_sent_again() {
    let (mut talk, id, node) = with_sent(&format!("INCR {}", key(0, 0)));
    talk.lose(node);
    assert_eq!(talk.failure(id).outcome, respass::Outcome::Indeterminate);
    assert_eq!(talk.failure(id).code, ErrorCode::ConnectionLost);
}

#[test]
fn a_cancelled_command_is_not_sent_again() {
    let line = format!("INCR {}", key(0, 0));
    let (mut talk, id, node) = with_sent(&line);
    talk.receive_on(node, "-TRYAGAIN x\r\n");
    talk.client.cancel(id);
    talk.pump();
    assert!(!sent_again(&mut talk, node, &line, &three_shards()));
    assert_eq!(talk.failure(id).outcome, respass::Outcome::Refused);
}

#[test]
fn one_that_is_asked_again_has_one_outcome_when_the_client_closes() {
    let (mut talk, id, node) = with_sent(&format!("INCR {}", key(0, 0)));
    talk.receive_on(node, "-TRYAGAIN x\r\n");
    talk.client.close(talk.now());
    talk.pump();
    assert_eq!(talk.failure(id).outcome, respass::Outcome::Refused);
}

#[test]
fn replies_behind_one_that_is_asked_again_find_their_commands() {
    let line = format!("INCR {}", key(0, 0));
    let (mut talk, first, node) = with_sent(&line);
    let second = talk.submit(&format!("GET {}", key(0, 1)));
    talk.sent_on(node);
    talk.receive_on(node, &format!("-TRYAGAIN x\r\n{}", bulk("v")));
    assert_eq!(talk.reply(second), "v");
    assert!(sent_again(&mut talk, node, &line, &three_shards()));
    talk.receive_on(node, ":7\r\n");
    assert_eq!(talk.reply(first), "7");
}
