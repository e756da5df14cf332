//! Login: what goes out first on a connection, and which answers count as success.
//!
//! `HELLO 3 AUTH <user> <password> SETNAME <name>` as one command, because on a fresh connection it is judged by the
//! rights of the default user, while a HELLO after AUTH may be refused to a restricted one. Where the server knows
//! no HELLO (or answers it wrongly, as an early Azure build did), `AUTH` and RESP2.

use crate::resp::{Kind, Reply, encode_command};
use crate::secret::Secret;
use std::collections::VecDeque;
use std::sync::Arc;

/// Who logs in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    /// Empty: the server's default user.
    pub(crate) username: String,
    /// `None`: no AUTH at all.
    pub(crate) secret: Option<Arc<Secret>>,
}

/// What the server answered to a login that it did not accept, without any part of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefusal {
    /// The server's text, or what was wrong with its answer.
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More answers are due.
    Waiting,
    /// HELLO was refused: [`Handshake::fall_back`] has something to write.
    FallBack,
    /// Logged in and set up.
    Done,
    Refused(LoginRefusal),
}

/// The login of one connection.
#[derive(Debug)]
pub(crate) struct Handshake {
    login: Login,
    client_name: String,
    database: u32,
    /// What the answers to come belong to.
    due: VecDeque<Step>,
    hello_refused: bool,
    /// The error that HELLO was answered with, where that was no refusal of the login.
    hello_error: Option<LoginRefusal>,
    /// HELLO was accepted: the connection speaks RESP3.
    is_resp3: bool,
    /// HELLO told that the server is a node of a cluster.
    is_cluster_node: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hello,
    Auth,
    /// Asked where there is nothing to log in with: tells whether the server wants a login.
    Ping,
    Select,
    /// Courtesy to whoever looks at `CLIENT LIST`; a refusal (old server, restricted user) changes nothing.
    Courtesy,
}

impl Handshake {
    pub(crate) fn new(login: Login, client_name: &str, database: u32) -> Handshake {
        Handshake {
            login,
            client_name: client_name.to_owned(),
            database,
            due: VecDeque::new(),
            hello_refused: false,
            hello_error: None,
            is_resp3: false,
            is_cluster_node: false,
        }
    }

    pub(crate) fn is_resp2(&self) -> bool {
        !self.is_resp3
    }

    pub(crate) fn is_cluster_node(&self) -> bool {
        self.is_cluster_node
    }

    /// What the server said to HELLO, if that was an error: where it closes the connection then, this is why.
    pub(crate) fn hello_error(&self) -> Option<&LoginRefusal> {
        self.hello_error.as_ref()
    }

    /// Appends the first commands; answers how many replies they will have.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) -> usize {
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(secret) = &self.login.secret {
            hello.extend([&b"AUTH"[..], user_or_default(&self.login), secret.expose()]);
        }
        if !self.client_name.is_empty() {
            hello.extend([&b"SETNAME"[..], self.client_name.as_bytes()]);
        }
        encode_command(hello.into_iter(), out);
        self.due.push_back(Step::Hello);
        for (key, value) in [("LIB-NAME", "respass"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            let parts: [&[u8]; 4] = [b"CLIENT", b"SETINFO", key.as_bytes(), value.as_bytes()];
            encode_command(parts.into_iter(), out);
            self.due.push_back(Step::Courtesy);
        }
        self.select(out);
        self.due.len()
    }

    /// Appends the commands that log in without HELLO; answers how many replies they will have.
    pub(crate) fn fall_back(&mut self, out: &mut Vec<u8>) -> usize {
        self.hello_error = None;
        if let Some(secret) = &self.login.secret {
            encode_auth(&self.login.username, secret, out);
            self.due.push_back(Step::Auth);
        } else {
            encode_command([&b"PING"[..]].into_iter(), out);
            self.due.push_back(Step::Ping);
        }
        self.select(out);
        self.due.len()
    }

    fn select(&mut self, out: &mut Vec<u8>) {
        if self.database > 0 {
            let database = self.database.to_string();
            encode_command([&b"SELECT"[..], database.as_bytes()].into_iter(), out);
            self.due.push_back(Step::Select);
        }
    }

