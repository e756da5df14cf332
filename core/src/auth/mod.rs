//! Login and the life of tokens. Nothing here knows that a connection exists.

mod claims;
mod diagnosis;
mod handshake;
mod schedule;
mod source;

pub use claims::Claims;
pub(crate) use diagnosis::{Diagnosis, LoginFault};
pub use handshake::LoginRefusal;
pub(crate) use handshake::{Handshake, Login, Progress, encode_auth};
pub(crate) use schedule::{close_margin, lead};
pub use source::{FetchedToken, IssuedToken, SourceOutput, TokenFailure, TokenSource, TokenState};
