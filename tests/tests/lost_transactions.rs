//! Transactions on a connection that ends before their EXEC was answered: one outcome each, and nothing runs
//! twice.

use respass::{CommandId, ErrorCode, Outcome};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";

fn with_password() -> Conversation {
    let mut talk = Conversation::new(Conversation::with_password("alice", "pw"));
    let now = talk.now();
    talk.client.connect(now);
    talk.pump();
    log_in(&mut talk);
    talk
}

fn log_in(talk: &mut Conversation) {
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
}

/// `INCR h` and a SET that is too long to be sealed with it; what is sealed of both is taken.
fn partly_sealed(talk: &mut Conversation) -> CommandId {
    let value = "x".repeat(300_000);
    let unit = talk.submit_transaction(&["INCR h", &format!("SET k {value}")]);
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let part = talk.client.take_transmit(conn, now);
    assert_eq!(part.len(), 64 << 10, "no more is sealed ahead");
    unit
}

/// The connection ends, and the next one gets what is still wanted.
fn sent_on_the_next_connection(talk: &mut Conversation) -> String {
    talk.disconnect();
    talk.advance(Duration::from_millis(110));
    assert!(talk.conn.is_some(), "the connection had been ready");
    log_in(talk);
    talk.sent()
}

fn assert_not_repeated(talk: &mut Conversation, unit: CommandId) {
    let again = sent_on_the_next_connection(talk);
    assert!(!again.contains("INCR"), "it may have run already");
    assert_eq!(talk.failure(unit).outcome, Outcome::Indeterminate);
    assert_eq!(talk.failure(unit).code, ErrorCode::ConnectionLost);
    let next = talk.submit("GET k");
    assert_eq!(talk.sent_commands(), ["GET k"], "nothing of it is left in the queue");
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(next), "v");
}

fn assert_repeated(talk: &mut Conversation, unit: CommandId) {
    let again = sent_on_the_next_connection(talk);
    assert!(again.starts_with("*1\r\n$5\r\nMULTI\r\n") && again.ends_with("EXEC\r\n"));
    talk.receive("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n");
    assert_eq!(talk.reply(unit), "[1 OK]");
}

