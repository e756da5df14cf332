//! Logins: what gets in, what does not, and with which words.

mod rig;

use rig::{Emulator, encode};
use serde_json::{Value, json};

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const NOAUTH: &str = "-NOAUTH Authentication required.";

#[test]
fn a_token_logs_in_with_hello() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    assert_eq!(client.ask(&["SET", "greeting", "hi"]), "+OK");
    assert_eq!(client.ask(&["GET", "greeting"]), "$hi");
    assert_eq!(client.ask(&["ACL", "WHOAMI"]), format!("${}", emulator.oid()));

    let stats = emulator.stats();
    assert_eq!(stats["auth_total"], 1);
    assert_eq!(stats["auth_accepted"], 1);
    assert_eq!(stats["commands"][emulator.oid()], 3);
    assert_eq!(stats["token_hosts"], json!(["localhost"]));
    assert_eq!(stats["auth_per_second"][0]["count"], 1);
    let connection = &stats["connections"][0];
    assert_eq!(connection["oid"], emulator.oid());
    assert_eq!(connection["lane"], "main");
    assert_eq!(connection["logged_in"], true);
    assert_eq!(connection["auth_count"], 1);
    assert!(connection["token_exp"].is_i64());
}

#[test]
fn a_token_logs_in_with_auth_and_any_case_of_the_object_id() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    let mut client = emulator.connect();
    assert_eq!(client.ask(&["auth", &emulator.oid().to_uppercase(), &token]), "+OK");
    assert_eq!(client.ask(&["PING"]), "+PONG");
}

#[test]
fn every_bad_login_has_the_same_words() {
    let emulator = Emulator::start();
    let oid = emulator.oid();
    let orders = [
        (json!({ "ttl": -1 }), "expired"),
        (json!({ "bad_signature": true }), "bad_signature"),
        (json!({ "aud": "https://vault.azure.net" }), "wrong_audience"),
        (json!({ "tid": "11111111-1111-4111-8111-111111111111" }), "wrong_tenant"),
        (json!({ "oid": "11111111-1111-4111-8111-111111111111" }), "wrong_user"),
        (json!({ "nbf": 4_000_000_000_u32 }), "not_yet_valid"),
    ];
    for (order, refusal) in orders {
        let token = emulator.token(&order);
        let mut client = emulator.connect();
        assert_eq!(client.ask(&["AUTH", oid, &token]), WRONGPASS, "{refusal}");
        assert_eq!(client.ask(&["HELLO", "3", "AUTH", oid, &token]), WRONGPASS, "{refusal}");
        assert_eq!(client.ask(&["PING"]), NOAUTH);
        assert_eq!(emulator.stats()["auth_refusals"][refusal], 2);
    }
    let good = emulator.token(&Value::Null);
    let mut client = emulator.connect();
    for user in [emulator.text("client_id"), "default", ""] {
        assert_eq!(client.ask(&["AUTH", user, &good]), WRONGPASS, "{user:?}");
    }
    assert_eq!(client.ask(&["AUTH", &good]), WRONGPASS);
    assert_eq!(client.ask(&["AUTH", oid, "no token"]), WRONGPASS);
    let stranger = "11111111-1111-4111-8111-111111111111";
    let token = emulator.token(&json!({ "oid": stranger }));
    assert_eq!(client.ask(&["AUTH", stranger, &token]), WRONGPASS);
    assert_eq!(emulator.stats()["auth_refusals"]["no_assignment"], 1);
    assert_eq!(emulator.stats()["auth_accepted"], 0);
}

#[test]
fn before_a_login_redis_answers_as_ever() {
    let emulator = Emulator::start();
    let mut client = emulator.connect();
    assert_eq!(client.ask(&["GET", "k"]), NOAUTH);
    assert!(client.ask(&["HELLO", "3"]).starts_with("-NOAUTH HELLO must be called with the client already"));
    assert_eq!(client.ask(&["AUTH"]), "-ERR wrong number of arguments for 'auth' command");
    assert_eq!(client.ask(&["QUIT"]), "+OK");
    assert_eq!(client.next(), None);
}

#[test]
fn a_token_beyond_the_limit_before_a_login_ends_the_connection() {
    let emulator = Emulator::start();
    let mut client = emulator.connect();
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &"x".repeat(16_384)]), WRONGPASS);
    client.send(&encode(&["AUTH", emulator.oid(), &"x".repeat(16_385)]));
    assert_eq!(client.reply(), "-ERR Protocol error: unauthenticated bulk length");
    assert_eq!(client.next(), None);

    let mut client = emulator.connect();
    client.send(&encode(&["MGET", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]));
    assert_eq!(client.reply(), "-ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(client.next(), None);
}

#[test]
fn what_is_no_command_ends_the_connection() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    client.send(b"*1\r\n$4\r\nPING\r\nPING\r\n");
    assert_eq!(client.reply(), "+PONG");
    assert!(client.reply().starts_with("-ERR Protocol error"));
    assert_eq!(client.next(), None);
}

#[test]
fn commands_that_azure_managed_redis_lacks_are_unknown() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    for command in ["READONLY", "READWRITE", "ASKING", "RESET", "ROLE"] {
        let reply = client.ask(&[command]);
        assert_eq!(reply, format!("-ERR unknown command '{command}', with args beginning with: "));
    }
    assert_eq!(client.ask(&["CLUSTER", "SLOTS"]), "-ERR This instance has cluster support disabled");
}

#[test]
fn the_certificate_holds_the_name_and_no_address() {
    let emulator = Emulator::start();
    assert!(emulator.connect_as("localhost").is_ok());
    for name in ["127.0.0.1", "cache.example"] {
        let error = emulator.connect_as(name).err().expect("refused by the client");
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
}
