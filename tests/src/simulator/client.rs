//! One simulated application: the real core under a driver that knows nothing but the driver's contract.

use super::SECOND;
use super::credential::Credential;
use respass::{
    Client, Command, CommandId, Config, ConnId, DisconnectCause, ErrorCode, Instant, Notice, Now, Outcome,
    Output, SourceOutput, TokenSource, TokenState, UnixTime,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What an application does.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Mean time between two submissions, in microseconds; 0 for none.
    pub interval: u64,
    /// One submission in so many is cancelled some time later; 0 for none.
    pub cancel_one_in: u64,
}

/// How a client is set up.
#[derive(Debug)]
pub struct ClientSpec {
    /// Its credential.
    pub credential: Credential,
    /// What it does.
    pub workload: Workload,
    /// By how much its wall clock is wrong, in microseconds.
    pub skew: i64,
    /// When it starts, in microseconds of true time.
    pub starts_at: u64,
    /// Changes to the configuration.
    pub configure: fn(&mut Config),
}

impl ClientSpec {
    /// A client that sends a command every five minutes or so.
    pub fn new(credential: Credential) -> ClientSpec {
        ClientSpec {
            credential,
            workload: Workload { interval: 300_000_000, cancel_one_in: 0 },
            skew: 0,
            starts_at: 0,
            configure: |_| {},
        }
    }
}

/// What became of a payload, as the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The reply came.
    Replied,
    /// It ended without.
    Failed(Outcome),
}

/// What the driver wants of the world.
#[derive(Debug)]
pub enum Wish {
    /// Open a connection.
    Connect(u64),
    /// Carry bytes to the server.
    Send(u64, Vec<u8>),
    /// Close a connection.
    Close(u64),
    /// Ask the credential.
    Fetch,
}

/// One simulated application.
pub struct SimClient {
    /// How it was set up.
    pub spec: ClientSpec,
    core: Client,
    source: TokenSource,
    is_subscribed: bool,
    /// Monotonic time lost to suspends, in microseconds.
    pub suspended: u64,
    /// Nothing reaches it before this moment of true time.
    pub suspended_until: u64,
    /// For when a wake-up is scheduled.
    pub armed: Option<u64>,
    pending: BTreeMap<CommandId, Vec<u64>>,
    cancelled: Vec<CommandId>,
    /// What it was told of each payload.
    pub told: BTreeMap<u64, Told>,
    /// Wishes of the driver.
    pub wishes: VecDeque<Wish>,
    /// Calls into the core.
    pub calls: u64,
    wakes: u32,
    woken_at: u64,
    /// Codes and outcomes of commands that failed though nobody cancelled them.
    pub failures: Vec<(ErrorCode, Outcome, String)>,
    /// States that its token supply went through.
    pub states: Vec<TokenState>,
    /// Notices, but for the routine ones.
    pub notices: Vec<Notice>,
    /// A running hash of everything that came out of the core.
    pub trace: u64,
}