#[test]
fn a_refused_transaction_behind_a_lost_login_has_its_outcome() {
    let mut talk = with_password();
    let plain = talk.submit("GET a");
    let unit = talk.submit_transaction(&["INCR h"]);
    talk.sent();
    talk.receive(&NOAUTH.repeat(4));
    assert!(talk.reply(plain).contains("NOAUTH"));
    let error = talk.failure(unit);
    assert_eq!((error.code, error.outcome), (ErrorCode::ExecAbort, Outcome::Refused));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_refused_transaction_ahead_of_a_framing_error_has_its_outcome() {
    let mut talk = Conversation::ready();
    let (first, second) = (talk.submit_transaction(&["NOPE"]), talk.submit_transaction(&["INCR h"]));
    talk.sent();
    talk.receive("+OK\r\n-ERR unknown command\r\n-EXECABORT x\r\n?");
    assert_eq!(talk.failure(first).code, ErrorCode::ExecAbort);
    assert_eq!(talk.failure(second).code, ErrorCode::Protocol);
}

#[test]
fn a_client_that_only_uses_transactions_notices_a_lost_login() {
    let mut talk = with_password();
    let unit = talk.submit_transaction(&["INCR h"]);
    talk.sent();
    talk.receive(&NOAUTH.repeat(3));
    assert!(talk.failure(unit).text.contains("NOAUTH"));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_lost_login_that_only_exec_tells_of_is_noticed() {
    let mut talk = with_password();
    let unit = talk.submit_transaction(&["INCR h"]);
    talk.sent();
    talk.receive("+OK\r\n+QUEUED\r\n");
    assert!(talk.closed.is_empty());
    talk.receive(NOAUTH);
    assert!(talk.reply(unit).contains("NOAUTH"));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn where_multi_was_refused_a_cut_transaction_is_not_repeated() {
    let mut talk = Conversation::ready();
    let unit = partly_sealed(&mut talk);
    talk.receive("-NOPERM no permissions to run 'multi'\r\n:1\r\n");
    assert_not_repeated(&mut talk, unit);
}

#[test]
fn where_multi_was_not_answered_a_cut_transaction_with_a_whole_command_is_not_repeated() {
    let mut talk = Conversation::ready();
    let unit = partly_sealed(&mut talk);
    assert_not_repeated(&mut talk, unit);
}

#[test]
fn where_a_command_was_answered_instead_of_queued_a_cut_transaction_is_not_repeated() {
    let mut talk = Conversation::ready();
    let unit = partly_sealed(&mut talk);
    talk.receive("+OK\r\n:1\r\n");
    assert_not_repeated(&mut talk, unit);
}

#[test]
fn where_a_command_was_refused_a_cut_transaction_is_not_repeated() {
    let mut talk = Conversation::ready();
    let unit = partly_sealed(&mut talk);
    talk.receive("+OK\r\n-ERR something of a proxy's\r\n");
    assert_not_repeated(&mut talk, unit);
}

#[test]
fn what_was_only_queued_so_far_is_repeated() {
    for answered in ["+OK\r\n", "+OK\r\n+QUEUED\r\n"] {
        let mut talk = Conversation::ready();
        let unit = partly_sealed(&mut talk);
        talk.receive(answered);
        assert_repeated(&mut talk, unit);
    }
}

#[test]
fn a_transaction_cut_in_its_first_command_is_repeated_whatever_multi_was_answered() {
    for answered in ["", "-NOPERM no permissions to run 'multi'\r\n"] {
        let mut talk = Conversation::ready();
        let unit = talk.submit_transaction(&[&format!("SET k {}", "x".repeat(300_000)), "GET k"]);
        let (conn, now) = (talk.conn.expect("a connection"), talk.now());
        talk.client.take_transmit(conn, now);
        if !answered.is_empty() {
            talk.receive(answered);
        }
        assert_repeated(&mut talk, unit);
    }
}

#[test]
fn the_answers_to_the_transaction_before_say_nothing_about_a_cut_one() {
    let mut talk = Conversation::ready();
    let before = talk.submit_transaction(&["GET a"]);
    let value = "x".repeat(300_000);
    let unit = talk.submit_transaction(&["INCR h", &format!("SET k {value}")]);
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    talk.client.take_transmit(conn, now);
    talk.receive("+OK\r\n+QUEUED\r\n");
    assert_not_repeated(&mut talk, unit);
    assert_eq!(talk.failure(before).outcome, Outcome::Indeterminate);
}

#[test]
fn a_cut_transaction_is_judged_by_its_own_answers_alone() {
    let mut talk = Conversation::ready();
    let plain = talk.submit("GET a");
    let before = talk.submit_transaction(&["NOPE"]);
    let unit = partly_sealed(&mut talk);
    talk.receive("$1\r\na\r\n+OK\r\n-ERR unknown command\r\n-EXECABORT x\r\n+OK\r\n");
    assert_eq!(talk.reply(plain), "a");
    assert_eq!(talk.failure(before).code, ErrorCode::ExecAbort);
    assert_repeated(&mut talk, unit);
}

#[test]
fn a_cancelled_cut_transaction_has_one_outcome_and_is_not_repeated() {
    let mut talk = Conversation::ready();
    let unit = partly_sealed(&mut talk);
    talk.client.cancel(unit);
    talk.pump();
    assert_eq!(talk.failure(unit).outcome, Outcome::Indeterminate);
    assert_eq!(talk.failure(unit).code, ErrorCode::Cancelled);
    talk.disconnect();
    talk.advance(Duration::from_millis(60));
    log_in(&mut talk);
    assert_eq!(talk.sent(), "");
}
