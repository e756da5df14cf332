//! The servers that a client knows of, and where they are.

use super::lane::LaneId;
use crate::cluster::{Endpoint, ServerNameFrom, Target, Targets};

/// A server of a client. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u16);

/// The configured endpoint, which is always there.
pub(crate) const SEED: NodeId = NodeId(0);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// As advertised; of the seed, as configured.
    pub(crate) endpoint: Endpoint,
    targets: Targets,
    /// The last attempt to connect to the first target failed.
    uses_fallback: bool,
    /// The lane of ordinary commands.
    pub(crate) main: LaneId,
    /// The latest map names it.
    pub(crate) is_listed: bool,
    pub(crate) is_primary: bool,
}

impl Node {
    /// The configured endpoint, whose main lane is this.
    pub(crate) fn seed(host: &str, port: u16, main: LaneId) -> Node {
        let host: Box<str> = host.into();
        let first = Target { host: host.clone(), port, server_name: ServerNameFrom::Configured };
        Node::new(SEED, Endpoint { host, port }, Targets { first, fallback: None }, main)
    }

    pub(crate) fn new(id: NodeId, endpoint: Endpoint, targets: Targets, main: LaneId) -> Node {
        Node { id, endpoint, targets, uses_fallback: false, main, is_listed: false, is_primary: false }
    }

    /// Where to connect to.
    pub(crate) fn target(&self) -> &Target {
        match &self.targets.fallback {
            Some(fallback) if self.uses_fallback => fallback,
            _ => &self.targets.first,
        }
    }

    pub(crate) fn uses_fallback(&self) -> bool {
        self.uses_fallback
    }

    /// Where it is to be reached from now on.
    pub(crate) fn set_targets(&mut self, targets: Targets) {
        // The configured endpoint is dialled as it was configured, whatever a server says.
        if self.id != SEED && self.targets != targets {
            self.targets = targets;
            self.uses_fallback = false;
        }
    }

    /// It could not be reached, and nobody could: next time, the other address.
    pub(crate) fn handle_unreachable(&mut self) {
        self.uses_fallback = self.targets.fallback.is_some() && !self.uses_fallback;
    }

    /// Where it is to be reached at first.
    pub(crate) fn first_target(&self) -> &Target {
        &self.targets.first
    }
}
