//! Replies come in the order of the commands, whatever stands between them, and logins are told apart from
//! the rest.

mod rig;

use std::time::{Duration, Instant};

use rig::{Emulator, encode};
use serde_json::{Value, json};

#[test]
fn a_thousand_commands_in_one_write_keep_their_order() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let token = emulator.token(&Value::Null);
    let (mut commands, mut wanted) = (Vec::new(), Vec::new());
    for number in 0..1_000 {
        let text = format!("value {number}");
        commands.extend(encode(&["ECHO", &text]));
        wanted.push(format!("${text}"));
        if number % 100 == 50 {
            commands.extend(encode(&["AUTH", emulator.oid(), &token]));
            wanted.push("+OK".to_owned());
            commands.extend(encode(&["AUTH", emulator.oid(), "no token"]));
            wanted.push("-WRONGPASS invalid username-password pair or user is disabled.".to_owned());
        }
    }
    client.send(&commands);
    for (position, wanted) in wanted.iter().enumerate() {
        assert_eq!(&client.reply(), wanted, "reply {position}");
    }
    let stats = emulator.stats();
    assert_eq!(stats["connections"][0]["auth_count"], 11);
    assert_eq!(stats["auth_refused"], 10);
    assert_eq!(stats["commands"][emulator.oid()], 1_000);
}

#[test]
fn a_command_may_come_in_any_pieces() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    let mut client = emulator.connect();
    let mut bytes = encode(&["AUTH", emulator.oid(), &token]);
    bytes.extend(encode(&["ECHO", "whole"]));
    bytes.chunks(7).for_each(|piece| client.send(piece));
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.reply(), "$whole");
}

#[test]
fn what_a_monitor_sees_is_no_reply() {
    for profile in ["amr-nocluster", "acr-single"] {
        let emulator = Emulator::with(&["--profile", profile]);
        let (mut monitor, mut other) = (emulator.log_in(2), emulator.log_in(60));
        assert_eq!(monitor.ask(&["MONITOR"]), "+OK");
        let mut see = |command: &[&str], shown: &str| {
            assert!(other.ask(command).starts_with(['+', '$']));
            let line = monitor.reply();
            assert!(line.starts_with("+1") && line.ends_with(shown), "{line}");
        };
        see(&["SET", "k", "v"], "\"SET\" \"k\" \"v\"");
        see(&["GET", "k"], "\"GET\" \"k\"");
        let token = emulator.token(&Value::Null);
        assert_eq!(monitor.ask(&["AUTH", emulator.oid(), &token]), "+OK");
        assert_eq!(emulator.stats()["connections"][0]["auth_count"], 2, "its login was told from the rest");
        assert_eq!(emulator.stats()["connections"][0]["lane"], "monitor");
        let line = monitor.reply();
        assert!(line.ends_with(r#""AUTH" "(redacted)" "(redacted)""#), "{line}");
    }
}

#[test]
fn a_large_value_goes_through() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let value = "v".repeat(3_000_000);
    assert_eq!(client.ask(&["SET", "large", &value]), "+OK");
    assert_eq!(client.ask(&["GET", "large"]).len(), 1 + value.len());
}

#[test]
fn replies_that_redis_protocol_cannot_hold_go_through() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let mut commands = encode(&["COMMAND"]);
    commands.extend(encode(&["EVAL", "return {set={[{1}]=true}}", "0"]));
    commands.extend(encode(&["ECHO", "end"]));
    client.send(&commands);
    let bytes = client.bytes_until(b"$3\r\nend\r\n");
    assert!(bytes.len() > 10_000 && bytes.starts_with(b"*"));
    assert_eq!(emulator.stats()["commands"][emulator.oid()], 3);
}

#[test]
fn a_login_in_a_transaction_counts_when_it_is_executed() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(3);
    let token = emulator.token(&json!({ "ttl": 60 }));
    assert_eq!(client.ask(&["MULTI"]), "+OK");
    assert_eq!(client.ask(&["INCR", "n"]), "+QUEUED");
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+QUEUED");
    assert_eq!(client.ask(&["AUTH", emulator.oid(), "no token"]), "+QUEUED");
    assert_eq!(emulator.stats()["connections"][0]["auth_count"], 1);
    let reply = client.ask(&["EXEC"]);
    assert_eq!(reply, "*[:1 +OK -WRONGPASS invalid username-password pair or user is disabled.]");
    let stats = emulator.stats();
    assert_eq!(stats["connections"][0]["auth_count"], 2);
    assert_eq!(stats["auth_refused"], 1);
    assert!(client.is_quiet(Duration::from_millis(3_200)), "the expiry has moved");

    assert_eq!(client.ask(&["MULTI"]), "+OK");
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+QUEUED");
    assert_eq!(client.ask(&["DISCARD"]), "+OK");
    assert_eq!(emulator.stats()["connections"][0]["auth_count"], 2);
}

