//! Sessions: a connection for one caller alone, for as long as the caller wants it. WATCH needs one.

use super::{Client, Now};
use crate::command::{Command, CommandId};
use crate::error::{ErrorCode, SubmitError};

/// A connection that one caller has to itself. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SessionId(pub(crate) u64);

impl SessionId {
    /// The id as a number, for languages that keep it as one.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that has this number; one that was never given out names no session.
    pub const fn from_u64(number: u64) -> SessionId {
        SessionId(number)
    }
}

impl Client {
    /// A session. It takes a connection of the pool when its first command is submitted: one to the node of that
    /// command's keys, and waits where none is free.
    pub fn open_session(&mut self, now: Now) -> Result<SessionId, SubmitError> {
        let _ = now;
        Err(not_here())
    }

    /// Submits a command to a session. `WATCH` and `UNWATCH` are allowed here.
    pub fn submit_in(
        &mut self,
        session: SessionId,
        command: Command<'_>,
        now: Now,
    ) -> Result<CommandId, SubmitError> {
        let _ = (session, command, now);
        Err(not_here())
    }

    /// Submits a transaction to a session: where a key that it watches was written to, the answer is a null. Fails
    /// with [`ErrorCode::WatchLost`], unsent, where the connection was lost since WATCH.
    pub fn submit_transaction_in(
        &mut self,
        session: SessionId,
        bytes: &[u8],
        lengths: &[u32],
        now: Now,
    ) -> Result<CommandId, SubmitError> {
        let _ = (session, bytes, lengths, now);
        Err(not_here())
    }

    /// Ends a session: its connection goes back to the pool, without its watches.
    pub fn close_session(&mut self, session: SessionId, now: Now) {
        let _ = (session, now);
    }
}

fn not_here() -> SubmitError {
    SubmitError { code: ErrorCode::NeedsOwnConnection, text: "no sessions yet".to_owned() }
}
