//! Replies and pushes as the server sends them, in as much depth as the front needs.

use redis_protocol::error::RedisProtocolError;
use redis_protocol::{resp2, resp3};

/// One reply or push, framed but not looked into.
pub(super) enum Frame {
    Two(resp2::types::RangeFrame),
    Three(resp3::types::RangeFrame),
    /// An aggregate whose elements redis-protocol cannot hold; its first byte.
    Opaque(u8),
}

/// A reply, and for the elements of an array or push one level more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'b> {
    Simple(&'b [u8]),
    Error,
    Bulk(&'b [u8]),
    Array(Vec<Reply<'b>>),
    Map,
    Push(Vec<Reply<'b>>),
    Other,
}

/// The first frame in `buffer` and its length, or nothing if its end has not arrived.
pub(super) fn decode(buffer: &[u8], resp3: bool) -> Result<Option<(Frame, usize)>, RedisProtocolError> {
    let Some(first) = buffer.first() else {
        return Ok(None);
    };
    // The RESP3 decoder takes `$-1` for the start of a streamed string, so it gets only what RESP2 does not
    // have.
    let decoded = match first {
        b'+' | b'-' | b':' | b'$' => decode_resp2(buffer),
        b'*' if resp3 => decode_resp3(buffer),
        // An EXEC with a HELLO 3 in it answers with RESP3 inside of RESP2.
        b'*' => decode_resp2(buffer).or_else(|_| decode_resp3(buffer)),
        _ => decode_resp3(buffer),
    };
    // redis-protocol keeps sets and maps as hash tables and refuses keys that are aggregates, but RESP3
    // allows them and COMMAND has them. Then the elements are framed one by one.
    decoded.or_else(|error| match element_count(buffer) {
        Some(_) => Ok(len_by_elements(buffer)?.map(|len| (Frame::Opaque(*first), len))),
        None => Err(error),
    })
}

/// Length of the aggregate at the start of `buffer`, or nothing if its end has not arrived.
fn len_by_elements(buffer: &[u8]) -> Result<Option<usize>, RedisProtocolError> {
    let (mut len, mut missing_count) = (0_usize, 1_usize);
    while missing_count > 0 {
        let Some((count, head_len)) = head(&buffer[len..])? else {
            return Ok(None);
        };
        len += head_len;
        missing_count = missing_count.saturating_add(count) - 1;
    }
    Ok(Some(len))
}

/// How many frames follow as elements of the one at the start of `buffer`, and the length of its own bytes;
/// nothing if their end has not arrived.
fn head(buffer: &[u8]) -> Result<Option<(usize, usize)>, RedisProtocolError> {
    match element_count(buffer) {
        Some(header) => Ok(Some(header)),
        None => {
            let leaf = if buffer.starts_with(b"$") { decode_resp2(buffer)? } else { decode_resp3(buffer)? };
            Ok(leaf.map(|(_, len)| (0, len)))
        }
    }
}

/// Length of the first leaf, or of the first line of an aggregate; nothing if there is no such whole thing.
pub(super) fn head_len(buffer: &[u8]) -> Option<usize> {
    head(buffer).ok().flatten().map(|(_, len)| len)
}

/// How many frames make up the aggregate at the start of `buffer`, and the length of its first line; nothing
/// if there is no such whole line.
fn element_count(buffer: &[u8]) -> Option<(usize, usize)> {
    let frames_per_element = match buffer.first()? {
        b'*' | b'~' | b'>' => 1,
        b'%' => 2,
        _ => return None,
    };
    let line_len = buffer.windows(2).position(|pair| pair == b"\r\n")?;
    let count: i64 = std::str::from_utf8(&buffer[1..line_len]).ok()?.parse().ok()?;
    // A null array of RESP2 counts -1 and has no elements.
    let count = usize::try_from(count).unwrap_or(0);
    Some((count.saturating_mul(frames_per_element), line_len + 2))
}

fn decode_resp2(buffer: &[u8]) -> Result<Option<(Frame, usize)>, RedisProtocolError> {
    Ok(resp2::decode::decode_range(buffer)?.map(|(frame, len)| (Frame::Two(frame), len)))
}

fn decode_resp3(buffer: &[u8]) -> Result<Option<(Frame, usize)>, RedisProtocolError> {
    Ok(resp3::decode::complete::decode_range(buffer)?.map(|(frame, len)| (Frame::Three(frame), len)))
}

impl Frame {
    /// The frame with the bytes of the buffer it was decoded from.
    pub(super) fn view<'b>(&self, buffer: &'b [u8]) -> Reply<'b> {
        use resp2::types::RangeFrame as Two;
        use resp3::types::RangeFrame as Three;
        match self {
            Frame::Two(Two::Array(elements)) => {
                Reply::Array(elements.iter().map(|element| shallow_resp2(element, buffer)).collect())
            }
            Frame::Three(Three::Array { data, .. }) => {
                Reply::Array(data.iter().map(|element| shallow_resp3(element, buffer)).collect())
            }
            Frame::Three(Three::Push { data, .. }) => {
                Reply::Push(data.iter().map(|element| shallow_resp3(element, buffer)).collect())
            }
            Frame::Opaque(b'%') => Reply::Map,
            Frame::Opaque(b'*') => Reply::Array(Vec::new()),
            Frame::Opaque(b'>') => Reply::Push(Vec::new()),
            Frame::Opaque(_) => Reply::Other,
            Frame::Two(frame) => shallow_resp2(frame, buffer),
            Frame::Three(frame) => shallow_resp3(frame, buffer),
        }
    }
}

fn shallow_resp2<'b>(frame: &resp2::types::RangeFrame, buffer: &'b [u8]) -> Reply<'b> {
    use resp2::types::RangeFrame as Two;
    match frame {
        Two::SimpleString((start, end)) => Reply::Simple(&buffer[*start..*end]),
        Two::Error(_) => Reply::Error,
        Two::BulkString((start, end)) => Reply::Bulk(&buffer[*start..*end]),
        Two::Array(_) => Reply::Array(Vec::new()),
        Two::Integer(_) | Two::Null => Reply::Other,
    }
}

