//! Commands as clients send them: framing, the few kinds that the front has to know, and logins rewritten for
//! the backend.

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use super::outstanding::{Expected, Space};
use crate::cluster::View;

/// One command in a receive buffer.
pub(super) struct Command<'b> {
    buffer: &'b [u8],
    arguments: Vec<RangeFrame>,
    /// Length of the whole frame.
    pub(super) len: usize,
}

/// What the front has to do with a command.
pub(super) enum Treatment {
    /// Redis ignores an empty array, and answers nothing.
    Drop,
    /// Hand it on as it is, and expect this.
    Forward(Expected),
    /// Check the token, then hand on the rewritten command. The numbers are argument positions; an AUTH
    /// without a user has none.
    Login { user: Option<usize>, token: usize },
    /// A login beyond the limits that redis has before a login: redis itself must see it.
    OversizeLogin,
}

/// The bytes are no command; nothing after them can be understood.
#[derive(Debug)]
pub(super) struct Broken;

impl<'b> Command<'b> {
    /// The first command in `buffer`, or nothing if its end has not arrived.
    pub(super) fn decode(buffer: &'b [u8]) -> Result<Option<Command<'b>>, Broken> {
        if buffer.first().is_some_and(|&byte| byte != b'*') {
            return Err(Broken);
        }
        match decode_range(buffer).map_err(|_| Broken)? {
            None => Ok(None),
            Some((RangeFrame::Null, len)) => Ok(Some(Command { buffer, arguments: Vec::new(), len })),
            Some((RangeFrame::Array(arguments), len)) => {
                let bulk = |argument: &RangeFrame| matches!(argument, RangeFrame::BulkString(_));
                arguments.iter().all(bulk).then_some(Some(Command { buffer, arguments, len })).ok_or(Broken)
            }
            Some(_) => Err(Broken),
        }
    }

    pub(super) fn bytes(&self) -> &'b [u8] {
        &self.buffer[..self.len]
    }

    pub(super) fn argument(&self, position: usize) -> &'b [u8] {
        match self.arguments[position] {
            RangeFrame::BulkString((start, end)) => &self.buffer[start..end],
            _ => unreachable!("decode lets only bulk strings through"),
        }
    }

    /// All arguments, the name among them.
    pub(super) fn arguments(&self) -> Vec<&'b [u8]> {
        (0..self.arguments.len()).map(|position| self.argument(position)).collect()
    }

    /// Whether this is HELLO, and the protocol that it asks for is 3.
    pub(super) fn is_hello(&self) -> (bool, bool) {
        let hello = matches!(self.name(), Name::Hello);
        (hello, hello && self.arguments.len() > 1 && self.argument(1) == b"3")
    }

    /// What a connection is used for that sends this; nothing for what any may send.
    pub(super) fn lane(&self) -> Option<&'static str> {
        let name = self.argument(0);
        let is = |names: &[&str]| names.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()));
        let blocks = || self.arguments().iter().any(|argument| argument.eq_ignore_ascii_case(b"block"));
        if matches!(self.name(), Name::Subscribe(_)) {
            Some("subscriptions")
        } else if matches!(self.name(), Name::Monitor) {
            Some("monitor")
        } else if is(&BLOCKING) || (is(&["xread", "xreadgroup"]) && blocks()) {
            Some("blocking")
        } else if is(&["watch"]) {
            Some("transactions")
        } else {
            None
        }
    }

    pub(super) fn treatment(&self) -> Treatment {
        let argument_count = self.arguments.len();
        if argument_count == 0 {
            return Treatment::Drop;
        }
        let expected = match self.name() {
            Name::Auth => match argument_count {
                2 => return self.login(None, 1),
                3 => return self.login(Some(1), 2),
                _ => Expected::Ordinary(1),
            },
            Name::Hello => match self.hello_token() {
                Some(token) => return self.login(Some(token - 1), token),
                None => Expected::Hello,
            },
            Name::Info => Expected::Info,
            Name::Cluster => View::of(&self.arguments()).map_or(Expected::Ordinary(1), Expected::Topology),
            Name::Monitor => Expected::Monitor,
            Name::Exec => Expected::Exec,
            Name::Discard => Expected::Discard,
            Name::Subscribe(space) => Expected::Confirmations(argument_count - 1, space, true),
            Name::Unsubscribe(space) if argument_count == 1 => Expected::UnsubscribedFromAll(space),
            Name::Unsubscribe(space) => Expected::Confirmations(argument_count - 1, space, false),
            Name::Ordinary => Expected::Ordinary(1),
        };
        Treatment::Forward(match expected {
            // Without a channel: an error, not a confirmation.
            Expected::Confirmations(0, ..) => Expected::Ordinary(1),
            other => other,
        })
    }

    /// Appends the command with other credentials to `output`.
    pub(super) fn rewrite(
        &self,
        user: Option<usize>,
        token: usize,
        credentials: (&str, &str),
        output: &mut Vec<u8>,
    ) {
        let shift = usize::from(user.is_none());
        output.extend_from_slice(format!("*{}\r\n", self.arguments.len() + shift).as_bytes());
        for position in 0..self.arguments.len() {
            if position == token {
                if user.is_none() {
                    bulk(credentials.0.as_bytes(), output);
                }
                bulk(credentials.1.as_bytes(), output);
            } else if user == Some(position) {
                bulk(credentials.0.as_bytes(), output);
            } else {
                bulk(self.argument(position), output);
            }
        }
    }

    /// Appends the command with one argument that no command knows to `output`.
    pub(super) fn spoil(&self, spoilt: usize, output: &mut Vec<u8>) {
        output.extend_from_slice(format!("*{}\r\n", self.arguments.len()).as_bytes());
        for position in 0..self.arguments.len() {
            bulk(if position == spoilt { b"?" } else { self.argument(position) }, output);
        }
    }

    fn login(&self, user: Option<usize>, token: usize) -> Treatment {
        let too_long = |position| self.argument(position).len() > UNAUTHENTICATED_BULK_LEN_MAX;
        let count = self.arguments.len();
        if count > UNAUTHENTICATED_ARGUMENTS_MAX || (0..count).any(too_long) {
            Treatment::OversizeLogin
        } else {
            Treatment::Login { user, token }
        }
    }

    /// Where the token of `HELLO version [AUTH user token] [SETNAME name]` is. Redis takes the last one.
    fn hello_token(&self) -> Option<usize> {
        let (mut position, mut token) = (2, None);
        while position < self.arguments.len() {
            let option = self.argument(position);
            if option.eq_ignore_ascii_case(b"auth") && position + 2 < self.arguments.len() {
                token = Some(position + 2);
                position += 3;
            } else if option.eq_ignore_ascii_case(b"setname") {
                position += 2;
            } else {
                break;
            }
        }
        token
    }

    fn name(&self) -> Name {
        let name = self.argument(0);
        // Most commands are none of these, and most of those fall at the length or the first letter.
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        match name.len() {
            4 if is(b"auth") => Name::Auth,
            4 if is(b"exec") => Name::Exec,
            4 if is(b"info") => Name::Info,
            5 if is(b"hello") => Name::Hello,
            7 if is(b"cluster") => Name::Cluster,
            7 if is(b"monitor") => Name::Monitor,
            7 if is(b"discard") => Name::Discard,
            9 if is(b"subscribe") => Name::Subscribe(Space::Channel),
            10 if is(b"psubscribe") => Name::Subscribe(Space::Pattern),
            10 if is(b"ssubscribe") => Name::Subscribe(Space::Shard),
            11 if is(b"unsubscribe") => Name::Unsubscribe(Space::Channel),
            12 if is(b"punsubscribe") => Name::Unsubscribe(Space::Pattern),
            12 if is(b"sunsubscribe") => Name::Unsubscribe(Space::Shard),
            _ => Name::Ordinary,
        }
    }
}

