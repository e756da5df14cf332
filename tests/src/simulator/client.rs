//! One simulated application: the real core under a driver that knows nothing but the driver's contract.

use super::SECOND;
use super::channels::Kind;
use super::credential::Credential;
use super::errand::{Errand, Expected, Told, Work};
use super::ledger::Publication;
use super::listener::Listener;
use crate::resp_text::line_of;
use respass::{
    ChannelKind, Client, Command, CommandId, Config, ConnId, DisconnectCause, ErrorCode, Instant, Notice,
    Now, Outcome, Output, ReplyBatch, SessionId, SourceOutput, SubmitError, TokenSource, TokenState,
    UnixTime,
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
    /// Whether it does everything that there is, or sends ECHO alone.
    pub is_varied: bool,
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
    /// How many subscribers it opens.
    pub listeners: usize,
    /// Whether its driver knows where the advertised addresses are (`AddressMap::Driver`).
    pub maps_addresses: bool,
}

impl ClientSpec {
    /// A client that sends a command every five minutes or so.
    pub fn new(credential: Credential) -> ClientSpec {
        ClientSpec {
            credential,
            workload: Workload { interval: 300_000_000, cancel_one_in: 0, is_varied: false },
            skew: 0,
            starts_at: 0,
            configure: |_| {},
            listeners: 0,
            maps_addresses: false,
        }
    }
}

/// What the driver wants of the world.
#[derive(Debug)]
pub enum Wish {
    /// Open a connection to a host and a port.
    Connect(u64, String, u16),
    /// Carry bytes to the server.
    Send(u64, Vec<u8>),
    /// Close a connection.
    Close(u64),
    /// Ask the credential.
    Fetch,
    /// Go on with a session, some time later.
    Proceed(SessionId),
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
    pending: BTreeMap<CommandId, (Expected, u64)>,
    cancelled: Vec<CommandId>,
    /// Sessions that are under way, with the tag of the watched key and the payload of the transaction.
    sessions: BTreeMap<SessionId, (u64, u64)>,
    /// Whether it leaves its subscriptions as they are.
    pub is_quiet: bool,
    /// Its subscribers.
    pub listeners: Vec<Listener>,
    /// What it was told of each payload.
    pub told: BTreeMap<u64, Told>,
    unheard: Vec<respass::MessageBatch>,
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
            sessions: BTreeMap::new(),
            is_quiet: false,
            listeners: Vec::new(),
            unheard: Vec::new(),
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

    /// Submits what is to be done; `None` where the client does not take it.
    pub fn submit(&mut self, errand: Errand, true_now: u64) -> Option<CommandId> {
        let now = self.now(true_now);
        let Errand { work, expected } = errand;
        let (bytes, lengths) = work.blocks();
        let id = match &work {
            Work::Command(words) => {
                let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                self.core.submit(Command::new(&arguments), now)
            }
            Work::Batch(_) => match self.core.submit_batch(&bytes, &lengths, now) {
                Ok(ids) => {
                    let Expected::Each(payloads) = expected else { panic!("a batch of other commands") };
                    let each = payloads.into_iter().map(|payload| (Expected::Each(vec![payload]), true_now));
                    self.pending.extend(ids.iter().zip(each));
                    self.pump(true_now);
                    return Some(ids.first);
                }
                Err(error) => Err(error),
            },
            Work::Transaction(_) => self.core.submit_transaction(&bytes, &lengths, now),
            Work::Session { tag, payload } => self.watch(*tag, *payload, now),
        };
        let id = id.ok()?;
        self.pending.insert(id, (expected, true_now));
        self.pump(true_now);
        Some(id)
    }

    fn watch(&mut self, tag: u64, payload: u64, now: Now) -> Result<CommandId, SubmitError> {
        let session = self.core.open_session(now)?;
        let key = format!("w{{t{tag}}}");
        let id = self.core.submit_in(session, Command::new(&[b"WATCH", key.as_bytes()]), now);
        match &id {
            Ok(_) => drop(self.sessions.insert(session, (tag, payload))),
            Err(_) => self.core.close_session(session, now),
        }
        id
    }

