//! Plays a conversation vector (`tests/vectors/README.md`): events in, and after each of them what the core does.

use crate::vector_script::{Texts, is_event, micros_of, read};
use respass::resp::Kind;
use respass::{
    ChannelKind, Client, Command, CommandError, CommandId, Config, ConnId, Credential, DisconnectCause,
    FetchedToken, Instant, MessageBatch, Now, Outcome, Output, Secret, SessionId, SourceOutput, SubmitError,
    SubscriberId, TokenFailure, TokenSource, UnixTime,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A client, its token source, and the clocks of both.
pub struct Player {
    client: Option<Client>,
    source: TokenSource,
    now: Now,
    texts: Texts,
    labels: BTreeMap<CommandId, String>,
    sessions: BTreeMap<String, SessionId>,
    subscribers: BTreeMap<String, SubscriberId>,
    /// Connections that have something to send.
    transmit: BTreeSet<ConnId>,
    is_held: bool,
    outcomes: String,
    notices: String,
    doings: String,
}

impl Default for Player {
    fn default() -> Player {
        let now =
            Now { monotonic: Instant::from_micros(1_000_000), unix: UnixTime::from_secs(1_800_000_000) };
        let mut source = TokenSource::new([8; 32], now);
        source.subscribe();
        Player {
            client: None,
            source,
            now,
            texts: Texts::default(),
            labels: BTreeMap::new(),
            sessions: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            transmit: BTreeSet::new(),
            is_held: false,
            outcomes: String::new(),
            notices: String::new(),
            doings: String::new(),
        }
    }
}

impl Player {
    /// Plays a file below `root`; its text, with what the core really did.
    pub fn play(&mut self, root: &Path, name: &str) -> String {
        let mut played = String::new();
        for line in read(root, name).lines().filter(|line| !line.starts_with("    ")) {
            played += &format!("{line}\n");
            if let Some(other) = line.strip_prefix("given ") {
                self.play(root, other);
            } else if is_event(line) {
                self.step(line);
                if line.ends_with(" &") {
                    continue;
                }
                played += &self.take_outcomes();
                played += &std::mem::take(&mut self.notices);
                played += &std::mem::take(&mut self.doings);
            }
        }
        played
    }

    /// What became of commands since the last call, a line each.
    pub fn take_outcomes(&mut self) -> String {
        std::mem::take(&mut self.outcomes)
    }

    /// The connection of a `recv` and the bytes that come.
    pub fn bytes_of(&self, recv: &str) -> (ConnId, Vec<u8>) {
        let (conn, text) = recv.strip_prefix("recv ").and_then(|rest| rest.split_once(' ')).expect("a recv");
        (ConnId::from_u64(conn.parse().expect("a number")), self.texts.bytes(text.trim_end_matches(" &")))
    }

    /// Bytes come, in a turn of their own.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let client = self.client.as_mut().expect("a client");
        client.handle_received(conn, bytes, self.now);
        while self.obey() {}
    }

    /// One event. Outputs are drained, unless the next event belongs to the same turn.
    pub fn step(&mut self, line: &str) {
        let (line, is_last) = line.strip_suffix(" &").map_or((line, true), |line| (line, false));
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.event(verb, rest);
        while is_last && self.obey() {}
    }

    fn event(&mut self, verb: &str, rest: &str) {
        let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
        let conn = || ConnId::from_u64(first.parse().expect("a connection's number"));
        let text = || String::from_utf8_lossy(&self.texts.bytes(others)).into_owned();
        let now = self.now;
        match (verb, &mut self.client) {
            ("config", _) => self.configure(rest),
            ("token", _) => self.texts.define(first, others),
            ("fetched", _) => {
                let mut times = others.split(' ').map(|time| time.parse().ok().map(UnixTime::from_secs));
                let text = Secret::new(self.texts.token(first));
                let (expires_on, refresh_on) = (times.next().flatten(), times.next().flatten());
                let token = FetchedToken { text, expires_on, expires_in: None, refresh_on };
                self.source.handle_fetched(token, now);
            }
            ("unfetched", _) => {
                let words: Vec<&str> = rest.splitn(4, ' ').collect();
                let failure = TokenFailure {
                    text: String::from_utf8_lossy(&self.texts.bytes(words[3])).into_owned(),
                    status: words[0].parse().ok(),
                    retry_after: words[1].parse().ok().map(Duration::from_secs),
                    is_permanent: words[2] == "permanent",
                };
                self.source.handle_failed(failure, now);
            }
            ("after", _) => self.pass(micros_of(rest)),
            ("timer", Some(client)) => {
                let client = client.poll_timeout(now).map(|wakeup| wakeup.at);
                match [client, self.source.poll_timeout()].into_iter().flatten().min() {
                    None => self.doings += "    no timer\n",
                    Some(at) => {
                        let wait = at.since(now.monotonic);
                        self.doings += &format!("    waited {:.6}s\n", wait.as_secs_f64());
                        self.pass(wait.as_micros() as i64);
                    }
                }
            }
            ("jump", _) => {
                let unix = self.now.unix.as_micros().saturating_add_signed(micros_of(rest));
                self.now.unix = UnixTime::from_micros(unix);
            }
            ("hold", _) => self.is_held = true,
            ("flow", _) => self.is_held = false,
            ("piece", _) => drop(self.send()),
            ("call" | "multi", Some(_)) => self.submit(verb, None, rest),
            ("session" | "end-session" | "in" | "multi-in", Some(_)) => self.session(verb, first, others),
            ("subscriber" | "monitor" | "subscribe" | "unsubscribe" | "end-subscriber", Some(_)) => {
                self.subscription(verb, first, others);
            }
            ("cancel", Some(client)) => {
                let id = self.labels.iter().find(|(_, label)| *label == first).expect("a command");
                client.cancel(*id.0);
            }
            ("connect", Some(client)) => client.connect(now),
            ("close", Some(client)) => client.close(now),
            ("connected", Some(client)) => client.handle_connected(conn(), now),
            ("recv", Some(client)) => client.handle_received(conn(), &self.texts.bytes(others), now),
            ("closed", Some(client)) => client.handle_disconnected(conn(), DisconnectCause::Closed, now),
            ("broken", Some(client)) => {
                client.handle_disconnected(conn(), DisconnectCause::Broken(text()), now);
            }
            ("unreachable", Some(client)) => {
                client.handle_disconnected(conn(), DisconnectCause::ConnectFailed(text()), now);
            }
            _ => panic!("no event of a client that exists: {verb} {rest}"),
        }
    }
}

