//! The managed-identity endpoint of App Service, in the form that identity SDKs depend on, and its faults.

mod rig;

use std::time::{Duration, Instant};

use rig::{Emulator, claims, http};
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
    let stats = emulator.stats();
    assert_eq!(stats["identity_requests"], 1);
    assert_eq!(stats["identity_requests_by_endpoint"], json!({ "app_service": 1 }));
    assert_eq!(stats["tokens_issued_by_proof"], json!({ "managed_identity": 1 }));
}

#[test]
fn every_name_of_the_identity_is_known_and_no_other() {
    let emulator = Emulator::start();
    let resource = emulator.text("identity_resource_id").to_uppercase();
    let names = [
        ("client_id", emulator.text("client_id")),
        ("principal_id", emulator.oid()),
        ("object_id", emulator.oid()),
        ("mi_res_id", &resource),
    ];
    for (name, value) in names {
        assert_eq!(emulator.identity(&format!("{QUERY}&{name}={value}")).status, 200, "{name}");
        let answer = emulator.identity(&format!("{QUERY}&{name}=another"));
        assert_eq!(answer.status, 400, "{name}");
        let text = answer.json()["message"].as_str().expect("a text").to_owned();
        assert!(text.starts_with("No User Assigned Identity found"), "{text}");
    }
    // The metadata service's word for it.
    assert_eq!(emulator.identity(&format!("{QUERY}&msi_res_id={resource}")).status, 400);
}

#[test]
fn the_version_of_2017_has_another_header_and_an_expiry_in_words() {
    let emulator = Emulator::start();
    let url = emulator.text("identity_endpoint");
    let url = format!("{url}?api-version=2017-09-01&resource=https://redis.azure.com");
    let secret = [("secret", emulator.text("identity_header"))];
    let own = format!("{url}&clientid={}", emulator.text("client_id"));
    let answer = http("GET", &own, &secret, None);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let expires_on = body["expires_on"].as_str().expect("a string");
    assert!(expires_on.ends_with("AM +00:00") || expires_on.ends_with("PM +00:00"), "{expires_on}");
    assert!(body["access_token"].is_string());

    assert_eq!(http("GET", &format!("{url}&clientid=another"), &secret, None).status, 400);
    let current = [("X-IDENTITY-HEADER", emulator.text("identity_header"))];
    assert_eq!(http("GET", &url, &current, None).status, 400);
    assert_eq!(http("GET", &url, &[("secret", "wrong")], None).status, 401);
    assert_eq!(emulator.stats()["identity_requests_by_endpoint"], json!({ "app_service_2017": 4 }));
}

#[test]
fn the_life_of_a_token_is_drawn_from_the_range() {
    let emulator = Emulator::with(&["--token-ttl", "3600-5400"]);
    let lives: Vec<i64> = (0..40)
        .map(|_| {
            let body = emulator.identity(QUERY).json();
            let claims = claims(body["access_token"].as_str().expect("a token"));
            // Tokens are dated back by five minutes.
            claims["exp"].as_i64().expect("a number") - claims["nbf"].as_i64().expect("a number") - 300
        })
        .collect();
    assert!(lives.iter().all(|life| (3_600..=5_400).contains(life)), "{lives:?}");
    let (least, most) = (lives.iter().min().expect("some"), lives.iter().max().expect("some"));
    assert!(most - least > 600, "{lives:?}");
}

#[test]
fn every_token_issued_is_on_the_list() {
    let emulator = Emulator::start();
    let one = emulator.identity(QUERY).json()["access_token"].clone();
    let two = Value::from(emulator.token(&json!({ "ttl": 5 })));
    let listed = http("GET", &format!("{}/tokens", emulator.text("admin")), &[], None).json();
    assert_eq!(listed, json!([one, two]));
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
