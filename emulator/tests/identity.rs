//! The managed-identity endpoint, in the form that identity SDKs depend on, and its faults.

mod rig;

use std::time::{Duration, Instant};

use rig::{Emulator, http};
use serde_json::{Value, json};

const QUERY: &str = "api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com";

#[test]
fn an_answer_has_what_app_service_answers() {
    let emulator = Emulator::with(&["--token-ttl", "100"]);
    let answer = emulator.identity(QUERY);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["access_token", "client_id", "expires_on", "resource", "token_type"]);
    assert_eq!(body["resource"], "https://redis.azure.com");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["client_id"], emulator.ready["client_id"]);
    let expires_on: i64 = body["expires_on"].as_str().expect("a string").parse().expect("a number");
    let token = body["access_token"].as_str().expect("a token");

    let mut client = emulator.connect();
    assert_eq!(client.ask(&["AUTH", emulator.oid(), token]), "+OK");
    assert_eq!(emulator.stats()["connections"][0]["token_exp"], expires_on);
    assert_eq!(emulator.stats()["identity_requests"], 1);
}

#[test]
fn every_audience_of_redis_logs_in_and_is_echoed() {
    let emulator = Emulator::start();
    for resource in ["https://redis.azure.com/", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"] {
        let body = emulator.identity(&format!("api-version=2019-08-01&resource={resource}")).json();
        assert_eq!(body["resource"], resource);
        let token = body["access_token"].as_str().expect("a token");
        assert_eq!(emulator.connect().ask(&["AUTH", emulator.oid(), token]), "+OK");
    }
}

#[test]
fn a_bad_call_gets_an_error_in_the_known_form() {
    let emulator = Emulator::start();
    let stranger = format!("{QUERY}&client_id=11111111-1111-4111-8111-111111111111");
    let calls = [
        "api-version=2019-08-01",
        "resource=https://redis.azure.com",
        "api-version=2018-02-01&resource=https://redis.azure.com",
        &stranger,
    ];
    for call in calls {
        let answer = emulator.identity(call);
        assert_eq!(answer.status, 400, "{call}");
        let body = answer.json();
        assert_eq!(body["statusCode"], 400);
        assert!(body["message"].is_string() && body["correlationId"].is_string());
    }
    let url = format!("{}?{QUERY}", emulator.text("identity_endpoint"));
    assert_eq!(http("GET", &url, &[], None).status, 400);
    assert_eq!(http("GET", &url, &[("X-IDENTITY-HEADER", "wrong")], None).status, 401);
    let own = format!("{QUERY}&client_id={}", emulator.text("client_id"));
    assert_eq!(emulator.identity(&own).status, 200);
}

#[test]
fn fresh_tokens_differ_and_cached_ones_do_not_until_near_their_end() {
    let token = |emulator: &Emulator| emulator.identity(QUERY).json()["access_token"].clone();
    let fresh = Emulator::with(&["--token-cache", "fresh"]);
    assert_ne!(token(&fresh), token(&fresh));

    let cached = Emulator::with(&["--token-cache", "cached", "--token-ttl", "4"]);
    let first = token(&cached);
    assert_eq!(token(&cached), first);
    assert_eq!(cached.stats()["tokens_issued"], 1);
    std::thread::sleep(Duration::from_millis(2_100));
    assert_ne!(token(&cached), first, "half of its life is over");
}

#[test]
fn faults_strike_as_often_as_they_are_told() {
    let emulator = Emulator::start();
    let order = json!({ "kind": "identity-status", "status": 429, "retry_after": 7, "count": 1 });
    assert_eq!(emulator.fault(&order).status, 200);
    let answer = emulator.identity(QUERY);
    assert_eq!(answer.status, 429);
    assert!(answer.head.to_lowercase().contains("retry-after: 7"), "{}", answer.head);
    assert_eq!(answer.json()["statusCode"], 429);
    assert_eq!(emulator.identity(QUERY).status, 200);

    assert_eq!(emulator.fault(&json!({ "kind": "identity-status", "status": 500 })).status, 200);
    assert_eq!(emulator.identity(QUERY).status, 500);
    assert_eq!(emulator.identity(QUERY).status, 500);
    assert_eq!(emulator.fault(&json!({ "kind": "identity-delay", "seconds": 0.3 })).status, 200);
    let started = Instant::now();
    assert_eq!(emulator.identity(QUERY).status, 500);
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(emulator.fault(&json!({ "kind": "clear" })).status, 200);
    assert_eq!(emulator.identity(QUERY).status, 200);
}

#[test]
fn an_unknown_fault_is_refused_with_the_known_ones() {
    let emulator = Emulator::start();
    let answer = emulator.fault(&json!({ "kind": "earthquake" }));
    assert_eq!(answer.status, 400);
    assert!(answer.json()["kinds"].as_array().expect("a list").contains(&Value::from("close-all")));
    assert_eq!(emulator.fault(&json!({ "kind": "auth-delay" })).status, 400);
    assert_eq!(emulator.fault(&json!({ "kind": "identity-status", "status": 200 })).status, 400);
}

#[test]
fn all_connections_can_be_closed_and_logins_refused() {
    let emulator = Emulator::start();
    let mut clients: Vec<_> = (0..3).map(|_| emulator.log_in(60)).collect();
    assert_eq!(emulator.fault(&json!({ "kind": "close-all" })).status, 200);
    for client in &mut clients {
        assert_eq!(client.next(), None);
    }
    let mut client = emulator.log_in(60);
    assert_eq!(emulator.stats()["closed_at_expiry"], 0);

    let token = emulator.token(&Value::Null);
    assert_eq!(emulator.fault(&json!({ "kind": "auth-fail", "count": 2 })).status, 200);
    for wanted in ["-WRONGPASS", "-WRONGPASS", "+OK"] {
        assert!(client.ask(&["AUTH", emulator.oid(), &token]).starts_with(wanted));
    }
    assert_eq!(emulator.stats()["auth_refusals"]["fault"], 2);
}
