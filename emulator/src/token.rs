//! Tokens of Microsoft Entra ID: issued here for one principal, and checked as the cache checks them.
//!
//! No token is ever written to a log or into a message.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::jwt::{Parts, SigningKey};
use crate::options::Ttl;
use crate::random;

/// A tenant with its signing key, and in it the one principal that is assigned to the cache: a managed
/// identity and an application at once.
pub(crate) struct Tenant {
    pub(crate) tenant_id: String,
    /// Object id of the principal: the user name of a login.
    pub(crate) oid: String,
    /// Application id of the principal, which is *not* the user name of a login.
    pub(crate) client_id: String,
    /// Life of a token where nothing else is asked for.
    ttl: Ttl,
    key: SigningKey,
    /// The texts of the latest tokens, for leak tests.
    issued: Mutex<VecDeque<String>>,
}

/// What a token shall say. `Order::default` is an ordinary token of the managed identity.
#[derive(Clone, Default, Deserialize)]
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
    /// Form of the claims: "1.0" (what Redis gets) or "2.0".
    #[serde(default)]
    pub(crate) ver: Version,
    /// Least length of the text in bytes; reached with group memberships.
    pub(crate) len: Option<usize>,
    #[serde(skip)]
    pub(crate) proof: Proof,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Version {
    #[default]
    #[serde(rename = "1.0")]
    V1,
    #[serde(rename = "2.0")]
    V2,
}

/// How the principal showed who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// By running on a host that has the identity.
    #[default]
    ManagedIdentity,
    Secret,
    Certificate,
    /// By the token of an issuer that the application trusts.
    Federated,
}

/// A token and what its holder needs to know of it.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    /// Seconds since 1970, as the next two.
    pub(crate) issued_at: i64,
    pub(crate) not_before: i64,
    pub(crate) expires_on: i64,
    pub(crate) oid: String,
}

/// What a good token gives to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// As the cache writes it: the user of the backend.
    pub(crate) oid: String,
    /// Seconds since 1970; none for an access key.
    pub(crate) expires_at: Option<i64>,
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
    /// The check took longer than the cache waits for it.
    TimedOut,
    /// The token was good; the server refused the command that carried it.
    RefusedByServer,
}

impl Tenant {
    pub(crate) fn new(ttl: Ttl, key: SigningKey) -> Tenant {
        Tenant {
            tenant_id: random::guid(),
            oid: random::guid(),
            client_id: random::guid(),
            ttl,
            key,
            issued: Mutex::default(),
        }
    }

    /// Signs a token.
    pub(crate) fn issue(&self, order: Order) -> Issued {
        let now = unix_now();
        let expires_on = now.saturating_add(order.ttl.unwrap_or_else(|| self.ttl.pick().cast_signed()));
        let not_before = order.nbf.unwrap_or(now - NOT_BEFORE_S);
        let oid = order.oid.clone().unwrap_or_else(|| self.oid.clone());
        let header = Header {
            typ: "JWT",
            alg: ALGORITHM,
            x5t: (order.ver == Version::V1).then_some(&self.key.id),
            kid: &self.key.id,
        };
        let mut claims = self.claims(&order, oid.clone(), not_before, expires_on);
        let mut access_token = self.key.sign(&header, &claims, order.bad_signature);
        if let Some(missing) = order.len.and_then(|len| len.checked_sub(access_token.len())) {
            // A membership is a GUID, quotes and a comma, and base64 makes four bytes of three.
            claims.groups = (0..missing.div_ceil(52)).map(|_| random::guid()).collect();
            access_token = self.key.sign(&header, &claims, order.bad_signature);
        }
        let mut issued = self.issued();
        if issued.len() == ISSUED_KEPT {
            issued.pop_front();
        }
        issued.push_back(access_token.clone());
        drop(issued);
        Issued { access_token, issued_at: now, not_before, expires_on, oid }
    }

    fn claims(&self, order: &Order, oid: String, nbf: i64, exp: i64) -> Claims {
        let tid = order.tid.clone().unwrap_or_else(|| self.tenant_id.clone());
        let proof = match order.proof {
            Proof::Secret => "1",
            Proof::ManagedIdentity | Proof::Certificate | Proof::Federated => "2",
        };
        let mut claims = Claims {
            aud: order.aud.clone().unwrap_or_else(|| AUDIENCES[0].to_owned()),
            iat: nbf,
            nbf,
            exp,
            idtyp: "app".to_owned(),
            sub: oid.clone(),
            oid,
            uti: URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
            xms_mirid: (order.proof == Proof::ManagedIdentity).then(|| self.resource_id()),
            ..Claims::default()
        };
        if order.ver == Version::V1 {
            claims.iss = format!("https://sts.windows.net/{tid}/");
            claims.idp = Some(claims.iss.clone());
            claims.appid = Some(self.client_id.clone());
            claims.appidacr = Some(proof.to_owned());
            "1.0".clone_into(&mut claims.ver);
        } else {
            claims.iss = format!("https://login.microsoftonline.com/{tid}/v2.0");
            // A token of this form names the application and never its address.
            if order.aud.as_deref().is_none_or(is_redis) {
                AUDIENCES[2].clone_into(&mut claims.aud);
            }
            claims.azp = Some(self.client_id.clone());
            claims.azpacr = Some(proof.to_owned());
            "2.0".clone_into(&mut claims.ver);
        }
        claims.tid = tid;
        claims
    }

