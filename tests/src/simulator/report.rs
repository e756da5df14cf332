//! What a run amounted to.

use super::errand::Told;
use respass::Outcome;
use std::collections::BTreeMap;

/// What a run amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands by what the clients were told.
    pub replied: u64,
    /// Commands that were not sent.
    pub not_sent: u64,
    /// Commands that may have run.
    pub indeterminate: u64,
    /// Commands that a server refused.
    pub refused: u64,
    /// Connections closed by the server because their token ended.
    pub lapses: u64,
    /// Live connections that presented a newer token.
    pub reauths: u64,
    /// Connections that the network cut.
    pub cuts: u64,
    /// Deliveries that the network split.
    pub splits: u64,
    /// Things that happened to the cluster.
    pub upheavals: u64,
    /// Redirects and refusals of the cluster's, by their first word.
    pub errors: BTreeMap<String, u64>,
    /// Topologies that were asked for.
    pub topologies: u64,
    /// Messages that subscribers heard.
    pub heard: u64,
    /// Those that they heard again.
    pub repeated: u64,
    /// Gaps that were announced.
    pub gaps: u64,
    /// Time that the clients lived, added up, in microseconds.
    pub lived: u64,
    /// Over everything that came out of every core.
    pub trace: u64,
}

impl Report {
    /// Both together; the traces are not.
    pub fn add(&mut self, other: &Report) {
        self.replied += other.replied;
        self.not_sent += other.not_sent;
        self.indeterminate += other.indeterminate;
        self.refused += other.refused;
        self.lapses += other.lapses;
        self.reauths += other.reauths;
        self.cuts += other.cuts;
        self.splits += other.splits;
        self.upheavals += other.upheavals;
        self.topologies += other.topologies;
        self.heard += other.heard;
        self.repeated += other.repeated;
        self.gaps += other.gaps;
        self.lived += other.lived;
        for (word, count) in &other.errors {
            *self.errors.entry(word.clone()).or_default() += count;
        }
    }

    /// One more outcome.
    pub(super) fn count(&mut self, told: Told) {
        match told {
            Told::Replied | Told::Nothing => self.replied += 1,
            Told::Error(_) | Told::MayHaveRun | Told::Failed(Outcome::Refused) => self.refused += 1,
            Told::Failed(Outcome::NotSent) => self.not_sent += 1,
            Told::Failed(Outcome::Indeterminate) => self.indeterminate += 1,
        }
    }
}
