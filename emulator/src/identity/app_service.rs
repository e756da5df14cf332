//! The managed-identity endpoint of App Service, Functions and Container Apps.
//!
//! `GET /msi/token?api-version=2019-08-01&resource=…` with the header X-IDENTITY-HEADER: the answer has no
//! `expires_in`, its `expires_on` is a string, and `resource` is what the caller wrote. The version of 2017
//! has the header `secret`, the parameter `clientid`, and an expiry in words.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use time::OffsetDateTime;

use super::{Endpoints, ORDERED, status, struck};
use crate::random;

const CURRENT: &str = "2019-08-01";
const OLD: &str = "2017-09-01";

pub(super) async fn token(
    State(endpoints): State<Arc<Endpoints>>,
    Query(query): Query<super::Query>,
    headers: HeaderMap,
) -> Response {
    let version = query.get("api-version").map(String::as_str);
    let is_old = version == Some(OLD);
    if let Some(fault) = endpoints.strike(if is_old { "app_service_2017" } else { "app_service" }).await {
        return struck(error(fault.status, ORDERED), fault);
    }
    let name = if is_old { "secret" } else { "X-IDENTITY-HEADER" };
    match headers.get(name) {
        None => return error(400, &format!("The header {name} is missing.")),
        Some(value) if value.as_bytes() != endpoints.header.as_bytes() => {
            return error(401, &format!("The header {name} has the wrong value."));
        }
        Some(_) => (),
    }
    match version {
        Some(CURRENT | OLD) => (),
        Some(_) => return error(400, "The api-version is not supported; supported: 2017-09-01, 2019-08-01."),
        None => return error(400, "The parameter api-version is missing."),
    }
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return error(400, "The parameter resource is missing.");
    };
    let tenant = &endpoints.tenant;
    let resource_id = tenant.resource_id();
    // msi_res_id belongs to another endpoint; here it names nothing.
    let current: &[(&str, &str)] = &[
        ("client_id", &tenant.client_id),
        ("principal_id", &tenant.oid),
        ("object_id", &tenant.oid),
        ("mi_res_id", &resource_id),
        ("msi_res_id", ""),
    ];
    let names = if is_old { &[("clientid", tenant.client_id.as_str())] } else { current };
    if !endpoints.identity_exists(&query, names) {
        return error(400, "No User Assigned Identity found for specified ClientId/ResourceId/PrincipalId.");
    }
    let answer = endpoints.issue_to_managed_identity(resource);
    let expires_on = if is_old { in_words(answer.expires_on) } else { answer.expires_on.to_string() };
    endpoints.give(json!({
        "access_token": answer.token.access_token,
        "expires_on": expires_on,
        "resource": resource,
        "token_type": "Bearer",
        "client_id": tenant.client_id,
    }))
}

/// Such as `9/14/2026 1:07:05 PM +00:00`.
fn in_words(unix_s: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, half) = match at.hour() {
        0 => (12, "AM"),
        hour @ 1..12 => (hour, "AM"),
        12 => (12, "PM"),
        hour => (hour - 12, "PM"),
    };
    let (month, day, year) = (u8::from(at.month()), at.day(), at.year());
    format!("{month}/{day}/{year} {hour}:{:02}:{:02} {half} +00:00", at.minute(), at.second())
}

fn error(number: u16, message: &str) -> Response {
    let body = json!({ "statusCode": number, "message": message, "correlationId": random::guid() });
    (status(number), Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn a_moment_in_words_has_twelve_hours() {
        assert_eq!(in_words(1_505_347_200), "9/14/2017 12:00:00 AM +00:00");
        assert_eq!(in_words(1_505_390_400), "9/14/2017 12:00:00 PM +00:00");
        assert_eq!(in_words(1_505_394_425), "9/14/2017 1:07:05 PM +00:00");
        assert_eq!(in_words(1_505_347_199), "9/13/2017 11:59:59 PM +00:00");
    }
}
