//! RESP as the model servers speak it: strict where they read, in the connection's own protocol where they write.

/// One command as received.
pub type Arguments = Vec<Vec<u8>>;

/// What a server writes to one connection.
#[derive(Debug, Default)]
pub struct Writer {
    /// The bytes so far.
    pub bytes: Vec<u8>,
    /// Whether the connection speaks RESP3.
    pub is_resp3: bool,
}

impl Writer {
    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.line('+', text);
    }

    /// `-text`
    pub fn error(&mut self, text: &str) {
        self.line('-', text);
    }

    /// `:number`
    pub fn integer(&mut self, number: i64) {
        self.line(':', &number.to_string());
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.line('$', &bytes.len().to_string());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The header of an array.
    pub fn array(&mut self, len: usize) {
        self.line('*', &len.to_string());
    }

    /// The header of a map of so many pairs: an array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3 { self.line('%', &pairs.to_string()) } else { self.array(2 * pairs) }
    }

    /// The header of a push: an array in RESP2.
    pub fn push(&mut self, len: usize) {
        if self.is_resp3 { self.line('>', &len.to_string()) } else { self.array(len) }
    }

    /// A null array (RESP2 tells two kinds of null apart).
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(if self.is_resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// A null string.
    pub fn null_bulk(&mut self) {
        self.bytes.extend_from_slice(if self.is_resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    fn line(&mut self, kind: char, text: &str) {
        self.bytes.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
    }
}

/// Takes the next whole command off the buffer. Anything but an array of bulk strings is the client's error.
pub fn next_command(buffer: &mut Vec<u8>) -> Option<Arguments> {
    let mut at = 0;
    let count = header(buffer, b'*', &mut at)?;
    let mut command = Vec::with_capacity(count);
    for _ in 0..count {
        let len = header(buffer, b'$', &mut at)?;
        let end = at + len;
        if buffer.len() < end + 2 {
            return None;
        }
        command.push(buffer[at..end].to_vec());
        assert_eq!(&buffer[end..end + 2], b"\r\n", "a bulk string without its end");
        at = end + 2;
    }
    buffer.drain(..at);
    Some(command)
}

fn header(buffer: &[u8], kind: u8, at: &mut usize) -> Option<usize> {
    let line = buffer.get(*at..)?;
    let end = line.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(line[0], kind, "the client broke the framing");
    let number = std::str::from_utf8(&line[1..end]).expect("digits").parse().expect("a length");
    *at += end + 2;
    Some(number)
}
