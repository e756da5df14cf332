//! Faults that an admin has switched on. What each one does is in the front and in the identity endpoint;
//! closing connections is not a state and is not kept here.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The faults in force. All off by default.
#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    auth_delay: Duration,
    auth_fail: Uses,
    identity_delay: Duration,
    identity_status: Option<(IdentityStatus, Uses)>,
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

impl Faults {
    pub(crate) fn set_auth_delay(&self, delay: Duration) {
        self.state().auth_delay = delay;
    }

    pub(crate) fn set_auth_fail(&self, uses: Uses) {
        self.state().auth_fail = uses;
    }

    pub(crate) fn set_identity_delay(&self, delay: Duration) {
        self.state().identity_delay = delay;
    }

    pub(crate) fn set_identity_status(&self, status: IdentityStatus, uses: Uses) {
        self.state().identity_status = Some((status, uses));
    }

    pub(crate) fn clear(&self) {
        *self.state() = State::default();
    }

    /// How long the check of a token takes.
    pub(crate) fn auth_delay(&self) -> Duration {
        self.state().auth_delay
    }

    /// Whether this login is refused whatever its token is worth; uses the fault up.
    pub(crate) fn take_auth_fail(&self) -> bool {
        self.state().auth_fail.take()
    }

    pub(crate) fn identity_delay(&self) -> Duration {
        self.state().identity_delay
    }

    /// The error that this call of the identity endpoint gets; uses the fault up.
    pub(crate) fn take_identity_status(&self) -> Option<IdentityStatus> {
        let mut state = self.state();
        let (status, uses) = state.identity_status.as_mut()?;
        uses.take().then_some(*status)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with this lock held")
    }
}

impl Uses {
    /// `count` uses, or without a number no end of them.
    pub(crate) fn new(count: Option<u64>) -> Uses {
        count.map_or(Uses::Endless, Uses::Left)
    }

    fn take(&mut self) -> bool {
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
