//! Time and the network between the clients and the server.

use super::SECOND;
use super::client::{ClientSpec, SimClient, Told, Wish};
use super::server::{Reaction, Server};
use respass::{CommandId, DisconnectCause, Outcome};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One delivery in so many is split into pieces; 0 for never.
    pub split_one_in: u64,
    /// Mean life of a connection before the network cuts it, in microseconds; 0 for never.
    pub cut_after: u64,
}

/// A connection on the network.
#[derive(Debug, Default)]
struct Link {
    is_cut: bool,
    /// Deliveries keep their order.
    to_server_at: u64,
    to_client_at: u64,
}

#[derive(Debug)]
enum Event {
    Start,
    Connected(u64),
    ToServer(u64, Vec<u8>),
    ToClient(u64, Vec<u8>),
    ClosedByServer(u64),
    Cut(u64),
    ServerWake(u64),
    /// Counts only where it is the latest that was scheduled.
    Wake(u64),
    TokenAnswer,
    Submit,
    Cancel(CommandId),
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands by what the clients were told.
    pub replied: u64,
    /// Commands that were not sent.
    pub not_sent: u64,
    /// Commands that may have run.
    pub indeterminate: u64,
    /// Connections closed by the server because their token ended.
    pub lapses: u64,
    /// Live connections that presented a newer token.
    pub reauths: u64,
    /// Connections that the network cut.
    pub cuts: u64,
    /// Deliveries that the network split.
    pub splits: u64,
    /// Time that the clients lived, added up, in microseconds.
    pub lived: u64,
    /// Over everything that came out of every core.
    pub trace: u64,
}

/// True time at the start: not zero, so that subtractions have room.
const START: u64 = 1000 * SECOND;

