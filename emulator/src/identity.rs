//! The managed-identity endpoint of App Service, Functions and Container Apps.
//!
//! `GET /msi/token?api-version=2019-08-01&resource=…` with the header X-IDENTITY-HEADER. The answer has no
//! `expires_in`, its `expires_on` is a string, and `resource` is what the caller wrote: SDKs depend on each
//! of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::census::Census;
use crate::fault::Faults;
use crate::options::TokenCache;
use crate::random;
use crate::token::{Issued, Order, Tenant, unix_now};

pub(crate) struct Endpoint {
    tenant: Arc<Tenant>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    header: String,
    token_cache: TokenCache,
    /// The last token for each resource; in use only where the platform's cache is emulated.
    cached: Mutex<HashMap<String, Issued>>,
}

impl Endpoint {
    pub(crate) fn new(
        tenant: &Arc<Tenant>,
        census: &Arc<Census>,
        faults: &Arc<Faults>,
        token_cache: TokenCache,
    ) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            tenant: Arc::clone(tenant),
            census: Arc::clone(census),
            faults: Arc::clone(faults),
            header: random::secret(),
            token_cache,
            cached: Mutex::default(),
        })
    }

    /// What X-IDENTITY-HEADER must be.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    pub(crate) fn router(self: &Arc<Endpoint>) -> Router {
        Router::new().route("/msi/token", get(token)).with_state(Arc::clone(self))
    }

    fn issue(&self, resource: &str) -> Issued {
        match self.token_cache {
            TokenCache::Fresh => self.issue_fresh(resource),
            TokenCache::Cached => {
                let mut cached = self.cached.lock().expect("nothing panics with this lock held");
                // The platform keeps a token until it is near its end and cannot be made to give a newer one.
                let margin = CACHE_MARGIN_S_MAX.min(self.tenant.ttl_s / 2).cast_signed();
                match cached.get(resource) {
                    Some(token) if unix_now() < token.expires_on - margin => token.clone(),
                    _ => {
                        let token = self.issue_fresh(resource);
                        cached.insert(resource.to_owned(), token.clone());
                        token
                    }
                }
            }
        }
    }

    fn issue_fresh(&self, resource: &str) -> Issued {
        self.census.token_issued();
        self.tenant.issue(Order { aud: Some(resource.to_owned()), ..Order::default() })
    }

    /// Whether the call names no identity, or the only one there is.
    fn identity_exists(&self, query: &HashMap<String, String>) -> bool {
        let is =
            |key: &str, value: &str| query.get(key).is_none_or(|asked| asked.eq_ignore_ascii_case(value));
        is("client_id", &self.tenant.client_id)
            && is("principal_id", &self.tenant.oid)
            && is("object_id", &self.tenant.oid)
            && !query.contains_key("mi_res_id")
    }
}

const API_VERSION: &str = "2019-08-01";
const CACHE_MARGIN_S_MAX: u64 = 300;

async fn token(
    State(endpoint): State<Arc<Endpoint>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    endpoint.census.identity_requested();
    tokio::time::sleep(endpoint.faults.identity_delay()).await;
    if let Some(fault) = endpoint.faults.take_identity_status() {
        let mut response = error(fault.status, "A fault that was asked for.");
        if let Some(seconds) = fault.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        return response;
    }
    match headers.get("x-identity-header") {
        None => return error(400, "The header X-IDENTITY-HEADER is missing."),
        Some(value) if value.as_bytes() != endpoint.header.as_bytes() => {
            return error(401, "The header X-IDENTITY-HEADER has the wrong value.");
        }
        Some(_) => (),
    }
    match query.get("api-version").map(String::as_str) {
        Some(API_VERSION) => (),
        Some(_) => return error(400, "The api-version is not supported; supported: 2019-08-01."),
        None => return error(400, "The parameter api-version is missing."),
    }
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return error(400, "The parameter resource is missing.");
    };
    if !endpoint.identity_exists(&query) {
        return error(400, "No User Assigned Identity found for specified ClientId/ResourceId/PrincipalId.");
    }
    let issued = endpoint.issue(resource);
    Json(json!({
        "access_token": issued.access_token,
        "expires_on": issued.expires_on.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": endpoint.tenant.client_id,
    }))
    .into_response()
}

fn error(status: u16, message: &str) -> Response {
    let body = json!({ "statusCode": status, "message": message, "correlationId": random::guid() });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}
