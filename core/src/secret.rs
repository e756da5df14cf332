//! The one type that may hold a token or a password.

use std::fmt;
use zeroize::Zeroizing;

/// Bytes that are never shown and are wiped when dropped. Wiping reaches this copy alone: what a host language, a
/// TLS buffer or the kernel copied is out of reach.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that writes them to the wire.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both hold the same bytes.
    pub(crate) fn same_as(&self, other: &Secret) -> bool {
        self.0 == other.0
    }

    /// A text of foreign origin with nothing of this secret in it: a server may echo what it was sent.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let window = Self::LEAK_LEN.min(self.0.len());
        let leaks = window > 0 && self.0.windows(window).any(|part| contains(text.as_bytes(), part));
        if leaks { "(text withheld: it repeats a secret)".to_owned() } else { text.to_owned() }
    }

    /// As many consecutive bytes of a secret are a leak.
    const LEAK_LEN: usize = 8;
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_is_redacted() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(redacted)");
    }

    #[test]
    fn a_text_that_repeats_part_of_the_secret_is_withheld() {
        let secret = Secret::new(b"eyJhbGciOiJSUzI1NiJ9.payload".to_vec());
        assert!(!secret.scrub("ERR unknown command, args: 'OiJSUzI1NiJ9'").contains("JSUzI1Ni"));
        assert_eq!(secret.scrub("WRONGPASS invalid"), "WRONGPASS invalid");
    }
}
