//! Microsoft Entra ID's token endpoint, for applications with a secret, a certificate or a federated identity.

mod rig;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use rig::{Answer, Emulator, claims, http, unix_now, within};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

const SCOPE: &str = "https://redis.azure.com/.default";
const STRANGER: &str = "11111111-1111-4111-8111-111111111111";

/// An ordinary request with `changes` made; an empty value removes a parameter.
fn ask(emulator: &Emulator, changes: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", emulator.text("client_id")),
        ("scope", SCOPE),
        ("client_secret", emulator.text("client_secret")),
    ];
    form.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    form.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    emulator.entra(&form)
}

fn ask_with_assertion(emulator: &Emulator, assertion: &str) -> Answer {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    ask(emulator, &[("client_secret", ""), ("client_assertion_type", kind), ("client_assertion", assertion)])
}

fn assert_error(answer: &Answer, status: u16, error: &str, code: u32) {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]), (status, &Value::from(error)), "{body}");
    assert_eq!(body["error_codes"], json!([code]));
    let text = body["error_description"].as_str().expect("a text");
    assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
    let trace = format!("\r\nTrace ID: {}\r\n", body["trace_id"].as_str().expect("a text"));
    assert!(text.contains(&trace), "{text}");
    assert!(
        text.contains("\r\nTimestamp: ") && body["timestamp"].as_str().is_some_and(|at| at.ends_with('Z'))
    );
    assert_eq!(body["error_uri"], format!("https://login.microsoftonline.com/error?code={code}"));
}

#[test]
fn a_secret_gets_a_token_and_the_numbers_are_integers() {
    let emulator = Emulator::with(&["--token-ttl", "3600"]);
    let answer = ask(&emulator, &[]);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["access_token", "expires_in", "ext_expires_in", "token_type"]);
    assert!((3_595..=3_600).contains(&body["expires_in"].as_i64().expect("an integer")));
    assert_eq!(body["token_type"], "Bearer");
    let token = body["access_token"].as_str().expect("a token");
    let claims = claims(token);
    assert_eq!((claims["appidacr"].as_str(), claims.get("xms_mirid")), (Some("1"), None));
    assert_eq!(claims["aud"], "https://redis.azure.com");
    assert_eq!(emulator.connect().ask(&["AUTH", emulator.oid(), token]), "+OK");
    assert_eq!(emulator.stats()["identity_requests_by_endpoint"], json!({ "entra": 1 }));
    assert_eq!(emulator.stats()["tokens_issued_by_proof"], json!({ "secret": 1 }));
}

#[test]
fn a_long_lived_token_comes_with_advice_when_to_replace_it() {
    let emulator = Emulator::with(&["--token-ttl", "86400", "--token-cache", "cached"]);
    let body = ask(&emulator, &[]).json();
    assert_eq!(body["refresh_in"].as_i64(), body["expires_in"].as_i64().map(|seconds| seconds / 2));
    // The cache is the platform's; Entra has none.
    assert_ne!(ask(&emulator, &[]).json()["access_token"], body["access_token"]);
}

/// Changes of a request; status, error and AADSTS number of the answer.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str, u32);

#[test]
fn every_mistake_has_its_number() {
    let emulator = Emulator::start();
    let cases: [Case<'_>; 12] = [
        (&[("client_secret", "wrong")], 401, "invalid_client", 7_000_215),
        (&[("client_secret", "")], 401, "invalid_client", 7_000_218),
        (&[("client_id", STRANGER)], 400, "unauthorized_client", 700_016),
        (&[("client_id", "")], 400, "invalid_request", 900_144),
        (&[("scope", "")], 400, "invalid_request", 900_144),
        (&[("scope", "https://redis.azure.com")], 400, "invalid_scope", 70_011),
        (&[("scope", "https://vault.azure.net/.default")], 400, "invalid_resource", 650_057),
        (&[("grant_type", "")], 400, "invalid_request", 900_144),
        (&[("grant_type", "password")], 400, "unsupported_grant_type", 70_003),
        (&[("client_assertion", "x")], 400, "invalid_request", 900_144),
        (&[("client_assertion", "x"), ("client_assertion_type", "y")], 400, "invalid_request", 50_027),
        (&[("client_assertion", ""), ("client_secret", "x")], 401, "invalid_client", 7_000_215),
    ];
    for (changes, status, error, code) in cases {
        assert_error(&ask(&emulator, changes), status, error, code);
    }
    let path = format!("{STRANGER}/oauth2/v2.0/token");
    assert_error(&emulator.authority("POST", &path, &[]), 400, "invalid_request", 90_002);
    let path = format!("{STRANGER}/v2.0/.well-known/openid-configuration");
    assert_error(&emulator.authority("GET", &path, &[]), 400, "invalid_tenant", 90_002);
}

