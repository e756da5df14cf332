//! The token endpoint of Microsoft Entra ID, for applications that show a secret or a signed assertion.
//!
//! `POST /{tenant}/oauth2/v2.0/token` with a form. The numbers of the answer are integers.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::response::Response;
use serde_json::json;

use super::aadsts::Kind;
use super::{Endpoints, ORDERED, Query, struck};
use crate::token::{Order, Proof, is_redis};

pub(super) async fn token(
    State(endpoints): State<Arc<Endpoints>>,
    Path(tenant): Path<String>,
    Form(form): Form<Query>,
) -> Response {
    if let Some(fault) = endpoints.strike("entra").await {
        return struck(Kind::struck(fault.status), fault);
    }
    if let Some(kind) = endpoints.faults.take_identity_error().and_then(Kind::of) {
        return kind.response(ORDERED);
    }
    match endpoints.authorize(&tenant, &form) {
        Ok(order) => endpoints.answer(order),
        Err((kind, about)) => kind.response(&about),
    }
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Tokens of a longer life come with advice when to replace them.
const REFRESH_IN_FROM_S: i64 = 7_200;

impl Endpoints {
    /// The token that a request may have, or what it is refused for.
    fn authorize(&self, tenant: &str, form: &Query) -> Result<Order, (Kind, String)> {
        let parameter = |name: &str| {
            let value = form.get(name).filter(|value| !value.is_empty());
            value.map(String::as_str).ok_or((Kind::MISSING_PARAMETER, name.to_owned()))
        };
        if !tenant.eq_ignore_ascii_case(&self.tenant.tenant_id) {
            return Err((Kind::TENANT_NOT_FOUND, tenant.to_owned()));
        }
        let grant = parameter("grant_type")?;
        if grant != "client_credentials" {
            return Err((Kind::UNSUPPORTED_GRANT, grant.to_owned()));
        }
        let client = parameter("client_id")?;
        if !client.eq_ignore_ascii_case(&self.tenant.client_id) {
            return Err((Kind::UNKNOWN_APPLICATION, client.to_owned()));
        }
        let scope = parameter("scope")?;
        let Some(resource) = scope.strip_suffix("/.default") else {
            return Err((Kind::INVALID_SCOPE, scope.to_owned()));
        };
        if !is_redis(resource) {
            return Err((Kind::RESOURCE_NOT_GRANTED, format!("Resource value from request: {resource}.")));
        }
        let proof = if form.contains_key("client_assertion") {
            if parameter("client_assertion_type")? != ASSERTION_TYPE {
                return Err((Kind::BAD_ASSERTION, "client_assertion_type".to_owned()));
            }
            let token_url = format!("{}/{tenant}/oauth2/v2.0/token", self.authority);
            self.workload.check(parameter("client_assertion")?, &self.tenant.client_id, &token_url)?
        } else {
            match form.get("client_secret") {
                Some(secret) if *secret == self.workload.client_secret => Proof::Secret,
                Some(_) => return Err((Kind::WRONG_SECRET, client.to_owned())),
                None => return Err((Kind::NO_PROOF, String::new())),
            }
        };
        Ok(Order { aud: Some(resource.to_owned()), proof, ..Order::default() })
    }

    fn answer(&self, order: Order) -> Response {
        let answer = self.issue(order);
        let expires_in = answer.expires_in();
        let mut body = json!({
            "token_type": "Bearer",
            "expires_in": expires_in,
            "ext_expires_in": expires_in,
            "access_token": answer.token.access_token,
        });
        if expires_in > REFRESH_IN_FROM_S {
            body["refresh_in"] = (expires_in / 2).into();
        }
        self.give(body)
    }
}