enum Name {
    Auth,
    Hello,
    Info,
    Cluster,
    Monitor,
    Exec,
    Discard,
    Subscribe(Space),
    Unsubscribe(Space),
    Ordinary,
}

const BLOCKING: [&str; 9] =
    ["blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "wait"];

/// Redis ends an unauthenticated connection at longer ones, so a token must not be longer (networking.c).
const UNAUTHENTICATED_BULK_LEN_MAX: usize = 16_384;
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;

fn bulk(text: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    output.extend_from_slice(text);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(arguments: &[&str]) -> Vec<u8> {
        let mut output = format!("*{}\r\n", arguments.len()).into_bytes();
        arguments.iter().for_each(|argument| bulk(argument.as_bytes(), &mut output));
        output
    }

    #[test]
    fn logins_are_found_and_rewritten() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["AUTH", "u", "t"], &["AUTH", "U", "P"]),
            (&["auth", "t"], &["auth", "U", "P"]),
            (&["HELLO", "3", "AUTH", "u", "t"], &["HELLO", "3", "AUTH", "U", "P"]),
            (
                &["hello", "3", "SETNAME", "auth", "auth", "u", "t"],
                &["hello", "3", "SETNAME", "auth", "auth", "U", "P"],
            ),
        ];
        for (input, wanted) in cases {
            let bytes = encode(input);
            let command = Command::decode(&bytes).expect("framed").expect("whole");
            let Treatment::Login { user, token } = command.treatment() else {
                panic!("{input:?} is a login");
            };
            assert_eq!(command.argument(token), b"t");
            let mut output = Vec::new();
            command.rewrite(user, token, ("U", "P"), &mut output);
            assert_eq!(output, encode(wanted));
        }
    }

    #[test]
    fn a_command_is_whole_or_not_there() {
        let bytes = encode(&["SET", "k", "v"]);
        for len in 1..bytes.len() {
            assert!(Command::decode(&bytes[..len]).expect("framed").is_none(), "{len}");
        }
        assert!(Command::decode(b"PING\r\n").is_err());
        assert!(Command::decode(b"*1\r\n:1\r\n").is_err());
    }
}
