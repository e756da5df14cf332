//! The errors of Microsoft Entra ID, by their AADSTS numbers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use time::OffsetDateTime;

use super::status;
use crate::random;

/// A kind of error. In `text`, `{}` stands for what this one is about.
pub(super) struct Kind {
    code: u32,
    status: u16,
    error: &'static str,
    text: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $code:literal $status:literal $error:literal $text:literal;)*) => {
        impl Kind {
            $(pub(super) const $name: Kind =
                Kind { code: $code, status: $status, error: $error, text: $text };)*

            /// The kind with this number.
            pub(super) fn of(code: u32) -> Option<Kind> {
                match code {
                    $($code => Some(Kind::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    BAD_ASSERTION = 50_027 400 "invalid_request" "JWT token is invalid or malformed: {}.";
    UNKNOWN_INSTANCE = 50_049 400 "invalid_instance" "Unknown or invalid instance: {}.";
    LOOP = 50_196 400 "invalid_grant"
        "The server terminated an operation because it encountered a client request loop. {}";
    CONDITIONAL_ACCESS = 53_003 400 "invalid_grant"
        "Access has been blocked by Conditional Access policies. {}";
    UNSUPPORTED_GRANT = 70_003 400 "unsupported_grant_type"
        "The app requested an unsupported grant type '{}'.";
    INVALID_SCOPE = 70_011 400 "invalid_scope"
        "The provided request must include a 'scope' input parameter. The provided value for the input \
         parameter 'scope' is not valid. The scope {} is not valid.";
    NO_FEDERATED_IDENTITY = 70_021 400 "invalid_request"
        "No matching federated identity record found for presented assertion. {}";
    TENANT_NOT_FOUND = 90_002 400 "invalid_request"
        "Tenant '{}' not found. Check to make sure you have the correct tenant ID and are signing into the \
         correct cloud. Check with your subscription administrator, this may happen if there are no active \
         subscriptions for the tenant.";
    TRANSIENT = 90_033 503 "temporarily_unavailable" "A transient error has occurred. Please try again. {}";
    THROTTLED = 90_055 429 "temporarily_unavailable" "There are too many incoming requests. {}";
    RESOURCE_NOT_GRANTED = 650_057 400 "invalid_resource"
        "Invalid resource. The client has requested access to a resource which is not listed in the requested \
         permissions in the client's application registration. {}";
    UNKNOWN_APPLICATION = 700_016 400 "unauthorized_client"
        "Application with identifier '{}' was not found in the directory. This can happen if the application \
         has not been installed by the administrator of the tenant or consented to by any user in the tenant. \
         You may have sent your authentication request to the wrong tenant.";
    ASSERTION_EXPIRED = 700_024 401 "invalid_client"
        "Client assertion is not within its valid time range. {}";
    BAD_ASSERTION_SIGNATURE = 700_027 401 "invalid_client"
        "Client assertion contains an invalid signature. {}";
    MISSING_PARAMETER = 900_144 400 "invalid_request"
        "The request body must contain the following parameter: '{}'.";
    WRONG_SECRET = 7_000_215 401 "invalid_client"
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
         not the client secret ID, for a secret added to app '{}'.";
    NO_PROOF = 7_000_218 401 "invalid_client"
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'. {}";
    SECRET_EXPIRED = 7_000_222 401 "invalid_client"
        "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys \
         for your app, or consider using certificate credentials for added security.";
}

impl Kind {
    pub(super) fn response(&self, about: &str) -> Response {
        self.response_as(self.error, about)
    }

    /// With another word for `error`, which is not the same at all of Entra's endpoints.
    pub(super) fn response_as(&self, error: &str, about: &str) -> Response {
        let Kind { code, text, .. } = self;
        let (trace_id, correlation_id) = (random::guid(), random::guid());
        let now = OffsetDateTime::now_utc();
        let timestamp = format!("{} {:02}:{:02}:{:02}Z", now.date(), now.hour(), now.minute(), now.second());
        let text = text.replace("{}", about);
        let description = format!(
            "AADSTS{code}: {}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\n\
             Timestamp: {timestamp}",
            text.trim_end()
        );
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        (status(self.status), Json(body)).into_response()
    }

    /// The error that a fault with this status gets.
    pub(super) fn struck(number: u16) -> Response {
        let kind = if number == Kind::THROTTLED.status { Kind::THROTTLED } else { Kind::TRANSIENT };
        Kind { status: number, ..kind }.response("")
    }
}
