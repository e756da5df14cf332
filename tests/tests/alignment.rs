//! A server or proxy that loses a reply shifts every later one: how long that can last.

use respass::{ErrorCode, Outcome};
use respass_tests::conversation::Conversation;
use std::time::Duration;

/// Answers what arrived, but for the `lost`-th answer, which is lost (counted from 0 over the whole talk).
struct Lossy {
    answered: usize,
    lost: usize,
}

impl Lossy {
    fn answer(&mut self, talk: &mut Conversation) {
        let mut bytes = String::new();
        for command in talk.sent_commands() {
            let text = command.split(' ').next_back().expect("a word").to_owned();
            if self.answered != self.lost {
                bytes.push_str(&format!("${}\r\n{text}\r\n", text.len()));
            }
            self.answered += 1;
        }
        if !bytes.is_empty() && talk.conn.is_some() {
            talk.receive(&bytes);
        }
    }
}

#[test]
fn under_load_a_lost_reply_is_noticed_within_ten_seconds() {
    let mut talk = Conversation::ready();
    let mut server = Lossy { answered: 0, lost: 30 };
    let mut seconds = 0.0;
    let mut number = 0;
    while talk.closed.is_empty() {
        for _ in 0..3 {
            number += 1;
            talk.submit(&format!("ECHO word-{number}"));
        }
        server.answer(&mut talk);
        talk.advance(Duration::from_millis(100));
        seconds += 0.1;
        assert!(seconds < 12.5, "nobody noticed");
    }
    assert!(talk.outcomes.len() > 200, "it was under load: {}", talk.outcomes.len());
}

#[test]
fn one_caller_at_a_time_is_never_given_the_wrong_reply() {
    let mut talk = Conversation::ready();
    let mut server = Lossy { answered: 0, lost: 0 };
    let first = talk.submit("ECHO one");
    server.answer(&mut talk);
    talk.advance_slowly(Duration::from_millis(5100));
    assert_eq!(talk.failure(first).code, ErrorCode::Timeout);
    let second = talk.submit("ECHO two");
    server.answer(&mut talk);
    // The nonce came in the first one's place, and "two" in the nonce's.
    assert_eq!(talk.failure(second).code, ErrorCode::Protocol);
    assert_eq!(talk.failure(second).outcome, Outcome::Indeterminate);
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_late_reply_costs_nothing_but_its_own_command() {
    let mut talk = Conversation::ready();
    let first = talk.submit("ECHO one");
    talk.sent();
    talk.advance_slowly(Duration::from_millis(5100));
    assert_eq!(talk.failure(first).code, ErrorCode::Timeout);
    let probe = talk.sent_commands();
    let nonce = probe[0].strip_prefix("PING ").expect("a probe behind the late command").to_owned();
    talk.receive(&format!("$3\r\none\r\n${}\r\n{nonce}\r\n", nonce.len()));
    let second = talk.submit("ECHO two");
    assert_eq!(talk.sent_commands(), ["ECHO two"]);
    talk.receive("$3\r\ntwo\r\n");
    assert_eq!(talk.reply(second), "two");
    assert!(talk.closed.is_empty());
}

#[test]
fn a_server_that_forgot_the_login_is_logged_in_to_again() {
    let mut talk = Conversation::new(Conversation::with_password("alice", "pw"));
    let first = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    talk.sent();
    talk.receive("-NOAUTH Authentication required.\r\n");
    assert!(talk.reply(first).contains("NOAUTH"), "the caller is told");
    assert_eq!(talk.closed.len(), 1);
    let second = talk.submit("GET k");
    talk.advance(Duration::from_secs(1));
    talk.connect();
    assert!(talk.sent().contains("HELLO"), "and the next command finds a new login");
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    talk.sent();
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(second), "v");
}

fn logged_in() -> Conversation {
    let mut talk = Conversation::new(Conversation::with_password("alice", "pw"));
    let now = talk.now();
    talk.client.connect(now);
    talk.pump();
    talk.connect();
    talk.sent();
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    talk
}

