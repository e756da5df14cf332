//! An async Redis client that logs in with Microsoft Entra ID tokens.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth_status;
mod clock;
mod connector;
mod driver;
mod error;
mod link;
mod notices;
mod pipeline;
mod redis;
mod reply;
mod shared;
mod tokens;
mod waiters;

pub use auth_status::AuthStatus;
pub use connector::Connector;
pub use error::Error;
pub use notices::Notices;
pub use pipeline::{Pipeline, PipelineFuture};
pub use redis::{CommandFuture, Redis};
pub use reply::{FromReply, Reply};
pub use respass::resp::{Kind, Reply as Value};
pub use respass::{
    Config, Credential, ErrorCode, FetchedToken, Limits, Notice, NoticeKind, Outcome, Secret, Severity,
    Timeouts, TlsConfig, TokenFailure, TokenState, UnixTime,
};
pub use tokens::Tokens;
