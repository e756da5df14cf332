//! Which token a client's connections use.

use crate::auth::{IssuedToken, Login, close_margin, lead};
use crate::connection::ConnectionToken;

/// The tokens of one client.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// The user name to log in with; the token's `oid` where `None`.
    username: Option<String>,
    current: Option<IssuedToken>,
    /// The generation that the server refused.
    refused: u64,
    /// Logins refused since one was accepted.
    refusals: u32,
    /// The identity that the server first accepted: a client does not change sides.
    oid: Option<String>,
}

/// What a token that arrived is good for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Better than what was there.
    New,
    /// Not newer than what was there.
    Known,
    /// It names another identity.
    OtherIdentity,
    /// It names no identity, and no user name was configured.
    NoIdentity,
}

impl Tokens {
    pub(crate) fn new(username: Option<String>) -> Tokens {
        Tokens { username, ..Tokens::default() }
    }

    pub(crate) fn handle_token(&mut self, token: &IssuedToken) -> Arrival {
        if self.generation() >= token.generation {
            return Arrival::Known;
        }
        if token.oid().is_none() && self.username.is_none() {
            return Arrival::NoIdentity;
        }
        if let (Some(known), Some(oid)) = (&self.oid, token.oid())
            && !known.eq_ignore_ascii_case(oid)
        {
            return Arrival::OtherIdentity;
        }
        self.current = Some(token.clone());
        Arrival::New
    }

    /// The server does not accept the token of this generation at login. Whether another one is worth a try: the
    /// first may have been revoked, or have ended earlier than it said, but not two in a row.
    pub(crate) fn handle_refused(&mut self, generation: u64) -> bool {
        self.refused = self.refused.max(generation);
        self.refusals = self.refusals.saturating_add(1);
        self.refusals < REFUSALS_MAX
    }

    /// The server accepted the token of this generation.
    pub(crate) fn handle_accepted(&mut self, generation: u64) {
        self.refusals = 0;
        if let Some(token) = self.current.as_ref().filter(|token| token.generation == generation) {
            self.oid = self.oid.take().or_else(|| token.oid().map(str::to_owned));
        }
    }

    /// The generation of the latest token, 0 without one.
    pub(crate) fn generation(&self) -> u64 {
        self.current.as_ref().map_or(0, |token| token.generation)
    }

    /// Whether the latest token was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.generation() > 0 && self.refused >= self.generation()
    }

    pub(crate) fn current(&self) -> Option<&IssuedToken> {
        self.current.as_ref()
    }

    /// The token as a connection uses it; `None` where there is none that may still be tried.
    pub(crate) fn for_connection(&self, now: crate::time::Instant) -> Option<ConnectionToken> {
        let token = self.current.as_ref().filter(|_| !self.is_refused())?;
        let close_at = token.expires_at.before(close_margin(token.life));
        let handover_at = token.expires_at.before(close_margin(token.life).max(lead(token.life) / 2));
        let username = self.username.as_deref().or(token.oid())?;
        (now < close_at).then(|| ConnectionToken {
            login: Login { username: username.to_owned(), secret: Some(token.secret.clone()) },
            generation: token.generation,
            expires_on: token.expires_on(),
            handover_at,
            close_at,
            expires_at: token.expires_at,
        })
    }

    /// The refused token may be tried again: rights are granted and clocks are set while we wait.
    pub(crate) fn forgive(&mut self) {
        self.refused = 0;
        self.refusals = 0;
    }

    /// The machine was suspended, or its clock was set: the token may have less life left than was thought.
    pub(crate) fn handle_clock_jump(&mut self, ahead: std::time::Duration) {
        if let Some(token) = &mut self.current {
            token.expires_at = token.expires_at.before(ahead);
        }
    }
}

/// After so many refused logins in a row the commands that wait are told.
const REFUSALS_MAX: u32 = 2;
