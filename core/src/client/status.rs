//! How a client stands, for people and metrics.

use super::Client;
use crate::auth::IssuedToken;
use crate::connection::{ConnId, Connection, Phase};
use crate::time::{Instant, UnixTime};

/// How a client stands with its login. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthStatus {
    /// Whether a connection is ready.
    pub is_ready: bool,
    /// The object id in the latest token.
    pub oid: Option<String>,
    /// When the token that is in use ends, by its own claim: of several, the first.
    pub expires_on: Option<UnixTime>,
    /// The same as well as it is known, on the monotonic clock.
    pub expires_at: Option<Instant>,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: u64,
    /// What last went wrong, if it still does.
    pub last_error: Option<String>,
    /// Every connection that there is.
    pub connections: Vec<ConnectionStatus>,
}

/// How one connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The connection.
    pub conn: ConnId,
    /// The host that was dialled.
    pub host: String,
    /// The port that was dialled.
    pub port: u16,
    /// What it is for.
    pub lane: LaneKind,
    /// Whether it is logged in.
    pub is_ready: bool,
    /// When the token that it uses ends, by its own claim.
    pub expires_on: Option<UnixTime>,
    /// The same as well as it is known, on the monotonic clock.
    pub expires_at: Option<Instant>,
}

/// What a connection is for. The numbers are the same in every language and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum LaneKind {
    /// Ordinary commands, of everybody.
    Main = 1,
    /// One blocking command after the other.
    Blocking = 2,
    /// A session's own.
    Session = 3,
    /// Subscriptions.
    Subscriber = 4,
    /// MONITOR.
    Monitor = 5,
}

impl LaneKind {
    /// A stable name, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            LaneKind::Main => "main",
            LaneKind::Blocking => "blocking",
            LaneKind::Session => "session",
            LaneKind::Subscriber => "subscriber",
            LaneKind::Monitor => "monitor",
        }
    }

    /// Whether its connections count against `Limits::own_connections_max`.
    pub(crate) fn is_pooled(self) -> bool {
        matches!(self, LaneKind::Blocking | LaneKind::Session | LaneKind::Monitor)
    }
}

impl Client {
    /// How the client stands with its login.
    pub fn auth_status(&self) -> AuthStatus {
        let connections: Vec<_> = self
            .lanes
            .iter()
            .flat_map(|lane| lane.connections().map(|connection| self.status_of(lane.kind, connection)))
            .collect();
        let is_main = |status: &&ConnectionStatus| status.lane == LaneKind::Main;
        let first = connections
            .iter()
            .filter(is_main)
            .filter(|status| status.expires_at.is_some())
            .min_by_key(|status| status.expires_at);
        AuthStatus {
            is_ready: connections.iter().filter(is_main).any(|status| status.is_ready),
            oid: self.tokens.current().and_then(|token| token.oid().map(str::to_owned)),
            expires_on: match first {
                Some(first) => first.expires_on,
                None => self.tokens.current().and_then(IssuedToken::expires_on),
            },
            expires_at: first.and_then(|first| first.expires_at),
            reauth_count: self.reauth_count,
            last_error: self.last_error.clone(),
            connections,
        }
    }

    fn status_of(&self, lane: LaneKind, connection: &Connection) -> ConnectionStatus {
        let token = connection.token();
        let (host, port) = connection.dialled();
        ConnectionStatus {
            conn: connection.id(),
            host: host.to_owned(),
            port,
            lane,
            is_ready: connection.phase() == Phase::Ready,
            expires_on: token.and_then(|token| token.expires_on),
            expires_at: token.map(|token| token.expires_at),
        }
    }
}
