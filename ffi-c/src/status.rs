//! How a client stands with its login, and each of its connections.

use crate::handle::Failure;
use crate::output::Slice;
use respass_core::ConnectionStatus as CoreConnection;

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

/// What a connection is for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

const _: () = {
    use respass_core::LaneKind as Core;
    assert!(LaneKind::Main as u32 == Core::Main as u32);
    assert!(LaneKind::Blocking as u32 == Core::Blocking as u32);
    assert!(LaneKind::Session as u32 == Core::Session as u32);
    assert!(LaneKind::Subscriber as u32 == Core::Subscriber as u32);
    assert!(LaneKind::Monitor as u32 == Core::Monitor as u32);
};

/// How one connection stands.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConnectionStatus {
    /// The connection.
    pub conn: u64,
    /// The host that was dialled.
    pub host: Slice,
    /// The port that was dialled.
    pub port: u32,
    /// What it is for: a RESPASS_LANE_KIND_….
    pub lane: u32,
    /// Whether it is logged in: 1 or 0.
    pub is_ready: u32,
    /// 0.
    pub reserved: u32,
    /// When the token that it uses ends, by its own claim, since 1970; 0 where that is not known.
    pub expires_on_us: u64,
    /// The same as well as it is known, on the monotonic clock; 0 without a token.
    pub expires_at_us: u64,
}

const _: () = assert!(size_of::<ConnectionStatus>() == 56 || size_of::<usize>() != 8);

impl ConnectionStatus {
    pub(crate) fn of(connection: &CoreConnection) -> ConnectionStatus {
        ConnectionStatus {
            conn: connection.conn.as_u64(),
            host: Slice::of(connection.host.as_bytes()),
            port: connection.port.into(),
            lane: connection.lane as u32,
            is_ready: connection.is_ready.into(),
            reserved: 0,
            expires_on_us: connection.expires_on.map_or(0, |at| at.as_micros()),
            expires_at_us: connection.expires_at.map_or(0, |at| at.as_micros()),
        }
    }
}

/// The row of a status that was taken before.
pub(crate) fn connection_at(
    status: &respass_core::AuthStatus,
    index: usize,
) -> Result<ConnectionStatus, Failure> {
    let connection = status.connections.get(index);
    connection.map(ConnectionStatus::of).ok_or_else(|| Failure::argument("there is no such connection"))
}
