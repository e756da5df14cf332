//! Replies find their slots.

use super::in_flight::Slot;
use super::transaction::TransactionProgress;
use super::{Answer, Breakage, Connection, Event, Phase, ReAuth, SlotKind};
use crate::resp::{Frame, Kind, Reply};
use crate::time::Instant;

impl Connection {
    pub(super) fn handle_frames(
        &mut self,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) -> Result<(), Breakage> {
        while let Some(frame) = self.decoder.next_frame().map_err(Breakage::Protocol)? {
            if frame.kind == Kind::Push {
                // Nothing was subscribed to: an unasked push answers nobody.
                continue;
            }
            let slot = self.in_flight.pop().ok_or(Breakage::SurplusReply)?;
            if slot.kind.is_callers() && frame.kind == Kind::Error && tells_lost_login(self.reply(frame)) {
                events.push(Event::LoginLost);
            }
            match slot.kind {
                SlotKind::Command => {
                    self.was_useful = true;
                    answers.push(Answer { command: slot.id, node: frame.node });
                }
                // Where it was a transaction, its steps end here.
                SlotKind::Detached => self.transaction = TransactionProgress::default(),
                SlotKind::TransactionStep => {
                    let (nodes, bytes) = self.decoder.tape();
                    self.transaction.handle_step(&Reply::at(nodes, bytes, frame.node));
                }
                SlotKind::Transaction => self.handle_exec(slot, frame, answers, events),
                SlotKind::Login => {
                    self.handle_login_reply(frame, now, events);
                    if matches!(events.last(), Some(Event::LoginRefused(_))) {
                        return Ok(());
                    }
                }
                SlotKind::ReAuth => self.handle_reauth_reply(frame),
                SlotKind::ReAuthPing => self.handle_reauth_ping(frame, now, events)?,
                SlotKind::Probe => {
                    let expected = self.probes.take_nonce();
                    self.check_nonce(frame, expected.as_deref())?;
                    self.probes.handle_proven(now);
                }
            }
        }
        self.watch_probe(now);
        Ok(())
    }

    fn reply(&self, frame: Frame) -> Reply<'_> {
        let (nodes, bytes) = self.decoder.tape();
        Reply::at(nodes, bytes, frame.node)
    }

    /// Whether a PING came back with its nonce. A user who may not PING proves nothing, and breaks nothing.
    fn check_nonce(&self, frame: Frame, expected: Option<&str>) -> Result<(), Breakage> {
        let reply = self.reply(frame);
        let is_forbidden = frame.kind == Kind::Error && reply.as_bytes().starts_with(b"NOPERM");
        let matches = expected.is_some_and(|nonce| reply.is_text(nonce.as_bytes()));
        if matches || is_forbidden { Ok(()) } else { Err(Breakage::NonceMismatch) }
    }

    fn handle_exec(&mut self, slot: Slot, frame: Frame, answers: &mut Vec<Answer>, events: &mut Vec<Event>) {
        let progress = std::mem::take(&mut self.transaction);
        match progress.refusal {
            // Only where EXEC too says that it ran nothing; the first cause is worth more than EXECABORT.
            Some((step, text)) if frame.kind == Kind::Error => {
                let has_run = progress.has_run;
                events.push(Event::TransactionRefused { id: slot.id, step, text, has_run });
            }
            Some(_) | None => answers.push(Answer { command: slot.id, node: frame.node }),
        }
    }

    /// Success is exactly `+OK`: inside a transaction, for one, AUTH is answered `+QUEUED`.
    fn handle_reauth_reply(&mut self, frame: Frame) {
        let reply = self.reply(frame);
        if reply.kind() == Kind::SimpleString && reply.as_bytes() == b"OK" {
            return;
        }
        let (nodes, bytes) = self.decoder.tape();
        let text = Reply::at(nodes, bytes, frame.node).as_bytes();
        if let Some(ReAuth::Sent { token, refusal, .. }) = &mut self.reauth {
            *refusal = Some(token.login.refusal(text));
        }
    }

    fn handle_reauth_ping(
        &mut self,
        frame: Frame,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Breakage> {
        let Some(ReAuth::Sent { token, nonce, refusal, .. }) =
            self.reauth.take_if(|reauth| matches!(reauth, ReAuth::Sent { .. }))
        else {
            return Err(Breakage::NonceMismatch);
        };
        self.check_nonce(frame, Some(&nonce))?;
        self.probes.handle_proven(now);
        let generation = token.generation;
        match refusal {
            None => {
                self.token = Some(token);
                if self.phase == Phase::Draining {
                    self.enter(Phase::Ready, now);
                }
                events.push(Event::ReAuthenticated { generation });
            }
            Some(refusal) => events.push(Event::ReAuthRefused { generation, refusal }),
        }
        Ok(())
    }
}

/// Whether the error is the server's own about a connection that is not logged in. A script may give any
/// error text it likes, and a slot does not know its command: the server's full wording keeps the two apart.
/// A script that repeats that wording ends the connection.
fn tells_lost_login(error: Reply<'_>) -> bool {
    let text = error.as_bytes();
    text == b"NOAUTH Authentication required."
        || text.starts_with(b"NOAUTH HELLO must be called with the client already authenticated")
}