impl Player {
    fn configure(&mut self, pairs: &str) {
        let mut config = Config::new("localhost", 6379);
        let (mut username, mut password, mut is_token) = (None, None, false);
        for (key, value) in pairs.split(' ').filter_map(|pair| pair.split_once('=')) {
            let seconds = || Duration::from_micros(micros_of(value).unsigned_abs());
            match key {
                "host" => config.host = value.to_owned(),
                "user" => username = Some(value.to_owned()),
                "password" => password = Some(Arc::new(Secret::new(value.as_bytes().to_vec()))),
                "token" => is_token = true,
                "plaintext" => config.allow_plaintext_token = true,
                "name" => config.client_name = value.to_owned(),
                "db" => config.database = value.parse().expect("a number"),
                "command" => config.timeouts.command = seconds(),
                "connect" => config.timeouts.connect = seconds(),
                // Rust has bytes and no second kind of text.
                "strings" => {}
                _ => panic!("no setting: {key}"),
            }
        }
        config.credential = match password {
            _ if is_token => Credential::Token { username },
            Some(password) => Credential::Password { username: username.unwrap_or_default(), password },
            None => Credential::None,
        };
        match Client::new(config, [7; 32], self.now) {
            Ok(client) => self.client = Some(client),
            Err(error) => self.doings += &format!("    invalid {}\n", self.texts.quote(&error.text)),
        }
    }

