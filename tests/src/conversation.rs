//! One client and scripted peers, in virtual time: for tests that say byte by byte what goes over the wire.

use respass::{
    Client, Command, CommandError, CommandId, Config, ConnId, Credential, DisconnectCause, FetchedToken,
    Instant, Notice, Now, Output, Secret, SourceOutput, SubscriberId, TokenSource, UnixTime,
};
use std::sync::Arc;
use std::time::Duration;

/// The wall time at the start, in seconds since 1970.
pub const EPOCH: u64 = 1_800_000_000;

/// The reply of a server that accepts `HELLO 3`.
pub const HELLO_OK: &str = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n";
/// The replies to the two `CLIENT SETINFO` of a server that does not know them.
pub const NO_SETINFO: &str = "-ERR unknown subcommand\r\n-ERR unknown subcommand\r\n";

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The reply, as text: strings as they are, aggregates in brackets.
    Reply(String),
    /// It failed.
    Failed(CommandError),
}

/// See the module's description.
pub struct Conversation {
    /// The client under test.
    pub client: Client,
    /// Its token source, where it logs in with tokens.
    pub source: TokenSource,
    /// The connection opened last.
    pub conn: Option<ConnId>,
    /// What became of commands, in order.
    pub outcomes: Vec<(CommandId, Outcome)>,
    /// What was noticed.
    pub notices: Vec<Notice>,
    /// Connections that the client closed.
    pub closed: Vec<ConnId>,
    /// Tokens asked for and not given.
    pub fetches: usize,
    /// Connections that were asked for: where to, and whether somebody has answered.
    pub opened: Vec<Opened>,
    /// What came to subscribers: a line for each message.
    pub messages: Vec<(SubscriberId, String)>,
    now: Now,
}

/// A connection that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The connection.
    pub conn: ConnId,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it was made.
    pub is_connected: bool,
}

impl Conversation {
    /// A client of that configuration that was not called yet.
    pub fn new(config: Config) -> Conversation {
        let now = Now {
            monotonic: Instant::from_micros(1_000_000),
            unix: UnixTime::from_secs(EPOCH.cast_signed()),
        };
        let client = Client::new(config, [7; 32], now).expect("a working configuration");
        let source = TokenSource::new([8; 32], now);
        Conversation {
            client,
            source,
            conn: None,
            outcomes: vec![],
            notices: vec![],
            closed: vec![],
            fetches: 0,
            opened: vec![],
            messages: vec![],
            now,
        }
    }

    /// A client that needs no login, already connected and set up.
    pub fn ready() -> Conversation {
        Self::ready_with(Config::new("localhost", 6379))
    }

    /// The same under another configuration without credentials.
    pub fn ready_with(config: Config) -> Conversation {
        let mut talk = Conversation::new(config);
        talk.client.connect(talk.now);
        talk.pump();
        talk.connect();
        talk.sent();
        talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
        talk
    }

    /// The configuration of a client that logs in with a password.
    pub fn with_password(username: &str, password: &str) -> Config {
        let mut config = Config::new("localhost", 6379);
        let password = Arc::new(Secret::new(password.as_bytes().to_vec()));
        config.credential = Credential::Password { username: username.to_owned(), password };
        config
    }

    /// The configuration of a client that logs in with tokens, over plain bytes.
    pub fn with_tokens() -> Config {
        let mut config = Config::new("localhost", 6379);
        config.credential = Credential::Token { username: None };
        config.allow_plaintext_token = true;
        config
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Lets time pass and tells client and source.
    pub fn advance(&mut self, duration: Duration) {
        self.now.monotonic = self.now.monotonic + duration;
        self.now.unix = self.now.unix + duration;
        self.client.handle_timeout(self.now);
        self.source.handle_timeout(self.now);
        self.pump();
    }

    /// Lets time pass in small steps, as a driver with a coarse timer would.
    pub fn advance_slowly(&mut self, duration: Duration) {
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(Duration::from_millis(100));
            self.advance(step);
            left -= step;
        }
    }

    /// Submits a command written as words.
    pub fn submit(&mut self, line: &str) -> CommandId {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let id = self.client.submit(Command::new(&words), self.now).expect("accepted");
        self.pump();
        id
    }

    /// Submits a transaction of commands written as words.
    pub fn submit_transaction(&mut self, lines: &[&str]) -> CommandId {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for line in lines {
            lengths.push(u32::try_from(line.split(' ').count()).expect("few words"));
            for word in line.split(' ') {
                lengths.push(u32::try_from(word.len()).expect("short words"));
                bytes.extend_from_slice(word.as_bytes());
            }
        }
        let id = self.client.submit_transaction(&bytes, &lengths, self.now).expect("accepted");
        self.pump();
        id
    }

    /// The socket is connected.
    pub fn connect(&mut self) {
        self.establish(self.conn.expect("a connection was asked for"));
    }

    /// The server's bytes arrive.
    pub fn receive(&mut self, text: &str) {
        self.receive_bytes(text.as_bytes());
    }

    /// The server's bytes arrive.
    pub fn receive_bytes(&mut self, bytes: &[u8]) {
        let conn = self.conn.expect("a connection");
        self.client.handle_received(conn, bytes, self.now);
        self.pump();
    }

