//! What applications want of their servers, and what they must be told about it.

use respass::resp::{Kind, Reply};
use respass::{ErrorCode, Outcome, SessionId};

/// Work, and the answer that it must get.
#[derive(Debug)]
pub struct Errand {
    /// What to do.
    pub work: Work,
    /// What must come of it.
    pub expected: Expected,
}

/// What to do.
#[derive(Debug)]
pub enum Work {
    /// One command, as words.
    Command(Vec<Vec<u8>>),
    /// Several, all or none taken.
    Batch(Vec<Vec<Vec<u8>>>),
    /// MULTI to EXEC.
    Transaction(Vec<Vec<Vec<u8>>>),
    /// WATCH, and later a transaction that writes `payload`.
    Session {
        /// Of the watched key.
        tag: u64,
        /// What the transaction writes.
        payload: u64,
    },
}

impl Work {
    /// One command, as words.
    pub fn command(words: &[&str]) -> Work {
        Work::Command(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    /// The words of a write to the key of a tag.
    pub fn increment(prefix: &str, tag: u64, payload: u64) -> Vec<Vec<u8>> {
        let words = ["INCRBY".to_owned(), format!("{prefix}{{t{tag}}}:{payload}"), payload.to_string()];
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    /// The commands as two blocks.
    pub fn blocks(&self) -> (Vec<u8>, Vec<u32>) {
        let commands = match self {
            Work::Batch(commands) | Work::Transaction(commands) => commands.as_slice(),
            Work::Command(_) | Work::Session { .. } => &[],
        };
        let lengths = commands.iter().flat_map(|words| {
            std::iter::once(words.len()).chain(words.iter().map(Vec::len)).map(|len| len as u32)
        });
        (commands.concat().concat(), lengths.collect())
    }
}

/// What must come of it; each payload identifies one effect at a server.
#[derive(Clone, Debug)]
pub enum Expected {
    /// These, one by one.
    Each(Vec<u64>),
    /// The same, from several nodes.
    EachOfSplit(Vec<u64>),
    /// How many they are, from several nodes.
    Count(Vec<u64>),
    /// OK, from several nodes.
    Done(Vec<u64>),
    /// An element, or a null when time is up.
    Popped(u64),
    /// What a script says, which may look like anything.
    Forged(u64),
    /// Any number; nothing is written.
    Number,
    /// OK to WATCH; the payload is the transaction's.
    Watching {
        /// What the transaction will write.
        payload: u64,
    },
    /// The transaction's answer, or a null where somebody wrote to the key.
    EachOrNothing {
        /// What it writes.
        payload: u64,
        /// In which session.
        session: SessionId,
    },
}

/// What became of a payload, as the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The reply came.
    Replied,
    /// The reply came, and says that nothing was done.
    Nothing,
    /// The server answered with an error.
    Error(ErrorCode),
    /// The same, of a script that says so after it has run, or of one part of a command of many: each runs once at
    /// most, the ledger sees to it.
    MayHaveRun,
    /// It ended without.
    Failed(Outcome),
}

impl Told {
    /// What is told of a command is told of each of its parts, which may have fared better.
    pub fn of_part(self, is_split: bool) -> Told {
        match self {
            Told::Error(_) | Told::Failed(Outcome::Refused) if is_split => Told::MayHaveRun,
            told => told,
        }
    }
}

impl Expected {
    /// Every payload.
    pub fn payloads(self) -> Vec<u64> {
        match self {
            Expected::Each(payloads)
            | Expected::EachOfSplit(payloads)
            | Expected::Count(payloads)
            | Expected::Done(payloads) => payloads,
            Expected::Popped(payload)
            | Expected::Forged(payload)
            | Expected::Watching { payload }
            | Expected::EachOrNothing { payload, .. } => vec![payload],
            Expected::Number => Vec::new(),
        }
    }

    /// Whether several nodes have a part in it.
    pub fn is_split(&self) -> bool {
        matches!(self, Expected::EachOfSplit(_) | Expected::Count(_) | Expected::Done(_))
    }

    /// A reply that does not belong to the command is found out here (A2).
    pub fn judge(&self, reply: &Reply<'_>) -> Told {
        if let Expected::Forged(_) = self {
            return if reply.kind() == Kind::Error { Told::MayHaveRun } else { Told::Replied };
        }
        if reply.kind() == Kind::Error {
            return Told::Error(ErrorCode::of_reply(reply.as_bytes()));
        }
        let texts: Vec<Vec<u8>> = match reply.elements().len() {
            0 => vec![text_of(reply)],
            _ => reply.elements().map(|element| text_of(&element)).collect(),
        };
        let is_right = match self {
            Expected::Each(payloads) | Expected::EachOfSplit(payloads) => {
                texts == payloads.iter().map(|payload| payload.to_string().into_bytes()).collect::<Vec<_>>()
            }
            Expected::Count(payloads) => texts == [payloads.len().to_string().into_bytes()],
            Expected::Done(_) | Expected::Watching { .. } => texts == [b"OK"],
            Expected::Popped(_) | Expected::EachOrNothing { .. } if reply.kind() == Kind::Null => {
                return Told::Nothing;
            }
            Expected::Popped(payload) => texts[0].ends_with(format!(":{payload}").as_bytes()),
            Expected::EachOrNothing { payload, .. } => texts == [payload.to_string().into_bytes()],
            Expected::Number => reply.kind() == Kind::Integer,
            Expected::Forged(_) => true,
        };
        assert!(is_right, "A2: {reply:?} answers {self:?}");
        Told::Replied
    }
}

fn text_of(reply: &Reply<'_>) -> Vec<u8> {
    match reply.as_integer() {
        Some(number) => number.to_string().into_bytes(),
        None => reply.as_bytes().to_vec(),
    }
}