fn shallow_resp3<'b>(frame: &resp3::types::RangeFrame, buffer: &'b [u8]) -> Reply<'b> {
    use resp3::types::RangeFrame as Three;
    match frame {
        Three::SimpleString { data: (start, end), .. } => Reply::Simple(&buffer[*start..*end]),
        Three::SimpleError { .. } | Three::BlobError { .. } => Reply::Error,
        Three::BlobString { data: (start, end), .. } => Reply::Bulk(&buffer[*start..*end]),
        Three::Array { .. } => Reply::Array(Vec::new()),
        Three::Map { .. } => Reply::Map,
        Three::Push { .. } => Reply::Push(Vec::new()),
        _ => Reply::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_or_not_there() {
        let frames: [(&[u8], bool); 8] = [
            (b"+OK\r\n", false),
            (b"$-1\r\n", true),
            (b"*2\r\n$-1\r\n*-1\r\n", false),
            (b"*2\r\n_\r\n%1\r\n+a\r\n:1\r\n", true),
            // What redis-protocol refuses: aggregates as keys.
            (b"~1\r\n*1\r\n$2\r\nab\r\n", true),
            (b"*2\r\n~1\r\n%1\r\n+a\r\n~0\r\n,1.5\r\n", true),
            (b"%1\r\n*1\r\n:1\r\n#t\r\n", true),
            (b">2\r\n$7\r\nmessage\r\n_\r\n", true),
        ];
        for (bytes, resp3) in frames {
            let shown = String::from_utf8_lossy(bytes);
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len], resp3).expect("framed").is_none(), "{len} of {shown}");
            }
            let longer = [bytes, b"+OK\r\n"].concat();
            let (_, len) = decode(&longer, resp3).expect("framed").expect("whole");
            assert_eq!(len, bytes.len(), "{shown}");
        }
        assert!(decode(b"?\r\n", true).is_err());
    }
}
