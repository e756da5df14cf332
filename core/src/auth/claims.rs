//! What a token says of itself. Read as a hint and never trusted: the signature is the server's business.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The claims of an Entra token that matter here; absent or malformed ones are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Object id of the identity: the Redis user name.
    pub oid: Option<String>,
    /// Audience: what the token is for.
    pub aud: Option<String>,
    /// Tenant id.
    pub tid: Option<String>,
    /// Application (client) id.
    pub appid: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub iat: Option<i64>,
    /// Not valid before, in seconds since 1970.
    pub nbf: Option<i64>,
    /// Expiry, in seconds since 1970.
    pub exp: Option<i64>,
}

impl Claims {
    /// Reads the payload of a JSON Web Token (RFC 7519); no claims where the text is none.
    pub fn of(token: &[u8]) -> Claims {
        Self::parse(token).unwrap_or_default()
    }

    fn parse(token: &[u8]) -> Option<Claims> {
        let payload = token.split(|&byte| byte == b'.').nth(1)?;
        let json = URL_SAFE_NO_PAD.decode(payload.trim_ascii_end()).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&json).ok()?;
        let text = |name: &str| {
            let value = claims.get(name)?.as_str()?;
            (!value.is_empty() && value.len() <= TEXT_LEN_MAX && !value.contains(char::is_control))
                .then(|| value.to_owned())
        };
        let seconds = |name: &str| {
            let value = claims.get(name)?;
            value.as_i64().or_else(|| value.as_f64().map(|float| float as i64))
        };
        Some(Claims {
            oid: text("oid"),
            aud: text("aud"),
            tid: text("tid"),
            appid: text("appid").or_else(|| text("azp")),
            iat: seconds("iat"),
            nbf: seconds("nbf"),
            exp: seconds("exp"),
        })
    }
}

/// Longer claims are not the ones that are looked for.
const TEXT_LEN_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Vec<u8> {
        format!("eyJ0eXAiOiJKV1QifQ.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
    }

    #[test]
    fn claims_are_read_from_the_payload() {
        let claims = Claims::of(&token(
            r#"{"oid":"o-1","aud":"https://redis.azure.com","exp":1700003600,"iat":1700000000}"#,
        ));
        assert_eq!(claims.oid.as_deref(), Some("o-1"));
        assert_eq!((claims.iat, claims.exp), (Some(1_700_000_000), Some(1_700_003_600)));
    }

    #[test]
    fn anything_else_has_no_claims() {
        let oversized = token(&format!(r#"{{"oid":"{}","exp":9e999}}"#, "x".repeat(1000)));
        let nested = token(&"[".repeat(100_000));
        for text in
            [&b""[..], b"..", b"a.b.c", b"\xff.\xff.\xff", b"opaque", &token("[1]"), &oversized, &nested]
        {
            assert_eq!(Claims::of(text), Claims::default());
        }
        assert_eq!(Claims::of(&token(r#"{"oid":"a\r\nb","exp":"soon"}"#)), Claims::default());
    }
}
