//! Several commands at once: as a pipeline, or as a transaction.

use crate::redis::Pending;
use crate::waiters::Waiters;
use crate::{Error, Redis, Reply};
use respass::resp::Kind;
use respass::{CommandIds, SessionId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Collects commands. It can be used again after `execute`, and keeps its memory.
pub struct Pipeline {
    redis: Redis,
    form: Form,
    /// All arguments, one after the other.
    bytes: Vec<u8>,
    /// For each command the number of its arguments, then their lengths.
    lengths: Vec<u32>,
    /// An argument was longer than any command may be.
    is_too_long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pipeline,
    Transaction,
    TransactionIn(SessionId),
}

impl Pipeline {
    pub(crate) fn new(redis: Redis) -> Pipeline {
        Pipeline::of_form(Form::Pipeline, redis)
    }

    pub(crate) fn transaction(redis: Redis) -> Pipeline {
        Pipeline::of_form(Form::Transaction, redis)
    }

    pub(crate) fn in_session(redis: Redis, session: SessionId) -> Pipeline {
        Pipeline::of_form(Form::TransactionIn(session), redis)
    }

    fn of_form(form: Form, redis: Redis) -> Pipeline {
        Pipeline { redis, form, bytes: Vec::new(), lengths: Vec::new(), is_too_long: false }
    }

    /// Adds a command: its name and arguments.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> &mut Pipeline {
        self.push_length(arguments.len());
        for argument in arguments {
            let argument = argument.as_ref();
            self.push_length(argument.len());
            self.bytes.extend_from_slice(argument);
        }
        self
    }

    /// Submits what was collected, at once; the future is the replies, each a result of its own. It fails as
    /// a whole where the commands cannot be sent, for one because one of them needs a connection of its own,
    /// and a transaction where the server refuses it or a watched key was written to
    /// ([`ErrorCode::WatchLost`](crate::ErrorCode::WatchLost)). Dropping the future cancels the commands.
    pub fn execute(&mut self) -> PipelineFuture {
        let Pipeline { redis, form, bytes, lengths, .. } = &*self;
        let slot = if self.is_too_long {
            Err(Error::invalid_command("an argument is longer than a command may be"))
        } else {
            redis.shared().submit(|client, now| {
                let first = match *form {
                    Form::Pipeline => return client.submit_batch(bytes, lengths, now),
                    Form::Transaction => client.submit_transaction(bytes, lengths, now)?,
                    Form::TransactionIn(session) => {
                        client.submit_transaction_in(session, bytes, lengths, now)?
                    }
                };
                Ok(CommandIds { first, count: 1 })
            })
        };
        let is_transaction = *form != Form::Pipeline;
        let future = PipelineFuture { pending: Pending::new(redis, slot), is_transaction };
        self.bytes.clear();
        self.lengths.clear();
        self.is_too_long = false;
        future
    }

    fn push_length(&mut self, len: usize) {
        self.is_too_long |= u32::try_from(len).is_err();
        self.lengths.push(u32::try_from(len).unwrap_or(u32::MAX));
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("form", &self.form).finish_non_exhaustive()
    }
}

/// The replies to a pipeline's commands. See [`Pipeline::execute`].
#[must_use = "a pipeline whose future is dropped is cancelled"]
#[derive(Debug)]
pub struct PipelineFuture {
    pending: Pending,
    is_transaction: bool,
}

impl Future for PipelineFuture {
    type Output = Result<Vec<Result<Reply, Error>>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_transaction {
            let polled = self.pending.poll(context, Waiters::poll_one);
            return polled.map(|answer| answer.and_then(results_of_exec));
        }
        self.pending.poll(context, |waiters, slot, wakers| waiters.poll_many(slot, wakers).map(Ok))
    }
}

/// What EXEC returns: a reply for each command.
fn results_of_exec(reply: Reply) -> Result<Vec<Result<Reply, Error>>, Error> {
    match reply.kind() {
        Kind::Array => Ok(reply.elements().map(Reply::or_error).collect()),
        Kind::Null => Err(Error::watch_lost("a watched key was written to since WATCH: nothing ran")),
        _ => Err(Error::unexpected("the replies of a transaction", reply.value())),
    }
}
