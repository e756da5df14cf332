//! What goes wrong with connections when an admin wants it to.

mod rig;

use std::time::{Duration, Instant};

use rig::{Client, Emulator, End, encode};
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

fn closed(emulator: &Emulator, cause: &str) -> Value {
    emulator.stats()["closed"][cause].clone()
}

fn clear(emulator: &Emulator) {
    emulator.strike(&json!({ "kind": "clear" }));
}

#[test]
fn the_kinds_say_what_they_need() {
    let emulator = Emulator::start();
    let url = format!("{}/fault", emulator.text("admin"));
    let kinds = rig::http("GET", &url, &[], None).json();
    let refused = emulator.fault(&json!({ "kind": "earthquake" })).json();
    for (kind, name) in
        kinds.as_array().expect("a list").iter().zip(refused["kinds"].as_array().expect("a list"))
    {
        assert_eq!(&kind["name"], name);
        let needs = kind["needs"].as_str().expect("a text");
        assert!(!kind["does"].as_str().expect("a text").is_empty());
        if needs.split(' ').any(|key| !key.is_empty() && !key.starts_with('[')) {
            assert_eq!(emulator.fault(&json!({ "kind": name })).status, 400, "{name}");
        }
    }
}

#[test]
fn a_login_that_takes_too_long_fails() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    let mut client = emulator.connect();
    emulator.strike(&json!({ "kind": "auth-delay", "seconds": 30, "fail_after": 0.3 }));
    let started = Instant::now();
    assert!(client.ask(&["AUTH", emulator.oid(), &token]).starts_with("-WRONGPASS"));
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(emulator.stats()["auth_refusals"]["timed_out"], 1);
}

#[test]
fn a_half_open_connection_is_silent_until_it_thaws() {
    let emulator = Emulator::start();
    let (mut first, mut second) = (emulator.log_in(60), emulator.log_in(60));
    emulator.strike(&json!({ "kind": "half-open", "count": 1 }));
    first.send(&encode(&["PING"]));
    assert!(first.is_quiet(Duration::from_millis(200)));
    assert_eq!(second.ask(&["PING"]), "+PONG");
    assert_eq!(emulator.log_in(60).ask(&["PING"]), "+PONG", "new connections work");
    clear(&emulator);
    assert_eq!(first.reply(), "+PONG");

    emulator.strike(&json!({ "kind": "half-open", "seconds": 0.4 }));
    let started = Instant::now();
    assert_eq!(first.ask(&["PING"]), "+PONG");
    assert!(started.elapsed() >= Duration::from_millis(300));
    emulator.strike(&json!({ "kind": "half-open" }));
    emulator.strike(&json!({ "kind": "close-all" }));
    assert_eq!(second.end().1, End::Fin, "a silent peer says no goodbye");
}

#[test]
fn expiry_closes_in_the_manner_asked_for() {
    let emulator = Emulator::start();
    for (mode, end) in [("fin", End::Fin), ("rst", End::Reset), ("close_notify", End::CloseNotify)] {
        emulator.strike(&json!({ "kind": "expiry-close", "mode": mode }));
        assert_eq!(emulator.log_in(2).end(), (Vec::new(), end), "{mode}");
    }
    assert_eq!(closed(&emulator, "expired"), 3);
}

#[test]
fn expiry_can_cut_a_reply() {
    let emulator = Emulator::start();
    emulator.strike(&json!({ "kind": "expiry-close", "mode": "mid-reply" }));
    let mut client = emulator.log_in(2);
    // Longer than the token lives: its reply is the one that the expiry finds.
    client.send(&encode(&["BLPOP", "none", "2.3"]));
    assert_eq!(client.end(), (b"_".to_vec(), End::Fin));

    let started = Instant::now();
    assert_eq!(emulator.log_in(2).end(), (Vec::new(), End::Fin), "no reply came");
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(closed(&emulator, "expired"), 2);
}