    /// The key of its tokens.
    pub(crate) fn public_key(&self) -> serde_json::Value {
        self.key.public_key()
    }

    /// Where the managed identity is in Azure.
    pub(crate) fn resource_id(&self) -> String {
        format!("/subscriptions/{}{IDENTITY_PATH}", self.tenant_id)
    }

    /// The texts of all tokens issued, oldest first; of very many, the latest.
    pub(crate) fn tokens_issued(&self) -> Vec<String> {
        self.issued().iter().cloned().collect()
    }

    fn issued(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.issued.lock().expect("nothing panics with this lock held")
    }

    /// Checks the token of a login as the cache does; whether its holder has an assignment is another matter.
    pub(crate) fn check(&self, user: &[u8], token: &[u8]) -> Result<Grant, Refusal> {
        let claims = self.open(token)?;
        let now = unix_now();
        if claims.exp <= now {
            return Err(Refusal::Expired);
        }
        if claims.nbf > now + NOT_BEFORE_S {
            return Err(Refusal::NotYetValid);
        }
        if !is_redis(&claims.aud) {
            return Err(Refusal::WrongAudience);
        }
        if claims.tid != self.tenant_id {
            return Err(Refusal::WrongTenant);
        }
        if !claims.oid.as_bytes().eq_ignore_ascii_case(user) {
            return Err(Refusal::WrongUser);
        }
        Ok(Grant { oid: claims.oid.to_ascii_lowercase(), expires_at: Some(claims.exp) })
    }

    /// The claims of a token that this tenant signed.
    fn open(&self, token: &[u8]) -> Result<Claims, Refusal> {
        let token = std::str::from_utf8(token).ok().and_then(Parts::of).ok_or(Refusal::NotAToken)?;
        let known = token.header["alg"] == ALGORITHM && token.header["kid"] == self.key.id.as_str();
        if !known || !self.key.has_signed(&token) {
            return Err(Refusal::BadSignature);
        }
        serde_json::from_value(token.claims).map_err(|_| Refusal::NotAToken)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_secs().cast_signed()
}

/// Whether a token for Redis may be made out to this.
pub(crate) fn is_redis(audience: &str) -> bool {
    AUDIENCES.contains(&audience)
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<&'a String>,
    kid: &'a str,
}

/// The claims of an application's token, in either version; what a version does not have is left out.
#[derive(Default, Serialize, Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    appid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appidacr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    azp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    azpacr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idp: Option<String>,
    idtyp: String,
    oid: String,
    sub: String,
    tid: String,
    /// Unique: RS256 is deterministic, and two tokens of one second would be the same text without it.
    uti: String,
    ver: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_mirid: Option<String>,
}

/// The identity's place in its subscription.
const IDENTITY_PATH: &str =
    "/resourcegroups/respass/providers/Microsoft.ManagedIdentity/userAssignedIdentities/respass";

const ALGORITHM: &str = "RS256";
/// More than any test asks for, and no more memory than a test machine has.
const ISSUED_KEPT: usize = 20_000;

/// Entra dates tokens back by this much, and the cache lets as much pass the other way.
const NOT_BEFORE_S: i64 = 300;

/// What a token for Redis may be made out to.
const AUDIENCES: [&str; 3] =
    ["https://redis.azure.com", "https://redis.azure.com/", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"];

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        Tenant::new(Ttl { min_s: 60, max_s: 60 }, SigningKey::generate().expect("a key"))
    }

    fn check(tenant: &Tenant, order: Order) -> Result<Grant, Refusal> {
        tenant.check(tenant.oid.as_bytes(), tenant.issue(order).access_token.as_bytes())
    }

    #[test]
    fn every_claim_is_checked() {
        let tenant = tenant();
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
        assert_eq!(tenant.check(tenant.oid.as_bytes(), b"a.b.c"), Err(Refusal::NotAToken));
        let shouted = tenant.oid.to_uppercase();
        let token = tenant.issue(Order::default());
        assert!(tenant.check(shouted.as_bytes(), token.access_token.as_bytes()).is_ok());
    }

    #[test]
    fn no_two_tokens_are_the_same_text() {
        let tenant = tenant();
        let [one, two] = [tenant.issue(Order::default()), tenant.issue(Order::default())];
        assert_ne!(one.access_token, two.access_token);
    }
}
