//! One connection takes over a subscriber's subscriptions from another, without a message that is lost or told twice.

use super::super::messages::{MessageBuilder, OwnedMessage};
use super::super::{Client, ConnId, Instant, LaneId, Role, lanes};

/// One connection takes over subscriptions from another: both bring the same messages for a while.
pub(super) struct Handover {
    pub(super) lane: LaneId,
    /// What the old connection brought since the new one began to subscribe.
    pub(super) delivered: Vec<OwnedMessage>,
    /// What the new one brought.
    pub(super) held: Vec<OwnedMessage>,
    /// The old connection was asked to tell when it has brought all that was published before the new one subscribed.
    pub(super) is_marker_sent: bool,
    /// It has. What it brings from here on, the new one brings as well.
    pub(super) is_old_through: bool,
    /// There was too much to remember.
    pub(super) is_overrun: bool,
}

/// More messages are not remembered while two connections bring them: a gap is announced instead.
const REMEMBERED_MAX: usize = 10_000;

impl Client {
    pub(super) fn deliver(
        &mut self,
        index: usize,
        lane: LaneId,
        is_successor: bool,
        message: OwnedMessage,
        told: &mut MessageBuilder,
    ) {
        let own = self.subscribers.get_mut(index);
        let handover = own.and_then(|own| own.handovers.iter_mut().find(|handover| handover.lane == lane));
        match handover {
            Some(handover) if is_successor => handover.hold(message),
            Some(handover) if handover.is_old_through => {}
            Some(handover) => {
                told.push_owned(&message);
                handover.remember(message);
            }
            None => told.push_owned(&message),
        }
    }

    /// The new connection has subscribed to everything: a marker through the old one tells when that has brought all
    /// that was published before.
    pub(super) fn end_handover(&mut self, index: usize, id: LaneId, conn: ConnId, now: Instant) {
        let Client { lanes, subscribers, .. } = self;
        let Some(own) = subscribers.get_mut(index) else { return };
        let Some(at) = own.handovers.iter().position(|handover| handover.lane == id) else { return };
        let Some(lane) = lanes::get(lanes, id) else { return };
        let Some(successor) = &lane.successor else { return };
        if successor.has_open_wishes() {
            return;
        }
        let Some(handover) = own.handovers.get_mut(at) else { return };
        if !handover.is_marker_sent {
            handover.is_marker_sent = true;
            if let Some(live) = &mut lane.connection {
                live.mark();
            }
        }
        let _ = (conn, now);
    }

    /// A marker came back. Through the old connection: nothing is missing from it, and then one through the new one
    /// tells when that has brought whatever the old one had.
    pub(in crate::client) fn handle_marked(&mut self, id: LaneId, conn: ConnId, now: Instant) {
        let Some(index) = self.subscriber_at(id) else { return };
        let is_successor = self.lane(id).is_some_and(|lane| lane.role_of(conn) == Some(Role::Successor));
        let Client { lanes, subscribers, .. } = self;
        let (Some(own), Some(lane)) = (subscribers.get_mut(index), lanes::get(lanes, id)) else { return };
        let Some(at) = own.handovers.iter().position(|handover| handover.lane == id) else { return };
        if !is_successor {
            if let (Some(handover), Some(successor)) = (own.handovers.get_mut(at), &mut lane.successor) {
                handover.is_old_through = true;
                successor.mark();
            }
            return;
        }
        let (id_of_subscriber, handover) = (own.id, own.handovers.swap_remove(at));
        if handover.is_overrun {
            self.tell_gap(id_of_subscriber);
        }
        let mut told = MessageBuilder::new(id_of_subscriber);
        handover.rest().iter().for_each(|message| told.push_owned(message));
        self.tell(told);
        if let Some(lane) = self.lane_mut(id) {
            lane.hand_over(now);
        }
    }

    /// The connection that was to take over is gone: the old one goes on.
    pub(super) fn abandon_handover(&mut self, index: usize, id: LaneId) {
        if self.lane(id).is_some_and(|lane| lane.successor.is_some()) {
            return;
        }
        let Some(own) = self.subscribers.get_mut(index) else { return };
        let Some(at) = own.handovers.iter().position(|handover| handover.lane == id) else { return };
        let (subscriber, handover) = (own.id, own.handovers.swap_remove(at));
        if handover.is_old_through {
            self.tell_gap(subscriber);
        }
    }
}

impl Handover {
    pub(super) fn of(lane: LaneId) -> Handover {
        let (delivered, held) = (Vec::new(), Vec::new());
        Handover { lane, delivered, held, is_marker_sent: false, is_old_through: false, is_overrun: false }
    }

    fn hold(&mut self, message: OwnedMessage) {
        self.held.push(message);
        self.forget_if_overrun();
    }

    fn remember(&mut self, message: OwnedMessage) {
        self.delivered.push(message);
        self.forget_if_overrun();
    }

    fn forget_if_overrun(&mut self) {
        if self.held.len() > REMEMBERED_MAX || self.delivered.len() > REMEMBERED_MAX {
            self.is_overrun = true;
            self.held.clear();
            self.delivered.clear();
        }
    }

    /// What the new connection brought and the old one did not: both have the same order, so the end of the one is the
    /// beginning of the other.
    pub(super) fn rest(&self) -> &[OwnedMessage] {
        let most = self.held.len().min(self.delivered.len());
        let is_common =
            |len: &usize| self.held.get(..*len) == self.delivered.get(self.delivered.len() - len..);
        let common = (1..=most).rev().find(is_common).unwrap_or(0);
        self.held.get(common..).unwrap_or_default()
    }
}
