//! How a client stands with its login.

use crate::Tokens;
use crate::clock;
use respass::TokenState;
use std::time::SystemTime;

/// How a client stands with its login. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthStatus {
    /// Whether a connection is ready.
    pub is_ready: bool,
    /// The object id in the latest token.
    pub oid: Option<String>,
    /// When the token that the connection uses ends, by its own claim.
    pub expires_at: Option<SystemTime>,
    /// When the credential will be asked for the next one, as far as is known.
    pub refresh_at: Option<SystemTime>,
    /// How the supply of tokens stands; `None` without tokens.
    pub state: Option<TokenState>,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: u64,
    /// What last went wrong, if it still does.
    pub last_error: Option<String>,
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
        }
    }
}
