//! Commands to bytes: always an array of bulk strings, never an inline command, so that no argument can be read as
//! protocol.

/// Appends one command to `out`.
pub fn encode_command<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    encode_header(b'*', arguments.len(), out);
    for argument in arguments {
        encode_header(b'$', argument.len(), out);
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `<kind><len>\r\n`.
pub(crate) fn encode_header(kind: u8, len: usize, out: &mut Vec<u8>) {
    // Nearly all lengths are small, and appending an array of known size is a store instead of a call.
    let digit = |unit: usize| b'0' + (len / unit % 10) as u8;
    match len {
        0..10 => return out.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
        10..100 => return out.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
        100..1000 => return out.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']),
        _ => {}
    }
    // A digit buffer on the stack and one append: three small appends cost three capacity checks.
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(len).as_bytes();
    let mut line = [0; 24];
    let end = digits.len() + 1;
    line[0] = kind;
    line[1..end].copy_from_slice(digits);
    line[end] = b'\r';
    line[end + 1] = b'\n';
    out.extend_from_slice(&line[..end + 2]);
}

/// The length of the first command in `bytes`, which [`encode_command`] wrote; 0 where there is none.
pub(crate) fn command_len(bytes: &[u8]) -> usize {
    let Some((count, mut rest)) = split_header(b'*', bytes) else { return 0 };
    for _ in 0..count {
        let Some((_, after)) = split_argument(rest) else { return 0 };
        rest = after;
    }
    bytes.len() - rest.len()
}

/// The arguments of one command that [`encode_command`] wrote. Of other bytes, what can be read so.
pub(crate) fn split_encoded<'a>(bytes: &'a [u8], out: &mut Vec<&'a [u8]>) {
    out.clear();
    let Some((count, mut rest)) = split_header(b'*', bytes) else { return };
    for _ in 0..count {
        let Some((argument, after)) = split_argument(rest) else { return };
        out.push(argument);
        rest = after;
    }
}

fn split_argument(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split_header(b'$', bytes)?;
    let (argument, rest) = rest.split_at_checked(len)?;
    Some((argument, rest.strip_prefix(b"\r\n")?))
}

/// The length of `<kind><len>\r\n`, and what follows it.
fn split_header(kind: u8, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let line = bytes.strip_prefix(&[kind])?;
    let end = memchr::memchr(b'\r', line)?;
    let (digits, rest) = line.split_at_checked(end)?;
    let len = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((len, rest.strip_prefix(b"\r\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_read_back() {
        let long = vec![b'\r'; 70_000];
        let commands: [&[&[u8]]; 3] = [&[b"PING"], &[b"SET", b"", b"a\r\n$1\r\n"], &[b"SET", b"k", &long]];
        let mut arguments = vec![&b"left over"[..]];
        for command in commands {
            let mut encoded = Vec::new();
            encode_command(command.iter().copied(), &mut encoded);
            // The next command is none of its arguments.
            encoded.extend_from_slice(b"$1\r\nx\r\n");
            let encoded = encoded.as_slice();
            let mut read = std::mem::take(&mut arguments);
            split_encoded(encoded, &mut read);
            assert_eq!(read, command);
        }
    }

    #[test]
    fn of_other_bytes_what_can_be_read_is_read() {
        let mut out = Vec::new();
        for bytes in
            ["", "*", "*\r\n", "*x\r\n", "*1\r\n", "*1\r\n$9\r\nx\r\n", "*1\r\n$1\r\nxx\r\n", "+OK\r\n"]
        {
            split_encoded(bytes.as_bytes(), &mut out);
            assert!(out.is_empty(), "{bytes}");
        }
        split_encoded(b"*18446744073709551615\r\n$1\r\na\r\n$18446744073709551615\r\n", &mut out);
        assert_eq!(out, [b"a"]);
    }

    #[test]
    fn arguments_are_length_prefixed_so_nothing_in_them_is_protocol() {
        let arguments: [&[u8]; 3] = [b"SET", b"", b"a\r\n*1\r\n$8\r\nFLUSHALL\r\n"];
        let mut out = Vec::new();
        encode_command(arguments.into_iter(), &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$21\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n\r\n");
    }

    #[test]
    fn every_length_is_written_as_its_digits() {
        for len in (0..1100).chain([9_999, 10_000, 65_536, 1 << 29]) {
            let mut out = Vec::new();
            encode_header(b'$', len, &mut out);
            assert_eq!(out, format!("${len}\r\n").as_bytes());
        }
    }

    #[test]
    fn the_longest_length_fits_the_line() {
        let mut out = Vec::new();
        encode_header(b'$', usize::MAX, &mut out);
        assert_eq!(out, format!("${}\r\n", usize::MAX).as_bytes());
    }
}
