//! What may happen in the world, one thing at a time.

use super::upheaval::Upheaval;
use respass::{CommandId, SessionId};

/// See the module's description. Numbers are connections.
#[derive(Debug)]
pub(super) enum Event {
    Start,
    Connected(u64),
    Refused(u64),
    ToServer(u64, Vec<u8>),
    ToClient(u64, Vec<u8>),
    ClosedByServer(u64),
    Cut(u64),
    Mishap(u64),
    ServerWake(u64),
    /// Counts only where it is the latest that was scheduled.
    Wake(u64),
    TokenAnswer,
    Submit,
    Feed(String),
    Proceed(SessionId),
    Subscribe,
    Cancel(CommandId),
    /// Of the cluster, whichever the client.
    Upheaval(Upheaval),
    DrawUpheaval,
}

impl Event {
    /// The connection that it is about.
    pub(super) fn conn(&self) -> Option<u64> {
        match self {
            Event::Connected(conn)
            | Event::Refused(conn)
            | Event::ToServer(conn, _)
            | Event::ToClient(conn, _)
            | Event::ClosedByServer(conn)
            | Event::Cut(conn)
            | Event::Mishap(conn)
            | Event::ServerWake(conn) => Some(*conn),
            _ => None,
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::ToServer(conn, bytes) | Event::ToClient(conn, bytes) => {
                let arrow = if matches!(self, Event::ToServer(..)) { "to" } else { "from" };
                let text = bytes.escape_ascii().to_string();
                write!(f, "{arrow} server on {conn}: {}", text.get(..600).unwrap_or(&text))
            }
            other => write!(f, "{other:?}"),
        }
    }
}