#[test]
fn expiry_can_be_late_and_a_login_in_between_still_counts() {
    let emulator = Emulator::start();
    emulator.strike(&json!({ "kind": "expiry-close", "mode": "close_notify", "seconds": 2 }));
    let token = emulator.token(&json!({ "ttl": 60 }));
    let started = Instant::now();
    let (mut kept, mut lost) = (emulator.log_in(2), emulator.log_in(2));
    assert!(kept.is_quiet(Duration::from_millis(2_100)), "the token has expired, the connection lives");
    assert_eq!(kept.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert_eq!(lost.next(), None);
    assert!(started.elapsed() >= Duration::from_millis(2_900));
    assert_eq!(kept.ask(&["PING"]), "+PONG");
}

#[test]
fn resp3_can_be_off() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    emulator.strike(&json!({ "kind": "resp3-off" }));
    let mut client = emulator.connect();
    let login = ["HELLO", "3", "AUTH", emulator.oid(), &token];
    assert_eq!(client.ask(&login), "-NOPROTO unsupported protocol version");
    assert_eq!(client.ask(&["GET", "k"]), "-NOAUTH Authentication required.");
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert!(client.ask(&["HELLO", "2"]).starts_with("*[$server"));
    clear(&emulator);
    assert!(client.ask(&login).starts_with('%'));
}

#[test]
fn hello_can_be_malformed() {
    let emulator = Emulator::start();
    let token = emulator.token(&Value::Null);
    let hello = encode(&["HELLO", "3", "AUTH", emulator.oid(), &token]);
    emulator.strike(&json!({ "kind": "hello-broken", "mode": "non-map", "count": 1 }));
    let mut client = emulator.connect();
    client.send(&hello);
    let reply = client.bytes_until(b"*0\r\n");
    assert!(reply.starts_with(b"*14\r\n$6\r\nserver\r\n"), "{}", String::from_utf8_lossy(&reply));
    client.send(&hello);
    assert!(client.bytes_until(b"*0\r\n").starts_with(b"%7\r\n"));

    emulator.strike(&json!({ "kind": "hello-broken", "mode": "short" }));
    let mut client = emulator.connect();
    client.send(&hello);
    let reply = String::from_utf8(client.bytes_until(b"$8\r\nargument\r\n")).expect("text");
    let (_, arguments) = reply.split_once("*11\r\n").expect("eleven are announced");
    assert!(arguments.len() < "$8\r\nargument\r\n".len() * 11);
    assert!(client.is_quiet(Duration::from_millis(100)), "the reply does not end");
}

#[test]
fn a_silent_connection_is_cut_and_a_busy_one_is_not() {
    let emulator = Emulator::start();
    let (mut silent, mut busy) = (emulator.log_in(60), emulator.log_in(60));
    emulator.strike(&json!({ "kind": "idle-cut", "seconds": 0.5 }));
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(busy.ask(&["PING"]), "+PONG");
    }
    assert_eq!(silent.next(), None);
    assert_eq!(closed(&emulator, "idle"), 1);
}

#[test]
fn a_new_connection_can_be_closed_or_wait_before_tls() {
    let emulator = Emulator::start();
    emulator.strike(&json!({ "kind": "accept-close", "count": 1 }));
    assert!(emulator.connect_as("localhost").is_err());
    assert_eq!(closed(&emulator, "before_tls"), 1);
    emulator.log_in(60);
    emulator.strike(&json!({ "kind": "slow-accept", "seconds": 0.4 }));
    let started = Instant::now();
    emulator.connect();
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[test]
fn replies_can_be_surplus_garbage_slow_or_cut() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    emulator.strike(&json!({ "kind": "unsolicited-reply" }));
    assert_eq!(client.reply(), "+UNSOLICITED");
    assert_eq!(client.ask(&["PING"]), "+PONG");

    emulator.strike(&json!({ "kind": "slow-reply", "seconds": 0.4 }));
    let started = Instant::now();
    assert_eq!(client.ask(&["PING"]), "+PONG");
    assert!(started.elapsed() >= Duration::from_millis(400));
    clear(&emulator);

    emulator.strike(&json!({ "kind": "garbage" }));
    assert_eq!(client.bytes_until(b"\r\n"), b"\0garbage\xff\r\n");

    let mut other = emulator.log_in(60);
    emulator.strike(&json!({ "kind": "truncate-reply", "count": 1 }));
    client.send(&encode(&["ECHO", "0123456789"]));
    assert_eq!(client.end(), (b"$10\r\n012".to_vec(), End::Fin));
    assert_eq!(other.ask(&["PING"]), "+PONG");
    assert_eq!(closed(&emulator, "truncated"), 1);
}

