//! Faults of the cache itself: state that the front reads. What strikes the connections there are at once,
//! and is then over, is in `front::live`.

use std::time::Duration;

use tokio::time::Instant;

use super::Uses;
use super::injection::{Injection, Struck, Text};

pub(crate) struct CacheFaults {
    /// How long the check of a token takes.
    pub(crate) auth_delay: Duration,
    /// The longest that the cache waits for the check; then the login has failed.
    pub(crate) auth_fail_after: Duration,
    /// Logins refused whatever their token is worth.
    pub(crate) auth_fail: Uses,
    pub(crate) expiry_close: ExpiryClose,
    pub(crate) resp3_off: bool,
    pub(crate) hello_broken: Option<(HelloShape, Uses)>,
    /// What ordinary commands are answered with, instead of being run.
    pub(crate) injection: Option<Injection>,
    /// How long a connection may be silent.
    pub(crate) idle_cut: Option<Duration>,
    /// Connections that are closed before TLS.
    pub(crate) accept_close: Uses,
    pub(crate) throttle: Option<Throttle>,
    /// Wait before TLS.
    pub(crate) slow_accept: Duration,
    /// Wait before each write of replies.
    pub(crate) slow_reply: Duration,
    pub(crate) tls: Tls,
}

/// What happens to a connection whose token has expired.
#[derive(Clone, Copy, Default)]
pub(crate) struct ExpiryClose {
    pub(crate) mode: ExpiryMode,
    /// From the expiry to the close.
    pub(crate) delay: Duration,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ExpiryMode {
    /// The end of TLS, then of TCP.
    #[default]
    CloseNotify,
    /// The end of TCP alone.
    Fin,
    Reset,
    /// In the midst of the next reply; a connection that has none coming is closed two seconds later.
    MidReply,
}

/// Answers to HELLO 3 that have been seen of Azure.
#[derive(Clone, Copy)]
pub(crate) enum HelloShape {
    /// The elements of the map as an array: an early build of Redis 6.0.3 on Azure, 2021.
    NonMap,
    /// One module argument less than announced, so that the reply does not end: Redis Enterprise, 2023.
    Short,
}

/// New connections are closed before TLS if there were so many in the same second.
pub(crate) struct Throttle {
    per_second: u64,
    /// When the present second began, and how many came in it.
    second: (Instant, u64),
}

impl Throttle {
    pub(crate) fn new(per_second: u64) -> Throttle {
        Throttle { per_second, second: (Instant::now(), 0) }
    }

    fn takes_one(&mut self) -> bool {
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 0);
        }
        self.second.1 += 1;
        self.second.1 <= self.per_second
    }
}

/// Versions of TLS that new connections are offered.
#[derive(Clone, Copy, Default)]
pub(crate) enum Tls {
    #[default]
    Both,
    Only12,
    Only13,
}

/// Azure's own limit for the validation of a token.
pub(crate) const AUTH_FAIL_AFTER: Duration = Duration::from_secs(10);

impl Default for CacheFaults {
    fn default() -> CacheFaults {
        CacheFaults {
            auth_delay: Duration::ZERO,
            auth_fail_after: AUTH_FAIL_AFTER,
            auth_fail: Uses::Spent,
            expiry_close: ExpiryClose::default(),
            resp3_off: false,
            hello_broken: None,
            injection: None,
            idle_cut: None,
            accept_close: Uses::Spent,
            throttle: None,
            slow_accept: Duration::ZERO,
            slow_reply: Duration::ZERO,
            tls: Tls::Both,
        }
    }
}

impl CacheFaults {
    /// The error that this command gets; uses the fault up.
    pub(crate) fn take_injection(&mut self, struck: Struck) -> Option<Text> {
        let injection = self.injection.as_mut()?;
        injection.take(struck).then(|| injection.text.clone())
    }

    /// Whether a new connection is one too many, or the fault wants it closed anyway.
    pub(crate) fn takes_connection(&mut self) -> bool {
        !self.accept_close.take() && self.throttle.as_mut().is_none_or(Throttle::takes_one)
    }

    /// The shape that this answer to HELLO is bent into; uses the fault up.
    pub(crate) fn take_hello_broken(&mut self) -> Option<HelloShape> {
        let (shape, uses) = self.hello_broken.as_mut()?;
        uses.take().then_some(*shape)
    }
}
