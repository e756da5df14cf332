//! Tokens of Microsoft Entra ID: issued here for one managed identity, and checked as the cache checks them.
//!
//! No token is ever written to a log or into a message.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rsa::pkcs8::EncodePrivateKey;
use serde::{Deserialize, Serialize};

use crate::random;

/// A tenant with its signing key, and in it the one managed identity that is assigned to the cache.
pub(crate) struct Tenant {
    pub(crate) tenant_id: String,
    /// Object id of the managed identity: the user name of a login.
    pub(crate) oid: String,
    /// Application id of the managed identity, which is *not* the user name of a login.
    pub(crate) client_id: String,
    /// Life of a token where nothing else is asked for, in seconds.
    pub(crate) ttl_s: u64,
    key: RsaKeyPair,
    key_id: String,
}

/// What a token shall say. `Order::default` is an ordinary token of the managed identity.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) aud: Option<String>,
    /// Seconds from now to the expiry; negative for a token that has expired.
    pub(crate) ttl: Option<i64>,
    pub(crate) oid: Option<String>,
    pub(crate) tid: Option<String>,
    /// Seconds since 1970.
    pub(crate) nbf: Option<i64>,
    #[serde(default)]
    pub(crate) bad_signature: bool,
}

/// A token and what its holder needs to know of it.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    /// Seconds since 1970.
    pub(crate) expires_on: i64,
    pub(crate) oid: String,
}

/// What a good token gives to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// As the cache writes it: the user of the backend.
    pub(crate) oid: String,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

/// Why a login was refused; clients get one and the same text for all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    NotAToken,
    BadSignature,
    Expired,
    NotYetValid,
    WrongAudience,
    WrongTenant,
    /// The user name is not the token's object id.
    WrongUser,
    /// The object id has no access policy assignment.
    NoAssignment,
    /// A fault that an admin has switched on.
    Fault,
    /// The token was good; the server refused the command that carried it.
    RefusedByServer,
}

impl Tenant {
    pub(crate) fn new(ttl_s: u64) -> Result<Tenant, String> {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS)
            .map_err(|error| format!("cannot make a signing key: {error}"))?;
        let der = key.to_pkcs8_der().map_err(|error| format!("cannot encode the signing key: {error}"))?;
        let key = RsaKeyPair::from_pkcs8(der.as_bytes())
            .map_err(|error| format!("cannot use the signing key: {error}"))?;
        Ok(Tenant {
            tenant_id: random::guid(),
            oid: random::guid(),
            client_id: random::guid(),
            ttl_s,
            key,
            key_id: URL_SAFE_NO_PAD.encode(random::bytes::<20>()),
        })
    }

    /// Signs a token.
    pub(crate) fn issue(&self, order: Order) -> Issued {
        let now = unix_now();
        let expires_on = now.saturating_add(order.ttl.unwrap_or(self.ttl_s.cast_signed()));
        let nbf = order.nbf.unwrap_or(now - NOT_BEFORE_S);
        let oid = order.oid.unwrap_or_else(|| self.oid.clone());
        let tid = order.tid.unwrap_or_else(|| self.tenant_id.clone());
        let header = Header { typ: "JWT", alg: ALGORITHM, x5t: &self.key_id, kid: &self.key_id };
        let claims = Claims {
            iss: format!("https://sts.windows.net/{tid}/"),
            aud: order.aud.unwrap_or_else(|| AUDIENCES[0].to_owned()),
            iat: nbf,
            nbf,
            exp: expires_on,
            appid: self.client_id.clone(),
            appidacr: "2".to_owned(),
            idp: format!("https://sts.windows.net/{tid}/"),
            idtyp: "app".to_owned(),
            sub: oid.clone(),
            oid: oid.clone(),
            tid,
            uti: URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
            ver: "1.0".to_owned(),
            xms_mirid: format!("/subscriptions/{}{IDENTITY_PATH}", self.tenant_id),
        };
        let mut token = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = self.sign(token.as_bytes());
        if order.bad_signature {
            signature[0] ^= 1;
        }
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Issued { access_token: token, expires_on, oid }
    }

    /// Checks a login as the cache does.
    pub(crate) fn check(&self, user: &[u8], token: &[u8]) -> Result<Grant, Refusal> {
        let claims = self.open(token)?;
        let now = unix_now();
        if claims.exp <= now {
            return Err(Refusal::Expired);
        }
        if claims.nbf > now + NOT_BEFORE_S {
            return Err(Refusal::NotYetValid);
        }
        if !AUDIENCES.contains(&claims.aud.as_str()) {
            return Err(Refusal::WrongAudience);
        }
        if claims.tid != self.tenant_id {
            return Err(Refusal::WrongTenant);
        }
        if !claims.oid.as_bytes().eq_ignore_ascii_case(user) {
            return Err(Refusal::WrongUser);
        }
        if !claims.oid.eq_ignore_ascii_case(&self.oid) {
            return Err(Refusal::NoAssignment);
        }
        Ok(Grant { oid: self.oid.clone(), expires_at: claims.exp })
    }

    /// The claims of a token that this tenant signed.
    fn open(&self, token: &[u8]) -> Result<Claims, Refusal> {
        let token = std::str::from_utf8(token).map_err(|_| Refusal::NotAToken)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::NotAToken)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::NotAToken)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::NotAToken);
        let header: serde_json::Value =
            serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::NotAToken)?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::NotAToken)?;
        let known = header["alg"] == ALGORITHM && header["kid"] == self.key_id.as_str();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .ok()
            .filter(|()| known)
            .ok_or(Refusal::BadSignature)?;
        Ok(claims)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), message, &mut signature)
            .expect("the signature is as long as the key's modulus");
        signature
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_secs().cast_signed()
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    x5t: &'a str,
    kid: &'a str,
}