    /// A session has watched its key for a while: now it writes.
    pub fn proceed(&mut self, session: SessionId, true_now: u64) {
        let Some((tag, payload)) = self.sessions.get(&session).copied() else { return };
        let now = self.now(true_now);
        let work = Work::Transaction(vec![Work::increment("w", tag, payload)]);
        let (bytes, lengths) = work.blocks();
        match self.core.submit_transaction_in(session, &bytes, &lengths, now) {
            Ok(id) => {
                let expected = Expected::EachOrNothing { payload, session };
                self.pending.insert(id, (expected, true_now));
            }
            Err(_) => self.leave_session(session, Some(Told::Failed(Outcome::NotSent)), now),
        }
        self.pump(true_now);
    }

    fn leave_session(&mut self, session: SessionId, told: Option<Told>, now: Now) {
        if let Some((_, payload)) = self.sessions.remove(&session)
            && let Some(told) = told
        {
            self.tell(payload, told);
        }
        self.core.close_session(session, now);
    }

    /// One more subscriber; false where the client has none.
    pub fn listen(&mut self, true_now: u64) -> bool {
        let Ok(id) = self.core.open_subscriber(self.now(true_now)) else { return false };
        self.listeners.push(Listener::new(id));
        self.pump(true_now);
        true
    }

    /// Subscribes, or ends a subscription.
    pub fn change_subscription(&mut self, index: usize, kind: ChannelKind, name: &[u8], true_now: u64) {
        let now = self.now(true_now);
        let Some(listener) = self.listeners.get_mut(index).filter(|_| !self.is_quiet) else { return };
        let key = (kind, name.to_vec());
        match listener.subscriptions.get_mut(&key) {
            // Not a second time before the first end was confirmed.
            Some(subscription) if subscription.is_ending => return,
            Some(subscription) => {
                subscription.is_ending = true;
                self.core.unsubscribe(listener.id, kind, &[name], now).expect("a subscriber");
            }
            None => {
                listener.subscriptions.insert(key, Default::default());
                self.core.subscribe(listener.id, kind, &[name], now).expect("a subscriber");
            }
        }
        self.pump(true_now);
    }

    /// What came for the subscribers is compared with what was published.
    pub fn hear(&mut self, published: &BTreeMap<Vec<u8>, Vec<Publication>>, true_now: u64, is_told: bool) {
        for batch in std::mem::take(&mut self.unheard) {
            let listener = self.listeners.iter_mut().find(|listener| listener.id == batch.subscriber);
            let listener = listener.expect("a subscriber that was opened");
            if is_told {
                let lines: Vec<String> = batch.iter().map(|message| line_of(&message)).collect();
                let oid = &self.spec.credential.oid;
                println!("{:.6} {oid} {:?} hears {lines:?}", true_now as f64 / 1e6, listener.id);
            }
            batch.iter().for_each(|message| listener.hear(&message, published, true_now));
        }
    }