    /// Takes in the next answer.
    pub(crate) fn handle_reply(&mut self, reply: &Reply<'_>) -> Progress {
        let Some(step) = self.due.pop_front() else {
            return self.refuse("an answer that was not asked for");
        };
        let accepted = match step {
            Step::Hello => {
                if let Some(refusal) = self.judge_hello(reply) {
                    return refusal;
                }
                true
            }
            Step::Auth => reply.kind() == Kind::SimpleString && reply.as_bytes() == b"OK",
            Step::Ping => reply.is_text(b"PONG"),
            // Sent along with HELLO; where that was refused, it is sent again after AUTH.
            Step::Select => self.hello_pending_fallback() || reply.is_text(b"OK"),
            Step::Courtesy => true,
        };
        if !accepted {
            let text = String::from_utf8_lossy(reply.as_bytes());
            return match step {
                Step::Select => self.refuse(&format!(
                    "{text}: database {} cannot be selected (Azure Managed Redis and clusters have database 0 only)",
                    self.database
                )),
                _ => self.refuse(&text),
            };
        }
        if !self.due.is_empty() {
            return Progress::Waiting;
        }
        if self.hello_pending_fallback() {
            self.hello_refused = false;
            return Progress::FallBack;
        }
        Progress::Done
    }

    fn hello_pending_fallback(&self) -> bool {
        self.hello_refused
    }

    /// `None` where HELLO succeeded or only HELLO itself was refused.
    fn judge_hello(&mut self, reply: &Reply<'_>) -> Option<Progress> {
        match reply.kind() {
            Kind::Map if value_of(reply, b"proto").and_then(|proto| proto.as_integer()) == Some(3) => {
                self.is_resp3 = true;
                self.is_cluster_node = value_of(reply, b"mode").is_some_and(|mode| mode.is_text(b"cluster"));
                None
            }
            Kind::Error if is_about_login(reply.as_bytes()) => {
                Some(self.refuse(&String::from_utf8_lossy(reply.as_bytes())))
            }
            kind => {
                self.hello_refused = true;
                self.hello_error = (kind == Kind::Error).then(|| self.login.refusal(reply.as_bytes()));
                None
            }
        }
    }

    fn refuse(&self, text: &str) -> Progress {
        Progress::Refused(self.login.refusal(text.as_bytes()))
    }
}

impl Login {
    /// What a server said to this login, fit to be shown: one line of limited length, without the secret.
    pub(crate) fn refusal(&self, text: &[u8]) -> LoginRefusal {
        let text = String::from_utf8_lossy(text);
        let text: String = text.chars().filter(|c| !c.is_control()).take(REFUSAL_LEN_MAX).collect();
        let text = self.secret.as_ref().map_or(text.clone(), |secret| secret.scrub(&text));
        LoginRefusal { text }
    }
}

/// As much of a server's text is kept, in characters.
const REFUSAL_LEN_MAX: usize = 300;

/// Appends `AUTH <user> <secret>`.
pub(crate) fn encode_auth(username: &str, secret: &Secret, out: &mut Vec<u8>) {
    if username.is_empty() {
        encode_command([&b"AUTH"[..], secret.expose()].into_iter(), out);
    } else {
        encode_command([&b"AUTH"[..], username.as_bytes(), secret.expose()].into_iter(), out);
    }
}

fn user_or_default(login: &Login) -> &[u8] {
    if login.username.is_empty() { b"default" } else { login.username.as_bytes() }
}

fn value_of<'a>(hello: &Reply<'a>, wanted: &[u8]) -> Option<Reply<'a>> {
    let mut elements = hello.elements();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        if key.is_text(wanted) {
            return Some(value);
        }
    }
    None
}

/// Whether an error speaks of the credentials, so that trying another command would only repeat the refusal.
fn is_about_login(text: &[u8]) -> bool {
    [&b"WRONGPASS"[..], b"NOAUTH", b"ERR invalid password", b"ERR AUTH"]
        .iter()
        .any(|word| text.starts_with(word))
}
