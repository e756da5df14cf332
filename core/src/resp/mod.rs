//! RESP2 and RESP3 framing: commands to bytes, bytes to a flat tape of replies.
//!
//! Protocol: <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Both versions are read by one decoder,
//! because a server switches between them in mid-connection.

mod decode;
mod encode;
mod limits;
mod reply;
mod scan;

pub use decode::{Decoder, Frame};
pub use encode::encode_command;
pub(crate) use encode::{command_len, encode_header, split_encoded};
pub use limits::{DecodeError, DecodeLimits};
pub use reply::{Elements, Kind, Node, Reply};
