//! Conversations with several peers at once: the nodes of a cluster, connections for one caller, subscribers.

use crate::conversation::{Conversation, NO_SETINFO, Outcome};
use crate::simulator::slots::slot_of;
use respass::{
    ChannelKind, Command, CommandId, Config, ConnId, DisconnectCause, ErrorCode, SessionId, SubmitError,
    SubscriberId,
};
use std::time::Duration;

/// The reply of a node of a cluster to `HELLO 3`.
pub const HELLO_CLUSTER: &str =
    "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$7\r\ncluster\r\n";

/// The address that every node advertises.
pub const ADVERTISED: &str = "203.0.113.7";

/// The ports of three shards with even shares of the slots.
pub const PORTS: [u16; 3] = [8501, 8502, 8503];

/// The port that was configured.
pub const SEED: u16 = 10_000;

/// The reply to CLUSTER SLOTS: first slot, last slot, port.
pub fn topology(rows: &[(u16, u16, u16)]) -> String {
    let rows = rows.iter().map(|(first, last, port)| {
        format!(
            "*3\r\n:{first}\r\n:{last}\r\n*3\r\n$11\r\n{ADVERTISED}\r\n:{port}\r\n$1\r\n{}\r\n",
            port % 10
        )
    });
    let rows: Vec<String> = rows.collect();
    format!("*{}\r\n{}", rows.len(), rows.concat())
}

/// Three shards, as [`PORTS`].
pub fn three_shards() -> String {
    topology(&[(0, 5460, PORTS[0]), (5461, 10_922, PORTS[1]), (10_923, 16_383, PORTS[2])])
}

/// A key of a shard of [`three_shards`], another for each number.
pub fn key(shard: usize, number: usize) -> String {
    let all = (0..).map(|number| format!("k{number}"));
    let mut own = all.filter(|key| usize::from(slot_of(key.as_bytes())) / 5461 == shard);
    own.nth(number).expect("endless")
}

/// The slot of a key.
pub fn slot(key: &str) -> u16 {
    slot_of(key.as_bytes())
}

/// A bulk string.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

impl Conversation {
    /// A client that knows three shards; connected to the configured address at least.
    pub fn with_three_shards() -> Conversation {
        Self::with_three_shards_and(Config::new("localhost", SEED))
    }

    /// The same under another configuration without credentials.
    pub fn with_three_shards_and(config: Config) -> Conversation {
        let mut talk = Conversation::new(config);
        talk.client.connect(talk.now());
        talk.pump();
        let seed = talk.node(SEED);
        assert_eq!(talk.sent_on(seed), ["CLUSTER SLOTS"]);
        talk.receive_on(seed, &three_shards());
        talk
    }

    /// The connection is made.
    pub fn establish(&mut self, conn: ConnId) {
        for opened in self.opened.iter_mut().filter(|opened| opened.conn == conn) {
            opened.is_connected = true;
        }
        self.client.handle_connected(conn, self.now());
        self.pump();
    }

    /// The latest connection to a port, made and logged in where that is still to be done.
    pub fn node(&mut self, port: u16) -> ConnId {
        let opened = self.opened.iter().rfind(|opened| opened.port == port);
        let opened =
            opened.unwrap_or_else(|| panic!("no connection to port {port}: {:?}", self.opened)).clone();
        if !opened.is_connected {
            self.log_in(opened.conn);
        }
        opened.conn
    }

    /// A connection is made and logged in, as at a node of a cluster.
    pub fn log_in(&mut self, conn: ConnId) {
        self.establish(conn);
        let sent = self.sent_on(conn);
        assert!(sent.first().is_some_and(|first| first.starts_with("HELLO 3")), "{sent:?}");
        self.receive_on(conn, &format!("{HELLO_CLUSTER}{NO_SETINFO}"));
    }

    /// Connections that were asked for and not made.
    pub fn unanswered(&self) -> Vec<(String, u16)> {
        let waiting = self.opened.iter().filter(|opened| !opened.is_connected);
        waiting.map(|opened| (opened.host.clone(), opened.port)).collect()
    }

    /// Whether a connection to a port was asked for and is not closed.
    pub fn has_opened(&self, port: u16) -> bool {
        self.opened.iter().any(|opened| opened.port == port)
    }

    /// A node's bytes arrive.
    pub fn receive_on(&mut self, conn: ConnId, text: &str) {
        self.client.handle_received(conn, text.as_bytes(), self.now());
        self.pump();
    }

    /// A node closes a connection.
    pub fn lose(&mut self, conn: ConnId) {
        self.opened.retain(|opened| opened.conn != conn);
        self.client.handle_disconnected(conn, DisconnectCause::Closed, self.now());
        self.pump();
    }

    /// A connection is not made.
    pub fn refuse(&mut self, conn: ConnId) {
        self.opened.retain(|opened| opened.conn != conn);
        let cause = DisconnectCause::ConnectFailed("connection refused".to_owned());
        self.client.handle_disconnected(conn, cause, self.now());
        self.pump();
    }

