//! Why there is no connection, in words that name the likely cause: the same end of a socket means different things
//! before TLS is set up, before the login is answered, and later.

use crate::auth::LoginFault;
use crate::connection::{Breakage, Connection, Phase};
use crate::error::ErrorCode;
use crate::resp::DecodeError;

/// Why commands cannot be sent.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

/// How far a connection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    /// TCP is connected, TLS is not set up.
    TlsHandshake,
    LoggingIn {
        is_tls: bool,
        /// The error that the server answered so far.
        said: Option<String>,
    },
    Ready,
}

impl Stage {
    pub(super) fn of(connection: &Connection) -> Stage {
        match connection.phase() {
            Phase::Connecting => Stage::Connecting,
            Phase::LoggingIn if !connection.is_verified() => Stage::TlsHandshake,
            Phase::LoggingIn => Stage::LoggingIn {
                is_tls: connection.is_tls(),
                said: connection.login_error().map(|error| error.text.clone()),
            },
            Phase::Ready | Phase::Draining => Stage::Ready,
        }
    }

    fn is_plaintext_login(&self) -> bool {
        matches!(self, Stage::LoggingIn { is_tls: false, .. })
    }
}

impl Trouble {
    pub(super) fn of_breakage(breakage: Breakage, stage: Stage) -> Trouble {
        let lost = |text: &str| Trouble { code: ErrorCode::ConnectionLost, text: text.to_owned() };
        let unreachable = |text: &str| Trouble { code: ErrorCode::Unreachable, text: text.to_owned() };
        let protocol = |text: String| Trouble { code: ErrorCode::Protocol, text };
        match breakage {
            Breakage::Protocol(DecodeError::UnknownType(TLS_ALERT | TLS_HANDSHAKE))
                if stage.is_plaintext_login() =>
            {
                Trouble { code: ErrorCode::Tls, text: SPEAKS_TLS.to_owned() }
            }
            Breakage::Protocol(error) => protocol(format!("the server's bytes are no RESP: {error}")),
            Breakage::SurplusReply => protocol("a reply came that no command waits for".to_owned()),
            Breakage::NonceMismatch => {
                let text = "a PING came back with another text: replies and commands came apart";
                protocol(text.to_owned())
            }
            Breakage::Tls(error) => Trouble { code: ErrorCode::Tls, text: error.to_string() },
            Breakage::PeerClosed => Trouble::of_orderly_end(stage),
            Breakage::ConnectTimeout => unreachable("the connection was not established in time"),
            Breakage::LoginTimeout if stage == Stage::TlsHandshake => unreachable(NO_TLS_ANSWER),
            Breakage::LoginTimeout => unreachable("the login was not answered in time"),
            Breakage::SilentPeer => lost("nothing was heard of the server"),
            Breakage::BufferLost => lost("the driver lost what it received: it kept a receive buffer"),
            Breakage::TokenEnded => lost("the token ended before a newer one came"),
        }
    }

    /// The server closed the connection, as TLS or the socket told.
    pub(super) fn of_orderly_end(stage: Stage) -> Trouble {
        let text = match stage {
            Stage::Connecting | Stage::Ready => CLOSED_BY_SERVER.to_owned(),
            Stage::TlsHandshake => CLOSED_IN_TLS.to_owned(),
            // Too many clients, protected mode: one line, and the end.
            Stage::LoggingIn { said: Some(said), .. } => format!("{CLOSED_BY_SERVER} and said: {said}"),
            Stage::LoggingIn { is_tls: false, .. } => CLOSED_IN_PLAINTEXT_LOGIN.to_owned(),
            Stage::LoggingIn { is_tls: true, .. } => {
                "the server closed the connection before it answered the login".to_owned()
            }
        };
        Trouble { code: ErrorCode::ConnectionLost, text }
    }

    /// The socket broke; `text` is the system's.
    pub(super) fn of_breakdown(text: String, stage: Stage) -> Trouble {
        let text = match stage {
            Stage::Connecting | Stage::Ready => text,
            _ => format!("{}: {text}", Trouble::of_orderly_end(stage).text),
        };
        Trouble { code: ErrorCode::ConnectionLost, text }
    }
}

/// The code of a refused login.
pub(super) fn code_of(fault: LoginFault) -> ErrorCode {
    match fault {
        LoginFault::Unknown => ErrorCode::LoginRefused,
        LoginFault::NoAssignment => ErrorCode::NoAssignment,
        LoginFault::WrongUserName => ErrorCode::WrongUserName,
        LoginFault::WrongAudience => ErrorCode::WrongAudience,
        LoginFault::Expired => ErrorCode::TokenExpired,
        LoginFault::NotYetValid => ErrorCode::TokenNotYetValid,
    }
}

/// First bytes of TLS records (RFC 8446, 5.1), as a server sends them that was spoken to in plaintext.
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

const CLOSED_BY_SERVER: &str = "the server closed the connection";

const SPEAKS_TLS: &str = "the server speaks TLS on this port: connect with TLS (rediss://)";

const NO_TLS_ANSWER: &str = "the server did not answer in TLS: a port without TLS? Azure Managed Redis has TLS on \
     port 10000, Azure Cache for Redis on 6380";

const CLOSED_IN_TLS: &str = "the server closed the connection during the TLS handshake: a port without TLS, or it \
     takes no more connections";

const CLOSED_IN_PLAINTEXT_LOGIN: &str = "the server closed the connection before it answered: it may expect TLS \
     (rediss://), or take no more connections";
