//! Sessions: a connection for one caller alone.

use crate::redis::{CommandFuture, Pending, with_slices};
use crate::{Error, Pipeline, Redis};
use respass::{Command, CommandIds, SessionId};
use std::fmt;

/// A connection for one caller alone, from its first command until this is dropped. `WATCH` needs one:
///
/// ```no_run
/// # use respass_futures::{Error, ErrorCode, Redis};
/// # async fn example(redis: Redis) -> Result<(), Error> {
/// loop {
///     let session = redis.session()?;
///     session.command(&["WATCH", "stock"]).await?;
///     let stock: i64 = session.command(&["GET", "stock"]).await?.to()?;
///     let mut transaction = session.transaction();
///     transaction.command(&["SET", "stock", &(stock - 1).to_string()]);
///     match transaction.execute().await {
///         Err(error) if error.code() == ErrorCode::WatchLost => continue,
///         replies => break replies.map(drop),
///     }
/// }
/// # }
/// ```
///
/// `WatchLost` says that a watched key was written to, or that the connection was lost since `WATCH` and nobody
/// knows: nothing ran. Sessions and blocking commands share a pool of connections
/// (`Limits::own_connections_max`); where none is free, a command waits for one. In a cluster, a session stays on
/// the node of its first command's keys.
pub struct Session {
    redis: Redis,
    id: SessionId,
}

impl Session {
    pub(crate) fn new(redis: &Redis) -> Result<Session, Error> {
        let id = redis.shared().tell(|state, now| state.client.open_session(now))?;
        Ok(Session { redis: redis.clone(), id })
    }

    /// One command on this connection, as [`Redis::command`].
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> CommandFuture {
        let slot = with_slices(arguments, |slices| {
            self.redis.shared().submit(|client, now| {
                let first = client.submit_in(self.id, Command::new(slices), now)?;
                Ok(CommandIds { first, count: 1 })
            })
        });
        CommandFuture::new(Pending::new(&self.redis, slot))
    }

    /// MULTI and EXEC around a pipeline, on this connection. It runs while the session lasts.
    pub fn transaction(&self) -> Pipeline {
        Pipeline::in_session(self.redis.clone(), self.id)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.redis.shared().tell(|state, now| state.client.close_session(self.id, now));
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
