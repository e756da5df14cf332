//! Where tokens come from: the managed-identity endpoints of Azure's hosts, and Microsoft Entra ID itself.
//!
//! - `app_service`: App Service, Functions and Container Apps, in the current form and the one of 2017.
//! - `imds`: the instance metadata service of virtual machines.
//! - `entra`: the token endpoint for applications, over TLS; `aadsts` has its errors, `discovery` its documents.
//! - `workload`: what an application shows it: secret, certificate, service-account token.
//! - `tls`: the listener that `entra` is served on.
//!
//! SDKs depend on names, on the types of numbers and on which keys are there, so each endpoint writes its
//! bodies out in full.

mod aadsts;
mod app_service;
mod discovery;
mod entra;
mod imds;
pub(crate) mod tls;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;

pub(crate) use self::workload::{AssertionOrder, Workload};

use crate::census::Census;
use crate::fault::{Faults, IdentityBody, IdentityStatus};
use crate::options::TokenCache;
use crate::random;
use crate::token::{Issued, Order, Tenant, unix_now};

/// Whether an admin may ask for this AADSTS error.
pub(crate) fn knows_error(code: u32) -> bool {
    aadsts::Kind::of(code).is_some()
}

pub(crate) struct Endpoints {
    tenant: Arc<Tenant>,
    workload: Arc<Workload>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    /// What X-IDENTITY-HEADER must be.
    header: String,
    /// The start of Entra's addresses.
    authority: String,
    token_cache: TokenCache,
    /// The last token for each resource; in use only where the platform's cache is emulated.
    cached: Mutex<HashMap<String, Issued>>,
}

/// A token, and when the endpoint says that it expires.
struct Answer {
    token: Issued,
    /// Seconds since 1970.
    expires_on: i64,
}

impl Answer {
    fn expires_in(&self) -> i64 {
        self.expires_on - unix_now()
    }
}

impl Endpoints {
    pub(crate) fn new(
        tenant: &Arc<Tenant>,
        workload: &Arc<Workload>,
        census: &Arc<Census>,
        faults: &Arc<Faults>,
        token_cache: TokenCache,
        authority: String,
    ) -> Arc<Endpoints> {
        Arc::new(Endpoints {
            tenant: Arc::clone(tenant),
            workload: Arc::clone(workload),
            census: Arc::clone(census),
            faults: Arc::clone(faults),
            header: random::secret(),
            authority,
            token_cache,
            cached: Mutex::default(),
        })
    }

    /// What X-IDENTITY-HEADER must be.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The endpoints that a host has for its managed identity; plain HTTP, as there.
    pub(crate) fn managed_identity(self: &Arc<Endpoints>) -> Router {
        Router::new()
            .route("/msi/token", get(app_service::token))
            .route("/metadata/identity/oauth2/token", get(imds::token))
            // MSAL for Node adds the slash to every address that comes from the environment.
            .route("/metadata/identity/oauth2/token/", get(imds::token))
            .with_state(Arc::clone(self))
    }

    /// Microsoft Entra ID.
    pub(crate) fn entra(self: &Arc<Endpoints>) -> Router {
        Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(entra::token))
            .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery::tenant))
            .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys))
            .route("/common/discovery/instance", get(discovery::instance))
            .with_state(Arc::clone(self))
    }

    /// Counts a request for a token, lets it wait, and gives the error that it is to get.
    async fn strike(&self, endpoint: &'static str) -> Option<IdentityStatus> {
        self.census.identity_requested(endpoint);
        tokio::time::sleep(self.faults.identity_delay()).await;
        self.faults.take_identity_status()
    }

    /// A token of the managed identity, from the platform's cache where that is emulated.
    fn issue_to_managed_identity(&self, resource: &str) -> Answer {
        let order = Order { aud: Some(resource.to_owned()), ..Order::default() };
        if self.token_cache == TokenCache::Fresh || self.faults.has_identity_token() {
            return self.issue(order);
        }
        let mut cached = self.cached.lock().expect("nothing panics with this lock held");
        // The platform keeps a token until it is near its end and cannot be made to give a newer one.
        let is_kept = |token: &Issued| {
            let margin = CACHE_MARGIN_S_MAX.min((token.expires_on - token.issued_at) / 2);
            unix_now() < token.expires_on - margin
        };
        if let Some(token) = cached.get(resource).filter(|token| is_kept(token)) {
            return Answer { token: token.clone(), expires_on: token.expires_on };
        }
        let answer = self.issue(order);
        cached.insert(resource.to_owned(), answer.token.clone());
        answer
    }

    /// A new token, or the odd one that an admin wants to be given out instead.
    fn issue(&self, order: Order) -> Answer {
        self.census.token_issued(Some(order.proof));
        let Some(fault) = self.faults.take_identity_token() else {
            let token = self.tenant.issue(order);
            return Answer { expires_on: token.expires_on, token };
        };
        let odd = Order { aud: fault.order.aud.clone().or(order.aud), proof: order.proof, ..fault.order };
        let token = self.tenant.issue(odd);
        Answer { expires_on: token.expires_on.saturating_add(fault.expires_off_by_s), token }
    }

    /// The body with a token in it, unless a fault spoils it.
    fn give(&self, mut body: Value) -> Response {
        match self.faults.take_identity_body() {
            None => (),
            Some(IdentityBody::NoToken) => {
                body.as_object_mut().expect("the endpoints give objects").remove("access_token");
            }
            Some(IdentityBody::Malformed) => {
                let mut text = body.to_string();
                text.truncate(text.len() - 1);
                return ([(CONTENT_TYPE, "application/json")], text).into_response();
            }
        }
        Json(body).into_response()
    }

    /// Whether every one of these parameters is absent, or names the only identity there is.
    fn identity_exists(&self, query: &Query, names: &[(&str, &str)]) -> bool {
        names
            .iter()
            .all(|(name, value)| query.get(*name).is_none_or(|asked| asked.eq_ignore_ascii_case(value)))
    }
}

type Query = BTreeMap<String, String>;

const CACHE_MARGIN_S_MAX: i64 = 300;

/// The response with the header that the fault asks for.
fn struck(mut response: Response, fault: IdentityStatus) -> Response {
    if let Some(seconds) = fault.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The text of an error that was ordered and has no cause.
const ORDERED: &str = "A fault that was asked for.";

fn status(number: u16) -> axum::http::StatusCode {
    axum::http::StatusCode::from_u16(number).unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
}
