//! What a connection does as time passes.

use super::{Breakage, Connection, Event, Phase, ReAuth, SlotKind};
use crate::resp::encode_command;
use crate::rng::Rng;
use crate::time::Instant;
use std::time::Duration;

/// Why a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WakeupReason {
    /// The socket should be connected by now.
    Connect,
    /// The login should be accepted by now.
    Login,
    /// A command's reply should be here by now.
    Command,
    /// Nothing was heard for a while, or the answer to a PING is missing.
    KeepAlive,
    /// The token of a connection is about to end.
    TokenEnd,
    /// A connection is due to be opened again.
    Reconnect,
    /// A connection is due to present a newer token.
    ReAuthenticate,
    /// The map of the cluster is due to be looked at.
    Topology,
    /// A command is due to be tried again.
    Retry,
    /// A connection is due to give way to another.
    Handover,
}

/// Memory for a large reply is kept for so long at least, and not much longer than a timer takes to fire.
const BLOCK_KEPT: Duration = Duration::from_secs(1);

impl Connection {
    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant, rng: &mut Rng, events: &mut Vec<Event>) {
        if now.since(self.received_at) >= BLOCK_KEPT {
            self.decoder.forget_block();
        }
        let breakage = match self.phase {
            Phase::Connecting if now >= self.phase_since + self.patience.connect => {
                Some(Breakage::ConnectTimeout)
            }
            Phase::LoggingIn if now >= self.phase_since + self.patience.login => Some(Breakage::LoginTimeout),
            Phase::Connecting | Phase::LoggingIn => None,
            Phase::Ready | Phase::Draining => self.check_token_end(now).or_else(|| self.check_silence(now)),
        };
        if let Some(breakage) = breakage {
            events.push(Event::Broken(breakage));
        } else if self.probe_at().is_some_and(|at| now >= at) {
            self.write_probe(now, rng, events);
        }
    }

    /// When `handle_timeout` wants to be called; command deadlines are the owner's business.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, WakeupReason)> {
        let phase_end = match self.phase {
            Phase::Connecting => Some((self.phase_since + self.patience.connect, WakeupReason::Connect)),
            Phase::LoggingIn => Some((self.phase_since + self.patience.login, WakeupReason::Login)),
            Phase::Ready | Phase::Draining => None,
        };
        let token_end = self.token.as_ref().filter(|_| phase_end.is_none()).map(|token| {
            let at = if self.phase == Phase::Ready { token.close_at } else { token.expires_at };
            (at, WakeupReason::TokenEnd)
        });
        let probe = self.probe_at().map(|at| (at, WakeupReason::KeepAlive));
        let silence = self.silence_end().map(|at| (at, WakeupReason::KeepAlive));
        [phase_end, token_end, probe, silence].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether a draining connection has nothing more to wait for.
    pub(crate) fn is_drained(&self) -> bool {
        let is_silent = self.in_flight.is_empty() && self.outbound.len() == 0;
        self.phase == Phase::Draining && is_silent && !self.is_reauth_due()
    }

    fn check_token_end(&mut self, now: Instant) -> Option<Breakage> {
        let token = self.token.as_ref()?;
        if self.phase == Phase::Draining && now >= token.expires_at {
            return Some(Breakage::TokenEnded);
        }
        if self.phase == Phase::Ready && now >= token.close_at {
            self.enter(Phase::Draining, now);
        }
        None
    }

    fn check_silence(&self, now: Instant) -> Option<Breakage> {
        self.silence_end().is_some_and(|end| now >= end).then_some(Breakage::SilentPeer)
    }

    /// When the peer counts as dead, if nothing is heard of it until then.
    fn silence_end(&self) -> Option<Instant> {
        let heard = self.received_at.max(self.busy_since);
        let ping = self.probes.answer_end(&self.patience);
        let overdue = self.in_flight.has_overdue().then(|| heard + self.patience.silence);
        // A command that is stuck half way: each piece that the socket takes moves `busy_since`.
        let stuck = self.is_mid_command.then(|| heard + self.patience.silence);
        // A re-authentication may take as long as a login may, once it is the server's turn to answer it.
        let is_its_turn =
            matches!(self.in_flight.front_kind(), Some(SlotKind::ReAuth | SlotKind::ReAuthPing));
        let reauth = match &self.reauth {
            Some(ReAuth::Sent { at, .. }) if is_its_turn => {
                Some((*at).max(self.received_at) + self.patience.login)
            }
            Some(ReAuth::Sent { .. } | ReAuth::Due { .. }) | None => None,
        };
        // What the client asked of its own accord has no deadline of a caller's.
        let own = match self.in_flight.front_kind() {
            Some(kind) if kind.is_own_question() => Some(heard + self.patience.silence),
            _ => None,
        };
        [ping, overdue, stuck, reauth, own].into_iter().flatten().min()
    }

    fn probe_at(&self) -> Option<Instant> {
        if self.phase != Phase::Ready || self.is_mid_command {
            return None;
        }
        self.probes.due_at(self.in_flight.is_empty(), self.received_at, &self.patience)
    }

    /// Lets the probe's time run from when its reply is the next one due.
    pub(super) fn watch_probe(&mut self, now: Instant) {
        if self.in_flight.front_kind() == Some(SlotKind::Probe) {
            self.probes.handle_turn(now);
        }
    }

    fn write_probe(&mut self, now: Instant, rng: &mut Rng, events: &mut Vec<Event>) {
        let nonce = format!("{:016x}", rng.nonce());
        encode_command([&b"PING"[..], nonce.as_bytes()].into_iter(), &mut self.scratch);
        self.probes.handle_sent(nonce, self.in_flight.is_empty());
        self.write_own(1, SlotKind::Probe, events);
        self.watch_probe(now);
    }
}
