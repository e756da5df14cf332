//! What the decoder accepts, and how it says that it does not.

use std::fmt;

/// How much of a peer's claims to believe.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Aggregates inside aggregates. Redis itself nests a handful; hostile peers nest millions.
    pub depth_max: usize,
    /// Bytes of one bulk string. Redis' own `proto-max-bulk-len` is 512 MiB.
    pub bulk_len_max: usize,
    /// Values of one reply, all levels together.
    pub elements_max: u32,
    /// Bytes of a simple string, error or number. Redis limits its own lines to 64 KiB.
    pub line_len_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits {
            depth_max: 64,
            bulk_len_max: 512 << 20,
            elements_max: 16 << 20,
            line_len_max: 64 << 10,
        }
    }
}

impl DecodeLimits {
    /// No length may be more than a node can hold, nor more than memory could.
    pub(super) fn within_node(self) -> DecodeLimits {
        let len_max = usize::try_from(u32::MAX).unwrap_or(usize::MAX).min(isize::MAX.unsigned_abs());
        DecodeLimits {
            bulk_len_max: self.bulk_len_max.min(len_max),
            line_len_max: self.line_len_max.min(len_max),
            ..self
        }
    }
}

/// Why bytes are not RESP. The connection they came from cannot be trusted any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame began with a byte that no RESP type has.
    UnknownType(u8),
    /// A line or a bulk string did not end in CR LF, or a line held one of them.
    BadTerminator,
    /// A length or count was no plain decimal number.
    BadLength,
    /// An integer was no decimal number of 64 bits.
    BadInteger,
    /// A double, boolean, null, big number or verbatim string was malformed.
    BadValue(u8),
    /// A line was longer than `line_len_max`.
    LineTooLong,
    /// A bulk string declared more than `bulk_len_max` bytes.
    BulkTooLong,
    /// A reply declared more than `elements_max` values.
    TooManyElements,
    /// Aggregates were nested deeper than `depth_max`.
    TooDeep,
    /// A push frame stood inside another value.
    NestedPush,
    /// A chunk or an end mark stood where no streamed value was open, or the other way round.
    BadStream,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownType(byte) => write!(f, "no RESP type begins with byte 0x{byte:02x}"),
            DecodeError::BadTerminator => f.write_str("a line or bulk string does not end in CR LF"),
            DecodeError::BadLength => f.write_str("a length is not a plain decimal number"),
            DecodeError::BadInteger => f.write_str("an integer is not a decimal number of 64 bits"),
            DecodeError::BadValue(kind) => write!(f, "malformed value of type '{}'", kind.escape_ascii()),
            DecodeError::LineTooLong => f.write_str("a line is longer than the limit"),
            DecodeError::BulkTooLong => f.write_str("a bulk string is longer than the limit"),
            DecodeError::TooManyElements => f.write_str("a reply has more elements than the limit"),
            DecodeError::TooDeep => f.write_str("a reply is nested deeper than the limit"),
            DecodeError::NestedPush => f.write_str("a push frame stands inside another value"),
            DecodeError::BadStream => f.write_str("a streamed value is malformed"),
        }
    }
}

impl std::error::Error for DecodeError {}
