//! How a client stands with its login.

use crate::Tokens;
use crate::clock;
use respass::{ConnId, LaneKind, TokenState};
use std::time::SystemTime;

/// How a client stands with its login. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthStatus {
    /// Whether commands go out: the connection that they share, or one of them in a cluster, is ready.
    pub is_ready: bool,
    /// The object id in the latest token.
    pub oid: Option<String>,
    /// When the token that the client uses ends, by its own claim.
    pub expires_at: Option<SystemTime>,
    /// When the credential will be asked for the next one, as far as is known.
    pub refresh_at: Option<SystemTime>,
    /// How the supply of tokens stands; `None` without tokens.
    pub state: Option<TokenState>,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: u64,
    /// What last went wrong, if it still does.
    pub last_error: Option<String>,
    /// Every connection that there is.
    pub connections: Vec<ConnectionStatus>,
}

/// How one connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The connection, as notices name it.
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
    pub expires_at: Option<SystemTime>,
}

impl AuthStatus {
    pub(crate) fn new(status: respass::AuthStatus, tokens: Option<&Tokens>) -> AuthStatus {
        AuthStatus {
            is_ready: status.is_ready,
            oid: status.oid,
            expires_at: status.expires_on.map(clock::system_time),
            refresh_at: tokens.and_then(Tokens::next_question_at),
            state: tokens.map(Tokens::state),
            reauth_count: status.reauth_count,
            last_error: status.last_error,
            connections: status.connections.into_iter().map(ConnectionStatus::new).collect(),
        }
    }
}

impl ConnectionStatus {
    fn new(status: respass::ConnectionStatus) -> ConnectionStatus {
        let respass::ConnectionStatus { conn, host, port, lane, is_ready, expires_on, .. } = status;
        ConnectionStatus { conn, host, port, lane, is_ready, expires_at: expires_on.map(clock::system_time) }
    }
}
