//! Errors as callers see them: a stable code, what became of the command, and a text that names the cause.

use std::fmt;

/// What became of a command that has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// None of it, or not all of it, was handed over: the server did not run it.
    NotSent = 1,
    /// Its bytes may have left: the server may or may not have run it.
    Indeterminate = 2,
    /// The server answered, and refused it.
    Refused = 3,
}

/// What went wrong. The numbers are stable across versions and languages and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The client is closed.
    Closed = 100,
    /// More bytes are queued and in flight than `Limits::queued_bytes_max` allows.
    QueueFull = 101,
    /// The command is empty, malformed or too large.
    InvalidCommand = 102,
    /// The command would need a connection of its own.
    NeedsOwnConnection = 103,
    /// The command changes a state that the client keeps itself.
    OwnedByClient = 104,
    /// The configuration cannot work.
    InvalidConfig = 105,
    /// A reply is of another kind than the caller asked for. The command was answered.
    UnexpectedReply = 106,

    /// The server could not be reached.
    Unreachable = 200,
    /// The connection was lost.
    ConnectionLost = 201,
    /// TLS failed: certificate, versions, or a broken stream.
    Tls = 202,
    /// The server's bytes were no RESP, or its replies did not fit the commands.
    Protocol = 203,
    /// The connection was lost since WATCH: nobody knows whether the keys were written to.
    WatchLost = 204,
    /// No node of the cluster serves the slot, or the server is no node of a cluster.
    NoNode = 205,

    /// No reply came in time.
    Timeout = 300,
    /// The caller gave up.
    Cancelled = 301,

    /// The server refused the login.
    LoginRefused = 400,
    /// The credential gave no token.
    TokenUnavailable = 401,
    /// The token cannot be used, or must not be sent.
    TokenRefused = 402,
    /// The server refused a token that looks right: its identity has no access policy assignment.
    NoAssignment = 403,
    /// The server refused a token that was sent with another user name than its object id.
    WrongUserName = 404,
    /// The server refused a token that is for another service.
    WrongAudience = 405,
    /// The server refused a token that has ended by the local clock.
    TokenExpired = 406,
    /// The server refused a token that is not valid yet by the local clock.
    TokenNotYetValid = 407,

    /// An error reply that no other code names.
    Server = 500,
    /// `WRONGPASS`
    WrongPass = 501,
    /// `NOAUTH`
    NoAuth = 502,
    /// `NOPERM`
    NoPerm = 503,
    /// `LOADING`
    Loading = 504,
    /// `BUSY`
    Busy = 505,
    /// `READONLY`
    ReadOnly = 506,
    /// `OOM`
    OutOfMemory = 507,
    /// `NOSCRIPT`
    NoScript = 508,
    /// `EXECABORT`, or the error that made EXEC run nothing.
    ExecAbort = 509,
    /// `WRONGTYPE`
    WrongType = 510,
    /// `MOVED`
    Moved = 511,
    /// `ASK`
    Ask = 512,
    /// `TRYAGAIN`
    TryAgain = 513,
    /// `CROSSSLOT`
    CrossSlot = 514,
    /// `CLUSTERDOWN`
    ClusterDown = 515,
    /// `MASTERDOWN`
    MasterDown = 516,
    /// `MISCONF`
    Misconf = 517,
    /// `NOREPLICAS`
    NoReplicas = 518,
    /// `UNKILLABLE`
    Unkillable = 519,
    /// `BUSYGROUP`
    BusyGroup = 520,
    /// `NOGROUP`
    NoGroup = 521,
}

impl ErrorCode {
    /// What to do about it, where experience tells; one sentence or two, for people.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            ErrorCode::TokenUnavailable => {
                "Check the identity, and the environment that the credential takes it from"
            }
            ErrorCode::NoAssignment => {
                "Assign an access policy of the cache to this object id, not to its client id and not to a group; \
                 an assignment takes effect within minutes"
            }
            ErrorCode::WrongUserName => {
                "Leave the user name out, it is taken from the token; or give the identity's object id"
            }
            ErrorCode::WrongAudience => "Ask for the scope https://redis.azure.com/.default",
            ErrorCode::TokenExpired => "Set this machine's clock; or the credential returned an old token",
            ErrorCode::TokenNotYetValid => "Set this machine's clock: it is behind the issuer's",
            _ => return None,
        })
    }

    /// Whether the server, or this client, found fault with who logs in.
    pub(crate) fn is_about_login(self) -> bool {
        (ErrorCode::LoginRefused as u16..=ErrorCode::TokenNotYetValid as u16).contains(&(self as u16))
    }

    /// Which error a reply of kind [`Error`](crate::resp::Kind::Error) is, by its first word: the rest of the text
    /// differs between server versions.
    pub fn of_reply(text: &[u8]) -> ErrorCode {
        let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        match word {
            b"WRONGPASS" => ErrorCode::WrongPass,
            b"NOAUTH" => ErrorCode::NoAuth,
            b"NOPERM" => ErrorCode::NoPerm,
            b"LOADING" => ErrorCode::Loading,
            b"BUSY" => ErrorCode::Busy,
            b"READONLY" => ErrorCode::ReadOnly,
            b"OOM" => ErrorCode::OutOfMemory,
            b"NOSCRIPT" => ErrorCode::NoScript,
            b"EXECABORT" => ErrorCode::ExecAbort,
            b"WRONGTYPE" => ErrorCode::WrongType,
            b"MOVED" => ErrorCode::Moved,
            b"ASK" => ErrorCode::Ask,
            b"TRYAGAIN" => ErrorCode::TryAgain,
            b"CROSSSLOT" => ErrorCode::CrossSlot,
            b"CLUSTERDOWN" => ErrorCode::ClusterDown,
            b"MASTERDOWN" => ErrorCode::MasterDown,
            b"MISCONF" => ErrorCode::Misconf,
            b"NOREPLICAS" => ErrorCode::NoReplicas,
            b"UNKILLABLE" => ErrorCode::Unkillable,
            b"BUSYGROUP" => ErrorCode::BusyGroup,
            b"NOGROUP" => ErrorCode::NoGroup,
            _ => ErrorCode::Server,
        }
    }
}

/// Why a command that was accepted has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What went wrong.
    pub code: ErrorCode,
    /// What became of the command.
    pub outcome: Outcome,
    /// The cause, for people. Holds no secret; may hold text of the server's.
    pub text: String,
}

impl CommandError {
    /// Cause and fix, for hosts that show the outcome apart.
    pub fn message(&self) -> String {
        match self.code.hint() {
            Some(hint) => format!("{}. {hint}", self.text),
            None => self.text.clone(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::NotSent => " (not sent)",
            Outcome::Indeterminate => " (it may have run)",
            Outcome::Refused => "",
        };
        write!(f, "{}{outcome}", self.text)?;
        self.code.hint().map_or(Ok(()), |hint| write!(f, ". {hint}"))
    }
}

impl std::error::Error for CommandError {}

/// Why a command was not accepted. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitError {
    /// What is wrong.
    pub code: ErrorCode,
    /// The cause, for people.
    pub text: String,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SubmitError {}

/// Why no client can be made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The cause, for people.
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}
