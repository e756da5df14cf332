//! Subscriptions of one connection: what was asked for and not confirmed, and which frames answer no command.

use super::in_flight::InFlight;
use super::{Breakage, Connection, Event, SlotKind};
use crate::resp::{Frame, Kind, Reply, encode_command};
use std::collections::VecDeque;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChannelKind {
    /// A channel by its name (`SUBSCRIBE`).
    Channel = 1,
    /// All channels whose names match (`PSUBSCRIBE`).
    Pattern = 2,
    /// A channel that lives on the shard of its slot (`SSUBSCRIBE`).
    Shard = 3,
}

/// One channel that is to be subscribed to, or to be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) kind: ChannelKind,
    pub(crate) channel: Vec<u8>,
    pub(crate) is_subscribe: bool,
    /// Somebody wants to hear that it was done.
    pub(crate) is_told: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    due: VecDeque<Wish>,
    /// Sent and not confirmed. The server confirms in order.
    sent: VecDeque<Wish>,
    /// Something was subscribed to.
    is_subscribed: bool,
    pub(super) is_monitor_due: bool,
    pub(super) is_marker_due: bool,
    pub(super) is_monitoring: bool,
}

impl Wish {
    fn command(&self) -> &'static [u8] {
        match (self.kind, self.is_subscribe) {
            (ChannelKind::Channel, true) => b"SUBSCRIBE",
            (ChannelKind::Channel, false) => b"UNSUBSCRIBE",
            (ChannelKind::Pattern, true) => b"PSUBSCRIBE",
            (ChannelKind::Pattern, false) => b"PUNSUBSCRIBE",
            (ChannelKind::Shard, true) => b"SSUBSCRIBE",
            (ChannelKind::Shard, false) => b"SUNSUBSCRIBE",
        }
    }
}

impl Subscriptions {
    pub(super) fn wish(&mut self, wish: Wish) {
        self.due.push_back(wish);
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty() || self.is_monitor_due || self.is_marker_due
    }

    pub(super) fn has_open_wishes(&self) -> bool {
        !self.due.is_empty() || !self.sent.is_empty()
    }

    /// Channels to be left, somebody waits to hear when.
    pub(super) fn unconfirmed_ends(&self) -> impl Iterator<Item = &Wish> {
        self.sent.iter().chain(&self.due).filter(|wish| !wish.is_subscribe && wish.is_told)
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.is_subscribed
    }

    /// Appends what is due. One channel a command: so a refusal tells which it is about.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, in_flight: &mut InFlight) {
        while let Some(wish) = self.due.pop_front() {
            self.is_subscribed |= wish.is_subscribe;
            encode_command([wish.command(), wish.channel.as_slice()].into_iter(), out);
            in_flight.push_own(SlotKind::Subscription);
            self.sent.push_back(wish);
        }
        if std::mem::take(&mut self.is_monitor_due) {
            encode_command([&b"MONITOR"[..]].into_iter(), out);
            in_flight.push_own(SlotKind::Monitor);
        }
        if std::mem::take(&mut self.is_marker_due) {
            encode_command([&b"PING"[..]].into_iter(), out);
            in_flight.push_own(SlotKind::Marker);
        }
    }

    /// Whether this confirms the wish that was sent first.
    fn is_confirmation(&self, push: &Reply<'_>) -> bool {
        let Some(wish) = self.sent.front() else { return false };
        let mut elements = push.elements();
        let (Some(word), Some(channel)) = (elements.next(), elements.next()) else { return false };
        word.as_bytes().eq_ignore_ascii_case(wish.command()) && channel.as_bytes() == wish.channel
    }
}

impl Connection {
    /// Whether a frame answers no command: a push, or, in RESP2, an array of a subscribed connection.
    pub(super) fn is_push(&self, frame: Frame) -> bool {
        match frame.kind {
            Kind::Push => true,
            Kind::Array if self.subscriptions.is_subscribed && self.handshake.is_resp2() => {
                let word = self.reply(frame).elements().next().map_or(&[][..], |word| word.as_bytes());
                PUSHED.contains(&word)
            }
            // A line of MONITOR begins with a time, which no answer to what is sent here does.
            Kind::SimpleString if self.subscriptions.is_monitoring => {
                self.reply(frame).as_bytes().first().is_some_and(u8::is_ascii_digit)
            }
            _ => false,
        }
    }

    pub(super) fn handle_push(&mut self, frame: Frame, events: &mut Vec<Event>) {
        let is_ours = self.in_flight.front_kind() == Some(SlotKind::Subscription)
            && self.subscriptions.is_confirmation(&self.reply(frame));
        let node = frame.node;
        if !is_ours {
            events.push(Event::Pushed { node });
        } else if let Some(wish) = self.subscriptions.sent.pop_front() {
            self.in_flight.pop();
            events.push(Event::WishAnswered { wish, node });
        }
    }

    /// A reply to SUBSCRIBE that is no push: only an error may be one.
    pub(super) fn handle_wish_refused(
        &mut self,
        frame: Frame,
        events: &mut Vec<Event>,
    ) -> Result<(), Breakage> {
        match self.subscriptions.sent.pop_front() {
            Some(wish) if frame.kind == Kind::Error => {
                events.push(Event::WishAnswered { wish, node: frame.node });
                Ok(())
            }
            Some(_) | None => Err(Breakage::SurplusReply),
        }
    }
}

/// First words of what a subscribed connection is sent in RESP2.
const PUSHED: [&[u8]; 9] = [
    b"message",
    b"pmessage",
    b"smessage",
    b"subscribe",
    b"psubscribe",
    b"ssubscribe",
    b"unsubscribe",
    b"punsubscribe",
    b"sunsubscribe",
];
