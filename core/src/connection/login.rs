//! The login of a connection: its first bytes, and what they are answered with.

use super::{Connection, Event, Phase, SlotKind};
use crate::auth::Progress;
use crate::resp::{Frame, Reply};
use crate::time::Instant;

impl Connection {
    pub(super) fn begin_login(&mut self, events: &mut Vec<Event>) {
        self.has_begun_login = true;
        let replies = self.handshake.begin(&mut self.scratch);
        self.write_own(replies, SlotKind::Login, events);
    }

    pub(super) fn handle_login_reply(&mut self, frame: Frame, now: Instant, events: &mut Vec<Event>) {
        let (nodes, bytes) = self.decoder.tape();
        match self.handshake.handle_reply(&Reply::at(nodes, bytes, frame.node)) {
            Progress::Waiting => {}
            Progress::FallBack => {
                let replies = self.handshake.fall_back(&mut self.scratch);
                self.write_own(replies, SlotKind::Login, events);
            }
            Progress::Done => {
                self.enter(Phase::Ready, now);
                self.probes.handle_proven(now);
                events.push(Event::Ready);
            }
            Progress::Refused(refusal) => events.push(Event::LoginRefused(refusal)),
        }
    }
}
