//! The admin endpoint: statistics, odd tokens, assignments, faults. For tests and demos, without any
//! protection.
//!
//! `GET /stats`; `POST /token`, `GET /tokens` and `POST /assertion`; `POST /assignment` with
//! `{"oid", "policy"}`, where the policy is a name, an ACL string, or null for none; `POST /fault` with
//! `{"kind"}` and what the kind needs. `GET /fault` lists the kinds.

mod kinds;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::kinds::{Change, FaultOrder, KINDS};
use crate::access::Access;
use crate::census::{Cause, Census, Counts};
use crate::cluster::NodeStatus;
use crate::fault::Faults;
use crate::front::live::Strike;
use crate::identity::{AssertionOrder, Workload};
use crate::operations::{Operation, Operations};
use crate::token::{Order, Tenant};

#[derive(Clone)]
struct Admin {
    tenant: Arc<Tenant>,
    workload: Arc<Workload>,
    access: Arc<Access>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    operations: Arc<Operations>,
}

pub(crate) fn router(
    tenant: &Arc<Tenant>,
    workload: &Arc<Workload>,
    access: &Arc<Access>,
    census: &Arc<Census>,
    faults: &Arc<Faults>,
    operations: &Arc<Operations>,
) -> Router {
    let admin = Admin {
        tenant: Arc::clone(tenant),
        workload: Arc::clone(workload),
        access: Arc::clone(access),
        census: Arc::clone(census),
        faults: Arc::clone(faults),
        operations: Arc::clone(operations),
    };
    Router::new()
        .route("/stats", get(stats))
        .route("/token", post(token))
        .route("/tokens", get(tokens))
        .route("/assertion", post(assertion))
        .route("/assignment", post(assignment))
        .route("/fault", get(kinds).post(fault))
        .with_state(admin)
}

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    counts: Counts,
    /// Of a cluster; those of Azure Managed Redis are its shards.
    nodes: Vec<NodeStatus>,
    /// Faults that take time, as a failover does, and are not over.
    operations_running: usize,
}

async fn stats(State(admin): State<Admin>) -> Response {
    let (nodes, operations_running) = (admin.operations.front.cluster.nodes(), admin.operations.running());
    Json(Stats { counts: admin.census.snapshot(), nodes, operations_running }).into_response()
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignmentOrder {
    oid: String,
    policy: Option<String>,
}

async fn assignment(State(admin): State<Admin>, body: Bytes) -> Response {
    let order: AssignmentOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return refuse(&error.to_string()),
    };
    if order.policy.is_none() {
        admin.operations.front.live.strike_user(&order.oid, Strike::Close(Cause::AssignmentRevoked));
    }
    answer(admin.access.assign(&order.oid, order.policy.as_deref()).await)
}

async fn kinds() -> Response {
    Json(KINDS.as_slice()).into_response()
}

async fn fault(State(admin): State<Admin>, body: Bytes) -> Response {
    let order = match FaultOrder::read(&body) {
        Ok(order) => order,
        Err(error) => return refuse(&error),
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == order.kind) else {
        return refuse("unknown kind");
    };
    let outcome = match (kind.switch)(&admin, &order) {
        Ok(Change::None) => Ok(()),
        Ok(Change::Revoke(oid)) => admin.access.revoke(&oid).await,
        Ok(Change::DisableKeys) => {
            admin.access.disable_keys();
            admin.operations.front.live.strike(None, None, Strike::Close(Cause::KeysDisabled));
            Ok(())
        }
        Ok(Change::Operate(operation)) => admin.operations.begin(operation).await,
        Ok(Change::Restore) => match admin.operations.begin(Operation::Recover).await {
            Ok(()) => admin.access.restore().await,
            error => error,
        },
        Err(message) => Err(message),
    };
    answer(outcome)
}

fn answer(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => Json(json!({ "ok": true })).into_response(),
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> Response {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    (StatusCode::BAD_REQUEST, Json(json!({ "error": message, "kinds": kinds }))).into_response()
}
