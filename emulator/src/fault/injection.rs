//! Errors that commands get in place of being run.

use tokio::time::Instant;

use super::Uses;
use crate::cluster::{ADVERTISED, Door};

/// An error for those commands that it reaches.
#[derive(Clone)]
pub(crate) struct Injection {
    pub(crate) text: Text,
    pub(crate) reach: Reach,
    /// Where it strikes; everywhere if there is none.
    pub(crate) door: Option<Door>,
    pub(crate) uses: Uses,
    pub(crate) until: Option<Instant>,
}

#[derive(Clone)]
pub(crate) enum Text {
    /// Without its minus sign.
    Line(String),
    Redirect(Redirect),
}

/// Which commands get it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// Those with a key.
    Keyed,
    /// Those with two keys or more.
    ManyKeys,
    /// Those that write.
    Writes,
}

/// A redirect that the cluster has no reason for.
#[derive(Clone)]
pub(crate) struct Redirect {
    pub(crate) ask: bool,
    pub(crate) target: Target,
    /// In place of what the target says.
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The next node, which redirects further: round and round.
    Loop,
    /// The node that was asked.
    Itself,
    /// The next node, without a host: the host that was asked.
    EmptyHost,
    /// The next node, with `?` for its host: nobody knows.
    UnknownHost,
    PortZero,
    /// An address that no packet reaches.
    Unreachable,
    /// The next node, for another slot than the command's.
    OtherSlot,
    /// Nothing of this cluster.
    Foreign,
}

impl Redirect {
    /// The error for a command of `slot` at the node whose port is `own`; `next` is that of another node.
    pub(crate) fn text(&self, slot: u16, own: u16, next: u16) -> String {
        let (host, port) = match self.target {
            Target::Loop | Target::OtherSlot => (ADVERTISED, next),
            Target::Itself => (ADVERTISED, own),
            Target::EmptyHost => ("", next),
            Target::UnknownHost => ("?", next),
            Target::PortZero => (ADVERTISED, 0),
            Target::Unreachable => ("10.255.255.1", next),
            Target::Foreign => ("127.0.0.3", next),
        };
        let slot = if self.target == Target::OtherSlot { (slot + 1) % 16_384 } else { slot };
        let word = if self.ask { "ASK" } else { "MOVED" };
        format!("{word} {slot} {}:{}", self.host.as_deref().unwrap_or(host), self.port.unwrap_or(port))
    }
}

/// What an injection needs to know of a command.
#[derive(Clone, Copy)]
pub(crate) struct Struck {
    pub(crate) door: Door,
    pub(crate) key_count: usize,
    pub(crate) writes: bool,
}

impl Injection {
    /// Whether the command gets it; uses it up.
    pub(super) fn take(&mut self, struck: Struck) -> bool {
        let reached = match self.reach {
            Reach::All => true,
            Reach::Keyed => struck.key_count > 0,
            Reach::ManyKeys => struck.key_count > 1,
            Reach::Writes => struck.writes,
        };
        let is_here = self.door.is_none_or(|door| door == struck.door);
        let is_now = self.until.is_none_or(|until| Instant::now() < until);
        reached && is_here && is_now && self.uses.take()
    }
}
