//! The metadata service of virtual machines.

mod rig;

use rig::{Emulator, claims, http, unix_now};
use serde_json::json;

const METADATA: [(&str, &str); 1] = [("Metadata", "true")];
const QUERY: &str = "api-version=2018-02-01&resource=https%3A%2F%2Fredis.azure.com";

#[test]
fn every_value_of_an_answer_is_a_string() {
    let emulator = Emulator::with(&["--token-ttl", "3600"]);
    let answer = emulator.imds(QUERY, &METADATA);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let body = body.as_object().expect("an object");
    let keys: Vec<&String> = body.keys().collect();
    let known = [
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "not_before",
        "refresh_token",
        "resource",
        "token_type",
    ];
    assert_eq!(keys, known);
    assert!(body.values().all(serde_json::Value::is_string));
    let number = |key: &str| body[key].as_str().expect("a string").parse::<i64>().expect("a number");
    let claims = claims(body["access_token"].as_str().expect("a string"));
    assert_eq!(claims["exp"], number("expires_on"));
    assert_eq!(claims["nbf"], number("not_before"));
    assert_eq!(number("expires_on") - number("not_before"), 3_900);
    assert!((3_595..=3_600).contains(&number("expires_in")));
    assert_eq!(claims["xms_mirid"], emulator.ready["identity_resource_id"]);
    assert_eq!(body["resource"], "https://redis.azure.com");
    assert_eq!(body["client_id"], emulator.ready["client_id"]);
    assert_eq!(emulator.stats()["identity_requests_by_endpoint"], json!({ "imds": 1 }));
}

#[test]
fn the_address_may_end_with_a_slash() {
    let emulator = Emulator::start();
    let url = format!("{}/metadata/identity/oauth2/token/?{QUERY}", emulator.text("imds"));
    assert_eq!(http("GET", &url, &METADATA, None).status, 200);
}

#[test]
fn a_request_without_the_header_is_refused_and_so_is_a_forwarded_one() {
    let emulator = Emulator::start();
    for headers in [[].as_slice(), &[("Metadata", "True")]] {
        let answer = emulator.imds(QUERY, headers);
        assert_eq!(answer.status, 400);
        let wanted = json!({
            "error": "bad_request_102",
            "error_description": "Required metadata header not specified",
        });
        assert_eq!(answer.json(), wanted);
    }
    let forwarded = [("Metadata", "true"), ("X-Forwarded-For", "10.0.0.1")];
    assert_eq!(emulator.imds(QUERY, &forwarded).status, 400);
}

#[test]
fn a_bad_call_gets_an_error_in_the_known_form() {
    let emulator = Emulator::start();
    let calls = [
        ("api-version=2018-02-01", "invalid_request"),
        ("api-version=2018-02-01&resource=", "invalid_request"),
        ("api-version=2018-02-01&resource=redis", "invalid_resource"),
        ("api-version=2018-02-01&resource=https://redis.azure.com/.default", "invalid_resource"),
    ];
    for (query, error) in calls {
        let answer = emulator.imds(query, &METADATA);
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["error"], error, "{query}");
        assert!(answer.json()["error_description"].is_string());
    }
    for query in ["resource=https://redis.azure.com", "api-version=1&resource=https://redis.azure.com"] {
        let answer = emulator.imds(query, &METADATA);
        assert_eq!(answer.status, 400);
        assert!(answer.json()["newest-versions"].is_array());
    }
}

#[test]
fn every_name_of_the_identity_is_known_and_no_other() {
    let emulator = Emulator::start();
    let names = [
        ("client_id", "client_id"),
        ("object_id", "oid"),
        ("msi_res_id", "identity_resource_id"),
        ("mi_res_id", "identity_resource_id"),
    ];
    for (name, fact) in names {
        let query = format!("{QUERY}&{name}={}", emulator.text(fact));
        assert_eq!(emulator.imds(&query, &METADATA).status, 200, "{name}");
        let answer = emulator.imds(&format!("{QUERY}&{name}=another"), &METADATA);
        assert_eq!(answer.status, 400, "{name}");
        let wanted = json!({ "error": "invalid_request", "error_description": "Identity not found" });
        assert_eq!(answer.json(), wanted);
    }
}

#[test]
fn a_cached_token_comes_with_what_is_left_of_its_life() {
    let emulator = Emulator::with(&["--token-cache", "cached", "--token-ttl", "86400"]);
    let first = emulator.imds(QUERY, &METADATA).json();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let second = emulator.imds(QUERY, &METADATA).json();
    assert_eq!(first["access_token"], second["access_token"]);
    assert_eq!(first["expires_on"], second["expires_on"]);
    let left: i64 = second["expires_in"].as_str().expect("a string").parse().expect("a number");
    assert!(left < 86_400, "{left}");
    let expires_on: i64 = second["expires_on"].as_str().expect("a string").parse().expect("a number");
    assert!((expires_on - unix_now() - left).abs() <= 1);
}

#[test]
fn faults_have_the_form_of_the_metadata_service() {
    let emulator = Emulator::start();
    for status in [404, 410, 429, 500, 503] {
        let order = json!({ "kind": "identity-status", "status": status, "retry_after": 9, "count": 1 });
        assert_eq!(emulator.fault(&order).status, 200);
        let answer = emulator.imds(QUERY, &METADATA);
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string() && answer.json()["error_description"].is_string());
        assert!(answer.head.to_lowercase().contains("retry-after: 9"), "{}", answer.head);
    }
    assert_eq!(emulator.imds(QUERY, &METADATA).status, 200);
}
