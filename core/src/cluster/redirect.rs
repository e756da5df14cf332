//! MOVED and ASK. A redirect is untrusted text that names an endpoint: it is read strictly or not at all.

use super::{checked_host, decimal};
use crate::slot::SLOT_COUNT;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// The slot is elsewhere.
    Moved,
    /// The slot is on its way, and the key may have arrived.
    Ask,
}

/// What a redirect says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redirect<'a> {
    pub(crate) kind: RedirectKind,
    pub(crate) slot: u16,
    /// Empty: that of the node that answered.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

/// Reads the text of an error: `MOVED <slot> <host>:<port>`. `None` where it is no redirect, an error where it is none
/// that could be followed.
pub(crate) fn parse_redirect(text: &[u8]) -> Option<Result<Redirect<'_>, ()>> {
    let mut words = text.splitn(2, |&byte| byte == b' ');
    let kind = match words.next()? {
        b"MOVED" => RedirectKind::Moved,
        b"ASK" => RedirectKind::Ask,
        _ => return None,
    };
    Some(words.next().and_then(|rest| target(kind, rest)).ok_or(()))
}

fn target(kind: RedirectKind, rest: &[u8]) -> Option<Redirect<'_>> {
    let blank = memchr::memchr(b' ', rest)?;
    let slot = decimal(rest.get(..blank)?).filter(|&slot| slot < SLOT_COUNT)?;
    let address = rest.get(blank + 1..)?;
    // The last one: addresses of version 6 have colons of their own.
    let colon = memchr::memrchr(b':', address)?;
    let host = match address.get(..colon)? {
        b"" => "",
        host => checked_host(host)?,
    };
    let port = decimal(address.get(colon + 1..)?).filter(|&port| port > 0)?;
    Some(Redirect { kind, slot, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_of_all_servers_are_read() {
        for (text, kind, slot, host, port) in [
            ("MOVED 866 13.90.202.154:13000", RedirectKind::Moved, 866, "13.90.202.154", 13000),
            ("ASK 16383 h-1.example:65535", RedirectKind::Ask, 16383, "h-1.example", 65535),
            ("MOVED 0 :8501", RedirectKind::Moved, 0, "", 8501),
            ("MOVED 1 ::1:7000", RedirectKind::Moved, 1, "::1", 7000),
        ] {
            assert_eq!(
                parse_redirect(text.as_bytes()),
                Some(Ok(Redirect { kind, slot, host, port })),
                "{text}"
            );
        }
    }

    #[test]
    fn redirects_that_make_no_sense_are_known_as_such() {
        for text in [
            "MOVED",
            "ASK",
            "MOVED ",
            "MOVED 1",
            "MOVED 1 ",
            "MOVED 1 h",
            "MOVED 1 h:",
            "MOVED 1 ?:7000",
            "MOVED 1 h:0",
            "MOVED 1 h:65536",
            "MOVED 1 h:+1",
            "MOVED 1 h:1 ",
            "MOVED 1 h:1 (shard 0)",
            "MOVED  1 h:1",
            "MOVED 16384 h:1",
            "MOVED -1 h:1",
            "MOVED +1 h:1",
            "MOVED x h:1",
            "ASK 1 a b:1",
            "MOVED 1 a\rb:1",
            "MOVED 1 u@h:1",
            "MOVED 1 h:1\n",
            "MOVED 99999999999 h:1",
            "MOVED 1 [::1]:1",
        ] {
            assert_eq!(parse_redirect(text.as_bytes()), Some(Err(())), "{text}");
        }
        assert_eq!(parse_redirect(b"MOVED 1 \xff:1"), Some(Err(())));
        assert_eq!(parse_redirect(format!("MOVED 1 {}:1", "h".repeat(254)).as_bytes()), Some(Err(())));
    }

    #[test]
    fn other_errors_are_no_redirects() {
        for text in
            ["", "ERR MOVED 1 h:1", "MOVEDX 1 h:1", "moved 1 h:1", "ASKING", "TRYAGAIN x", " MOVED 1 h:1"]
        {
            assert_eq!(parse_redirect(text.as_bytes()), None, "{text}");
        }
    }
}
