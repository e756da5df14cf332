//! The format of conversation vectors: the same in every language, see `tests/vectors/README.md`.

use crate::tree;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use respass::ErrorCode;
use respass::resp::{Kind, Reply};
use std::path::{Path, PathBuf};

/// Reads and writes texts; knows the tokens and the latest nonce that was sent.
#[derive(Default)]
pub struct Texts {
    tokens: Vec<(String, Vec<u8>)>,
    nonce: Vec<u8>,
}

impl Texts {
    /// `name {claims}` is a JSON Web Token without a signature, `name "text"` any other secret.
    pub fn define(&mut self, name: &str, definition: &str) {
        let token = match definition.starts_with('{') {
            true => format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(definition)).into_bytes(),
            false => self.bytes(definition),
        };
        self.tokens.push((name.to_owned(), token));
    }

    /// The text of a token.
    pub fn token(&self, name: &str) -> Vec<u8> {
        let token = self.tokens.iter().rfind(|(known, _)| known == name);
        token.unwrap_or_else(|| panic!("no token {name}")).1.clone()
    }

    /// The bytes of `"…"`.
    pub fn bytes(&self, quoted: &str) -> Vec<u8> {
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        self.word(inner.unwrap_or_else(|| panic!("not quoted: {quoted}")))
    }

    /// The bytes of a text with escapes.
    pub fn word(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = if text == "\"\"" { "" } else { text };
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let escape = &rest[at + 2..];
            // A name or a text between two marks, and what follows.
            let until = |mark| escape.split_once(mark).expect("the end of an escape");
            rest = match rest.as_bytes()[at + 1] {
                b'r' => push(&mut bytes, b"\r", escape),
                b'n' => push(&mut bytes, b"\n", escape),
                b'p' => push(&mut bytes, &self.nonce, escape),
                b'<' => push(&mut bytes, &self.token(until('>').0), until('>').1),
                b'x' => {
                    let byte = u8::from_str_radix(&escape[..2], 16).expect("two hexadecimal digits");
                    push(&mut bytes, &[byte], &escape[2..])
                }
                b'*' => {
                    let (count, inner) = until('}').0.split_once('{').expect("a count");
                    let count = count.parse().expect("a count");
                    push(&mut bytes, &self.word(inner).repeat(count), until('}').1)
                }
                other => push(&mut bytes, &[other], escape),
            };
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    /// Bytes as `"…"`.
    pub fn quote(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut bytes = bytes.as_ref();
        let mut text = String::from("\"");
        while let Some(&byte) = bytes.first() {
            if let Some((name, token)) = self.tokens.iter().find(|(_, token)| bytes.starts_with(token)) {
                text += &format!("\\<{name}>");
                bytes = &bytes[token.len()..];
                continue;
            }
            let one = match byte {
                b'\r' => "\\r".to_owned(),
                b'\n' => "\\n".to_owned(),
                b'"' | b'\\' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            let run = bytes.iter().take_while(|other| **other == byte).count();
            let run = if run < RUN_MIN { 1 } else { run };
            text += &if run == 1 { one } else { format!("\\*{run}{{{one}}}") };
            bytes = &bytes[run..];
        }
        text + "\""
    }

    /// Bytes on the wire, a line for each command.
    pub fn sent(&mut self, conn: u64, bytes: &[u8]) -> String {
        let nonce = bytes.windows(11).rposition(|window| window == b"PING\r\n$16\r\n");
        if let Some(nonce) = nonce.and_then(|at| bytes.get(at + 11..at + 27)) {
            self.nonce = nonce.to_vec();
        }
        let starts =
            bytes.windows(3).enumerate().filter(|(_, window)| window == b"\r\n*").map(|(at, _)| at + 2);
        let mut lines = String::new();
        let mut from = 0;
        for to in starts.chain([bytes.len()]) {
            lines += &format!("    send {conn} {}\n", self.quote(&bytes[from..to]));
            from = to;
        }
        lines
    }

    /// An error that the server sent: its number, and its text without the first word, which the number tells.
    pub fn server_error(&self, text: &[u8]) -> String {
        let word = text.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        let rest = if word > 0 && text.get(word) == Some(&b' ') { &text[word + 1..] } else { text };
        format!("{} refused {}", ErrorCode::of_reply(text) as u16, self.quote(rest))
    }

    /// A reply as every language can tell it from its own values.
    pub fn value(&self, reply: &Reply<'_>) -> String {
        let list = |elements: Vec<String>| elements.join(", ");
        match reply.kind() {
            Kind::Integer => reply.as_integer().unwrap_or_default().to_string(),
            Kind::Double => reply.as_double().unwrap_or_default().to_string().replace("NaN", "nan"),
            Kind::Boolean => reply.as_boolean().unwrap_or_default().to_string(),
            Kind::Null => "null".to_owned(),
            Kind::BigNumber => String::from_utf8_lossy(reply.as_bytes()).into_owned(),
            Kind::Error => format!("error {}", self.server_error(reply.as_bytes())),
            Kind::SimpleString | Kind::BulkString | Kind::VerbatimString => self.quote(reply.as_bytes()),
            Kind::Array | Kind::Set | Kind::Push => {
                format!("[{}]", list(reply.elements().map(|element| self.value(&element)).collect()))
            }
            Kind::Map => {
                let elements: Vec<String> = reply.elements().map(|element| self.value(&element)).collect();
                let pairs = elements.chunks(2).map(|pair| pair.join(": "));
                format!("{{{}}}", list(pairs.collect()))
            }
        }
    }
}

/// A run of the same byte is written short from so many on.
const RUN_MIN: usize = 32;

fn push<'a>(bytes: &mut Vec<u8>, more: &[u8], rest: &'a str) -> &'a str {
    bytes.extend_from_slice(more);
    rest
}

/// Every event of a vector, those that it was given first.
pub fn events(root: &Path, name: &str) -> Vec<String> {
    let text = read(root, name);
    let lines = text.lines().filter(|line| !line.starts_with("    ") && is_event(line));
    let events = lines.flat_map(|line| match line.strip_prefix("given ") {
        Some(other) => events(root, other),
        None => vec![line.to_owned()],
    });
    events.collect()
}

/// Whether something happens in this line.
pub(crate) fn is_event(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// A vector as it stands in its file.
pub(crate) fn read(root: &Path, name: &str) -> String {
    let path = root.join(format!("{name}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Every vector's name: its path below `root` without the ending.
pub fn names(root: &Path) -> Vec<String> {
    let name =
        |path: PathBuf| path.strip_prefix(root).expect("below").with_extension("").display().to_string();
    let names: Vec<String> = tree::files(root, &[".txt"]).into_iter().map(name).collect();
    assert!(!names.is_empty(), "no vector was found");
    names
}

/// `5s` in microseconds.
pub(crate) fn micros_of(seconds: &str) -> i64 {
    let seconds: f64 = seconds.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("no time: {seconds}"));
    (seconds * 1e6).round() as i64
}
