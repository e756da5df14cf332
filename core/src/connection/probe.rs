//! PINGs with a nonce: proof that the peer lives, and that replies and commands are still aligned. A server or proxy
//! that loses a reply would shift all later ones by one; the nonce that comes back to the wrong slot tells.

use super::Patience;
use crate::time::Instant;

/// A PING under way.
#[derive(Debug)]
struct Probe {
    nonce: String,
    /// Nothing else was in flight when it was sent. In company the answer may take as long as others': a server that
    /// stands still for some seconds under load is not dead.
    was_alone: bool,
    /// Since when it is the server's turn to answer it. Behind commands the answer takes its time.
    turn_since: Option<Instant>,
}

/// The probes of one connection.
#[derive(Debug)]
pub(super) struct Probes {
    under_way: Option<Probe>,
    proven_at: Instant,
    /// A reply did not come in time: was it late, or lost?
    is_doubted: bool,
}

impl Probes {
    pub(super) fn new(now: Instant) -> Probes {
        Probes { under_way: None, proven_at: now, is_doubted: false }
    }

    /// A nonce came back, or the login did.
    pub(super) fn handle_proven(&mut self, now: Instant) {
        self.proven_at = now;
        self.is_doubted = false;
    }

    /// A command's deadline passed before its reply came.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// When to send the next one, on a connection that is idle or not and last received something at `received_at`.
    pub(super) fn due_at(&self, is_idle: bool, received_at: Instant, patience: &Patience) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let doubted = self.is_doubted.then_some(self.proven_at);
        let idle = is_idle.then(|| received_at + patience.idle);
        let unproven = (received_at > self.proven_at).then(|| self.proven_at + patience.alignment);
        [doubted, idle, unproven].into_iter().flatten().min()
    }

    pub(super) fn handle_sent(&mut self, nonce: String, was_alone: bool) {
        self.under_way = Some(Probe { nonce, was_alone, turn_since: None });
    }

    /// Nothing before the probe is unanswered.
    pub(super) fn handle_turn(&mut self, now: Instant) {
        if let Some(probe) = &mut self.under_way {
            probe.turn_since.get_or_insert(now);
        }
    }

    /// When the peer counts as dead without an answer.
    pub(super) fn answer_end(&self, patience: &Patience) -> Option<Instant> {
        let probe = self.under_way.as_ref()?;
        Some(probe.turn_since? + if probe.was_alone { patience.keep_alive } else { patience.silence })
    }

    /// The nonce that the answer must be.
    pub(super) fn take_nonce(&mut self) -> Option<String> {
        self.under_way.take().map(|probe| probe.nonce)
    }
}
