//! Time and the network between the clients and the servers.

use super::SECOND;
use super::channels::Kind;
use super::client::{ClientSpec, SimClient, Wish};
use super::errand::{Errand, Expected, Told, Work};
use super::event::Event;
use super::lies::STRANGER;
use super::report::Report;
use super::server::{Action, Health, Key, SEED_PORT, Server};
use super::workload::Draw;
use respass::{ChannelKind, CommandId, DisconnectCause, Outcome};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One delivery in so many is split into pieces; 0 for never.
    pub split_one_in: u64,
    /// Mean life of a connection before the network cuts it, in microseconds; 0 for never.
    pub cut_after: u64,
    /// Mean time between two upheavals of the cluster, in microseconds; 0 for never.
    pub upheaval_after: u64,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    /// Nobody answers.
    #[default]
    Void,
    /// A server that is none of ours.
    Stranger,
    /// One of ours.
    Node(usize),
}

/// A connection on the network.
#[derive(Debug, Default)]
struct Link {
    target: Target,
    is_connected: bool,
    /// Deliveries keep their order.
    to_server_at: u64,
    to_client_at: u64,
}

/// True time at the start: not zero, so that subtractions have room.
const START: u64 = 1000 * SECOND;

/// See the module's description.
pub struct World {
    /// True time, in microseconds since the start.
    pub now: u64,
    /// The model servers.
    pub server: Server,
    /// The applications.
    pub clients: Vec<SimClient>,
    /// What goes wrong.
    pub faults: Faults,
    /// Whether everything that happens is printed: for looking into one seed.
    pub is_told: bool,
    pub(super) rng: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, usize, usize)>>,
    /// The events' contents, by sequence number.
    contents: BTreeMap<u64, Event>,
    sequence: u64,
    links: BTreeMap<Key, Link>,
    draw: Draw,
    cuts: u64,
    splits: u64,
    pub(super) upheavals: u64,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> World {
        World {
            now: START,
            server: Server::default(),
            clients: Vec::new(),
            faults: Faults::default(),
            is_told: false,
            rng: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            contents: BTreeMap::new(),
            sequence: 0,
            links: BTreeMap::new(),
            draw: Draw::default(),
            cuts: 0,
            splits: 0,
            upheavals: 0,
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

    /// Submits ECHO now; answers the first command's id.
    pub fn submit(&mut self, index: usize, count: u64, is_transaction: bool) -> Option<CommandId> {
        let errand = self.draw.plain(count, is_transaction);
        self.run_errand(index, errand)
    }

    /// Submits a write to a key of each tag, so that every shard has one.
    pub fn submit_everywhere(&mut self, index: usize) {
        for tag in 0..super::workload::TAGS {
            let errand = self.draw.write("k", tag);
            self.run_errand(index, errand);
        }
    }

    /// Publishes to a channel now; answers the payload.
    pub fn publish(&mut self, index: usize, kind: Kind, channel: &str) -> u64 {
        let word = if kind == Kind::Shard { "SPUBLISH" } else { "PUBLISH" };
        let errand = self.draw.one(|payload| vec![word.to_owned(), channel.to_owned(), payload.to_string()]);
        let Expected::Each(payloads) = &errand.expected else { unreachable!("one command") };
        let payload = payloads[0];
        self.run_errand(index, errand);
        payload
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
            match event {
                Event::Upheaval(upheaval) => self.strike(upheaval),
                Event::DrawUpheaval => self.draw_upheaval(),
                Event::ToServer(..) | Event::ServerWake(_) => self.happen(index, event),
                _ if self.now < self.clients[index].suspended_until => {
                    let resume_at = self.clients[index].suspended_until;
                    self.schedule(index, resume_at, event);
                }
                _ => self.happen(index, event),
            }
        }
        self.now = end;
    }

    /// Ends the run: every client is closed, every outcome is compared with the servers' ledger.
    pub fn finish(&mut self) -> Report {
        let ledger = &self.server.ledger;
        let mut report = Report {
            lapses: ledger.lapses,
            reauths: ledger.reauths,
            errors: ledger.errors.clone(),
            topologies: ledger.topologies,
            cuts: self.cuts,
            splits: self.splits,
            upheavals: self.upheavals,
            lived: self.clients.iter().map(|client| self.now - START - client.spec.starts_at).sum(),
            ..Report::default()
        };
        for client in &mut self.clients {
            client.close(self.now);
            for listener in &client.listeners {
                report.heard += listener.heard;
                report.repeated += listener.repeated;
                report.gaps += listener.gaps;
            }
            for (payload, told) in &client.told {
                let ran = ledger.ran.get(payload).copied().unwrap_or(0);
                report.count(*told);
                let is_true = match told {
                    Told::Replied => ran == 1,
                    Told::Nothing | Told::Error(_) => ran == 0,
                    Told::Failed(Outcome::NotSent | Outcome::Refused) => ran == 0,
                    Told::Failed(Outcome::Indeterminate) => ran <= 1,
                    Told::MayHaveRun => true,
                };
                assert!(is_true, "D2: payload {payload} ran {ran} times and was told to be {told:?}");
            }
            report.trace = report.trace.rotate_left(7) ^ client.trace;
        }
        report
    }

    pub(super) fn schedule(&mut self, index: usize, at: u64, event: Event) {
        self.sequence += 1;
        self.contents.insert(self.sequence, event);
        self.events.push(Reverse((at.max(self.now), self.sequence, index, 0)));
    }

    fn happen(&mut self, index: usize, event: Event) {
        let now = self.now;
        if self.is_told && !matches!(event, Event::Wake(_) | Event::ServerWake(_)) {
            let target = event.conn().and_then(|conn| self.links.get(&(index, conn)));
            println!("{:.6} client {index} {event} {:?}", now as f64 / 1e6, target.map(|link| link.target));
        }
        match event {
            Event::Start => self.start(index),
            Event::Connected(conn) => self.establish(index, conn),
            Event::Refused(conn) => {
                let cause = DisconnectCause::ConnectFailed("connection refused".to_owned());
                self.drop_link(index, conn, cause);
            }
            Event::ToServer(conn, bytes) => {
                if self.is_alive(index, conn) {
                    self.server.receive((index, conn), &bytes, now);
                }
            }
            Event::ServerWake(conn) => {
                if self.is_alive(index, conn) {
                    self.server.wake((index, conn), now);
                }
            }
            Event::ToClient(conn, bytes) => {
                if self.is_alive(index, conn) {
                    self.clients[index].received(conn, &bytes, now);
                }
            }
            Event::ClosedByServer(conn) => self.drop_link(index, conn, DisconnectCause::Closed),
            Event::Cut(conn) => self.cut(index, conn),
            // What chance had in store before the faults ended does not come to pass.
            Event::Mishap(conn) if self.faults.cut_after > 0 => self.cut(index, conn),
            Event::Mishap(_) => {}
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
            Event::Feed(list) => {
                let errand = self.draw.feed(&list);
                self.run_errand(index, errand);
            }
            Event::Proceed(session) => self.clients[index].proceed(session, now),
            Event::Subscribe => self.change_subscription(index),
            Event::Cancel(id) => self.clients[index].cancel(id, now),
            Event::Upheaval(_) | Event::DrawUpheaval => unreachable!("of the cluster"),
        }
        self.settle(index);
    }

    /// Carries out what servers and a client want.
    pub(super) fn settle(&mut self, index: usize) {
        loop {
            while let Some(((index, conn), action)) = self.server.take_action() {
                self.react(index, conn, action);
            }
            self.clients[index].hear(&self.server.ledger.published, self.now, self.is_told);
            if self.clients[index].wishes.is_empty() {
                break;
            }
            self.grant(index);
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

    fn start(&mut self, index: usize) {
        self.clients[index].start(self.now);
        for _ in 0..self.clients[index].spec.listeners {
            if self.clients[index].listen(self.now) {
                self.schedule(index, self.now, Event::Subscribe);
            }
        }
        self.schedule_submission(index);
    }

    fn grant(&mut self, index: usize) {
        while let Some(wish) = self.clients[index].wishes.pop_front() {
            if self.is_told && !matches!(wish, Wish::Send(..)) {
                println!("{:.6} client {index} wishes {wish:?}", self.now as f64 / 1e6);
            }
            match wish {
                Wish::Connect(conn, host, port) => self.dial(index, conn, &host, port),
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
                Wish::Proceed(session) => {
                    let wait = if self.rng.u8(0..10) == 0 { 600 * SECOND } else { SECOND / 20 };
                    let at = self.now + self.rng.u64(0..wait);
                    self.schedule(index, at, Event::Proceed(session));
                }
            }
        }
    }

    /// A connection is asked for. Only what was configured, or listed by a node, may be.
    fn dial(&mut self, index: usize, conn: u64, host: &str, port: u16) {
        let (mut host, mut port) = (host.to_owned(), port);
        if let Some(cluster) = &self.server.cluster {
            let known = (0..cluster.nodes()).find(|node| cluster.advertised(*node) == (host.clone(), port));
            if self.clients[index].spec.maps_addresses && host != "localhost" {
                // What the host's table does not name is not connected to.
                let Some(node) = known else {
                    self.links.insert((index, conn), Link::default());
                    return self.schedule(index, self.now, Event::Refused(conn));
                };
                (host, port) = ("localhost".to_owned(), cluster.port(node));
            }
            let advertised = match host == "localhost" && port != SEED_PORT {
                true => (0..cluster.nodes())
                    .find(|node| cluster.port(*node) == port)
                    .map(|node| cluster.advertised(node)),
                false => Some((host.clone(), port)),
            };
            let is_listed = advertised.is_some_and(|address| cluster.listed.contains(&address))
                // Where a node claims that a stranger has everything, its port may be tried at the right host.
                || cluster.listed.contains(&(STRANGER.to_owned(), port));
            let is_configured = host == "localhost" && port == SEED_PORT;
            assert!(is_configured || is_listed, "C1: {host}:{port} was dialled, which no node listed");
        } else {
            assert_eq!((host.as_str(), port), ("localhost", SEED_PORT), "C1: another server was dialled");
        }
        let node = if host == "localhost" { self.server.node_at(port) } else { None };
        let health = node.map(|node| self.server.health(node));
        let (target, event) = match (host.as_str(), node, health) {
            (STRANGER, ..) => (Target::Stranger, Some(Event::Connected(conn))),
            (_, Some(node), Some(Health::Up | Health::ReadOnly)) => {
                (Target::Node(node), Some(Event::Connected(conn)))
            }
            ("localhost", _, None | Some(Health::Refusing)) => (Target::Void, Some(Event::Refused(conn))),
            _ => (Target::Void, None),
        };
        self.links.insert((index, conn), Link { target, ..Link::default() });
        let at = self.now + self.latency();
        event.into_iter().for_each(|event| self.schedule(index, at, event));
        if self.faults.cut_after > 0 {
            let life = self.rng.u64(0..2 * self.faults.cut_after);
            self.schedule(index, self.now + life, Event::Mishap(conn));
        }
    }

    fn establish(&mut self, index: usize, conn: u64) {
        let Some(link) = self.links.get_mut(&(index, conn)) else { return };
        match link.target {
            Target::Node(node) if !matches!(self.server.health(node), Health::Up | Health::ReadOnly) => {
                // It fell while the connection was being made.
                link.target = Target::Void;
                if self.server.health(node) == Health::Refusing {
                    self.schedule(index, self.now, Event::Refused(conn));
                }
                return;
            }
            Target::Node(node) => self.server.accept((index, conn), node),
            Target::Stranger => {}
            Target::Void => return,
        }
        link.is_connected = true;
        self.clients[index].connected(conn, self.now);
    }

    fn react(&mut self, index: usize, conn: u64, action: Action) {
        match action {
            Action::Send(bytes) => self.carry(index, conn, bytes, false),
            Action::WakeAt(at) => self.schedule(index, at, Event::ServerWake(conn)),
            Action::Close => {
                let link = self.links.get(&(index, conn));
                let at = link.map_or(self.now, |link| link.to_client_at.max(self.now));
                self.schedule(index, at + 1, Event::ClosedByServer(conn));
            }
        }
    }

    fn carry(&mut self, index: usize, conn: u64, mut bytes: Vec<u8>, to_server: bool) {
        match self.links.get(&(index, conn)).map(|link| link.target) {
            Some(Target::Node(_)) => {}
            Some(Target::Stranger) => {
                let is_secret = bytes.windows(4).any(|window| window == b"e30.");
                assert!(!is_secret, "B5: a token left for a stranger");
                return;
            }
            Some(Target::Void) | None => return,
        }
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
        self.links.get(&(index, conn)).is_some_and(|link| matches!(link.target, Target::Node(_)))
    }

    fn cut(&mut self, index: usize, conn: u64) {
        if self.links.get(&(index, conn)).is_some_and(|link| link.target != Target::Void) {
            self.cuts += 1;
            self.drop_link(index, conn, DisconnectCause::Broken("connection reset".to_owned()));
        }
    }

    fn drop_link(&mut self, index: usize, conn: u64, cause: DisconnectCause) {
        if self.links.remove(&(index, conn)).is_some() {
            self.server.forget((index, conn));
            self.clients[index].disconnected(conn, cause, self.now);
        }
    }

    /// All connections to a node break at once; with `is_noticed`, the clients are told.
    pub(super) fn sever(&mut self, node: usize, is_noticed: bool) {
        let own = self.links.iter().filter(|(_, link)| link.target == Target::Node(node));
        for (index, conn) in own.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.cuts += 1;
            if is_noticed {
                // Clients that are suspended learn of it later.
                self.schedule(index, self.now, Event::Cut(conn));
            } else {
                self.server.forget((index, conn));
                self.links.entry((index, conn)).or_default().target = Target::Void;
            }
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
        let errand = if self.clients[index].spec.workload.is_varied {
            self.draw.varied(&mut self.rng)
        } else {
            let (count, is_transaction) = match self.rng.u32(0..10) {
                0 => (3, true),
                1 | 2 => (5, false),
                _ => (1, false),
            };
            self.draw.plain(count, is_transaction)
        };
        let id = self.run_errand(index, errand);
        let one_in = self.clients[index].spec.workload.cancel_one_in;
        if let Some(id) = id
            && one_in > 0
            && self.rng.u64(0..one_in) == 0
        {
            let at = self.now + self.rng.u64(0..5000);
            self.schedule(index, at, Event::Cancel(id));
        }
    }

    fn run_errand(&mut self, index: usize, errand: Errand) -> Option<CommandId> {
        let list = match (&errand.work, &errand.expected) {
            (Work::Command(words), Expected::Popped(_)) => {
                Some(String::from_utf8_lossy(&words[1]).into_owned())
            }
            _ => None,
        };
        let id = self.clients[index].submit(errand, self.now);
        if let Some(list) = list.filter(|_| id.is_some()) {
            let at = self.now + self.rng.u64(0..30 * SECOND);
            self.schedule(index, at, Event::Feed(list));
        }
        self.settle(index);
        id
    }

    /// One of a client's subscribers subscribes to something, or ends it; and again some time later.
    fn change_subscription(&mut self, index: usize) {
        let number = self.rng.u64(..);
        let (kind, name) = match self.rng.u8(0..3) {
            0 => (ChannelKind::Channel, super::workload::channel(number)),
            1 => (ChannelKind::Pattern, super::workload::pattern(number)),
            _ => (ChannelKind::Shard, super::workload::shard_channel(number)),
        };
        let listener = self.rng.usize(0..self.clients[index].listeners.len());
        if self.is_told {
            println!(
                "{:.6} client {index} listener {listener} changes {kind:?} {name}",
                self.now as f64 / 1e6
            );
        }
        self.clients[index].change_subscription(listener, kind, name.as_bytes(), self.now);
        let at = self.now + self.rng.u64(0..60 * SECOND);
        self.schedule(index, at, Event::Subscribe);
    }
}
