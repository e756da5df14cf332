//! Re-authentication of live connections: when, how, and what it may not disturb.

use respass::{Notice, Outcome};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

/// A client that is logged in with an hourly token, and its first token.
fn logged_in() -> Conversation {
    let mut talk = Conversation::new(Conversation::with_tokens());
    talk.client.connect(talk.now());
    talk.pump();
    talk.give_token(1, 3600);
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    talk
}

/// Lets time pass until the source asks for the next token, answering probes.
fn until_question(talk: &mut Conversation) {
    while talk.fetches == 0 {
        talk.advance(Duration::from_secs(1));
        answer_pings(talk);
    }
}

fn answer_pings(talk: &mut Conversation) {
    for command in talk.sent_commands() {
        let nonce = command.strip_prefix("PING ").expect("a probe").to_owned();
        talk.receive(&format!("${}\r\n{nonce}\r\n", nonce.len()));
    }
}

/// The re-authentication that is due, as it was sent; answers the nonce.
fn expect_pair(commands: &[String], token: &str) -> String {
    assert_eq!(commands[0], format!("AUTH oid-1 {token}"));
    commands[1].strip_prefix("PING ").expect("a nonce behind AUTH").to_owned()
}

#[test]
fn a_new_token_is_presented_with_a_nonce_behind_it() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let token = talk.give_token(2, 3600);
    let nonce = expect_pair(&talk.sent_commands(), &token);
    assert_eq!(talk.client.auth_status().reauth_count, 0);
    talk.receive(&format!("+OK\r\n${}\r\n{nonce}\r\n", nonce.len()));
    assert_eq!(talk.client.auth_status().reauth_count, 1);
    assert!(talk.notices.iter().any(|notice| matches!(notice, Notice::ReAuthenticated { .. })));
    assert!(talk.closed.is_empty());
}

#[test]
fn it_goes_ahead_of_commands_that_have_not_left_and_never_into_a_transaction() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let value = "x".repeat(300_000);
    let unit = talk.submit_transaction(&[&format!("SET k {value}"), "GET k"]);
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let first = talk.client.take_transmit(conn, now);
    let other = talk.submit("GET other");
    let token = talk.give_token(2, 3600);
    let rest = talk.sent();
    assert!(first.starts_with(b"*1\r\n$5\r\nMULTI\r\n"));
    let (exec, auth) = (rest.find("EXEC").expect("EXEC"), rest.find("AUTH").expect("AUTH"));
    assert!(exec < auth && auth < rest.find("other").expect("the other command"));
    let nonce = rest.split("PING\r\n$16\r\n").nth(1).expect("a nonce")[..16].to_owned();
    let exec_reply = "*2\r\n+OK\r\n$1\r\nx\r\n";
    talk.receive(&format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n{exec_reply}+OK\r\n$16\r\n{nonce}\r\n$1\r\no\r\n"));
    assert_eq!((talk.reply(unit), talk.reply(other)), ("[OK x]", "o"));
    assert!(rest.contains(&token));
}

#[test]
fn success_is_ok_and_the_nonce_and_nothing_else() {
    for answer in ["+QUEUED\r\n", "$2\r\nOK\r\n", ":1\r\n", "-WRONGPASS no\r\n", "_\r\n"] {
        let mut talk = logged_in();
        until_question(&mut talk);
        let token = talk.give_token(2, 3600);
        let nonce = expect_pair(&talk.sent_commands(), &token);
        talk.receive(&format!("{answer}${}\r\n{nonce}\r\n", nonce.len()));
        assert_eq!(talk.client.auth_status().reauth_count, 0, "{answer}");
        assert!(talk.client.auth_status().last_error.is_some(), "{answer}");
        let id = talk.submit("GET k");
        assert_eq!(talk.sent_commands(), ["GET k"], "{answer}: the old login stands");
        talk.receive("$1\r\nv\r\n");
        assert_eq!(talk.reply(id), "v");
    }
}

