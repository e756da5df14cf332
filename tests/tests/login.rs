//! Login: what goes out first, what counts as success, and that nothing of the user's leaves before it.

use respass::{Client, Config, Credential, ErrorCode, Instant, Notice, Now, Outcome, UnixTime};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

fn start(config: Config) -> Conversation {
    let mut talk = Conversation::new(config);
    talk.client.connect(talk.now());
    talk.pump();
    talk
}

#[test]
fn hello_with_credentials_goes_out_first_and_user_commands_wait_for_its_success() {
    let mut talk = start(Conversation::with_password("alice", "opensesame"));
    let id = talk.submit("GET k");
    talk.connect();
    let sent = talk.sent_commands();
    assert_eq!(sent[0], "HELLO 3 AUTH alice opensesame");
    assert!(sent[1..].iter().all(|command| command.starts_with("CLIENT SETINFO")), "{sent:?}");
    talk.receive(HELLO_OK);
    assert_eq!(talk.sent(), "", "the set-up's own replies are due");
    talk.receive(NO_SETINFO);
    assert_eq!(talk.sent_commands(), ["GET k"]);
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn a_password_without_a_user_name_logs_in_as_default() {
    let mut talk = start(Conversation::with_password("", "pw"));
    talk.connect();
    assert_eq!(talk.sent_commands()[0], "HELLO 3 AUTH default pw");
}

#[test]
fn where_hello_is_refused_auth_and_resp2_follow_on_the_same_connection() {
    for refusal in [
        "-ERR unknown command 'HELLO'\r\n",
        "-NOPROTO unsupported protocol version\r\n",
        "-NOPERM this user has no permissions\r\n",
        "*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
        "+OK\r\n",
        "%1\r\n$5\r\nproto\r\n:2\r\n",
        "$-1\r\n",
    ] {
        let mut talk = start(Conversation::with_password("alice", "pw"));
        let id = talk.submit("GET k");
        talk.connect();
        talk.sent();
        talk.receive(&format!("{refusal}{NO_SETINFO}"));
        assert_eq!(talk.sent_commands(), ["AUTH alice pw"], "{refusal}");
        talk.receive("+OK\r\n");
        assert_eq!(talk.sent_commands(), ["GET k"], "{refusal}");
        talk.receive("$1\r\nv\r\n");
        assert_eq!(talk.reply(id), "v");
    }
}

#[test]
fn only_ok_to_auth_is_success() {
    for answer in ["+QUEUED\r\n", "+ok\r\n", ":1\r\n", "_\r\n", "$2\r\nOK\r\n", "*0\r\n", "-WRONGPASS no\r\n"]
    {
        let mut talk = start(Conversation::with_password("alice", "pw"));
        let id = talk.submit("SET k v");
        talk.connect();
        talk.sent();
        talk.receive(&format!("-ERR unknown command\r\n{NO_SETINFO}"));
        talk.sent();
        talk.receive(answer);
        assert_eq!(talk.failure(id).code, ErrorCode::LoginRefused, "{answer}");
        assert_eq!(talk.failure(id).outcome, Outcome::NotSent);
        assert_eq!(talk.closed.len(), 1, "{answer}: the connection is given up");
        assert_eq!(talk.sent(), "");
    }
}

#[test]
fn a_refused_password_fails_commands_at_once_and_the_next_command_tries_again() {
    let mut talk = start(Conversation::with_password("alice", "pw"));
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive("-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert!(talk.failure(id).text.contains("WRONGPASS"));
    assert_eq!(talk.conn, None);
    talk.advance(Duration::from_secs(60));
    assert_eq!(talk.conn, None, "nobody asks for a connection");
    talk.submit("GET k");
    talk.advance(Duration::from_secs(1));
    assert!(talk.conn.is_some());
}

#[test]
fn a_server_that_repeats_the_token_in_its_error_leaks_nothing() {
    let mut talk = start(Conversation::with_tokens());
    let id = talk.submit("GET k");
    let token = talk.give_token(1, 3600);
    talk.connect();
    assert_eq!(talk.sent_commands()[0], format!("HELLO 3 AUTH oid-1 {token}"));
    talk.receive(&format!("-WRONGPASS args beginning with: '{token}'\r\n"));
    talk.advance(Duration::from_secs(2));
    talk.give_token(2, 3600);
    talk.advance(Duration::from_secs(1));
    talk.connect();
    talk.sent();
    talk.receive(&format!("-WRONGPASS '{}'\r\n", &token[20..60]));
    let everything = format!("{:?} {:?} {:?}", talk.notices, talk.outcomes, talk.client.auth_status());
    for part in token.as_bytes().windows(8).map(|part| std::str::from_utf8(part).expect("ASCII")) {
        assert!(!everything.contains(part), "{part}");
    }
    let _ = id;
}

#[test]
fn a_refused_token_is_replaced_once_and_then_the_commands_fail() {
    let mut talk = start(Conversation::with_tokens());
    let id = talk.submit("GET k");
    talk.give_token(1, 3600);
    talk.connect();
    talk.sent();
    talk.receive("-WRONGPASS invalid username-password pair\r\n");
    assert_eq!(talk.outcome(id), None, "a newer token may do");
    talk.advance(Duration::from_secs(2));
    let second = talk.give_token(2, 3600);
    talk.advance(Duration::from_millis(100));
    talk.connect();
    assert!(talk.sent().contains(&second));
    talk.receive("-WRONGPASS invalid username-password pair\r\n");
    assert_eq!(talk.failure(id).code, ErrorCode::NoAssignment, "two in a row are enough");
    talk.advance(Duration::from_secs(60));
    assert_eq!(talk.conn, None, "nobody asks for a connection");
}

#[test]
fn where_the_credential_has_nothing_newer_a_refused_token_fails_the_commands() {
    let mut talk = start(Conversation::with_tokens());
    let id = talk.submit("GET k");
    let only = talk.give_token(1, 3600);
    talk.connect();
    talk.sent();
    talk.receive("-WRONGPASS invalid username-password pair\r\n");
    talk.advance(Duration::from_secs(2));
    talk.give(only);
    assert_eq!(talk.failure(id).code, ErrorCode::NoAssignment);
}

#[test]
fn a_connection_that_is_not_set_up_in_time_is_given_up() {
    let mut talk = start(Conversation::with_password("alice", "pw"));
    talk.connect();
    talk.sent();
    talk.advance(Duration::from_millis(14_900));
    assert!(talk.closed.is_empty());
    talk.advance(Duration::from_millis(200));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn time_spent_connecting_and_logging_in_is_not_the_commands() {
    let mut talk = start(Conversation::with_password("alice", "pw"));
    let id = talk.submit("GET k");
    talk.advance_slowly(Duration::from_secs(9));
    talk.connect();
    talk.sent();
    talk.advance_slowly(Duration::from_secs(14));
    assert_eq!(talk.outcome(id), None);
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    talk.sent();
    talk.advance_slowly(Duration::from_millis(4_900));
    assert_eq!(talk.outcome(id), None);
    talk.advance_slowly(Duration::from_millis(200));
    assert_eq!(talk.failure(id).code, ErrorCode::Timeout);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
}

#[test]
fn a_server_that_never_answers_fails_a_command_within_half_a_minute() {
    let mut talk = start(Conversation::with_password("alice", "pw"));
    let id = talk.submit("GET k");
    let mut waited = Duration::ZERO;
    while talk.outcome(id).is_none() && waited < Duration::from_secs(60) {
        talk.advance(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
    assert_eq!(talk.failure(id).outcome, Outcome::NotSent);
    assert_eq!(talk.failure(id).code, ErrorCode::Unreachable);
    assert!(waited <= Duration::from_secs(31), "{waited:?}");
}

#[test]
fn the_database_is_selected_before_any_command() {
    let mut config = Conversation::with_password("alice", "pw");
    config.database = 3;
    config.client_name = "worker".to_owned();
    let mut talk = start(config);
    talk.submit("GET k");
    talk.connect();
    let sent = talk.sent_commands();
    assert_eq!((sent[0].as_str(), sent[3].as_str()), ("HELLO 3 AUTH alice pw SETNAME worker", "SELECT 3"));
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    assert_eq!(talk.sent(), "");
    talk.receive("+OK\r\n");
    assert_eq!(talk.sent_commands(), ["GET k"]);
}

#[test]
fn tokens_that_cannot_be_used_are_refused_with_nothing_sent() {
    for (text, what) in [
        ("x".repeat(16_385), "16384"),
        (String::new(), "empty"),
        ("abc\r\ndef".to_owned(), "control"),
        ("opaque-token".to_owned(), "oid"),
    ] {
        let mut talk = start(Conversation::with_tokens());
        let id = talk.submit("GET k");
        talk.give(text);
        assert_eq!(talk.conn, None, "{what}");
        assert!(talk.failure(id).text.contains(what), "{what}: {}", talk.failure(id).text);
        assert_eq!(talk.failure(id).outcome, Outcome::NotSent);
    }
}

#[test]
fn a_token_without_tls_is_refused_but_on_loopback_by_explicit_choice() {
    let now = Now { monotonic: Instant::from_micros(1), unix: UnixTime::from_secs(1) };
    let mut config = Conversation::with_tokens();
    assert!(Client::new(config.clone(), [0; 32], now).is_ok());
    config.host = "cache.example.org".to_owned();
    let error = Client::new(config.clone(), [0; 32], now).err().expect("refused");
    assert!(error.text.contains("TLS"), "{error}");
    config.host = "127.0.0.1".to_owned();
    config.allow_plaintext_token = false;
    assert!(Client::new(config, [0; 32], now).is_err());
}

#[test]
fn a_token_of_another_identity_is_not_used() {
    let mut talk = start(Conversation::with_tokens());
    talk.give_token(1, 3600);
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    talk.advance(Duration::from_secs(2900));
    let now = talk.now().unix.as_micros() - respass_tests::simulator::EPOCH;
    let (other, _) = respass_tests::simulator::credential::issue("oid-2", 9, now, 3_600_000_000);
    talk.give(other);
    assert!(talk.notices.contains(&Notice::IdentityChanged));
    assert_eq!(talk.sent_commands().iter().filter(|command| command.contains("AUTH")).count(), 0);
}

#[test]
fn commands_that_wait_for_a_credential_in_vain_are_told_so() {
    let mut config = Conversation::with_tokens();
    config.timeouts.token = Duration::from_secs(1);
    let mut talk = start(config);
    let waiting = talk.submit("GET k");
    talk.advance_slowly(Duration::from_secs(7));
    let error = talk.failure(waiting);
    assert_eq!((error.code, error.outcome), (ErrorCode::TokenUnavailable, Outcome::NotSent));
    assert!(error.text.contains("the credential has not answered"), "{}", error.text);
}

#[test]
fn debug_output_shows_no_secret() {
    let config = Conversation::with_password("alice", "opensesame");
    assert!(matches!(config.credential, Credential::Password { .. }));
    assert!(!format!("{config:?}").contains("opensesame"));
}
