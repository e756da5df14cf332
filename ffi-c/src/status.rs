//! How a client stands with its login.

use crate::output::Slice;

/// How a client stands with its login. Holds no secret.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AuthStatus {
    /// Whether a connection is logged in: 1 or 0.
    pub is_ready: u32,
    /// 0.
    pub reserved: u32,
    /// When the token that the connection uses ends, by its own claim, since 1970; 0 where that is not known.
    pub expires_on_us: u64,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: u64,
    /// The object id in the latest token; empty where there is none.
    pub oid: Slice,
    /// What last went wrong, if it still does; else empty.
    pub last_error: Slice,
}

const _: () = assert!(size_of::<AuthStatus>() == 56 || size_of::<usize>() != 8);

impl AuthStatus {
    pub(crate) fn of(status: &respass_core::AuthStatus) -> AuthStatus {
        let text = |text: &Option<String>| Slice::of(text.as_deref().unwrap_or_default().as_bytes());
        AuthStatus {
            is_ready: status.is_ready.into(),
            reserved: 0,
            expires_on_us: status.expires_on.map_or(0, |at| at.as_micros()),
            reauth_count: status.reauth_count,
            oid: text(&status.oid),
            last_error: text(&status.last_error),
        }
    }
}
