//! The documents by which MSAL finds the token endpoint of a tenant, and anybody the key of its tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Endpoints;
use super::aadsts::Kind;

pub(super) async fn tenant(State(endpoints): State<Arc<Endpoints>>, Path(tenant): Path<String>) -> Response {
    endpoints.census.discovery_requested();
    if !tenant.eq_ignore_ascii_case(&endpoints.tenant.tenant_id) {
        return Kind::TENANT_NOT_FOUND.response_as("invalid_tenant", &tenant);
    }
    let base = format!("{}/{tenant}", endpoints.authority);
    Json(json!({
        "issuer": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    }))
    .into_response()
}

/// The key that tokens can be verified with.
pub(super) async fn keys(State(endpoints): State<Arc<Endpoints>>) -> Response {
    endpoints.census.discovery_requested();
    Json(json!({ "keys": [endpoints.tenant.public_key()] })).into_response()
}

/// Which names one cloud goes by, and where the tenant of `authorization_endpoint` is described.
pub(super) async fn instance(
    State(endpoints): State<Arc<Endpoints>>,
    Query(query): Query<super::Query>,
) -> Response {
    endpoints.census.discovery_requested();
    let host = endpoints.authority.trim_start_matches("https://");
    let path = query.get("authorization_endpoint").and_then(|url| url.strip_prefix("https://"));
    let (named, tenant) = path.and_then(|path| path.split_once('/')).unwrap_or_default();
    let tenant = tenant.split('/').next().unwrap_or_default();
    // A client that does not count the port as part of the name means us all the same.
    if tenant.is_empty() || named != host && Some(named) != host.split(':').next() {
        return Kind::UNKNOWN_INSTANCE.response(named);
    }
    Json(json!({
        "tenant_discovery_endpoint":
            format!("{}/{tenant}/v2.0/.well-known/openid-configuration", endpoints.authority),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    }))
    .into_response()
}