#[test]
fn replies_can_be_doubled_swallowed_or_errors() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    emulator.strike(&json!({ "kind": "duplicate-reply" }));
    assert_eq!(client.ask(&["ECHO", "a"]), "$a");
    assert_eq!(client.reply(), "$a");
    emulator.strike(&json!({ "kind": "swallow-reply" }));
    client.send(&encode(&["ECHO", "b"]));
    assert!(client.is_quiet(Duration::from_millis(100)));
    assert_eq!(client.ask(&["ECHO", "c"]), "$c");

    let text = "LOADING Redis is loading the dataset in memory";
    emulator.strike(&json!({ "kind": "error-reply", "text": text, "count": 2 }));
    assert_eq!(client.ask(&["INCR", "n"]), format!("-{text}"));
    assert_eq!(emulator.log_in(60).ask(&["INCR", "n"]), format!("-{text}"), "logins are let through");
    assert_eq!(client.ask(&["INCR", "n"]), ":1");

    let cache = Emulator::with(&["--profile", "acr-single"]);
    cache.strike(&json!({ "kind": "error-reply", "text": text }));
    let mut reader = cache.log_in_as("reader");
    assert_eq!(reader.ask(&["GET", "n"]), format!("-{text}"));
    assert!(reader.ask(&["INCR", "n"]).starts_with("-NOPERM"), "rights come first");
    assert_eq!(cache.connect().ask(&["GET", "n"]), "-NOAUTH Authentication required.");
}

#[test]
fn tls_1_2_can_be_all_or_nothing() {
    let emulator = Emulator::start();
    let connect = |versions: &[_]| emulator.connect_with("localhost", versions);
    let version = |client: std::io::Result<Client>| client.expect("a connection").tls_version();
    assert_eq!(version(connect(&[&TLS12])), Some(TLSv1_2));
    assert_eq!(version(connect(&[&TLS12, &TLS13])), Some(TLSv1_3));
    emulator.strike(&json!({ "kind": "tls12", "mode": "off" }));
    assert!(connect(&[&TLS12]).is_err());
    emulator.strike(&json!({ "kind": "tls12", "mode": "only" }));
    assert_eq!(version(connect(&[&TLS12, &TLS13])), Some(TLSv1_2));
    assert!(connect(&[&TLS13]).is_err());
}

#[test]
fn statistics_tell_lanes_and_why_connections_ended() {
    let emulator = Emulator::start();
    let mut clients = [(); 4].map(|()| emulator.log_in(60));
    assert!(clients[1].ask(&["SUBSCRIBE", "a"]).starts_with('>'));
    assert_eq!(clients[2].ask(&["BLPOP", "none", "0.01"]), "_");
    assert_eq!(clients[3].ask(&["WATCH", "k"]), "+OK");
    let stats = emulator.stats();
    let lanes: Vec<&Value> =
        stats["connections"].as_array().expect("a list").iter().map(|one| &one["lane"]).collect();
    assert_eq!(lanes, ["main", "subscriptions", "blocking", "transactions"]);
    drop(clients);
    assert!(rig::within(Duration::from_secs(5), || closed(&emulator, "client") == 4));
}