    fn submit(&mut self, verb: &str, session: Option<SessionId>, rest: &str) {
        let (label, words) = rest.split_once(' ').expect("a label and a command");
        let commands: Vec<Vec<Vec<u8>>> = words
            .split(" | ")
            .map(|words| words.split(' ').map(|word| self.texts.word(word)).collect())
            .collect();
        let client = self.client.as_mut().expect("a client");
        let arguments: Vec<&[u8]> = commands[0].iter().map(Vec::as_slice).collect();
        let (command, now) = (Command::new(&arguments), self.now);
        let lengths = commands.iter().flat_map(|command| {
            std::iter::once(command.len()).chain(command.iter().map(Vec::len)).map(|len| len as u32)
        });
        let (bytes, lengths) = (commands.concat().concat(), lengths.collect::<Vec<_>>());
        let result = match (verb.starts_with("multi"), session) {
            (false, None) => client.submit(command, now),
            (false, Some(session)) => client.submit_in(session, command, now),
            (true, None) => client.submit_transaction(&bytes, &lengths, now),
            (true, Some(session)) => client.submit_transaction_in(session, &bytes, &lengths, now),
        };
        match result {
            Ok(id) => drop(self.labels.insert(id, label.to_owned())),
            Err(SubmitError { code, text }) => {
                self.fail(label, &CommandError { code, text, outcome: Outcome::NotSent });
            }
        }
    }

    fn session(&mut self, verb: &str, label: &str, rest: &str) {
        let (client, now) = (self.client.as_mut().expect("a client"), self.now);
        match verb {
            "session" => {
                let session = client.open_session(now).expect("a client that is open");
                self.sessions.insert(label.to_owned(), session);
            }
            "end-session" => client.close_session(self.sessions[label], now),
            _ => self.submit(verb, Some(self.sessions[label]), rest),
        }
    }

    fn subscription(&mut self, verb: &str, label: &str, rest: &str) {
        let (client, now) = (self.client.as_mut().expect("a client"), self.now);
        if matches!(verb, "subscriber" | "monitor") {
            let subscriber =
                if verb == "monitor" { client.open_monitor(now) } else { client.open_subscriber(now) };
            self.subscribers.insert(label.to_owned(), subscriber.expect("a client that is open"));
            return;
        }
        let subscriber = self.subscribers[label];
        let mut words = rest.split(' ');
        let kind = match words.next() {
            Some("pattern") => ChannelKind::Pattern,
            Some("shard") => ChannelKind::Shard,
            _ => ChannelKind::Channel,
        };
        let channels: Vec<Vec<u8>> = words.map(|word| self.texts.word(word)).collect();
        let channels: Vec<&[u8]> = channels.iter().map(Vec::as_slice).collect();
        match verb {
            "subscribe" => client.subscribe(subscriber, kind, &channels, now).expect("a subscriber"),
            "unsubscribe" => client.unsubscribe(subscriber, kind, &channels, now).expect("a subscriber"),
            _ => client.close_subscriber(subscriber, now),
        }
    }

    fn show_messages(&mut self, batch: &MessageBatch) {
        let known = self.subscribers.iter().find(|(_, subscriber)| **subscriber == batch.subscriber);
        let label = known.expect("a subscriber that was opened").0;
        for message in batch.iter() {
            let kind = MESSAGES[message.kind as usize];
            let parts = [message.pattern, message.channel, message.payload];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            let parts: Vec<String> = parts.map(|part| format!(" {}", self.texts.quote(part))).collect();
            let count = if message.count > 0 { format!(" {}", message.count) } else { String::new() };
            self.outcomes += &format!("    message {label} {kind}{}{count}\n", parts.concat());
        }
    }

