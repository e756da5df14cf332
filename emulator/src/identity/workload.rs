//! What an application shows to Entra: a secret, an assertion signed with its certificate, or the
//! service-account token of a Kubernetes cluster that the application trusts (workload identity).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::aadsts::Kind;
use crate::certificate::{self, ClientCertificate};
use crate::jwt::{Parts, SigningKey};
use crate::random;
use crate::token::{Proof, unix_now};

/// The application's side. One key serves its certificate and its cluster, because making a key is what the
/// emulator's start takes longest for; which of the two an assertion is from, its issuer says.
pub(crate) struct Workload {
    pub(crate) client_secret: String,
    pub(crate) certificate: ClientCertificate,
    pub(crate) federated_token_file: PathBuf,
    /// Issuer of the cluster's tokens, as the application's federated credential names it.
    issuer: String,
    federated_ttl_s: u64,
    key: SigningKey,
}

/// What a service-account token shall say; all of it right by default.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AssertionOrder {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<String>,
    /// Seconds from now to the expiry; negative for one that has expired.
    ttl: Option<i64>,
    bad_signature: bool,
}

impl Workload {
    /// Writes the certificate and the service-account token to `directory`.
    pub(crate) fn new(key: SigningKey, directory: &Path, federated_ttl_s: u64) -> Result<Workload, String> {
        let workload = Workload {
            client_secret: random::secret(),
            certificate: certificate::issue_to_client(&key.pkcs8, directory)?,
            federated_token_file: directory.join("azure-identity-token"),
            issuer: format!("https://oidc.respass.test/{}/", random::guid()),
            federated_ttl_s,
            key,
        };
        workload.write_federated_token()?;
        Ok(workload)
    }

    /// Rewrites the service-account token as a kubelet does: at 80 % of its life. Ends only with an error.
    pub(crate) async fn keep_federated_token(&self) -> String {
        loop {
            tokio::time::sleep(Duration::from_secs(self.federated_ttl_s).mul_f64(0.8)).await;
            if let Err(message) = self.write_federated_token() {
                return message;
            }
        }
    }

    fn write_federated_token(&self) -> Result<(), String> {
        let path = &self.federated_token_file;
        let next = path.with_extension("next");
        // Renamed, so that nobody reads half a token.
        std::fs::write(&next, self.service_account_token(AssertionOrder::default()))
            .and_then(|()| std::fs::rename(&next, path))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// A token of the cluster.
    pub(crate) fn service_account_token(&self, order: AssertionOrder) -> String {
        let now = unix_now();
        let claims = json!({
            "aud": [order.aud.as_deref().unwrap_or(FEDERATED_AUDIENCE)],
            "exp": now.saturating_add(order.ttl.unwrap_or(self.federated_ttl_s.cast_signed())),
            "iat": now,
            "iss": order.iss.as_deref().unwrap_or(&self.issuer),
            "jti": random::guid(),
            "kubernetes.io": {
                "namespace": "default",
                "serviceaccount": { "name": "respass", "uid": random::guid() },
            },
            "nbf": now,
            "sub": order.sub.as_deref().unwrap_or(SUBJECT),
        });
        let header = json!({ "alg": "RS256", "kid": self.key.id });
        self.key.sign(&header, &claims, order.bad_signature)
    }

    /// Checks an assertion for the application `client_id` at the endpoint `token_url`.
    pub(super) fn check(
        &self,
        assertion: &str,
        client_id: &str,
        token_url: &str,
    ) -> Result<Proof, (Kind, String)> {
        let Some(token) = Parts::of(assertion) else {
            return Err((Kind::BAD_ASSERTION, "it does not have three parts of base64url".to_owned()));
        };
        let claim = |name: &str| token.claims[name].as_str().unwrap_or_default();
        let proof = if claim("iss") == client_id {
            self.check_thumbprint(&token)?;
            if claim("sub") != client_id || claim("aud") != token_url {
                let about = format!("its 'sub' is the client id and its 'aud' {token_url}");
                return Err((Kind::BAD_ASSERTION, about));
            }
            Proof::Certificate
        } else {
            let audience = &token.claims["aud"];
            let is_ours = audience == FEDERATED_AUDIENCE || audience[0] == FEDERATED_AUDIENCE;
            if claim("iss") != self.issuer || claim("sub") != SUBJECT || !is_ours {
                let about = format!(
                    "Assertion Issuer: '{}'. Assertion Subject: '{}'. Assertion Audience: '{}'.",
                    claim("iss"),
                    claim("sub"),
                    audience[0].as_str().or(audience.as_str()).unwrap_or_default()
                );
                return Err((Kind::NO_FEDERATED_IDENTITY, about));
            }
            Proof::Federated
        };
        if !self.key.has_signed(&token) {
            return Err((Kind::BAD_ASSERTION_SIGNATURE, String::new()));
        }
        check_times(&token.claims)?;
        Ok(proof)
    }

    /// Whether the header names the application's certificate, in the form that its algorithm has.
    fn check_thumbprint(&self, token: &Parts<'_>) -> Result<(), (Kind, String)> {
        // With padding or without: libraries differ.
        let is = |name: &str, thumbprint: &str| {
            token.header[name].as_str().is_some_and(|named| named.trim_end_matches('=') == thumbprint)
        };
        let named = match token.header["alg"].as_str() {
            Some("PS256") => is("x5t#S256", &self.certificate.sha256),
            Some("RS256") => is("x5t", &self.certificate.sha1),
            _ => false,
        };
        let about = "The certificate used to sign the assertion is not registered on the application.";
        if named { Ok(()) } else { Err((Kind::BAD_ASSERTION_SIGNATURE, about.to_owned())) }
    }
}

fn check_times(claims: &Value) -> Result<(), (Kind, String)> {
    let now = unix_now();
    // MSAL writes fractions.
    let expired = claims["exp"].as_f64().is_none_or(|exp| exp <= now as f64);
    let early = claims["nbf"].as_f64().is_some_and(|nbf| nbf > (now + SKEW_S) as f64);
    if expired || early {
        let about = format!("Current time: {now}, 'nbf': {}, 'exp': {}.", claims["nbf"], claims["exp"]);
        return Err((Kind::ASSERTION_EXPIRED, about));
    }
    Ok(())
}

const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";
const SUBJECT: &str = "system:serviceaccount:default:respass";

/// How far ahead of ours a clock may be.
const SKEW_S: i64 = 300;