/// See the module's description.
pub struct World {
    /// True time, in microseconds since the start.
    pub now: u64,
    /// The model server.
    pub server: Server,
    /// The applications.
    pub clients: Vec<SimClient>,
    /// What goes wrong.
    pub faults: Faults,
    rng: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, usize, usize)>>,
    /// The events' contents, by sequence number.
    contents: BTreeMap<u64, Event>,
    sequence: u64,
    links: BTreeMap<(usize, u64), Link>,
    payload: u64,
    cuts: u64,
    splits: u64,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> World {
        World {
            now: START,
            server: Server::default(),
            clients: Vec::new(),
            faults: Faults::default(),
            rng: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            contents: BTreeMap::new(),
            sequence: 0,
            links: BTreeMap::new(),
            payload: 0,
            cuts: 0,
            splits: 0,
        }
    }

    /// One more application; answers its index.
    pub fn add(&mut self, spec: ClientSpec) -> usize {
        let at = self.now + spec.starts_at;
        let client = SimClient::new(spec, self.rng.u64(..), self.now);
        self.clients.push(client);
        let index = self.clients.len() - 1;
        self.schedule(index, at, Event::Start);
        index
    }

    /// Submits commands now; answers the first one's id and the payloads.
    pub fn submit(&mut self, index: usize, count: u64, is_transaction: bool) -> Option<CommandId> {
        let payloads: Vec<u64> = (self.payload..self.payload + count).collect();
        self.payload += count;
        let id = self.clients[index].submit(&payloads, is_transaction, self.now);
        self.grant(index);
        id
    }

    /// Suspends a client: no time passes for its monotonic clock, and nothing reaches it.
    pub fn suspend(&mut self, index: usize, duration: u64) {
        let client = &mut self.clients[index];
        client.suspended += duration;
        client.suspended_until = self.now + duration;
        // The wake-up that was scheduled counts the time that is now lost.
        let resume_at = client.suspended_until;
        client.armed = Some(resume_at);
        self.schedule(index, resume_at, Event::Wake(resume_at));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: u64) {
        let end = self.now + duration;
        while let Some(Reverse((at, sequence, index, _))) = self.events.peek().copied()
            && at <= end
        {
            self.events.pop();
            let event = self.contents.remove(&sequence).expect("scheduled");
            self.now = self.now.max(at);
            let resume_at = self.clients[index].suspended_until;
            if self.now < resume_at && !matches!(event, Event::ToServer(..) | Event::ServerWake(_)) {
                self.schedule(index, resume_at, event);
                continue;
            }
            self.happen(index, event);
        }
        self.now = end;
    }

    /// Ends the run: every client is closed, every outcome is compared with the server's ledger.
    pub fn finish(&mut self) -> Report {
        let mut report = Report {
            lapses: self.server.ledger.lapses,
            reauths: self.server.ledger.reauths,
            cuts: self.cuts,
            splits: self.splits,
            lived: self.clients.iter().map(|client| self.now - START - client.spec.starts_at).sum(),
            ..Report::default()
        };
        for client in &mut self.clients {
            client.close(self.now);
            for (payload, told) in &client.told {
                let ran = self.server.ledger.ran.get(payload).copied().unwrap_or(0);
                match told {
                    Told::Replied | Told::Failed(Outcome::Refused) => {
                        assert_eq!(ran, 1, "payload {payload} was answered and ran {ran} times");
                        report.replied += 1;
                    }
                    Told::Failed(Outcome::NotSent) => {
                        assert_eq!(ran, 0, "payload {payload} was said not to be sent and ran");
                        report.not_sent += 1;
                    }
                    Told::Failed(Outcome::Indeterminate) => {
                        assert!(ran <= 1, "payload {payload} ran {ran} times");
                        report.indeterminate += 1;
                    }
                }
            }
            report.trace = report.trace.rotate_left(7) ^ client.trace;
        }
        report
    }

    fn schedule(&mut self, index: usize, at: u64, event: Event) {
        self.sequence += 1;
        self.contents.insert(self.sequence, event);
        self.events.push(Reverse((at.max(self.now), self.sequence, index, 0)));
    }

    fn happen(&mut self, index: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Start => {
                self.clients[index].start(now);
                self.schedule_submission(index);
            }
            Event::Connected(conn) => {
                if self.is_alive(index, conn) {
                    self.server.accept((index, conn));
                    self.clients[index].connected(conn, now);
                }
            }
            Event::ToServer(conn, bytes) => {
                if self.is_alive(index, conn) {
                    let reaction = self.server.receive((index, conn), &bytes, now);
                    self.react(index, conn, reaction);
                }
            }
            Event::ServerWake(conn) => {
                if self.is_alive(index, conn) {
                    let reaction = self.server.wake((index, conn), now);
                    self.react(index, conn, reaction);
                }
            }
            Event::ToClient(conn, bytes) => {
                if self.is_alive(index, conn) {
                    self.clients[index].received(conn, &bytes, now);
                }
            }
            Event::ClosedByServer(conn) => self.drop_link(index, conn, DisconnectCause::Closed),
            Event::Cut(conn) => {
                if self.is_alive(index, conn) {
                    self.cuts += 1;
                    self.drop_link(index, conn, DisconnectCause::Broken("connection reset".to_owned()));
                }
            }
            Event::Wake(scheduled) if self.clients[index].armed == Some(scheduled) => {
                self.clients[index].armed = None;
                self.clients[index].wake(now);
            }
            Event::Wake(_) => {}
            Event::TokenAnswer => self.clients[index].answered(now),
            Event::Submit => {
                self.submit_by_workload(index);
                self.schedule_submission(index);
            }
            Event::Cancel(id) => self.clients[index].cancel(id, now),
        }
        self.grant(index);
    }

    /// Carries out what the client's driver wants.
    fn grant(&mut self, index: usize) {
        while let Some(wish) = self.clients[index].wishes.pop_front() {
            match wish {
                Wish::Connect(conn) => {
                    self.links.insert((index, conn), Link::default());
                    let at = self.now + self.latency();
                    self.schedule(index, at, Event::Connected(conn));
                    if self.faults.cut_after > 0 {
                        let life = self.rng.u64(0..2 * self.faults.cut_after);
                        self.schedule(index, self.now + life, Event::Cut(conn));
                    }
                }
                Wish::Send(conn, bytes) => self.carry(index, conn, bytes, true),
                Wish::Close(conn) => {
                    // What is on its way still arrives; nothing comes back.
                    self.links.remove(&(index, conn));
                    self.server.forget((index, conn));
                }
                Wish::Fetch => {
                    self.clients[index].spec.credential.ask(self.now);
                    let at = self.now + self.clients[index].spec.credential.latency;
                    self.schedule(index, at, Event::TokenAnswer);
                }
            }
        }
        let client = &mut self.clients[index];
        if let Some(at) = client.wakeup(self.now) {
            let at = at.max(self.now + 1);
            if client.armed.is_none_or(|armed| at < armed) {
                client.armed = Some(at);
                self.schedule(index, at, Event::Wake(at));
            }
        }
    }

    fn react(&mut self, index: usize, conn: u64, reaction: Reaction) {
        if !reaction.bytes.is_empty() {
            self.carry(index, conn, reaction.bytes, false);
        }
        if reaction.close {
            let at = self.links.get(&(index, conn)).map_or(self.now, |link| link.to_client_at.max(self.now));
            self.schedule(index, at + 1, Event::ClosedByServer(conn));
        }
        if let Some(at) = reaction.wake_at {
            self.schedule(index, at, Event::ServerWake(conn));
        }
    }

    fn carry(&mut self, index: usize, conn: u64, mut bytes: Vec<u8>, to_server: bool) {
        while !bytes.is_empty() {
            let is_split = self.faults.split_one_in > 0 && self.rng.u64(0..self.faults.split_one_in) == 0;
            self.splits += u64::from(is_split);
            let len = if is_split { self.rng.usize(1..=bytes.len()) } else { bytes.len() };
            let rest = bytes.split_off(len);
            let earliest = self.now + self.latency();
            let Some(link) = self.links.get_mut(&(index, conn)) else { return };
            let last = if to_server { &mut link.to_server_at } else { &mut link.to_client_at };
            *last = earliest.max(*last + 1);
            let (at, piece) = (*last, std::mem::replace(&mut bytes, rest));
            let event = if to_server { Event::ToServer(conn, piece) } else { Event::ToClient(conn, piece) };
            self.schedule(index, at, event);
        }
    }

    fn latency(&mut self) -> u64 {
        self.rng.u64(100..2000)
    }

    fn is_alive(&self, index: usize, conn: u64) -> bool {
        self.links.get(&(index, conn)).is_some_and(|link| !link.is_cut)
    }

    fn drop_link(&mut self, index: usize, conn: u64, cause: DisconnectCause) {
        if self.links.remove(&(index, conn)).is_some() {
            self.server.forget((index, conn));
            self.clients[index].disconnected(conn, cause, self.now);
        }
    }

    fn schedule_submission(&mut self, index: usize) {
        let interval = self.clients[index].spec.workload.interval;
        if interval > 0 {
            let at = self.now + self.rng.u64(0..2 * interval);
            self.schedule(index, at, Event::Submit);
        }
    }

    fn submit_by_workload(&mut self, index: usize) {
        let (count, is_transaction) = match self.rng.u32(0..10) {
            0 => (3, true),
            1 | 2 => (5, false),
            _ => (1, false),
        };
        let id = self.submit(index, count, is_transaction);
        let one_in = self.clients[index].spec.workload.cancel_one_in;
        if let Some(id) = id
            && one_in > 0
            && self.rng.u64(0..one_in) == 0
        {
            let at = self.now + self.rng.u64(0..5000);
            self.schedule(index, at, Event::Cancel(id));
        }
    }
}