impl SimClient {
    /// A client whose core was never called.
    pub fn new(spec: ClientSpec, seed: u64, true_now: u64) -> SimClient {
        let mut config = Config::new("localhost", 10_000);
        config.credential = respass::Credential::Token { username: None };
        // Plain bytes: the simulator's subject is everything above TLS.
        config.allow_plaintext_token = true;
        (spec.configure)(&mut config);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let now = now(true_now, 0, spec.skew);
        let core = Client::new(config, bytes, now).expect("a working configuration");
        bytes[8] = 1;
        SimClient {
            spec,
            core,
            source: TokenSource::new(bytes, now),
            is_subscribed: false,
            suspended: 0,
            suspended_until: 0,
            armed: None,
            pending: BTreeMap::new(),
            cancelled: Vec::new(),
            told: BTreeMap::new(),
            wishes: VecDeque::new(),
            calls: 0,
            wakes: 0,
            woken_at: 0,
            failures: Vec::new(),
            states: Vec::new(),
            notices: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Both clocks as this client reads them.
    pub fn now(&self, true_now: u64) -> Now {
        now(true_now, self.suspended, self.spec.skew)
    }

    /// Connects without waiting for a command.
    pub fn start(&mut self, true_now: u64) {
        self.core.connect(self.now(true_now));
        self.pump(true_now);
    }

    /// Submits one command per payload, as a batch or as a transaction.
    pub fn submit(&mut self, payloads: &[u64], is_transaction: bool, true_now: u64) -> Option<CommandId> {
        let now = self.now(true_now);
        let texts: Vec<String> = payloads.iter().map(u64::to_string).collect();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| [b"ECHO", text.as_bytes()].concat()).collect();
        let lengths: Vec<u32> = texts.iter().flat_map(|text| [2, 4, text.len() as u32]).collect();
        let first = if is_transaction {
            let id = self.core.submit_transaction(&bytes, &lengths, now).ok()?;
            self.pending.insert(id, payloads.to_vec());
            id
        } else if let [_] = payloads {
            let arguments: [&[u8]; 2] = [b"ECHO", texts[0].as_bytes()];
            let id = self.core.submit(Command::new(&arguments), now).ok()?;
            self.pending.insert(id, payloads.to_vec());
            id
        } else {
            let ids = self.core.submit_batch(&bytes, &lengths, now).ok()?;
            self.pending.extend(ids.iter().zip(payloads.iter().map(|payload| vec![*payload])));
            ids.first
        };
        self.pump(true_now);
        Some(first)
    }

    /// Gives up on a command.
    pub fn cancel(&mut self, id: CommandId, true_now: u64) {
        self.cancelled.push(id);
        self.core.cancel(id);
        self.pump(true_now);
    }

    /// The socket is connected.
    pub fn connected(&mut self, conn: u64, true_now: u64) {
        self.core.handle_connected(ConnId::from_u64(conn), self.now(true_now));
        self.pump(true_now);
    }

    /// Bytes came from the server.
    pub fn received(&mut self, conn: u64, bytes: &[u8], true_now: u64) {
        self.core.handle_received(ConnId::from_u64(conn), bytes, self.now(true_now));
        self.pump(true_now);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, conn: u64, cause: DisconnectCause, true_now: u64) {
        self.core.handle_disconnected(ConnId::from_u64(conn), cause, self.now(true_now));
        self.pump(true_now);
    }

    /// The credential answered.
    pub fn answered(&mut self, true_now: u64) {
        let now = self.now(true_now);
        match self.spec.credential.answer(true_now) {
            Ok(token) => self.source.handle_fetched(token, now),
            Err(failure) => self.source.handle_failed(failure, now),
        }
        self.pump(true_now);
    }

    /// Time has passed.
    pub fn wake(&mut self, true_now: u64) {
        let now = self.now(true_now);
        self.wakes = if true_now / SECOND == self.woken_at / SECOND { self.wakes + 1 } else { 0 };
        self.woken_at = true_now;
        if self.wakes > 1000 {
            let wakeup = self.core.poll_timeout(now);
            panic!("a hot loop: {wakeup:?} at {now:?}, source {:?}", self.source.poll_timeout());
        }
        self.core.handle_timeout(now);
        self.source.handle_timeout(now);
        self.pump(true_now);
    }

    /// Closes the core; commands that still wait are answered.
    pub fn close(&mut self, true_now: u64) {
        self.core.close(self.now(true_now));
        self.pump(true_now);
        assert!(self.pending.is_empty(), "{} commands without an outcome", self.pending.len());
    }

    /// When it wants to be woken, in true time.
    pub fn wakeup(&self, true_now: u64) -> Option<u64> {
        let client = self.core.poll_timeout(self.now(true_now)).map(|wakeup| wakeup.at);
        let earliest = [client, self.source.poll_timeout()].into_iter().flatten().min()?;
        Some(earliest.as_micros().saturating_add(self.suspended))
    }

    fn pump(&mut self, true_now: u64) {
        self.calls += 1;
        let now = self.now(true_now);
        loop {
            if let Some(output) = self.source.poll_output() {
                self.note(&format!("{output:?}"));
                match output {
                    SourceOutput::Fetch => self.wishes.push_back(Wish::Fetch),
                    SourceOutput::Issued(token) => self.core.handle_token(&token, now),
                    SourceOutput::Failed(failure) => self.core.handle_token_failed(&failure, now),
                    SourceOutput::State(state) => self.states.push(state),
                    other => panic!("unknown output {other:?}"),
                }
            } else if let Some(output) = self.core.poll_output() {
                self.handle(output, now);
            } else {
                return;
            }
        }
    }

    fn handle(&mut self, output: Output, now: Now) {
        match output {
            Output::Replies(batch) => {
                for (id, reply) in batch.iter() {
                    self.note(&format!("{id:?} {reply:?}"));
                    let payloads = self.pending.remove(&id).expect("a reply to a command that waits");
                    let texts: Vec<&[u8]> = match reply.elements().len() {
                        0 => vec![reply.as_bytes()],
                        _ => reply.elements().map(|element| element.as_bytes()).collect(),
                    };
                    assert_eq!(texts.len(), payloads.len(), "a reply of another command");
                    for (payload, text) in payloads.into_iter().zip(texts) {
                        assert_eq!(text, payload.to_string().as_bytes(), "a reply of another command");
                        assert_eq!(self.told.insert(payload, Told::Replied), None, "two outcomes");
                    }
                }
                self.core.recycle(batch);
                return;
            }
            Output::Failed { command, ref error } => {
                for payload in self.pending.remove(&command).expect("a failure of a command that waits") {
                    assert_eq!(self.told.insert(payload, Told::Failed(error.outcome)), None, "two outcomes");
                }
                if !self.cancelled.contains(&command) {
                    self.failures.push((error.code, error.outcome, error.text.clone()));
                }
            }
            _ => {}
        }
        self.note(&format!("{output:?}"));
        match output {
            Output::Connect { conn, .. } => self.wishes.push_back(Wish::Connect(conn.as_u64())),
            Output::Disconnect { conn, .. } => self.wishes.push_back(Wish::Close(conn.as_u64())),
            Output::Transmit { conn } => loop {
                let bytes = self.core.take_transmit(conn, now);
                if bytes.is_empty() {
                    break;
                }
                self.wishes.push_back(Wish::Send(conn.as_u64(), bytes));
            },
            Output::TokenNeeded { newer_than } => {
                if !std::mem::replace(&mut self.is_subscribed, true) {
                    self.source.subscribe();
                }
                if let Some(token) = self.source.request(newer_than, now) {
                    self.core.handle_token(&token, now);
                }
            }
            Output::Notice(Notice::Ready { .. } | Notice::ReAuthenticated { .. }) => {}
            Output::Notice(notice) => self.notices.push(notice),
            Output::Replies(_) | Output::Failed { .. } => {}
            other => panic!("unknown output {other:?}"),
        }
    }

    /// FNV-1a over what came out.
    fn note(&mut self, text: &str) {
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

fn now(true_now: u64, suspended: u64, skew: i64) -> Now {
    Now {
        monotonic: Instant::from_micros(true_now.saturating_sub(suspended)),
        unix: UnixTime::from_micros((super::EPOCH + true_now).saturating_add_signed(skew)),
    }
}

/// A duration of so many microseconds.
pub fn micros(us: u64) -> Duration {
    Duration::from_micros(us)
}