#[test]
fn the_protocol_changes_both_ways() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let token = emulator.token(&Value::Null);
    assert_eq!(client.ask(&["GET", "nothing"]), "_");
    assert!(client.ask(&["HELLO", "2"]).starts_with("*[$server"));
    assert_eq!(client.ask(&["HMGET", "nothing", "field"]), "*[_]");
    assert_eq!(client.ask(&["BLPOP", "nothing", "0.05"]), "_");
    assert_eq!(
        client.ask(&["HELLO", "9", "AUTH", emulator.oid(), &token]),
        "-NOPROTO unsupported protocol version"
    );
    assert_eq!(client.ask(&["HELLO", "3"]), "%");
    assert_eq!(client.ask(&["HGETALL", "nothing"]), "%");
    assert_eq!(client.ask(&["PING"]), "+PONG");
    assert_eq!(emulator.stats()["connections"][0]["auth_count"], 1);
}

#[test]
fn subscriptions_do_not_upset_the_count() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    let oid = emulator.oid();
    let mut client = emulator.log_in(60);
    let mut commands = encode(&["SUBSCRIBE", "a", "b", "c"]);
    commands.extend(encode(&["PSUBSCRIBE", "p*"]));
    commands.extend(encode(&["PUBLISH", "a", "hi"]));
    commands.extend(encode(&["AUTH", oid, &token]));
    commands.extend(encode(&["UNSUBSCRIBE"]));
    commands.extend(encode(&["PUNSUBSCRIBE"]));
    commands.extend(encode(&["UNSUBSCRIBE"]));
    commands.extend(encode(&["SUBSCRIBE"]));
    commands.extend(encode(&["AUTH", oid, &token]));
    commands.extend(encode(&["ECHO", "end"]));
    client.send(&commands);
    let mut replies = Vec::new();
    while replies.last().is_none_or(|last| last != "$end") {
        replies.push(client.reply());
    }
    assert_eq!(replies.iter().filter(|reply| reply.starts_with(">[$unsubscribe")).count(), 4);
    assert!(replies.contains(&">[$message $a $hi]".to_owned()), "{replies:?}");
    assert_eq!(emulator.stats()["connections"][0]["auth_count"], 3);

    let mut old = emulator.connect();
    assert_eq!(old.ask(&["AUTH", oid, &token]), "+OK");
    assert_eq!(old.ask(&["SUBSCRIBE", "a"]), "*[$subscribe $a :1]");
    assert_eq!(client.ask(&["PUBLISH", "a", "one"]), ":1");
    assert_eq!(old.reply(), "*[$message $a $one]");
    assert_eq!(old.ask(&["PING"]), "*[$pong $]");
    assert_eq!(old.ask(&["UNSUBSCRIBE"]), "*[$unsubscribe $a :0]");
    assert_eq!(old.ask(&["AUTH", oid, &token]), "+OK");
    assert_eq!(emulator.stats()["connections"][1]["auth_count"], 2);
}

#[test]
fn commands_wait_behind_a_slow_login_and_replies_keep_their_order() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let token = emulator.token(&Value::Null);
    assert_eq!(emulator.fault(&json!({ "kind": "auth-delay", "seconds": 0.6 })).status, 200);
    let started = Instant::now();
    let mut commands = encode(&["ECHO", "before"]);
    commands.extend(encode(&["AUTH", emulator.oid(), &token]));
    commands.extend(encode(&["ECHO", "behind"]));
    client.send(&commands);
    assert_eq!(client.reply(), "$before");
    assert!(started.elapsed() < Duration::from_millis(400), "what came before does not wait");
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.reply(), "$behind");
    assert!(started.elapsed() >= Duration::from_millis(600));
    assert_eq!(emulator.fault(&json!({ "kind": "clear" })).status, 200);
    let started = Instant::now();
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert!(started.elapsed() < Duration::from_millis(400));
}
