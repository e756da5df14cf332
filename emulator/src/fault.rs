//! Faults that an admin has switched on. What each one does is in the front and in the identity endpoint;
//! closing connections is not a state and is not kept here.

mod cache;
mod injection;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::cache::{
    AUTH_FAIL_AFTER, CacheFaults, ExpiryClose, ExpiryMode, HelloShape, Throttle, Tls,
};
pub(crate) use self::injection::{Injection, Reach, Redirect, Struck, Target, Text};
use crate::token::Order;

/// The faults in force. All off by default.
#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
    cache: Mutex<CacheFaults>,
}

#[derive(Default)]
struct State {
    identity_delay: Duration,
    identity_status: Option<(IdentityStatus, Uses)>,
    identity_token: Option<(IdentityToken, Uses)>,
    identity_body: Option<(IdentityBody, Uses)>,
    identity_error: Option<(u32, Uses)>,
}

/// How often a fault still strikes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Uses {
    #[default]
    Spent,
    Left(u64),
    Endless,
}

/// An error of the identity endpoint.
#[derive(Clone, Copy)]
pub(crate) struct IdentityStatus {
    pub(crate) status: u16,
    /// Value of Retry-After, in seconds.
    pub(crate) retry_after_s: Option<u64>,
}

/// An odd token that the identity endpoints give out.
#[derive(Clone)]
pub(crate) struct IdentityToken {
    /// What is other than in the token that was asked for.
    pub(crate) order: Order,
    /// How much later than the token's own expiry the endpoint says that it expires, in seconds.
    pub(crate) expires_off_by_s: i64,
}

/// A spoiled answer of the identity endpoints.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IdentityBody {
    /// Without `access_token`.
    NoToken,
    /// No JSON, for its end is missing.
    Malformed,
}

impl Faults {
    /// Those of the cache.
    pub(crate) fn cache(&self) -> MutexGuard<'_, CacheFaults> {
        self.cache.lock().expect("nothing panics with this lock held")
    }

    pub(crate) fn set_identity_delay(&self, delay: Duration) {
        self.state().identity_delay = delay;
    }

    pub(crate) fn set_identity_status(&self, status: IdentityStatus, uses: Uses) {
        self.state().identity_status = Some((status, uses));
    }

    pub(crate) fn set_identity_token(&self, token: IdentityToken, uses: Uses) {
        self.state().identity_token = Some((token, uses));
    }

    pub(crate) fn set_identity_body(&self, body: IdentityBody, uses: Uses) {
        self.state().identity_body = Some((body, uses));
    }

    pub(crate) fn set_identity_error(&self, code: u32, uses: Uses) {
        self.state().identity_error = Some((code, uses));
    }

    pub(crate) fn clear(&self) {
        *self.state() = State::default();
        *self.cache() = CacheFaults::default();
    }

    pub(crate) fn identity_delay(&self) -> Duration {
        self.state().identity_delay
    }

    /// The error that this call of the identity endpoint gets; uses the fault up.
    pub(crate) fn take_identity_status(&self) -> Option<IdentityStatus> {
        take(&mut self.state().identity_status)
    }

    /// Whether the next token to be issued is an odd one.
    pub(crate) fn has_identity_token(&self) -> bool {
        self.state().identity_token.as_ref().is_some_and(|(_, uses)| uses.is_left())
    }

    /// What this token is to be like; uses the fault up, as the next two do.
    pub(crate) fn take_identity_token(&self) -> Option<IdentityToken> {
        take(&mut self.state().identity_token)
    }

    /// How this answer is spoiled.
    pub(crate) fn take_identity_body(&self) -> Option<IdentityBody> {
        take(&mut self.state().identity_body)
    }

    /// Number of the error that Entra has for this request.
    pub(crate) fn take_identity_error(&self) -> Option<u32> {
        take(&mut self.state().identity_error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with this lock held")
    }
}

fn take<T: Clone>(fault: &mut Option<(T, Uses)>) -> Option<T> {
    let (value, uses) = fault.as_mut()?;
    uses.take().then(|| value.clone())
}

impl Uses {
    /// `count` uses, or without a number no end of them.
    pub(crate) fn new(count: Option<u64>) -> Uses {
        count.map_or(Uses::Endless, Uses::Left)
    }

    fn is_left(self) -> bool {
        !matches!(self, Uses::Spent | Uses::Left(0))
    }

    /// Whether the fault strikes; uses it up.
    pub(crate) fn take(&mut self) -> bool {
        match *self {
            Uses::Spent | Uses::Left(0) => false,
            Uses::Left(count) => {
                *self = Uses::Left(count - 1);
                true
            }
            Uses::Endless => true,
        }
    }
}
