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
use serde_json::json;

use crate::census::Census;
use crate::fault::{Faults, IdentityStatus, Uses};
use crate::front::Front;
use crate::token::{Order, Tenant};

#[derive(Clone)]
struct Admin {
    tenant: Arc<Tenant>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    front: Arc<Front>,
}

pub(crate) fn router(
    tenant: &Arc<Tenant>,
    census: &Arc<Census>,
    faults: &Arc<Faults>,
    front: &Arc<Front>,
) -> Router {
    let admin = Admin {
        tenant: Arc::clone(tenant),
        census: Arc::clone(census),
        faults: Arc::clone(faults),
        front: Arc::clone(front),
    };
    Router::new()
        .route("/stats", get(stats))
        .route("/token", post(token))
        .route("/fault", post(fault))
        .with_state(admin)
}

async fn stats(State(admin): State<Admin>) -> Response {
    Json(admin.census.snapshot()).into_response()
}

async fn token(State(admin): State<Admin>, body: Bytes) -> Response {
    // An empty body is the plainest order.
    let order: Order = match serde_json::from_slice(if body.is_empty() { b"{}" } else { &body }) {
        Ok(order) => order,
        Err(error) => return refuse(&error.to_string()),
    };
    let issued = admin.tenant.issue(order);
    admin.census.token_issued();
    Json(json!({
        "access_token": issued.access_token,
        "expires_on": issued.expires_on,
        "oid": issued.oid,
    }))
    .into_response()
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
}

const KINDS: [&str; 6] =
    ["close-all", "auth-delay", "auth-fail", "identity-status", "identity-delay", "clear"];

const IDENTITY_STATUSES: [u16; 4] = [404, 410, 429, 500];

async fn fault(State(admin): State<Admin>, body: Bytes) -> Response {
    let order: FaultOrder = match serde_json::from_slice(&body) {
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
                return refuse("status is one of 404, 410, 429, 500");
            };
            let fault = IdentityStatus { status, retry_after_s: order.retry_after };
            admin.faults.set_identity_status(fault, Uses::new(order.count));
        }
        _ => return refuse("unknown kind"),
    }
    Json(json!({ "ok": true })).into_response()
}

fn refuse(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": message, "kinds": KINDS }))).into_response()
}
