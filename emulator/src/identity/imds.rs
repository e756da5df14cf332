//! The instance metadata service of virtual machines.
//!
//! `GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=…` with the header `Metadata: true`.
//! Every value of the answer is a string. A client may probe without the header: that any answer comes at all
//! tells it that it is on a virtual machine.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Endpoints, ORDERED, status, struck};

const VERSIONS: [&str; 5] = ["2018-02-01", "2019-08-01", "2019-11-01", "2020-06-01", "2021-02-01"];

pub(super) async fn token(
    State(endpoints): State<Arc<Endpoints>>,
    Query(query): Query<super::Query>,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = endpoints.strike("imds").await {
        let code = match fault.status {
            404 => "not_found",
            410 => "gone",
            429 => "too_many_requests",
            _ => "unknown",
        };
        return struck(error(fault.status, code, ORDERED), fault);
    }
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return error(400, "bad_request_102", "Required metadata header not specified");
    }
    if headers.contains_key("x-forwarded-for") {
        return error(400, "invalid_request", "A request with the header X-Forwarded-For is not served");
    }
    if query.get("api-version").is_none_or(|version| !VERSIONS.contains(&version.as_str())) {
        let body = json!({
            "error": "Bad request. api-version is invalid or was not specified in the request.",
            "newest-versions": VERSIONS,
        });
        return (status(400), Json(body)).into_response();
    }
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return error(400, "invalid_request", "Required query variable 'resource' is missing");
    };
    let tenant = &endpoints.tenant;
    if !is_resource(resource) {
        let text = format!(
            "AADSTS50001: The application named {resource} was not found in the tenant named {}.",
            tenant.tenant_id
        );
        return error(400, "invalid_resource", &text);
    }
    let resource_id = tenant.resource_id();
    let names = [
        ("client_id", tenant.client_id.as_str()),
        ("object_id", &tenant.oid),
        ("msi_res_id", &resource_id),
        ("mi_res_id", &resource_id),
    ];
    if !endpoints.identity_exists(&query, &names) {
        return error(400, "invalid_request", "Identity not found");
    }
    let answer = endpoints.issue_to_managed_identity(resource);
    endpoints.give(json!({
        "access_token": answer.token.access_token,
        "client_id": tenant.client_id,
        "refresh_token": "",
        "expires_in": answer.expires_in().to_string(),
        "expires_on": answer.expires_on.to_string(),
        "not_before": answer.token.not_before.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// Whether this can be the name of an application: a GUID, or an address that is not the scope made of it.
fn is_resource(text: &str) -> bool {
    let is_guid = text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_guid || (text.starts_with("https://") && !text.ends_with("/.default"))
}

fn error(number: u16, code: &str, description: &str) -> Response {
    (status(number), Json(json!({ "error": code, "error_description": description }))).into_response()
}
