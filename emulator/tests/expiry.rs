//! The end of a token is the end of its connection, unless a newer token came before.

mod rig;

use std::time::{Duration, Instant};

use rig::Emulator;
use serde_json::json;

#[test]
fn a_connection_is_closed_when_its_token_expires() {
    let emulator = Emulator::start();
    let started = Instant::now();
    let mut client = emulator.log_in(2);
    let mut longer = emulator.log_in(60);
    assert_eq!(client.ask(&["PING"]), "+PONG");
    assert_eq!(client.next(), None, "closed without a word");
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(900) && elapsed < Duration::from_millis(2_500), "{elapsed:?}");
    assert_eq!(longer.ask(&["PING"]), "+PONG", "each connection has its own expiry");
    let stats = emulator.stats();
    assert_eq!(stats["closed_at_expiry"], 1);
    assert_eq!(stats["connections"].as_array().map(Vec::len), Some(1));
}

#[test]
fn another_login_in_time_keeps_the_connection() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(2);
    let token = emulator.token(&json!({ "ttl": 60 }));
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert!(client.is_quiet(Duration::from_millis(2_300)));
    assert_eq!(client.ask(&["PING"]), "+PONG");
    let stats = emulator.stats();
    assert_eq!(stats["reauth_total"], 1);
    assert_eq!(stats["connections"][0]["auth_count"], 2);
    assert_eq!(stats["closed_at_expiry"], 0);
}

#[test]
fn a_refused_login_leaves_the_old_one_until_its_expiry() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(3);
    let bad = emulator.token(&json!({ "ttl": 60, "bad_signature": true }));
    assert!(client.ask(&["AUTH", emulator.oid(), &bad]).starts_with("-WRONGPASS"));
    assert_eq!(client.ask(&["SET", "k", "v"]), "+OK");
    assert_eq!(client.next(), None);
    assert_eq!(emulator.stats()["closed_at_expiry"], 1);
}

#[test]
fn the_last_login_counts_even_if_it_is_the_shorter_one() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    let token = emulator.token(&json!({ "ttl": 2 }));
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert_eq!(client.next(), None);
}

#[test]
fn a_subscriber_is_lost_with_resp2_and_kept_with_resp3() {
    let emulator = Emulator::start();
    let token = emulator.token(&json!({ "ttl": 2 }));
    let newer = emulator.token(&json!({ "ttl": 60 }));
    let mut old = emulator.connect();
    assert_eq!(old.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert_eq!(old.ask(&["SUBSCRIBE", "news"]), "*[$subscribe $news :1]");
    assert!(old.ask(&["AUTH", emulator.oid(), &newer]).starts_with("-ERR Can't execute 'auth': only"));

    let mut new = emulator.log_in(2);
    assert_eq!(new.ask(&["SUBSCRIBE", "news"]), ">[$subscribe $news :1]");
    assert_eq!(new.ask(&["AUTH", emulator.oid(), &newer]), "+OK");

    assert_eq!(old.next(), None);
    assert_eq!(emulator.log_in(60).ask(&["PUBLISH", "news", "hi"]), ":1");
    assert_eq!(new.reply(), ">[$message $news $hi]");
    assert_eq!(emulator.stats()["auth_refusals"]["refused_by_server"], 1);
}