    /// Lets time pass until something is to be sent on a connection; what it is.
    pub fn sent_within(&mut self, conn: ConnId, duration: Duration) -> Vec<String> {
        let mut left = duration;
        loop {
            let sent = self.sent_on(conn);
            if !sent.is_empty() || left.is_zero() {
                return sent;
            }
            let step = left.min(Duration::from_millis(5));
            self.advance(step);
            left -= step;
        }
    }

    /// Lets time pass until a connection to a port is asked for; logs in there.
    pub fn node_within(&mut self, port: u16, duration: Duration) -> ConnId {
        let mut left = duration;
        while !self.has_opened(port) && !left.is_zero() {
            let step = left.min(Duration::from_millis(5));
            self.advance(step);
            left -= step;
        }
        self.node(port)
    }

    /// Answers what the client asks of its own accord: CLUSTER SLOTS with `map` (once), probes, and logins at the
    /// configured address. What else was sent, and where; whether the map was told.
    pub fn attend(&mut self, map: &str) -> (Vec<(ConnId, String)>, bool) {
        let (mut others, mut is_told) = (Vec::new(), false);
        for opened in self.opened.clone() {
            if !opened.is_connected {
                if opened.port == SEED {
                    self.log_in(opened.conn);
                } else {
                    continue;
                }
            }
            for command in self.sent_on(opened.conn) {
                if let Some(nonce) = command.strip_prefix("PING ") {
                    self.receive_on(opened.conn, &bulk(nonce));
                } else if command == "CLUSTER SLOTS" && !is_told {
                    self.receive_on(opened.conn, map);
                    is_told = true;
                } else {
                    others.push((opened.conn, command));
                }
            }
        }
        (others, is_told)
    }

    /// Answers one CLUSTER SLOTS, on whichever connection it comes; false where none is asked. Nothing else is sent.
    pub fn tell_topology(&mut self, reply: &str) -> bool {
        let (others, is_told) = self.attend(reply);
        assert!(others.is_empty(), "{others:?}");
        is_told
    }

    /// The same within some time.
    pub fn tell_topology_within(&mut self, reply: &str, duration: Duration) -> bool {
        let mut left = duration;
        loop {
            if self.tell_topology(reply) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            let step = left.min(Duration::from_millis(5));
            self.advance(step);
            left -= step;
        }
    }

    /// Code and text of an error of the server's, however it is told.
    pub fn refusal(&self, id: CommandId) -> (ErrorCode, String) {
        match self.outcome(id) {
            Some(Outcome::Reply(text)) => (ErrorCode::of_reply(text.as_bytes()), text.clone()),
            Some(Outcome::Failed(error)) => {
                assert_eq!(error.outcome, respass::Outcome::Refused, "{error:?}");
                (error.code, error.text.clone())
            }
            None => panic!("no outcome"),
        }
    }

    /// Submits a command of a session, written as words.
    pub fn submit_in(&mut self, session: SessionId, line: &str) -> CommandId {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let id = self.client.submit_in(session, Command::new(&words), self.now()).expect("accepted");
        self.pump();
        id
    }

    /// Submits a transaction of a session.
    pub fn submit_transaction_in(
        &mut self,
        session: SessionId,
        lines: &[&str],
    ) -> Result<CommandId, SubmitError> {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for line in lines {
            lengths.push(line.split(' ').count() as u32);
            lengths.extend(line.split(' ').map(|word| word.len() as u32));
            bytes.extend(line.split(' ').flat_map(str::bytes));
        }
        let id = self.client.submit_transaction_in(session, &bytes, &lengths, self.now());
        self.pump();
        id
    }

    /// A session that has no connection yet.
    pub fn open_session(&mut self) -> SessionId {
        self.client.open_session(self.now()).expect("a session")
    }

    /// Ends a session.
    pub fn close_session(&mut self, session: SessionId) {
        self.client.close_session(session, self.now());
        self.pump();
    }

    /// A subscriber that has no connection yet.
    pub fn open_subscriber(&mut self) -> SubscriberId {
        self.client.open_subscriber(self.now()).expect("a subscriber")
    }

    /// Subscribes to one channel.
    pub fn subscribe(&mut self, subscriber: SubscriberId, kind: ChannelKind, channel: &str) {
        self.client.subscribe(subscriber, kind, &[channel.as_bytes()], self.now()).expect("accepted");
        self.pump();
    }

    /// Ends one subscription.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId, kind: ChannelKind, channel: &str) {
        self.client.unsubscribe(subscriber, kind, &[channel.as_bytes()], self.now()).expect("accepted");
        self.pump();
    }

    /// What came to subscribers since the last call.
    pub fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages).into_iter().map(|(_, line)| line).collect()
    }
}
