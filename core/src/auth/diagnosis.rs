//! Why a server may have refused a token. Servers have one text for a dozen causes; the token's own claims and the
//! clock tell more of them apart.

use super::claims::Claims;
use crate::time::UnixTime;
use std::time::Duration;

/// What is wrong with a login, as far as can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginFault {
    /// The server's text is all there is.
    Unknown,
    /// The token is in order: the identity has no rights on this cache.
    NoAssignment,
    /// The user name is not the token's object id.
    WrongUserName,
    /// The token is for another service.
    WrongAudience,
    /// By the local clock the token has ended.
    Expired,
    /// By the local clock the token is not valid yet.
    NotYetValid,
}

/// A fault, and the sentence that names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) fault: LoginFault,
    pub(crate) text: String,
}

impl Diagnosis {
    /// Judges a refused token by what it claims. `refusal` is the server's text, `username` what was sent with the
    /// token.
    pub(crate) fn of_token(refusal: &str, claims: &Claims, username: &str, now: UnixTime) -> Diagnosis {
        let (fault, cause) = if is_about_credentials(refusal) {
            token_fault(claims, username, now)
        } else {
            (LoginFault::Unknown, String::new())
        };
        Diagnosis { fault, text: join(refusal, &cause) }
    }

    /// Judges a refused password.
    pub(crate) fn of_password(refusal: &str) -> Diagnosis {
        let cause = if is_about_credentials(refusal) {
            "the user name or the password is wrong, or access keys are switched off on this cache"
        } else {
            ""
        };
        Diagnosis { fault: LoginFault::Unknown, text: join(refusal, cause) }
    }

    /// Judges a server that wants a login where none was given.
    pub(crate) fn of_nothing(refusal: &str) -> Diagnosis {
        let cause = if refusal.starts_with("NOAUTH") {
            "the server wants a login: give a credential, or a user name and password"
        } else {
            ""
        };
        Diagnosis { fault: LoginFault::Unknown, text: join(refusal, cause) }
    }
}

fn token_fault(claims: &Claims, username: &str, now: UnixTime) -> (LoginFault, String) {
    if let Some(audience) = claims.aud.as_deref().filter(|audience| !is_redis(audience)) {
        return (LoginFault::WrongAudience, format!("the token is for '{audience}', not for Redis"));
    }
    let moment = |seconds: Option<i64>| seconds.map(UnixTime::from_secs);
    if let Some(ended) = moment(claims.exp).filter(|&at| at <= now) {
        let ago = whole_seconds(now.since(ended));
        return (LoginFault::Expired, format!("the token ended {ago} ago by this machine's clock"));
    }
    if let Some(begins) = moment(claims.nbf).filter(|&at| at > now) {
        let ahead = whole_seconds(begins.since(now));
        return (
            LoginFault::NotYetValid,
            format!("by this machine's clock the token is not valid for another {ahead}"),
        );
    }
    let Some(oid) = claims.oid.as_deref() else { return (LoginFault::Unknown, String::new()) };
    if !username.eq_ignore_ascii_case(oid) {
        let what = match claims.appid.as_deref() {
            Some(appid) if appid.eq_ignore_ascii_case(username) => " (it is the client id)",
            _ => "",
        };
        let text = format!("the user name is '{username}'{what}, the token's object id is '{oid}'");
        return (LoginFault::WrongUserName, text);
    }
    let text = format!(
        "the token looks right, so object id {oid} has no access policy assignment on this cache, or Microsoft Entra \
         authentication is switched off there"
    );
    (LoginFault::NoAssignment, text)
}

/// The audiences by which Microsoft Entra knows Azure's Redis services.
fn is_redis(audience: &str) -> bool {
    let audience = audience.trim_end_matches('/');
    audience.eq_ignore_ascii_case("https://redis.azure.com")
        || audience.eq_ignore_ascii_case("acca5fbb-b7e4-4009-81f1-37e38fd66d78")
}

/// Whether the server speaks of who logs in, rather than of itself.
fn is_about_credentials(refusal: &str) -> bool {
    ["WRONGPASS", "NOAUTH", "ERR invalid password", "ERR WRONGPASS"]
        .iter()
        .any(|word| refusal.starts_with(word))
}

fn join(refusal: &str, cause: &str) -> String {
    let refusal = refusal.trim_end_matches('.');
    if cause.is_empty() { refusal.to_owned() } else { format!("{refusal}: {cause}") }
}

fn whole_seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &str = "WRONGPASS invalid username-password pair or user is disabled.";

    fn claims() -> Claims {
        Claims {
            oid: Some("oid-1".into()),
            aud: Some("https://redis.azure.com/".into()),
            appid: Some("client-1".into()),
            nbf: Some(700),
            exp: Some(4600),
            ..Claims::default()
        }
    }

    fn fault(claims: &Claims, username: &str, now: i64) -> (LoginFault, String) {
        let diagnosis = Diagnosis::of_token(REFUSAL, claims, username, UnixTime::from_secs(now));
        (diagnosis.fault, diagnosis.text)
    }

    #[test]
    fn each_cause_is_told_from_the_claims_and_the_clock() {
        let audience = Claims { aud: Some("https://management.azure.com".into()), ..claims() };
        let (found, text) = fault(&audience, "oid-1", 1000);
        assert_eq!(found, LoginFault::WrongAudience);
        assert!(text.contains("'https://management.azure.com'"), "{text}");

        let (found, text) = fault(&claims(), "oid-1", 5000);
        assert_eq!(found, LoginFault::Expired);
        assert!(text.ends_with("ended 400 s ago by this machine's clock"), "{text}");

        let (found, text) = fault(&claims(), "oid-1", 100);
        assert_eq!(found, LoginFault::NotYetValid);
        assert!(text.ends_with("another 600 s"), "{text}");

        let (found, text) = fault(&claims(), "CLIENT-1", 1000);
        assert_eq!(found, LoginFault::WrongUserName);
        assert!(text.contains("it is the client id") && text.contains("'oid-1'"), "{text}");
        assert!(!fault(&claims(), "alias", 1000).1.contains("client id"));

        let (found, text) = fault(&claims(), "OID-1", 1000);
        assert_eq!(found, LoginFault::NoAssignment);
        assert!(text.starts_with("WRONGPASS") && text.contains("object id oid-1"), "{text}");
    }

    #[test]
    fn every_spelling_of_the_audience_is_known() {
        for audience in
            ["https://redis.azure.com", "https://redis.azure.com/", "ACCA5FBB-B7E4-4009-81F1-37E38FD66D78"]
        {
            let claims = Claims { aud: Some(audience.into()), ..claims() };
            assert_eq!(fault(&claims, "oid-1", 1000).0, LoginFault::NoAssignment, "{audience}");
        }
    }

    #[test]
    fn where_nothing_is_known_the_servers_text_stands_alone() {
        let busy =
            Diagnosis::of_token("ERR max number of clients reached", &claims(), "x", UnixTime::from_secs(0));
        assert_eq!(
            busy,
            Diagnosis { fault: LoginFault::Unknown, text: "ERR max number of clients reached".into() }
        );
        let (found, text) = fault(&Claims::default(), "someone", 1000);
        assert_eq!((found, text.as_str()), (LoginFault::Unknown, REFUSAL.trim_end_matches('.')));
        assert_eq!(Diagnosis::of_nothing("ERR x").text, "ERR x");
        assert!(Diagnosis::of_password(REFUSAL).text.contains("access keys"));
    }
}
