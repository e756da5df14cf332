//! Commands as the application gives them, and what is known of them by their names.

mod batch;
mod facts;
mod keys;
mod table;
mod timeout;

pub(crate) use batch::Batch;
pub(crate) use facts::{Facts, Lane, Merge, Routing, TimeoutAt, facts_of};
pub(crate) use keys::{KeySlot, key_slot};
pub(crate) use timeout::{OwnTimeout, block_at, own_timeout};

use std::time::Duration;

/// A command accepted by a client. Never reused, always below 2^53, ascending in submission order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CommandId(pub(crate) u64);

impl CommandId {
    /// The id as a number, for languages that keep it as one.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that has this number; one that was never given out names no command.
    pub const fn from_u64(number: u64) -> CommandId {
        CommandId(number)
    }
}

/// The consecutive ids of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandIds {
    /// The first command's id.
    pub first: CommandId,
    /// How many there are.
    pub count: u32,
}

impl CommandIds {
    /// The ids in submission order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = CommandId> {
        (0..self.count).map(move |index| CommandId(self.first.0 + u64::from(index)))
    }
}

/// One command: its name and arguments, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    pub(crate) arguments: &'a [&'a [u8]],
    pub(crate) timeout: Option<Duration>,
}

impl<'a> Command<'a> {
    /// A command under the client's default timeout.
    pub const fn new(arguments: &'a [&'a [u8]]) -> Command<'a> {
        Command { arguments, timeout: None }
    }

    /// How long its reply may take. Waits for connecting, login and re-authentication are not counted.
    pub const fn timeout(mut self, timeout: Duration) -> Command<'a> {
        self.timeout = Some(timeout);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(line: &str) -> Lane {
        facts_of(line.split(' ').map(str::as_bytes)).lane
    }

    #[test]
    fn commands_that_would_bring_replies_and_commands_apart_are_known_in_any_case() {
        for line in
            ["client reply off", "Monitor", "subscribe a", "RESET", "quit", "auth x", "multi", "PSUBSCRIBE *"]
        {
            assert_eq!(lane(line), Lane::Refused, "{line}");
        }
    }

    #[test]
    fn commands_that_wait_are_told_from_their_plain_forms() {
        assert_eq!(lane("BLPOP k 0"), Lane::Blocking(TimeoutAt::SecondsLast));
        assert_eq!(lane("XREAD COUNT 2 block 0 STREAMS s $"), Lane::Blocking(TimeoutAt::MillisBlock));
        for line in ["XREAD COUNT 2 STREAMS block $", "GET k", "CLIENT ID", "SOMELONGMODULE.COMMAND x"] {
            assert_eq!(lane(line), Lane::Main, "{line}");
        }
    }
}
