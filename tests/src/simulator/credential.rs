//! How SDKs and platforms supply tokens.

use super::{EPOCH, SECOND};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use respass::{FetchedToken, Secret, TokenFailure, UnixTime};
use std::time::Duration;

/// When a new token is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// At every question.
    Fresh,
    /// The same one until so many microseconds before its end.
    CachedUntil(u64),
    /// Only when the old one has ended.
    WhenDead,
}

/// One credential of one client.
#[derive(Debug)]
pub struct Credential {
    /// When a new token is to be had.
    pub supply: Supply,
    /// Life of a token, in microseconds.
    pub life: u64,
    /// How long an answer takes, in microseconds.
    pub latency: u64,
    /// Spans of true time in which every question fails.
    pub outages: Vec<(u64, u64)>,
    /// Whether the answer states the remaining life beside the token's claims.
    pub states_expires_in: bool,
    /// Whose tokens they are.
    pub oid: String,
    cached: Option<(String, u64)>,
    issued: u64,
    asked_at: Option<u64>,
    /// Questions so far.
    pub questions: u64,
    /// Questions under way.
    pub unanswered: u32,
}

impl Credential {
    /// A credential of the identity `oid`.
    pub fn new(oid: &str, supply: Supply, life: u64) -> Credential {
        Credential {
            supply,
            life,
            latency: 50_000,
            outages: Vec::new(),
            states_expires_in: false,
            oid: oid.to_owned(),
            cached: None,
            issued: 0,
            asked_at: None,
            questions: 0,
            unanswered: 0,
        }
    }

    /// A question arrives at true time `now`. One at a time, and no two within a second.
    pub fn ask(&mut self, now: u64) {
        assert_eq!(self.unanswered, 0, "two questions are under way at once");
        if let Some(before) = self.asked_at {
            assert!(now - before >= SECOND, "questions {} us apart", now - before);
        }
        self.asked_at = Some(now);
        self.unanswered += 1;
        self.questions += 1;
    }

    /// The answer, at true time `now`.
    pub fn answer(&mut self, now: u64) -> Result<FetchedToken, TokenFailure> {
        self.unanswered -= 1;
        if self.outages.iter().any(|(from, to)| (*from..*to).contains(&now)) {
            return Err(TokenFailure {
                status: Some(500),
                ..TokenFailure::transient("the token endpoint fails")
            });
        }
        let keep = match (&self.cached, self.supply) {
            (None, _) | (_, Supply::Fresh) => false,
            (Some((_, exp)), Supply::CachedUntil(window)) => now + window < *exp,
            (Some((_, exp)), Supply::WhenDead) => now < *exp,
        };
        if !keep {
            self.issued += 1;
            self.cached = Some(issue(&self.oid, self.issued, now, self.life));
        }
        let (text, exp) = self.cached.clone().expect("set above");
        let expires_in = self.states_expires_in.then(|| Duration::from_micros(exp.saturating_sub(now)));
        Ok(FetchedToken {
            text: Secret::new(text.into_bytes()),
            expires_on: Some(UnixTime::from_micros(EPOCH + exp)),
            expires_in,
            refresh_on: None,
        })
    }
}

/// A token and when it ends (true time). As the platform does it, `iat` and `nbf` lie five minutes before the issue.
pub fn issue(oid: &str, number: u64, now: u64, life: u64) -> (String, u64) {
    let iat = (EPOCH + now) / SECOND - 300;
    let exp = (EPOCH + now + life) / SECOND;
    let claims = format!(
        r#"{{"aud":"https://redis.azure.com","oid":"{oid}","iat":{iat},"nbf":{iat},"exp":{exp},"uti":"{number}"}}"#
    );
    (format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)), exp * SECOND - EPOCH)
}

/// The identity and the end (true time) that a token states; `None` where it is none.
pub fn read(token: &[u8]) -> Option<(String, u64)> {
    let payload = token.split(|byte| *byte == b'.').nth(1)?;
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let exp = claims.get("exp")?.as_u64()? * SECOND;
    Some((claims.get("oid")?.as_str()?.to_owned(), exp.saturating_sub(EPOCH)))
}
