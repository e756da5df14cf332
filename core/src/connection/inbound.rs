//! Replies find their slots.

use super::in_flight::Slot;
use super::transaction::TransactionProgress;
use super::{Answer, Breakage, Connection, Event, Phase, ReAuth, SlotKind, SlotReply, Transport};
use crate::resp::{Frame, Kind, Reply};
use crate::time::Instant;
use crate::tls::TlsError;

impl Connection {
    /// A buffer for the next read, with room for so many bytes.
    pub(crate) fn lend_buffer(&mut self, room: usize) -> Vec<u8> {
        match self.transport {
            Transport::Plain => self.decoder.lend(room),
            Transport::Tls(_) => {
                let mut records = std::mem::take(&mut self.records);
                records.reserve(room);
                records
            }
        }
    }

    /// Memory for the next large reply.
    pub(crate) fn donate(&mut self, block: Vec<u8>) {
        self.decoder.donate(block);
    }

    /// As `handle_received`, for bytes that were appended to the buffer lent.
    pub(crate) fn handle_filled(
        &mut self,
        mut buffer: Vec<u8>,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        match self.transport {
            Transport::Plain => match self.decoder.take_back(buffer) {
                Some(0) => {}
                Some(_) => self.handle_bytes(None, now, answers, events),
                None => events.push(Event::Broken(Breakage::BufferLost)),
            },
            Transport::Tls(_) => {
                if !buffer.is_empty() {
                    self.handle_received(&buffer, now, answers, events);
                }
                buffer.clear();
                self.records = buffer;
            }
        }
    }

    /// Bytes were received: answers to user commands are appended to `answers`.
    pub(crate) fn handle_received(
        &mut self,
        bytes: &[u8],
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        if self.decoder.is_lent() {
            return events.push(Event::Broken(Breakage::BufferLost));
        }
        let tls_error = match &mut self.transport {
            Transport::Plain => {
                self.decoder.receive(bytes);
                None
            }
            Transport::Tls(session) => {
                session.receive(bytes, self.decoder.receive_into(bytes.len()), self.outbound.tail()).err()
            }
        };
        self.handle_bytes(tls_error, now, answers, events);
    }

    /// The decoder has new bytes.
    fn handle_bytes(
        &mut self,
        tls_error: Option<TlsError>,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) {
        self.received_at = now;
        if tls_error.is_none()
            && self.phase == Phase::LoggingIn
            && !self.has_begun_login
            && self.is_verified()
        {
            self.begin_login(events);
        }
        // Whole frames that came before a TLS error were verified: they still count.
        if let Err(breakage) = self.handle_frames(now, answers, events) {
            events.push(Event::Broken(breakage));
        } else if let Some(error) = tls_error {
            events.push(Event::Broken(Breakage::Tls(error)));
        } else if self.has_peer_closed() {
            events.push(Event::Broken(Breakage::PeerClosed));
        }
    }

