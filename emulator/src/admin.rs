//! The admin endpoint: statistics, odd tokens, faults. For tests and demos, without any protection.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::census::Census;
use crate::fault::{Faults, IdentityBody, IdentityStatus, IdentityToken, Uses};
use crate::front::Front;
use crate::identity::{self, AssertionOrder, Workload};
use crate::token::{Order, Tenant};

#[derive(Clone)]
struct Admin {
    tenant: Arc<Tenant>,
    workload: Arc<Workload>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    front: Arc<Front>,
}

pub(crate) fn router(
    tenant: &Arc<Tenant>,
    workload: &Arc<Workload>,
    census: &Arc<Census>,
    faults: &Arc<Faults>,
    front: &Arc<Front>,
) -> Router {
    let admin = Admin {
        tenant: Arc::clone(tenant),
        workload: Arc::clone(workload),
        census: Arc::clone(census),
        faults: Arc::clone(faults),
        front: Arc::clone(front),
    };
    Router::new()
        .route("/stats", get(stats))
        .route("/token", post(token))
        .route("/tokens", get(tokens))
        .route("/assertion", post(assertion))
        .route("/fault", post(fault))
        .with_state(admin)
}

async fn stats(State(admin): State<Admin>) -> Response {
    Json(admin.census.snapshot()).into_response()
}

async fn token(State(admin): State<Admin>, body: Bytes) -> Response {
    let order: Order = match read_order(&body) {
        Ok(order) => order,
        Err(error) => return refuse(&error.to_string()),
    };
    let issued = admin.tenant.issue(order);
    admin.census.token_issued(None);
    Json(json!({
        "access_token": issued.access_token,
        "expires_on": issued.expires_on,
        "oid": issued.oid,
    }))
    .into_response()
}

/// All tokens there have been, for tests that look for them where they must not be.
async fn tokens(State(admin): State<Admin>) -> Response {
    Json(admin.tenant.tokens_issued()).into_response()
}

/// A service-account token as an application shows it to Entra.
async fn assertion(State(admin): State<Admin>, body: Bytes) -> Response {
    let order: AssertionOrder = match read_order(&body) {
        Ok(order) => order,
        Err(error) => return refuse(&error.to_string()),
    };
    Json(json!({ "assertion": admin.workload.service_account_token(order) })).into_response()
}

/// An empty body is the plainest order.
fn read_order<T: serde::de::DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
}

/// The body of `POST /fault`; which of the others a kind needs is in [`fault`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    kind: String,
    seconds: Option<f64>,
    count: Option<u64>,
    status: Option<u16>,
    /// Value of Retry-After, in seconds.
    retry_after: Option<u64>,
    body: Option<IdentityBody>,
    /// Number of an AADSTS error.
    code: Option<u32>,
}

const KINDS: [&str; 9] = [
    "close-all",
    "auth-delay",
    "auth-fail",
    "identity-status",
    "identity-delay",
    "identity-token",
    "identity-body",
    "identity-error",
    "clear",
];

const IDENTITY_STATUSES: [u16; 5] = [404, 410, 429, 500, 503];

async fn fault(State(admin): State<Admin>, body: Bytes) -> Response {
    let order = match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(order) if order.get("kind").is_some_and(|kind| kind == "identity-token") => {
            return identity_token(&admin, order);
        }
        Ok(order) => serde_json::from_value::<FaultOrder>(Value::Object(order)),
        Err(error) => Err(error),
    };
    let order = match order {
        Ok(order) => order,
        Err(error) => return refuse(&error.to_string()),
    };
    let delay = order.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match order.kind.as_str() {
        "close-all" => admin.front.close_all(),
        "clear" => admin.faults.clear(),
        "auth-fail" => admin.faults.set_auth_fail(Uses::new(order.count)),
        "auth-delay" | "identity-delay" => {
            let Some(delay) = delay else {
                return refuse("seconds (a number from 0 on) is missing");
            };
            if order.kind == "auth-delay" {
                admin.faults.set_auth_delay(delay);
            } else {
                admin.faults.set_identity_delay(delay);
            }
        }
        "identity-status" => {
            let Some(status) = order.status.filter(|status| IDENTITY_STATUSES.contains(status)) else {
                return refuse("status is one of 404, 410, 429, 500, 503");
            };
            let fault = IdentityStatus { status, retry_after_s: order.retry_after };
            admin.faults.set_identity_status(fault, Uses::new(order.count));
        }
        "identity-body" => {
            let Some(body) = order.body else {
                return refuse("body is one of no-token, malformed");
            };
            admin.faults.set_identity_body(body, Uses::new(order.count));
        }
        "identity-error" => {
            let Some(code) = order.code.filter(|code| identity::knows_error(*code)) else {
                return refuse("code is the number of an AADSTS error that is emulated");
            };
            admin.faults.set_identity_error(code, Uses::new(order.count));
        }
        _ => return refuse("unknown kind"),
    }
    Json(json!({ "ok": true })).into_response()
}

/// What of an `identity-token` order is not of the token itself.
#[derive(Deserialize)]
struct TokenFaultOrder {
    count: Option<u64>,
    /// Seconds.
    #[serde(default)]
    expires_off_by: i64,
}

/// The endpoints shall give out tokens with the overrides of `POST /token`.
fn identity_token(admin: &Admin, mut order: Map<String, Value>) -> Response {
    order.remove("kind");
    let own = ["count", "expires_off_by"];
    let own: Map<String, Value> = own.iter().filter_map(|key| order.remove_entry(*key)).collect();
    let parsed = serde_json::from_value::<TokenFaultOrder>(Value::Object(own))
        .and_then(|own| Ok((own, serde_json::from_value::<Order>(Value::Object(order))?)));
    match parsed {
        Ok((own, order)) => {
            let token = IdentityToken { order, expires_off_by_s: own.expires_off_by };
            admin.faults.set_identity_token(token, Uses::new(own.count));
            Json(json!({ "ok": true })).into_response()
        }
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": message, "kinds": KINDS }))).into_response()
}
