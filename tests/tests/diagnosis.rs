//! What a caller is told when no connection comes about: the likely cause, and what to do about it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use respass::{CommandError, Config, ErrorCode, Outcome, TlsConfig};
use respass_tests::conversation::{Conversation, EPOCH};
use std::time::Duration;

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// A token with these claims; `number` makes it unlike the others.
fn token(claims: &str, number: u32) -> String {
    let payload = format!(r#"{{{claims},"uti":"{number}"}}"#);
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
}

/// What a command ends with, where every token that the credential gives has these claims and is refused.
fn refused(config: Config, claims: &str) -> CommandError {
    let mut talk = Conversation::new(config);
    let id = talk.submit("GET k");
    for number in 1..=2 {
        talk.give(token(claims, number));
        if talk.outcome(id).is_some() {
            break; // no better than the token before
        }
        talk.advance(Duration::from_millis(500));
        talk.connect();
        assert!(talk.sent().contains("HELLO"));
        talk.receive(WRONGPASS);
        talk.advance(Duration::from_secs(2));
    }
    let error = talk.failure(id).clone();
    assert_eq!(error.outcome, Outcome::NotSent);
    error
}

fn claims(oid: &str, aud: &str, from: i64, to: i64) -> String {
    let now = EPOCH.cast_signed();
    format!(
        r#""oid":"{oid}","appid":"client-1","aud":"{aud}","iat":{},"nbf":{},"exp":{}"#,
        now + from,
        now + from,
        now + to
    )
}

const AUDIENCE: &str = "https://redis.azure.com";

#[test]
fn a_refused_token_that_looks_right_means_that_its_identity_has_no_assignment() {
    let error = refused(Conversation::with_tokens(), &claims("oid-1", AUDIENCE, -300, 3600));
    assert_eq!(error.code, ErrorCode::NoAssignment);
    assert!(error.text.contains("WRONGPASS") && error.text.contains("object id oid-1"), "{error}");
    assert!(error.to_string().contains("Assign an access policy"), "{error}");
}

#[test]
fn a_client_id_given_as_the_user_name_is_recognised() {
    let mut config = Conversation::with_tokens();
    config.credential = respass::Credential::Token { username: Some("client-1".into()) };
    let error = refused(config, &claims("oid-1", AUDIENCE, -300, 3600));
    assert_eq!(error.code, ErrorCode::WrongUserName);
    assert!(error.to_string().contains("it is the client id"), "{error}");
}

#[test]
fn a_token_for_another_service_is_recognised() {
    let error = refused(Conversation::with_tokens(), &claims("oid-1", "https://vault.azure.net", -300, 3600));
    assert_eq!(error.code, ErrorCode::WrongAudience);
    assert!(error.to_string().contains("'https://vault.azure.net'"), "{error}");
    assert!(error.to_string().contains("https://redis.azure.com/.default"), "{error}");
}

#[test]
fn a_token_that_has_ended_or_not_begun_by_the_local_clock_is_recognised() {
    let error = refused(Conversation::with_tokens(), &claims("oid-1", AUDIENCE, -7200, -3600));
    assert_eq!(error.code, ErrorCode::TokenExpired);
    assert!(error.text.contains("ago by this machine's clock"), "{error}");
    let error = refused(Conversation::with_tokens(), &claims("oid-1", AUDIENCE, 1800, 5400));
    assert_eq!(error.code, ErrorCode::TokenNotYetValid);
}

#[test]
fn the_refusal_of_a_live_re_authentication_is_explained_in_the_notice() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    let id = talk.submit("PING");
    talk.give(token(&claims("oid-1", AUDIENCE, 0, 40), 1));
    talk.connect();
    talk.sent();
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    talk.sent();
    talk.receive("+PONG\r\n");
    assert_eq!(talk.reply(id), "PONG");
    talk.advance(Duration::from_secs(29));
    talk.give(token(&claims("oid-1", "https://vault.azure.net", 0, 7200), 2));
    let sent = talk.sent_commands();
    let nonce = sent[1].strip_prefix("PING ").expect("AUTH and PING <nonce>").to_owned();
    talk.receive(&format!("{WRONGPASS}${}\r\n{nonce}\r\n", nonce.len()));
    let status = talk.client.auth_status();
    assert!(status.last_error.is_some_and(|text| text.contains("'https://vault.azure.net'")));
}

#[test]
fn a_password_that_is_refused_may_be_a_key_that_is_switched_off() {
    let mut talk = Conversation::new(Conversation::with_password("", "pw"));
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive(WRONGPASS);
    assert_eq!(talk.failure(id).code, ErrorCode::LoginRefused);
    assert!(talk.failure(id).text.contains("access keys are switched off"), "{}", talk.failure(id));
}

#[test]
fn a_server_that_wants_a_login_says_so() {
    let mut talk = Conversation::new(Config::new("localhost", 6379));
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive("-NOAUTH HELLO must be called with the client already authenticated\r\n");
    assert_eq!(talk.failure(id).code, ErrorCode::LoginRefused);
    assert!(talk.failure(id).text.contains("give a credential"), "{}", talk.failure(id));
}