#[test]
fn a_wrong_nonce_closes_the_connection() {
    let mut talk = logged_in();
    until_question(&mut talk);
    talk.give_token(2, 3600);
    talk.sent();
    let id = talk.submit("GET k");
    talk.sent();
    talk.receive("+OK\r\n$1\r\nv\r\n");
    assert_eq!(talk.closed.len(), 1);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
}

#[test]
fn a_refused_re_authentication_is_repeated() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let token = talk.give_token(2, 3600);
    let nonce = expect_pair(&talk.sent_commands(), &token);
    talk.receive(&format!("-ERR try later\r\n${}\r\n{nonce}\r\n", nonce.len()));
    let mut again = Vec::new();
    for _ in 0..10 {
        talk.advance(Duration::from_secs(1));
        again.extend(talk.sent_commands());
    }
    assert!(again.iter().any(|command| command.starts_with("AUTH ")), "{again:?}");
}

#[test]
fn a_token_that_comes_while_another_is_being_validated_is_presented_next() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let token = talk.give_token(2, 3600);
    let nonce = expect_pair(&talk.sent_commands(), &token);
    talk.fetches += 1;
    let newer = talk.give_token(3, 3700);
    assert_eq!(talk.sent(), "", "one at a time");
    talk.receive(&format!("+OK\r\n${}\r\n{nonce}\r\n", nonce.len()));
    expect_pair(&talk.sent_commands(), &newer);
}

#[test]
fn the_same_token_again_is_not_sent_again() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    talk.client.connect(talk.now());
    talk.pump();
    let token = talk.give_token(1, 3600);
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    until_question(&mut talk);
    talk.give(token);
    assert_eq!(talk.sent(), "");
    assert_eq!(talk.fetches, 0, "and the next question is not asked at once");
}

#[test]
fn commands_behind_a_slow_validation_get_the_time_that_it_took() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let token = talk.give_token(2, 3600);
    let id = talk.submit("GET k");
    let nonce = expect_pair(&talk.sent_commands(), &token);
    talk.advance_slowly(Duration::from_secs(9));
    assert_eq!(talk.outcome(id), None);
    talk.receive("+OK\r\n");
    talk.advance_slowly(Duration::from_millis(4_900));
    assert_eq!(talk.outcome(id), None);
    talk.receive(&format!("${}\r\n{nonce}\r\n$1\r\nv\r\n", nonce.len()));
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn a_command_that_outlives_the_token_is_ended_with_it() {
    let mut talk = logged_in();
    until_question(&mut talk);
    let end = talk.client.auth_status().expires_at.expect("a token");
    while end.since(talk.now().monotonic) > Duration::from_secs(40) {
        talk.advance(Duration::from_secs(1));
        answer_pings(&mut talk);
    }
    let arguments: [&[u8]; 2] = [b"GET", b"slow"];
    let command = respass::Command::new(&arguments).timeout(Duration::from_secs(600));
    let id = talk.client.submit(command, talk.now()).expect("accepted");
    talk.sent();
    talk.advance_slowly(Duration::from_secs(39));
    assert_eq!(talk.outcome(id), None, "its reply may still come");
    talk.advance_slowly(Duration::from_secs(2));
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn without_a_newer_token_the_connection_stops_in_time_and_commands_wait_for_the_next_login() {
    let mut talk = logged_in();
    until_question(&mut talk);
    // The credential hangs. Half a minute before the end nothing new may leave.
    while talk.closed.is_empty() {
        talk.advance(Duration::from_secs(1));
        answer_pings(&mut talk);
    }
    let left = talk.client.auth_status();
    assert!(!left.is_ready);
    let id = talk.submit("GET k");
    assert_eq!(talk.sent(), "");
    talk.advance_slowly(Duration::from_secs(20));
    let token = talk.give_token(2, 3600);
    talk.advance(Duration::from_millis(60));
    talk.connect();
    assert!(talk.sent().contains(&token));
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    talk.sent();
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
}
