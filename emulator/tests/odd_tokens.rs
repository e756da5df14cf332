//! Tokens that are not what they should be: ordered from the admin endpoint, or handed out by an identity
//! endpoint to a program that knows nothing of it.

mod rig;

use rig::{Emulator, claims, header, unix_now};
use serde_json::{Value, json};

const QUERY: &str = "api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com";
const STRANGER: &str = "11111111-1111-4111-8111-111111111111";

/// Each with what the cache refuses it for; with nothing where it is good.
fn overrides() -> Vec<(Value, Option<&'static str>)> {
    vec![
        (json!({ "bad_signature": true }), Some("bad_signature")),
        (json!({ "aud": "https://vault.azure.net" }), Some("wrong_audience")),
        (json!({ "tid": STRANGER }), Some("wrong_tenant")),
        (json!({ "oid": STRANGER }), Some("no_assignment")),
        (json!({ "ttl": -10 }), Some("expired")),
        (json!({ "nbf": unix_now() + 3_600, "ttl": 7_200 }), Some("not_yet_valid")),
        (json!({ "ver": "2.0" }), None),
        (json!({ "ver": "2.0", "aud": "https://redis.azure.com" }), None),
        (json!({ "len": 15_000 }), None),
    ]
}

/// Logs in with the token and the object id in it.
fn check(emulator: &Emulator, token: &str, refusal: Option<&str>) {
    let oid = claims(token)["oid"].as_str().expect("a string").to_owned();
    let before = refusal.map(|name| emulator.stats()["auth_refusals"][name].as_u64().unwrap_or(0));
    let reply = emulator.connect().ask(&["AUTH", &oid, token]);
    match refusal {
        None => assert_eq!(reply, "+OK"),
        Some(name) => {
            assert!(reply.starts_with("-WRONGPASS"), "{name}: {reply}");
            assert_eq!(
                emulator.stats()["auth_refusals"][name].as_u64(),
                before.map(|count| count + 1),
                "{name}"
            );
        }
    }
}

#[test]
fn the_admin_endpoint_makes_every_odd_token() {
    let emulator = Emulator::start();
    for (order, refusal) in overrides() {
        check(&emulator, &emulator.token(&order), refusal);
    }
}

#[test]
fn the_identity_endpoints_hand_out_every_odd_token_as_often_as_they_are_told() {
    let emulator = Emulator::with(&["--token-cache", "cached"]);
    let ordinary = emulator.identity(QUERY).json()["access_token"].clone();
    for (mut order, refusal) in overrides() {
        order["kind"] = "identity-token".into();
        order["count"] = 1.into();
        let answer = emulator.fault(&order);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = emulator.identity(QUERY).json();
        check(&emulator, body["access_token"].as_str().expect("a token"), refusal);
        // The platform's cache is left alone.
        assert_eq!(emulator.identity(QUERY).json()["access_token"], ordinary);
    }
    assert_eq!(emulator.fault(&json!({ "kind": "identity-token", "colour": "red" })).status, 400);
}

#[test]
fn a_token_of_the_second_version_names_the_application_that_it_is_for() {
    let emulator = Emulator::start();
    let token = emulator.token(&json!({ "ver": "2.0" }));
    let claims = claims(&token);
    let tenant = emulator.text("tenant_id");
    assert_eq!(claims["iss"], format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    assert_eq!(claims["aud"], "acca5fbb-b7e4-4009-81f1-37e38fd66d78");
    assert_eq!(claims["azp"], emulator.ready["client_id"]);
    assert_eq!(claims["ver"], "2.0");
    assert!(claims.get("appid").is_none() && claims.get("idp").is_none());
    assert!(header(&token).get("x5t").is_none());
    assert!(header(&emulator.token(&Value::Null)).get("x5t").is_some());
}

#[test]
fn a_token_of_20_kilobytes_is_more_than_the_server_reads_before_login() {
    let emulator = Emulator::start();
    let token = emulator.token(&json!({ "len": 20_480 }));
    assert!((20_480..20_800).contains(&token.len()), "{}", token.len());
    let reply = emulator.connect().ask(&["AUTH", emulator.oid(), &token]);
    assert_eq!(reply, "-ERR Protocol error: unauthenticated bulk length");
}

#[test]
fn an_expiry_that_disagrees_with_the_token_is_told_in_every_form() {
    let emulator = Emulator::start();
    let order = json!({ "kind": "identity-token", "ttl": 600, "expires_off_by": 3_000 });
    assert_eq!(emulator.fault(&order).status, 200);
    let said = |body: &Value, key: &str| {
        let value = &body[key];
        value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).expect("a number")
    };
    let host = emulator.identity(QUERY).json();
    let machine =
        emulator.imds("api-version=2018-02-01&resource=https://redis.azure.com", &[("Metadata", "true")]);
    for body in [&host, &machine.json()] {
        let exp = claims(body["access_token"].as_str().expect("a token"))["exp"].as_i64().expect("a number");
        assert_eq!(said(body, "expires_on"), exp + 3_000);
    }
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", emulator.text("client_id")),
        ("client_secret", emulator.text("client_secret")),
        ("scope", "https://redis.azure.com/.default"),
    ];
    let body = emulator.entra(&form).json();
    assert!((3_595..=3_600).contains(&said(&body, "expires_in")));
    assert_eq!(emulator.fault(&json!({ "kind": "clear" })).status, 200);
    let body = emulator.identity(QUERY).json();
    let exp = claims(body["access_token"].as_str().expect("a token"))["exp"].as_i64().expect("a number");
    assert_eq!(said(&body, "expires_on"), exp);
}

#[test]
fn an_answer_can_be_broken_or_without_its_token() {
    let emulator = Emulator::start();
    let fault =
        |body: &str| emulator.fault(&json!({ "kind": "identity-body", "body": body, "count": 1 })).status;
    assert_eq!(fault("no-token"), 200);
    let answer = emulator.identity(QUERY);
    assert_eq!(answer.status, 200);
    assert!(answer.json().get("access_token").is_none() && answer.json()["expires_on"].is_string());
    assert_eq!(fault("malformed"), 200);
    let answer = emulator.identity(QUERY);
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<Value>(&answer.body).is_err());
    assert!(emulator.identity(QUERY).json()["access_token"].is_string());
    assert_eq!(fault("upside-down"), 400);
}
