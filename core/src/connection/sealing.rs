//! What leaves, and in which order: first what the connection itself has to say, then commands.

use super::queue::Sealed;
use super::{Breakage, Connection, Event, Phase, Question, Queue, ReAuth, SlotKind, Transport};
use crate::auth::encode_auth;
use crate::resp::encode_command;
use crate::rng::Rng;
use crate::time::Instant;
use zeroize::Zeroize;

impl Connection {
    /// Seals what may go out now.
    pub(crate) fn seal(&mut self, queue: &mut Queue, now: Instant, rng: &mut Rng, events: &mut Vec<Event>) {
        let room = self.sealed_ahead_max.saturating_sub(self.outbound.len());
        if !matches!(self.phase, Phase::Ready | Phase::Draining) || room == 0 {
            return;
        }
        if self.has_own_due() {
            // The safe boundary is the end of the command that has left in part, ahead of all others.
            self.seal_commands(queue, queue.rest_of_first().min(room), now);
            if queue.is_mid_command() {
                return self.flush_scratch(events);
            }
            self.write_own_due(now, rng);
        }
        let is_open = self.phase == Phase::Ready && !self.is_held;
        let room = if is_open { room } else { queue.rest_of_first().min(room) };
        self.seal_commands(queue, room, now);
        self.flush_scratch(events);
    }

    fn seal_commands(&mut self, queue: &mut Queue, room: usize, now: Instant) {
        if room > 0 && self.in_flight.is_empty() {
            self.busy_since = now;
        }
        let out = match self.transport {
            Transport::Plain => self.outbound.tail(),
            Transport::Tls(_) => &mut self.scratch,
        };
        queue.seal(room, out, |sealed| match sealed {
            Sealed::Begun(command) => {
                if command.is_asking {
                    self.in_flight.push_step(command.id, SlotKind::Asking);
                }
                for _ in 0..command.steps {
                    self.in_flight.push_step(command.id, SlotKind::TransactionStep);
                }
            }
            Sealed::Whole { command, at } => {
                let kind = match command.steps {
                    0 if command.is_inspected => SlotKind::Inspected,
                    0 => SlotKind::Command,
                    _ => SlotKind::Transaction,
                };
                self.in_flight.push_command(command, at, kind);
            }
        });
        self.is_mid_command = queue.is_mid_command();
    }

    /// Whether `seal` would find something to do.
    pub(crate) fn wants_seal(&self, queue: &Queue) -> bool {
        match self.phase {
            Phase::Ready => {
                (!queue.is_empty() && !self.is_held) || queue.is_mid_command() || self.has_own_due()
            }
            Phase::Draining => queue.is_mid_command() || self.is_reauth_due(),
            Phase::Connecting | Phase::LoggingIn => false,
        }
    }

    pub(super) fn is_reauth_due(&self) -> bool {
        matches!(self.reauth, Some(ReAuth::Due { .. })) && self.can_reauthenticate()
    }

    /// Whether something of the client's own is to be sent.
    fn has_own_due(&self) -> bool {
        self.is_reauth_due()
            || (self.phase == Phase::Ready
                && (self.question.is_some() || self.is_unwatch_due || self.subscriptions.has_due()))
    }

    /// Writes what is due of the client's own, at a safe boundary.
    fn write_own_due(&mut self, now: Instant, rng: &mut Rng) {
        if self.in_flight.is_empty() {
            self.busy_since = now;
        }
        if self.is_reauth_due() {
            self.write_reauth(now, rng);
        }
        if self.phase != Phase::Ready {
            return;
        }
        let out = match self.transport {
            Transport::Plain => self.outbound.tail(),
            Transport::Tls(_) => &mut self.scratch,
        };
        if let Some(question) = self.question.take() {
            let word: &[u8] = match question {
                Question::Slots => b"SLOTS",
                Question::Shards => b"SHARDS",
                Question::Nodes => b"NODES",
            };
            encode_command([&b"CLUSTER"[..], word].into_iter(), out);
            self.in_flight.push_own(SlotKind::Topology);
            self.asked = Some(question);
        }
        if std::mem::take(&mut self.is_unwatch_due) {
            encode_command([&b"UNWATCH"[..]].into_iter(), out);
            self.in_flight.push_own(SlotKind::Courtesy);
        }
        self.subscriptions.write(out, &mut self.in_flight);
    }

    fn write_reauth(&mut self, now: Instant, rng: &mut Rng) {
        let Some(ReAuth::Due { token, since }) =
            self.reauth.take_if(|reauth| matches!(reauth, ReAuth::Due { .. }))
        else {
            return;
        };
        let nonce = format!("{:016x}", rng.nonce());
        let out = match self.transport {
            Transport::Plain => self.outbound.tail(),
            Transport::Tls(_) => &mut self.scratch,
        };
        if let Some(secret) = &token.login.secret {
            encode_auth(&token.login.username, secret, out);
            self.in_flight.push_own(SlotKind::ReAuth);
        }
        encode_command([&b"PING"[..], nonce.as_bytes()].into_iter(), out);
        self.in_flight.push_own(SlotKind::ReAuthPing);
        self.reauth = Some(ReAuth::Sent { token, nonce, refusal: None, at: now, since });
    }

    /// Sends what is in `scratch`, a command of our own with so many replies.
    pub(super) fn write_own(&mut self, replies: usize, kind: SlotKind, events: &mut Vec<Event>) {
        for _ in 0..replies {
            self.in_flight.push_own(kind);
        }
        if matches!(self.transport, Transport::Plain) {
            self.outbound.tail().extend_from_slice(&self.scratch);
        }
        self.flush_scratch(events);
    }

    /// Seals the scratch into TLS records and wipes it: it may have held a secret.
    fn flush_scratch(&mut self, events: &mut Vec<Event>) {
        if let Transport::Tls(session) = &mut self.transport
            && let Err(error) = session.send(&self.scratch, self.outbound.tail())
        {
            events.push(Event::Broken(Breakage::Tls(error)));
        }
        if self.phase == Phase::LoggingIn || matches!(self.reauth, Some(ReAuth::Sent { .. })) {
            self.scratch.zeroize();
        } else {
            self.scratch.clear();
        }
    }
}
