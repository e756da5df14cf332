//! A model of a Redis server that knows tokens: strict about framing, keeps a ledger of everything that ran.
//!
//! It shares no code with the core, so that an error in both would have to be made twice.

use super::credential;
use std::collections::BTreeMap;

/// One command as received.
type Arguments = Vec<Vec<u8>>;

/// A connection as the server sees it.
#[derive(Debug, Default)]
struct Connection {
    buffer: Vec<u8>,
    identity: Option<String>,
    /// When the token of the last successful login ends, in true time.
    expires_at: Option<u64>,
    queued: Option<Vec<Arguments>>,
    /// Nothing is processed before this moment: a login is being validated.
    busy_until: u64,
    /// The login being validated.
    validating: Option<Arguments>,
}

/// What the server does in answer to bytes or time.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Bytes for the client.
    pub bytes: Vec<u8>,
    /// Whether the server closes the connection after them.
    pub close: bool,
    /// When the server wants to be called for this connection.
    pub wake_at: Option<u64>,
}

/// What ran, and how often the server was asked to log somebody in.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How often the command with this payload ran.
    pub ran: BTreeMap<u64, u32>,
    /// True times of successful logins and re-authentications.
    pub logins: Vec<u64>,
    /// Logins on a connection that was logged in already.
    pub reauths: u64,
    /// Refused logins.
    pub refusals: u64,
    /// Connections closed because their token ended.
    pub lapses: u64,
    /// The smallest life left when a newer token replaced one, in microseconds.
    pub smallest_lead: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Server {
    connections: BTreeMap<(usize, u64), Connection>,
    /// What happened.
    pub ledger: Ledger,
    /// How long the validation of a login takes, in microseconds.
    pub auth_delay: u64,
    /// So many logins to come are refused whatever their token.
    pub auth_failures: u32,
    /// Whether HELLO is unknown here.
    pub is_hello_unknown: bool,
    /// No reply is sent any more, no connection is closed.
    pub is_silent: bool,
}

impl Server {
    /// A client connected.
    pub fn accept(&mut self, key: (usize, u64)) {
        self.connections.insert(key, Connection::default());
    }

    /// A client's connection is gone.
    pub fn forget(&mut self, key: (usize, u64)) {
        self.connections.remove(&key);
    }

    /// Bytes from a client at true time `now`.
    pub fn receive(&mut self, key: (usize, u64), bytes: &[u8], now: u64) -> Reaction {
        let Some(connection) = self.connections.get_mut(&key) else { return Reaction::default() };
        connection.buffer.extend_from_slice(bytes);
        self.process(key, now)
    }

    /// Time has passed for a connection.
    pub fn wake(&mut self, key: (usize, u64), now: u64) -> Reaction {
        let Some(connection) = self.connections.get(&key) else { return Reaction::default() };
        if connection.expires_at.is_some_and(|at| now >= at) && !self.is_silent {
            self.ledger.lapses += 1;
            self.connections.remove(&key);
            return Reaction { close: true, ..Reaction::default() };
        }
        self.process(key, now)
    }

    fn process(&mut self, key: (usize, u64), now: u64) -> Reaction {
        let mut reaction = Reaction::default();
        if self.is_silent {
            return reaction;
        }
        let Some(mut connection) = self.connections.remove(&key) else { return reaction };
        while now >= connection.busy_until {
            let command = match connection.validating.take() {
                Some(command) => command,
                None => {
                    let Some(command) = next_command(&mut connection.buffer) else { break };
                    if self.auth_delay > 0 && connection.queued.is_none() && has_credentials(&command) {
                        connection.busy_until = now + self.auth_delay;
                        connection.validating = Some(command);
                        break;
                    }
                    command
                }
            };
            self.execute(&mut connection, command, now, &mut reaction.bytes);
        }
        let busy = Some(connection.busy_until).filter(|until| *until > now);
        reaction.wake_at = [busy, connection.expires_at].into_iter().flatten().min();
        self.connections.insert(key, connection);
        reaction
    }

    fn execute(&mut self, connection: &mut Connection, command: Arguments, now: u64, out: &mut Vec<u8>) {
        let name = command[0].to_ascii_uppercase();
        let is_login = matches!(&name[..], b"HELLO" | b"AUTH");
        if let Some(queued) = connection.queued.as_mut().filter(|_| name != b"EXEC") {
            assert!(!is_login, "a login inside a transaction");
            queued.push(command);
            out.extend_from_slice(b"+QUEUED\r\n");
            return;
        }
        match &name[..] {
            b"HELLO" if self.is_hello_unknown => out.extend_from_slice(b"-ERR unknown command 'HELLO'\r\n"),
            b"HELLO" => {
                let credentials = command.iter().position(|part| part.eq_ignore_ascii_case(b"AUTH"));
                if let Some(at) = credentials
                    && !self.login(connection, &command[at + 1], &command[at + 2], now)
                {
                    out.extend_from_slice(WRONGPASS);
                    return;
                }
                out.extend_from_slice(b"%2\r\n$6\r\nserver\r\n$5\r\nmodel\r\n$5\r\nproto\r\n:3\r\n");
            }
            b"AUTH" => {
                let accepted = self.login(connection, &command[1], &command[2], now);
                out.extend_from_slice(if accepted { b"+OK\r\n" } else { WRONGPASS });
            }
            b"CLIENT" => out.extend_from_slice(b"-ERR unknown subcommand\r\n"),
            _ if connection.identity.is_none() => {
                panic!("{} before login", String::from_utf8_lossy(&name));
            }
            b"PING" => bulk(&command[1], out),
            b"ECHO" => {
                self.run(&command[1]);
                bulk(&command[1], out);
            }
            b"MULTI" => {
                connection.queued = Some(Vec::new());
                out.extend_from_slice(b"+OK\r\n");
            }
            b"EXEC" => {
                let queued = connection.queued.take().expect("EXEC without MULTI");
                out.extend_from_slice(format!("*{}\r\n", queued.len()).as_bytes());
                for command in queued {
                    self.run(&command[1]);
                    bulk(&command[1], out);
                }
            }
            other => panic!("unexpected command {}", String::from_utf8_lossy(other)),
        }
    }

    fn run(&mut self, payload: &[u8]) {
        let payload = std::str::from_utf8(payload).expect("a number").parse().expect("a number");
        *self.ledger.ran.entry(payload).or_default() += 1;
    }

    fn login(&mut self, connection: &mut Connection, user: &[u8], token: &[u8], now: u64) -> bool {
        let claims = credential::read(token).filter(|(oid, exp)| oid.as_bytes() == user && *exp > now);
        let refused_by_fault = self.auth_failures > 0;
        self.auth_failures = self.auth_failures.saturating_sub(1);
        let Some((oid, exp)) = claims.filter(|_| !refused_by_fault) else {
            self.ledger.refusals += 1;
            return false;
        };
        if let Some(before) = connection.expires_at {
            self.ledger.reauths += 1;
            let lead = before.saturating_sub(now);
            self.ledger.smallest_lead = Some(self.ledger.smallest_lead.map_or(lead, |least| least.min(lead)));
        }
        self.ledger.logins.push(now);
        connection.identity = Some(oid);
        connection.expires_at = Some(exp);
        true
    }
}

const WRONGPASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn has_credentials(command: &Arguments) -> bool {
    command[0].eq_ignore_ascii_case(b"AUTH") || command.iter().any(|part| part.eq_ignore_ascii_case(b"AUTH"))
}

/// Takes the next whole command off the buffer. Anything but an array of bulk strings is the client's error.
fn next_command(buffer: &mut Vec<u8>) -> Option<Arguments> {
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