/// The key of the application's certificate, and the certificate.
fn certificate(emulator: &Emulator) -> (RsaKeyPair, CertificateDer<'static>) {
    let file = emulator.text("client_certificate_file");
    let key = PrivatePkcs8KeyDer::from_pem_file(file).expect("a key");
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("an RSA key");
    (key, CertificateDer::from_pem_file(file).expect("a certificate"))
}

fn sign(key: &RsaKeyPair, padding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(padding, &ring::rand::SystemRandom::new(), signed.as_bytes(), &mut signature).expect("room");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token_url(emulator: &Emulator) -> String {
    format!("{}/{}/oauth2/v2.0/token", emulator.text("authority"), emulator.text("tenant_id"))
}

#[test]
fn a_certificate_signs_in_either_of_the_two_ways() {
    let emulator = Emulator::start();
    let (key, der) = certificate(&emulator);
    let client = emulator.text("client_id");
    let claims = json!({
        "aud": token_url(&emulator), "iss": client, "sub": client, "jti": "1",
        "nbf": unix_now(), "iat": unix_now(), "exp": unix_now() + 300,
    });
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
    let sha256 = digest(&SHA256, &der);
    let old = json!({ "alg": "RS256", "typ": "JWT", "x5t": URL_SAFE_NO_PAD.encode(sha1) });
    let new = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE.encode(sha256) });
    let assertions =
        [sign(&key, &RSA_PKCS1_SHA256, &old, &claims), sign(&key, &RSA_PSS_SHA256, &new, &claims)];
    for assertion in &assertions {
        let answer = ask_with_assertion(&emulator, assertion);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let claims = rig::claims(answer.json()["access_token"].as_str().expect("a token"));
        assert_eq!(claims["appidacr"], "2");
    }
    assert_eq!(emulator.stats()["tokens_issued_by_proof"], json!({ "certificate": 2 }));

    // Signed in one way and said to be in the other; thumbprints in the wrong place; no algorithm.
    let none = json!({ "alg": "none", "x5t": URL_SAFE_NO_PAD.encode(sha1) });
    let misplaced = json!({ "alg": "RS256", "x5t#S256": URL_SAFE_NO_PAD.encode(sha256) });
    let forged = [
        sign(&key, &RSA_PSS_SHA256, &old, &claims),
        sign(&key, &RSA_PKCS1_SHA256, &new, &claims),
        sign(&key, &RSA_PKCS1_SHA256, &misplaced, &claims),
        sign(&key, &RSA_PKCS1_SHA256, &none, &claims),
    ];
    for assertion in &forged {
        assert_error(&ask_with_assertion(&emulator, assertion), 401, "invalid_client", 700_027);
    }
    for (claim, value, status, error, code) in [
        ("aud", json!("https://login.microsoftonline.com"), 400, "invalid_request", 50_027),
        ("sub", json!(STRANGER), 400, "invalid_request", 50_027),
        ("exp", json!(unix_now() - 10), 401, "invalid_client", 700_024),
        ("exp", Value::Null, 401, "invalid_client", 700_024),
        ("nbf", json!(unix_now() + 600), 401, "invalid_client", 700_024),
    ] {
        let mut claims = claims.clone();
        claims[claim] = value;
        let assertion = sign(&key, &RSA_PKCS1_SHA256, &old, &claims);
        assert_error(&ask_with_assertion(&emulator, &assertion), status, error, code);
    }
}

#[test]
fn another_certificate_is_none() {
    let (one, other) = (Emulator::start(), Emulator::start());
    let (key, _) = certificate(&other);
    let (_, der) = certificate(&one);
    let client = one.text("client_id");
    let claims = json!({ "aud": token_url(&one), "iss": client, "sub": client, "exp": unix_now() + 300 });
    let header =
        json!({ "alg": "RS256", "x5t": URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)) });
    let answer = ask_with_assertion(&one, &sign(&key, &RSA_PKCS1_SHA256, &header, &claims));
    assert_error(&answer, 401, "invalid_client", 700_027);
}

fn federated_token(emulator: &Emulator) -> String {
    std::fs::read_to_string(emulator.text("federated_token_file")).expect("a readable file")
}