#[test]
fn a_lost_login_is_noticed_also_when_nobody_waits_for_the_reply_that_tells() {
    let mut talk = logged_in();
    let id = talk.submit("GET k");
    talk.sent();
    talk.client.cancel(id);
    talk.pump();
    talk.receive("-NOAUTH Authentication required.\r\n");
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn every_wording_of_a_lost_login_is_known() {
    for text in [
        "NOAUTH Authentication required.",
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
         <user> <pass> option can be used",
    ] {
        let mut talk = logged_in();
        talk.submit("GET k");
        talk.sent();
        talk.receive(&format!("-{text}\r\n"));
        assert_eq!(talk.closed.len(), 1, "{text}");
    }
}

#[test]
fn a_scripts_own_error_ends_no_healthy_connection() {
    for text in ["NOAUTH", "NOAUTH the caller has no ticket", "NOAUTHORITY Authentication required."] {
        let mut talk = logged_in();
        let id = talk.submit("FCALL check 0");
        talk.sent();
        talk.receive(&format!("-{text}\r\n"));
        assert!(talk.reply(id).contains(text));
        assert!(talk.closed.is_empty(), "{text}");
    }
}

/// A command is under way, and behind it a probe.
fn with_a_probe_behind_a_command() -> Conversation {
    let mut talk = Conversation::ready();
    talk.advance(Duration::from_secs(9));
    talk.submit("ECHO one");
    talk.sent();
    talk.receive("$3\r\none\r\n");
    talk.submit("ECHO two");
    assert_eq!(talk.sent_commands(), ["ECHO two"]);
    talk.advance_slowly(Duration::from_millis(1_100));
    let probe = talk.sent_commands();
    assert!(probe.len() == 1 && probe[0].starts_with("PING "), "{probe:?}");
    talk
}

#[test]
fn a_peer_that_dies_between_the_last_reply_and_the_probes_is_noticed() {
    let mut talk = with_a_probe_behind_a_command();
    talk.advance_slowly(Duration::from_secs(3));
    talk.receive("$3\r\ntwo\r\n");
    talk.advance_slowly(Duration::from_millis(14_800));
    assert!(talk.closed.is_empty(), "a server under load may stand still for some seconds");
    talk.advance_slowly(Duration::from_millis(300));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn pushes_are_no_answer_to_a_probe() {
    let mut talk = with_a_probe_behind_a_command();
    talk.receive("$3\r\ntwo\r\n");
    for _ in 0..16 {
        talk.advance_slowly(Duration::from_secs(1));
        if talk.conn.is_some() {
            talk.receive(">1\r\n+news\r\n");
        }
    }
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_peer_that_dies_with_late_replies_under_way_is_noticed() {
    for answered in ["$3\r\none\r\n", "$3\r\none\r\n$3\r\nt"] {
        let mut talk = Conversation::ready();
        let (first, second) = (talk.submit("ECHO one"), talk.submit("ECHO two"));
        talk.sent();
        talk.advance_slowly(Duration::from_millis(5_100));
        assert_eq!(talk.failure(first).code, ErrorCode::Timeout);
        assert_eq!(talk.failure(second).code, ErrorCode::Timeout);
        assert!(talk.sent().contains("PING"), "a probe behind the late commands");
        talk.receive(answered);
        talk.advance_slowly(Duration::from_millis(14_800));
        assert!(talk.closed.is_empty(), "{answered:?}");
        talk.advance_slowly(Duration::from_millis(300));
        assert_eq!(talk.closed.len(), 1, "{answered:?}");
    }
}

#[test]
fn a_peer_that_is_slow_but_alive_is_not_given_up() {
    let mut talk = Conversation::ready();
    let ids: Vec<_> = (0..4).map(|number| talk.submit(&format!("ECHO {number}"))).collect();
    talk.sent();
    talk.advance_slowly(Duration::from_millis(5_100));
    let probe = talk.sent_commands();
    let nonce = probe[0].strip_prefix("PING ").expect("a probe").to_owned();
    for id in ids {
        assert_eq!(talk.failure(id).code, ErrorCode::Timeout);
        talk.advance_slowly(Duration::from_secs(9));
        talk.receive("$1\r\nx\r\n");
    }
    talk.advance_slowly(Duration::from_secs(4));
    talk.receive(&format!("${}\r\n{nonce}\r\n", nonce.len()));
    talk.advance_slowly(Duration::from_secs(20));
    assert!(talk.closed.is_empty());
}