/// A version 1.0 token of a managed identity.
#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    appid: String,
    appidacr: String,
    idp: String,
    idtyp: String,
    oid: String,
    sub: String,
    tid: String,
    /// Unique: RS256 is deterministic, and two tokens of one second would be the same text without it.
    uti: String,
    ver: String,
    xms_mirid: String,
}

fn encode(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("strings and numbers have a JSON form"))
}

/// The identity's place in its subscription.
const IDENTITY_PATH: &str =
    "/resourcegroups/respass/providers/Microsoft.ManagedIdentity/userAssignedIdentities/respass";

const ALGORITHM: &str = "RS256";
const RSA_BITS: usize = 2_048;

/// Entra dates tokens back by this much, and the cache lets as much pass the other way.
const NOT_BEFORE_S: i64 = 300;

/// What a token for Redis may be made out to.
const AUDIENCES: [&str; 3] =
    ["https://redis.azure.com", "https://redis.azure.com/", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tenant: &Tenant, order: Order) -> Result<Grant, Refusal> {
        tenant.check(tenant.oid.as_bytes(), tenant.issue(order).access_token.as_bytes())
    }

    #[test]
    fn every_claim_is_checked() {
        let tenant = Tenant::new(60).expect("a key");
        let text = |text: &str| Some(text.to_owned());
        for aud in AUDIENCES {
            assert!(check(&tenant, Order { aud: text(aud), ..Order::default() }).is_ok(), "{aud}");
        }
        let soon = Some(unix_now() + NOT_BEFORE_S - 5);
        assert!(check(&tenant, Order { nbf: soon, ..Order::default() }).is_ok());
        let late = Some(unix_now() + NOT_BEFORE_S + 5);
        let bad = [
            (Order { nbf: late, ..Order::default() }, Refusal::NotYetValid),
            (Order { ttl: Some(0), ..Order::default() }, Refusal::Expired),
            (Order { aud: text("https://vault.azure.net"), ..Order::default() }, Refusal::WrongAudience),
            (Order { tid: text("another"), ..Order::default() }, Refusal::WrongTenant),
            (Order { oid: text("another"), ..Order::default() }, Refusal::WrongUser),
            (Order { bad_signature: true, ..Order::default() }, Refusal::BadSignature),
        ];
        for (order, refusal) in bad {
            assert_eq!(check(&tenant, order), Err(refusal));
        }
        let foreign = tenant.issue(Order { oid: text("another"), ..Order::default() });
        assert_eq!(tenant.check(b"another", foreign.access_token.as_bytes()), Err(Refusal::NoAssignment));
        assert_eq!(tenant.check(tenant.oid.as_bytes(), b"a.b.c"), Err(Refusal::NotAToken));
        let shouted = tenant.oid.to_uppercase();
        let token = tenant.issue(Order::default());
        assert!(tenant.check(shouted.as_bytes(), token.access_token.as_bytes()).is_ok());
    }

    #[test]
    fn no_two_tokens_are_the_same_text() {
        let tenant = Tenant::new(60).expect("a key");
        let [one, two] = [tenant.issue(Order::default()), tenant.issue(Order::default())];
        assert_ne!(one.access_token, two.access_token);
    }
}