#[test]
fn a_service_account_token_is_exchanged_and_every_mistake_in_it_has_its_number() {
    let emulator = Emulator::start();
    let answer = ask_with_assertion(&emulator, &federated_token(&emulator));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(emulator.stats()["tokens_issued_by_proof"], json!({ "federated": 1 }));
    let url = format!("{}/assertion", emulator.text("admin"));
    for (order, status, error, code) in [
        (json!({ "iss": "https://elsewhere.test/" }), 400, "invalid_request", 70_021),
        (json!({ "sub": "system:serviceaccount:default:another" }), 400, "invalid_request", 70_021),
        (json!({ "aud": "https://kubernetes.default.svc" }), 400, "invalid_request", 70_021),
        (json!({ "ttl": -1 }), 401, "invalid_client", 700_024),
        (json!({ "bad_signature": true }), 401, "invalid_client", 700_027),
    ] {
        let body = http("POST", &url, &[], Some(&order)).json();
        let answer = ask_with_assertion(&emulator, body["assertion"].as_str().expect("a token"));
        assert_error(&answer, status, error, code);
    }
    assert_eq!(http("POST", &url, &[], Some(&json!({ "colour": "red" }))).status, 400);
    assert_error(&ask_with_assertion(&emulator, "a.b"), 400, "invalid_request", 50_027);
}

#[test]
fn the_service_account_token_is_replaced_before_its_end() {
    let emulator = Emulator::with(&["--federated-ttl", "5"]);
    let first = federated_token(&emulator);
    assert_eq!(claims(&first)["aud"], json!(["api://AzureADTokenExchange"]));
    assert!(within(Duration::from_secs(10), || federated_token(&emulator) != first));
    assert!(claims(&first)["exp"].as_i64().expect("a number") > unix_now() - 1, "late");
    assert_eq!(ask_with_assertion(&emulator, &federated_token(&emulator)).status, 200);
}

#[test]
fn discovery_leads_to_the_token_endpoint() {
    let emulator = Emulator::start();
    let (authority, tenant) = (emulator.text("authority"), emulator.text("tenant_id"));
    let path = format!("{tenant}/v2.0/.well-known/openid-configuration");
    let document = emulator.authority("GET", &path, &[]).json();
    assert_eq!(document["token_endpoint"], token_url(&emulator));

    let keys = document["jwks_uri"].as_str().and_then(|url| url.strip_prefix(authority)).expect("ours");
    let key = emulator.authority("GET", &keys[1..], &[]).json()["keys"][0].clone();
    let token = emulator.token(&Value::Null);
    assert_eq!(key["kid"], rig::header(&token)["kid"]);
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let (n, e) = (part(key["n"].as_str().expect("a text")), part(key["e"].as_str().expect("a text")));
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    ring::rsa::PublicKeyComponents { n, e }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &part(signature))
        .expect("the key verifies the token");

    let host = authority.strip_prefix("https://").expect("an https address");
    let ask = |url: &str| {
        let path = format!("common/discovery/instance?api-version=1.1&authorization_endpoint={url}");
        emulator.authority("GET", &path, &[])
    };
    let body = ask(&format!("{authority}/{tenant}/oauth2/v2.0/authorize")).json();
    assert_eq!(body["tenant_discovery_endpoint"], format!("{authority}/{path}"));
    assert_eq!(body["metadata"][0]["aliases"], json!([host]));
    let answer = ask(&format!("https://elsewhere.test/{tenant}/oauth2/v2.0/authorize"));
    assert_error(&answer, 400, "invalid_instance", 50_049);
    let stats = emulator.stats();
    assert_eq!((&stats["discovery_requests"], &stats["identity_requests"]), (&json!(4), &json!(0)));
}

#[test]
fn faults_have_the_form_of_entra() {
    let emulator = Emulator::start();
    let status = |status: u16| {
        let order = json!({ "kind": "identity-status", "status": status, "retry_after": 7, "count": 1 });
        assert_eq!(emulator.fault(&order).status, 200);
        ask(&emulator, &[])
    };
    let answer = status(429);
    assert_error(&answer, 429, "temporarily_unavailable", 90_055);
    assert!(answer.head.to_lowercase().contains("retry-after: 7"), "{}", answer.head);
    assert_error(&status(503), 503, "temporarily_unavailable", 90_033);
    assert_error(&status(500), 500, "temporarily_unavailable", 90_033);
    for (code, http_status, error) in
        [(7_000_222, 401, "invalid_client"), (53_003, 400, "invalid_grant"), (50_196, 400, "invalid_grant")]
    {
        let order = json!({ "kind": "identity-error", "code": code, "count": 1 });
        assert_eq!(emulator.fault(&order).status, 200);
        assert_error(&ask(&emulator, &[]), http_status, error, code);
        assert_eq!(ask(&emulator, &[]).status, 200);
    }
    assert_eq!(emulator.fault(&json!({ "kind": "identity-error", "code": 1 })).status, 400);
}