/// Runs the command into its timeout while every connection ends as `end` lets it.
fn unreachable(config: Config, end: impl Fn(&mut Conversation)) -> CommandError {
    let mut talk = Conversation::new(config);
    let id = talk.submit("GET k");
    for _ in 0..2000 {
        if talk.outcome(id).is_some() {
            break;
        }
        if talk.conn.is_some() {
            talk.connect();
            talk.sent();
            end(&mut talk);
        }
        talk.advance(Duration::from_millis(100));
    }
    talk.failure(id).clone()
}

fn with_tls() -> Config {
    let mut config = Config::new("localhost", 6380);
    config.tls = Some(TlsConfig::default());
    config
}

#[test]
fn plaintext_to_a_tls_port_is_recognised_by_the_alert() {
    let alert = b"\x15\x03\x03\x00\x02\x02\x46";
    let error = unreachable(Config::new("localhost", 6379), |talk| talk.receive_bytes(alert));
    assert_eq!((error.code, error.outcome), (ErrorCode::Tls, Outcome::NotSent));
    assert!(error.text.contains("speaks TLS") && error.text.contains("rediss://"), "{error}");
}

#[test]
fn plaintext_to_a_server_that_just_closes_is_told_of_tls() {
    let error = unreachable(Config::new("localhost", 6379), Conversation::disconnect);
    assert_eq!(error.code, ErrorCode::ConnectionLost);
    assert!(error.text.contains("may expect TLS"), "{error}");
}

#[test]
fn tls_to_a_plaintext_port_is_recognised() {
    let error = unreachable(with_tls(), |talk| talk.receive("-ERR Protocol error: unbalanced quotes\r\n"));
    assert_eq!(error.code, ErrorCode::Tls);
    assert!(error.text.contains("a port without TLS?"), "{error}");
    let error = unreachable(with_tls(), Conversation::disconnect);
    assert!(error.text.contains("during the TLS handshake"), "{error}");
    let error = unreachable(with_tls(), |_| {});
    assert_eq!(error.code, ErrorCode::Unreachable);
    assert!(error.text.contains("did not answer in TLS"), "{error}");
}

#[test]
fn a_token_that_had_ended_before_it_was_issued_is_tried_all_the_same() {
    let error = refused(Conversation::with_tokens(), &claims("oid-1", AUDIENCE, -60, -600));
    assert_eq!(error.code, ErrorCode::TokenExpired);
}

#[test]
fn tokens_that_end_at_once_are_named_as_the_cause() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    let id = talk.submit("GET k");
    for number in 1..60 {
        let age = i64::from(number) - 1;
        talk.give(token(&claims("oid-1", AUDIENCE, age, age + 1), number));
        talk.advance(Duration::from_secs(1));
        if talk.outcome(id).is_some() {
            break;
        }
    }
    let error = talk.failure(id);
    assert_eq!((error.code, error.outcome), (ErrorCode::TokenUnavailable, Outcome::NotSent));
    assert!(error.text.contains("too soon to log in with"), "{error}");
}

#[test]
fn an_identity_that_the_server_never_accepted_binds_nobody() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    let first = talk.submit("GET k");
    talk.give(token(&claims("stranger", AUDIENCE, -300, 3600), 1));
    talk.connect();
    talk.sent();
    talk.receive(WRONGPASS);
    talk.advance(Duration::from_secs(2));
    talk.give(token(&claims("oid-1", AUDIENCE, -300, 3601), 2));
    talk.advance(Duration::from_secs(1));
    talk.connect();
    assert!(talk.sent().contains("AUTH\r\n$5\r\noid-1"));
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    talk.sent();
    talk.receive("$1\r\nv\r\n");
    assert_eq!(talk.reply(first), "v");
}

#[test]
fn a_database_that_cannot_be_selected_is_named() {
    let mut config = Conversation::with_password("alice", "pw");
    config.database = 3;
    let mut talk = Conversation::new(config);
    let id = talk.submit("GET k");
    talk.connect();
    talk.sent();
    talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n-ERR DB index is out of range\r\n");
    assert!(talk.failure(id).text.contains("database 3 cannot be selected"), "{}", talk.failure(id));
}

#[test]
fn connections_that_did_some_work_are_replaced_without_growing_waits() {
    let mut talk = Conversation::ready();
    for _ in 0..50 {
        let id = talk.submit("GET k");
        talk.sent();
        talk.receive("$1\r\nv\r\n");
        assert_eq!(talk.reply(id), "v");
        talk.disconnect();
        talk.advance_slowly(Duration::from_millis(200));
        talk.connect();
        talk.sent();
        talk.receive("%1\r\n$5\r\nproto\r\n:3\r\n-ERR no\r\n-ERR no\r\n");
    }
}