    /// Both clocks go on, and both timers are told.
    fn pass(&mut self, micros: i64) {
        let time = Duration::from_micros(micros.unsigned_abs());
        self.now = Now { monotonic: self.now.monotonic + time, unix: self.now.unix + time };
        if let Some(client) = &mut self.client {
            client.handle_timeout(self.now);
        }
        self.source.handle_timeout(self.now);
    }

    /// Does what the machines want done; whether there was anything. Bytes leave when all else is done.
    fn obey(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(output) = self.client.as_mut().and_then(Client::poll_output) {
            is_busy = true;
            self.act(output);
        }
        while let Some(output) = self.source.poll_output() {
            is_busy = true;
            match (output, &mut self.client) {
                (SourceOutput::Fetch, _) => self.doings += "    fetch\n",
                (SourceOutput::Issued(token), Some(client)) => client.handle_token(&token, self.now),
                (SourceOutput::Failed(failure), Some(client)) => {
                    client.handle_token_failed(&failure, self.now);
                }
                (SourceOutput::State(state), _) => {
                    self.doings += &format!("    supply {}\n", format!("{state:?}").to_lowercase());
                }
                _ => {}
            }
        }
        is_busy || (!self.is_held && self.send())
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Connect { conn, host, port } => {
                self.doings += &format!("    open {} {host}:{port}\n", conn.as_u64());
            }
            Output::Disconnect { conn, .. } => self.doings += &format!("    close {}\n", conn.as_u64()),
            Output::Transmit { conn } => drop(self.transmit.insert(conn)),
            Output::Messages(batch) => self.show_messages(&batch),
            Output::TokenNeeded { newer_than } => {
                self.doings += &format!("    token-needed {newer_than}\n");
                let token = self.source.request(newer_than, self.now);
                if let (Some(token), Some(client)) = (token, &mut self.client) {
                    client.handle_token(&token, self.now);
                }
            }
            Output::Replies(batch) => {
                for (id, reply) in batch.iter() {
                    let label = self.labels.get(&id).cloned().expect("a command that was called");
                    if reply.kind() == Kind::Error {
                        let error = self.texts.server_error(reply.as_bytes());
                        self.outcomes += &format!("    failed {label} {error}\n");
                    } else {
                        self.outcomes += &format!("    reply {label} {}\n", self.texts.value(&reply));
                    }
                }
            }
            Output::Failed { command, error } => {
                let label = self.labels.get(&command).cloned().expect("a command that was called");
                self.fail(&label, &error);
            }
            Output::Notice(notice) => {
                let text = self.texts.quote(notice.to_string());
                self.notices += &format!("    notice {} {text}\n", notice.name());
            }
            _ => panic!("an unknown output"),
        }
    }
}

impl Player {
    fn fail(&mut self, label: &str, error: &CommandError) {
        let outcome = ["", "not-sent", "indeterminate", "refused"][error.outcome as usize];
        let text = self.texts.quote(error.message());
        self.outcomes += &format!("    failed {label} {} {outcome} {text}\n", error.code as u16);
    }

    /// Hands what is ready to the sockets, one after the other; whether there was anything.
    fn send(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        let mut was_busy = false;
        for conn in self.transmit.clone() {
            let bytes = client.take_transmit(conn, self.now);
            if bytes.is_empty() {
                self.transmit.remove(&conn);
            } else {
                was_busy = true;
                self.doings += &self.texts.sent(conn.as_u64(), &bytes);
            }
        }
        was_busy
    }
}

/// What messages are called, by their numbers.
const MESSAGES: [&str; 13] = [
    "",
    "message",
    "pattern-message",
    "shard-message",
    "subscribed",
    "pattern-subscribed",
    "shard-subscribed",
    "unsubscribed",
    "pattern-unsubscribed",
    "shard-unsubscribed",
    "monitor",
    "gap",
    "refused",
];
