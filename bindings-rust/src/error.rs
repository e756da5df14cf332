//! Errors: a stable code, what became of the command, and a text that names cause and fix.

use respass::resp::{Kind, Reply as Value};
use respass::{CommandError, ConfigError, ErrorCode, Outcome, SubmitError};
use std::fmt;

/// Why a command, a connection or a conversion failed. Holds no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Cause>);

#[derive(Clone, PartialEq, Eq)]
enum Cause {
    Failed(CommandError),
    /// The command was answered, with something else than was asked for.
    Unexpected(String),
}

impl Error {
    pub(crate) fn closed(text: &str) -> Error {
        Error::not_sent(ErrorCode::Closed, text.to_owned())
    }

    pub(crate) fn invalid_config(text: &str) -> Error {
        Error::not_sent(ErrorCode::InvalidConfig, text.to_owned())
    }

    pub(crate) fn unexpected(wanted: &str, value: Value<'_>) -> Error {
        match value.kind() {
            Kind::Error => Error::of_reply(value.as_bytes()),
            kind => {
                Error(Box::new(Cause::Unexpected(format!("the reply is of kind {kind:?}, not {wanted}"))))
            }
        }
    }

    /// What the server said instead of a reply.
    pub(crate) fn of_reply(text: &[u8]) -> Error {
        let code = ErrorCode::of_reply(text);
        let text = String::from_utf8_lossy(text).into_owned();
        Error::from(CommandError { code, outcome: Outcome::Refused, text })
    }

    pub(crate) fn invalid_command(text: &str) -> Error {
        Error::not_sent(ErrorCode::InvalidCommand, text.to_owned())
    }

    /// The server ran nothing of a transaction.
    pub(crate) fn watch_lost(text: &str) -> Error {
        let (code, outcome) = (ErrorCode::WatchLost, Outcome::Refused);
        Error::from(CommandError { code, outcome, text: text.to_owned() })
    }

    fn not_sent(code: ErrorCode, text: String) -> Error {
        Error::from(CommandError { code, outcome: Outcome::NotSent, text })
    }

    /// What went wrong; stable across versions and languages.
    pub fn code(&self) -> ErrorCode {
        match &*self.0 {
            Cause::Failed(error) => error.code,
            Cause::Unexpected(_) => ErrorCode::UnexpectedReply,
        }
    }

    /// What became of the command; `None` where it was answered and the answer could not be converted.
    pub fn outcome(&self) -> Option<Outcome> {
        match &*self.0 {
            Cause::Failed(error) => Some(error.outcome),
            Cause::Unexpected(_) => None,
        }
    }

    /// The cause, for people; may be the server's own words.
    pub fn text(&self) -> &str {
        match &*self.0 {
            Cause::Failed(error) => &error.text,
            Cause::Unexpected(text) => text,
        }
    }

    /// What to do about it, where experience tells.
    pub fn hint(&self) -> Option<&'static str> {
        self.code().hint()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Failed(error) => error.fmt(f),
            Cause::Unexpected(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("outcome", &self.outcome())
            .field("text", &self.text())
            .finish()
    }
}

impl std::error::Error for Error {}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Error {
        Error(Box::new(Cause::Failed(error)))
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Error {
        Error::not_sent(error.code, error.text)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Error {
        Error::not_sent(ErrorCode::InvalidConfig, error.text)
    }
}
