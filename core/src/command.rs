//! Commands as the application gives them, and which of them a multiplexed connection cannot carry.

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

/// Several commands as two blocks: how a batch crosses a language line in one call.
///
/// `lengths` holds, for each command, the number of its arguments and then each argument's length; `bytes` holds
/// the arguments, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    bytes: &'a [u8],
    lengths: &'a [u32],
}

impl<'a> Batch<'a> {
    /// The commands of the two blocks; `None` where the lengths do not fit the bytes, or a command has no name.
    pub(crate) fn new(bytes: &'a [u8], lengths: &'a [u32]) -> Option<Batch<'a>> {
        let batch = Batch { bytes, lengths };
        let (mut rest, mut len) = (lengths, 0_usize);
        while let Some((&count, after)) = rest.split_first() {
            let count = usize::try_from(count).ok().filter(|&count| count > 0)?;
            let arguments = after.get(..count)?;
            for &argument in arguments {
                len = len.checked_add(argument as usize)?;
            }
            rest = after.get(count..)?;
        }
        (len == bytes.len()).then_some(batch)
    }

    /// The commands, each as its arguments.
    pub(crate) fn commands(self) -> impl Iterator<Item = BatchArguments<'a>> {
        let Batch { mut bytes, mut lengths } = self;
        std::iter::from_fn(move || {
            let (&count, after) = lengths.split_first()?;
            let (own, rest) = after.split_at_checked(count as usize)?;
            let len = own.iter().map(|&len| len as usize).sum();
            let (arguments, others) = bytes.split_at_checked(len)?;
            (lengths, bytes) = (rest, others);
            Some(BatchArguments { bytes: arguments, lengths: own })
        })
    }
}

/// One command's arguments inside a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchArguments<'a> {
    bytes: &'a [u8],
    lengths: &'a [u32],
}

impl<'a> Iterator for BatchArguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, lengths) = self.lengths.split_first()?;
        let (argument, bytes) = self.bytes.split_at_checked(len as usize)?;
        (self.lengths, self.bytes) = (lengths, bytes);
        Some(argument)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.lengths.len(), Some(self.lengths.len()))
    }
}

impl ExactSizeIterator for BatchArguments<'_> {}

/// Why a command cannot go out on a connection that others share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It keeps the connection waiting, watching or subscribed.
    NeedsOwnConnection,
    /// It changes a state that the client keeps: login, protocol, database, transaction, reply mode.
    OwnedByClient,
}

/// Whether a command must be refused, by its name and, for a few, its arguments.
///
/// Sent raw, these would let replies and commands come apart (`CLIENT REPLY OFF`, `MONITOR`, `SUBSCRIBE`), run
/// commands under another identity (`RESET`, `AUTH`), or hold up everybody's commands (`BLPOP`).
pub(crate) fn refusal<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Option<Refusal> {
    let mut upper = [0; LONGEST_NAME];
    let name = uppercase(arguments.next()?, &mut upper)?;
    match name {
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX"
        | b"BZMPOP" | b"WAIT" | b"WAITAOF" | b"WATCH" | b"MONITOR" | b"SUBSCRIBE" | b"PSUBSCRIBE"
        | b"SSUBSCRIBE" => Some(Refusal::NeedsOwnConnection),
        // `GROUP <group> <consumer>` may be called anything.
        b"XREAD" | b"XREADGROUP" => arguments
            .skip(if name == b"XREADGROUP" { 3 } else { 0 })
            .take_while(|argument| !argument.eq_ignore_ascii_case(b"STREAMS"))
            .any(|argument| argument.eq_ignore_ascii_case(b"BLOCK"))
            .then_some(Refusal::NeedsOwnConnection),
        b"AUTH" | b"HELLO" | b"RESET" | b"QUIT" | b"SELECT" | b"MULTI" | b"EXEC" | b"DISCARD"
        | b"UNWATCH" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE" | b"ASKING" | b"READONLY"
        | b"READWRITE" | b"SYNC" | b"PSYNC" | b"REPLCONF" => Some(Refusal::OwnedByClient),
        b"CLIENT" => arguments
            .next()
            .is_some_and(|argument| {
                argument.eq_ignore_ascii_case(b"REPLY") || argument.eq_ignore_ascii_case(b"TRACKING")
            })
            .then_some(Refusal::OwnedByClient),
        b"SCRIPT" => arguments
            .next()
            .is_some_and(|argument| argument.eq_ignore_ascii_case(b"DEBUG"))
            .then_some(Refusal::OwnedByClient),
        _ => None,
    }
}

const SHORTEST_NAME: usize = 4;
const LONGEST_NAME: usize = 12;

/// The name in capitals; `None` where it is too short or too long to be one of the refused names.
fn uppercase<'a>(name: &[u8], upper: &'a mut [u8; LONGEST_NAME]) -> Option<&'a [u8]> {
    if name.len() < SHORTEST_NAME {
        return None;
    }
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Option<Refusal> {
        refusal(line.split(' ').map(str::as_bytes))
    }

    #[test]
    fn commands_that_would_bring_replies_and_commands_apart_are_refused_in_any_case() {
        for line in
            ["client reply off", "Monitor", "subscribe a", "RESET", "quit", "auth x", "multi", "PSUBSCRIBE *"]
        {
            assert!(refused(line).is_some(), "{line}");
        }
    }

    #[test]
    fn commands_that_wait_are_refused_and_their_plain_forms_are_not() {
        assert_eq!(refused("BLPOP k 0"), Some(Refusal::NeedsOwnConnection));
        assert_eq!(refused("XREAD COUNT 2 block 0 STREAMS s $"), Some(Refusal::NeedsOwnConnection));
        assert_eq!(refused("XREAD COUNT 2 STREAMS block $"), None);
        assert_eq!(refused("GET k"), None);
        assert_eq!(refused("CLIENT ID"), None);
        assert_eq!(refused("SOMELONGMODULE.COMMAND x"), None);
    }

    #[test]
    fn a_batch_is_refused_where_lengths_and_bytes_differ() {
        assert!(Batch::new(b"GETk", &[2, 3, 1]).is_some());
        assert!(Batch::new(b"", &[]).is_some());
        for (bytes, lengths) in [
            (&b"GETk"[..], &[2, 3][..]),
            (b"GETk", &[2, 3, 2]),
            (b"GETkk", &[2, 3, 1]),
            (b"GET", &[0, 1, 3]),
            (b"GET", &[u32::MAX, 3]),
        ] {
            assert!(Batch::new(bytes, lengths).is_none(), "{lengths:?}");
        }
    }

    #[test]
    fn a_batch_gives_back_its_commands() {
        let batch = Batch::new(b"GETkSETkv", &[2, 3, 1, 3, 3, 1, 1]).expect("well-formed");
        let commands: Vec<Vec<&[u8]>> = batch.commands().map(Iterator::collect).collect();
        assert_eq!(commands, [vec![&b"GET"[..], b"k"], vec![b"SET", b"k", b"v"]]);
    }
}