    pub(super) fn handle_frames(
        &mut self,
        now: Instant,
        answers: &mut Vec<Answer>,
        events: &mut Vec<Event>,
    ) -> Result<(), Breakage> {
        while let Some(frame) = self.decoder.next_frame().map_err(Breakage::Protocol)? {
            if self.is_push(frame) {
                self.handle_push(frame, events);
                continue;
            }
            let slot = self.in_flight.pop().ok_or(Breakage::SurplusReply)?;
            if slot.kind.is_callers() && frame.kind == Kind::Error && tells_lost_login(self.reply(frame)) {
                events.push(Event::LoginLost);
            }
            match slot.kind {
                SlotKind::Command | SlotKind::Inspected => {
                    self.was_useful = true;
                    let is_inspected = slot.kind == SlotKind::Inspected
                        || (frame.kind == Kind::Error && did_not_run(self.reply(frame).as_bytes()));
                    if is_inspected {
                        events.push(Event::Inspected(slot.reply(frame)));
                    } else {
                        answers.push(Answer { command: slot.id, node: frame.node });
                    }
                }
                // Where it was a transaction, its steps end here.
                SlotKind::Detached => self.transaction = TransactionProgress::default(),
                SlotKind::TransactionStep => {
                    let (nodes, bytes) = self.decoder.tape();
                    self.transaction.handle_step(&Reply::at(nodes, bytes, frame.node));
                }
                SlotKind::Transaction => self.handle_exec(slot, frame, answers, events),
                SlotKind::Asking | SlotKind::Courtesy => {}
                SlotKind::Topology => {
                    if let Some(question) = self.asked.take() {
                        events.push(Event::Topology { question, node: frame.node });
                    }
                }
                SlotKind::Marker => events.push(Event::Marked),
                SlotKind::Subscription => self.handle_wish_refused(frame, events)?,
                SlotKind::Monitor => {
                    self.subscriptions.is_monitoring = frame.kind != Kind::Error;
                    events.push(Event::Pushed { node: frame.node });
                }
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

    pub(super) fn reply(&self, frame: Frame) -> Reply<'_> {
        let (nodes, bytes) = self.decoder.tape();
        Reply::at(nodes, bytes, frame.node)
    }

    /// Whether a PING came back with its nonce. A user who may not PING proves nothing, and breaks nothing.
    fn check_nonce(&self, frame: Frame, expected: Option<&str>) -> Result<(), Breakage> {
        let reply = self.reply(frame);
        let is_forbidden = frame.kind == Kind::Error && reply.as_bytes().starts_with(b"NOPERM");
        // A subscribed connection of RESP2 answers with `["pong", nonce]`.
        let answer = if frame.kind == Kind::Array { reply.elements().nth(1) } else { Some(reply) };
        let matches = expected.zip(answer).is_some_and(|(nonce, answer)| answer.is_text(nonce.as_bytes()));
        if matches || is_forbidden { Ok(()) } else { Err(Breakage::NonceMismatch) }
    }

    fn handle_exec(&mut self, slot: Slot, frame: Frame, answers: &mut Vec<Answer>, events: &mut Vec<Event>) {
        let progress = std::mem::take(&mut self.transaction);
        let own = match frame.kind {
            Kind::Error if progress.is_only_queued() => refusal_of_exec(self.reply(frame).as_bytes()),
            _ => None,
        };
        // The first cause is worth more than EXECABORT.
        let refusal = progress.refusal.or(own.map(|text| (0, text.to_vec())));
        match refusal {
            // Only where EXEC too says that it ran nothing.
            Some((step, text)) if frame.kind == Kind::Error => {
                let has_run = progress.has_run;
                events.push(Event::TransactionRefused { reply: slot.reply(frame), step, text, has_run });
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

impl Slot {
    fn reply(self, frame: Frame) -> SlotReply {
        let Slot { id, deadline, at, len, journey, is_asking, kind, .. } = self;
        SlotReply { id, deadline, at, len, journey, is_asking, kind, node: frame.node }
    }
}

/// Whether an error is one that servers answer instead of running a command. A script may give any error text it likes:
/// the client knows which commands are scripts.
fn did_not_run(text: &[u8]) -> bool {
    let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(
        word,
        b"MOVED"
            | b"ASK"
            | b"TRYAGAIN"
            | b"CLUSTERDOWN"
            | b"LOADING"
            | b"MASTERDOWN"
            | b"READONLY"
            | b"CROSSSLOT"
    )
}

/// Why EXEC ran nothing of what was queued, if that passes: servers say it in EXECABORT, or in its place.
fn refusal_of_exec(text: &[u8]) -> Option<&[u8]> {
    let cause = text.strip_prefix(b"EXECABORT Transaction discarded because of: ").unwrap_or(text);
    did_not_run(cause).then_some(cause)
}

/// Whether the error is the server's own about a connection that is not logged in. A script may give any
/// error text it likes, and a slot does not know its command: the server's full wording keeps the two apart.
/// A script that repeats that wording ends the connection.
fn tells_lost_login(error: Reply<'_>) -> bool {
    let text = error.as_bytes();
    text == b"NOAUTH Authentication required."
        || text.starts_with(b"NOAUTH HELLO must be called with the client already authenticated")
}