    /// The server's end of the connection closes.
    pub fn disconnect(&mut self) {
        let conn = self.conn.take().expect("a connection");
        self.opened.retain(|opened| opened.conn != conn);
        self.client.handle_disconnected(conn, DisconnectCause::Closed, self.now);
        self.pump();
    }

    /// The credential gives a token of so many seconds' life; its text.
    pub fn give_token(&mut self, number: u64, life: u64) -> String {
        let now = self.now.unix.as_micros() - EPOCH * 1_000_000;
        let skew = (EPOCH * 1_000_000).abs_diff(crate::simulator::EPOCH);
        assert_eq!(skew, 0, "both models start at the same wall time");
        let (text, _) = crate::simulator::credential::issue("oid-1", number, now, life * 1_000_000);
        self.give(text.clone());
        text
    }

    /// The credential gives that token.
    pub fn give(&mut self, text: String) {
        assert!(self.fetches > 0, "nobody asked for a token");
        self.fetches -= 1;
        let token = FetchedToken {
            text: Secret::new(text.into_bytes()),
            expires_on: None,
            expires_in: None,
            refresh_on: None,
        };
        self.source.handle_fetched(token, self.now);
        self.pump();
    }

    /// What the client wants written, as text; it counts as transmitted.
    pub fn sent(&mut self) -> String {
        self.conn.map(|conn| self.sent_text(conn)).unwrap_or_default()
    }

    fn sent_text(&mut self, conn: ConnId) -> String {
        let mut all = Vec::new();
        loop {
            let bytes = self.client.take_transmit(conn, self.now);
            if bytes.is_empty() {
                break;
            }
            all.extend(bytes);
        }
        self.pump();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The same as words: each command's arguments, joined by blanks.
    pub fn sent_commands(&mut self) -> Vec<String> {
        self.conn.map(|conn| self.sent_on(conn)).unwrap_or_default()
    }

    /// The same of one connection.
    pub fn sent_on(&mut self, conn: ConnId) -> Vec<String> {
        let sent = self.sent_text(conn);
        let mut lines = sent.split("\r\n");
        let mut commands = Vec::new();
        while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
            let words = (0..count.parse().expect("a count")).map(|_| {
                assert!(lines.next().is_some_and(|line| line.starts_with('$')));
                lines.next().expect("an argument")
            });
            commands.push(words.collect::<Vec<_>>().join(" "));
        }
        commands
    }

    /// What became of a command; `None` while it waits.
    pub fn outcome(&self, id: CommandId) -> Option<&Outcome> {
        self.outcomes.iter().find(|(command, _)| *command == id).map(|(_, outcome)| outcome)
    }

    /// The reply to a command that must have one.
    pub fn reply(&self, id: CommandId) -> &str {
        match self.outcome(id) {
            Some(Outcome::Reply(text)) => text,
            other => panic!("no reply but {other:?}"),
        }
    }

    /// The failure of a command that must have failed.
    pub fn failure(&self, id: CommandId) -> &CommandError {
        match self.outcome(id) {
            Some(Outcome::Failed(error)) => error,
            other => panic!("no failure but {other:?}"),
        }
    }

    /// Drains both machines.
    pub fn pump(&mut self) {
        loop {
            if let Some(output) = self.source.poll_output() {
                match output {
                    SourceOutput::Fetch => self.fetches += 1,
                    SourceOutput::Issued(token) => self.client.handle_token(&token, self.now),
                    SourceOutput::Failed(failure) => self.client.handle_token_failed(&failure, self.now),
                    _ => {}
                }
            } else if let Some(output) = self.client.poll_output() {
                self.handle(output);
            } else {
                return;
            }
        }
    }

    fn handle(&mut self, output: Output) {
        match output {
            Output::Connect { conn, host, port } => {
                self.conn = Some(conn);
                self.opened.push(Opened { conn, host, port, is_connected: false });
            }
            Output::Disconnect { conn, .. } => {
                self.closed.push(conn);
                self.opened.retain(|opened| opened.conn != conn);
                self.conn = self.conn.filter(|current| *current != conn);
            }
            Output::TokenNeeded { newer_than } => {
                self.source.subscribe();
                if let Some(token) = self.source.request(newer_than, self.now) {
                    self.client.handle_token(&token, self.now);
                }
            }
            Output::Replies(batch) => {
                for (id, reply) in batch.iter() {
                    self.record(id, Outcome::Reply(crate::resp_text::text_of(&reply)));
                }
                self.client.recycle(batch);
            }
            Output::Failed { command, error } => self.record(command, Outcome::Failed(error)),
            Output::Notice(notice) => self.notices.push(notice),
            Output::Messages(batch) => {
                let lines = batch.iter().map(|message| crate::resp_text::line_of(&message));
                self.messages.extend(lines.map(|line| (batch.subscriber, line)));
            }
            _ => {}
        }
    }

    fn record(&mut self, id: CommandId, outcome: Outcome) {
        assert!(self.outcome(id).is_none(), "two outcomes of one command");
        self.outcomes.push((id, outcome));
    }
}
