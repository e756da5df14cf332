//! What really happened at the servers.

use std::collections::BTreeMap;

/// One executed PUBLISH or SPUBLISH.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What was published.
    pub payload: u64,
    /// True time.
    pub at: u64,
}

/// What ran, and how often the servers were asked to log somebody in.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How often the command with this payload ran.
    pub ran: BTreeMap<u64, u32>,
    /// Where the scripts ran last that say they did not, and how many lies about the map had been told.
    forged: BTreeMap<u64, (usize, u64)>,
    /// Wrong maps that were told.
    pub map_lies: u64,
    /// Blocking commands that began to wait or were served, without those that a server sent away again.
    pub began: BTreeMap<u64, u32>,
    /// By channel, in order. A sharded channel's name begins with `s`.
    pub published: BTreeMap<Vec<u8>, Vec<Publication>>,
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
    /// Redirects and refusals by their first word, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Topologies told.
    pub topologies: u64,
}

impl Ledger {
    /// A command with this payload ran.
    pub fn run(&mut self, payload: u64) {
        let count = self.ran.entry(payload).or_default();
        *count += 1;
        assert!(*count == 1, "D2: the command with payload {payload} ran {count} times");
    }

    /// A script ran that says it did not. Where the map said that another node has its slot, it may run there as well:
    /// also where that was a lie.
    pub fn run_forged(&mut self, payload: u64, node: usize) {
        let count = self.ran.entry(payload).or_default();
        *count += 1;
        let before = self.forged.insert(payload, (node, self.map_lies));
        let is_led_astray = before.is_none_or(|before| before.0 != node || before.1 < self.map_lies);
        assert!(is_led_astray, "D1: the script with payload {payload} ran {count} times on one node");
    }

    /// A blocking command was taken in.
    pub fn begin(&mut self, payload: u64) {
        let count = self.began.entry(payload).or_default();
        *count += 1;
        assert!(*count == 1, "D6: the blocking command with payload {payload} was sent {count} times");
    }

    /// A blocking command was sent away by the server itself.
    pub fn send_away(&mut self, payload: u64) {
        self.began.remove(&payload);
    }
}