    /// What its subscribers want to be subscribed to, each as often as one wants it; sorted.
    pub fn wanted_subscriptions(&self) -> Vec<(Kind, Vec<u8>)> {
        let all = self.listeners.iter().flat_map(|listener| &listener.subscriptions);
        let wanted = all.filter(|(_, subscription)| !subscription.is_ending).map(|((kind, name), _)| {
            let kind = match kind {
                ChannelKind::Channel => Kind::Channel,
                ChannelKind::Pattern => Kind::Pattern,
                ChannelKind::Shard => Kind::Shard,
            };
            (kind, name.clone())
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort();
        wanted
    }

    /// Whether every subscriber to the channel heard this.
    pub fn has_heard(&self, channel: &[u8], payload: u64) -> bool {
        let mut subscribers = self.listeners.iter().filter(|listener| {
            let mut all = listener.subscriptions.iter().filter(|(_, subscription)| !subscription.is_ending);
            all.any(|((kind, name), _)| *kind != ChannelKind::Pattern && name == channel)
        });
        subscribers.all(|listener| listener.payloads.contains(&payload))
    }

    /// Ends of subscriptions that were not confirmed.
    pub fn unconfirmed_ends(&self) -> Vec<(ChannelKind, String)> {
        let all = self.listeners.iter().flat_map(|listener| &listener.subscriptions);
        let ending = all.filter(|(_, subscription)| subscription.is_ending);
        ending.map(|((kind, name), _)| (*kind, String::from_utf8_lossy(name).into_owned())).collect()
    }

    /// How long the oldest command has waited, of those that do not wait for an element; and what it is.
    pub fn longest_wait(&self, true_now: u64) -> (u64, Option<&Expected>) {
        let waiting = self.pending.values().filter(|(expected, _)| !matches!(expected, Expected::Popped(_)));
        let oldest = waiting.min_by_key(|(_, since)| *since);
        oldest.map_or((0, None), |(expected, since)| (true_now - since, Some(expected)))
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
                self.take_replies(&batch, now);
                self.core.recycle(batch);
                return;
            }
            Output::Failed { command, ref error } => {
                let (expected, _) = self.pending.remove(&command).expect("a failure of a command that waits");
                let is_forged = matches!(expected, Expected::Forged(_)) && error.outcome == Outcome::Refused;
                let told = if is_forged { Told::MayHaveRun } else { Told::Failed(error.outcome) };
                self.conclude(expected, &|_| told, now);
                if !is_forged && !self.cancelled.contains(&command) {
                    self.failures.push((error.code, error.outcome, error.text.clone()));
                }
            }
            _ => {}
        }
        self.note(&format!("{output:?}"));
        match output {
            Output::Connect { conn, host, port } => {
                self.wishes.push_back(Wish::Connect(conn.as_u64(), host, port));
            }
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
            Output::Messages(batch) => self.unheard.push(batch),
            Output::Replies(_) | Output::Failed { .. } => {}
            other => panic!("unknown output {other:?}"),
        }
    }

    fn take_replies(&mut self, batch: &ReplyBatch, now: Now) {
        for (id, reply) in batch.iter() {
            self.note(&format!("{id:?} {reply:?}"));
            let (expected, _) = self.pending.remove(&id).expect("a reply to a command that waits");
            let told = expected.judge(&reply);
            if let Told::Error(code) = told
                && !matches!(expected, Expected::Forged(_))
                && !self.cancelled.contains(&id)
            {
                let text = String::from_utf8_lossy(reply.as_bytes()).into_owned();
                self.failures.push((code, Outcome::Refused, text));
            }
            self.conclude(expected, &|_| told, now);
        }
    }

    /// A command has ended.
    fn conclude(&mut self, expected: Expected, told: &dyn Fn(u64) -> Told, now: Now) {
        match expected {
            Expected::Watching { payload } => {
                let session = self.sessions.iter().find(|(_, (_, own))| *own == payload);
                let session = *session.expect("a session that is under way").0;
                match told(payload) {
                    Told::Replied => self.wishes.push_back(Wish::Proceed(session)),
                    _ => self.leave_session(session, Some(Told::Failed(Outcome::NotSent)), now),
                }
            }
            Expected::EachOrNothing { payload, session } => {
                self.leave_session(session, None, now);
                self.tell(payload, told(payload));
            }
            other => {
                let is_shared = other.is_split();
                for payload in other.payloads() {
                    self.tell(payload, told(payload).of_part(is_shared));
                }
            }
        }
    }

    fn tell(&mut self, payload: u64, told: Told) {
        assert_eq!(self.told.insert(payload, told), None, "A1: two outcomes of {payload}");
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
