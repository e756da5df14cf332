//! Subscribers: who is subscribed to what, and the connections that carry it.
//!
//! A subscriber is subscribed to what it wants until it says otherwise: after every reconnect, and wherever a sharded
//! channel's slot goes. What may have been missed meanwhile is announced before the next message.

mod handover;

use super::messages::{ChannelKind, MessageBuilder, MessageKind, OwnedMessage, SubscriberId};
use super::nodes::NodeId;
use super::{Client, ConnId, ErrorCode, Instant, LaneId, LaneKind, Notice, Output, ReplyBatch, SEED, lanes};
use crate::connection::{Phase, Question, Wish};
use crate::error::SubmitError;
use crate::resp::{Kind, Reply};
use crate::slot::slot_of;
use crate::time::Now;
use handover::Handover;
use std::collections::BTreeMap;

/// A subscriber that was not closed.
pub(super) struct Subscriber {
    id: SubscriberId,
    kind: LaneKind,
    /// What is to be subscribed to.
    wanted: BTreeMap<(ChannelKind, Vec<u8>), Standing>,
    /// The lane of channels and patterns, and those of sharded channels by their node.
    lanes: BTreeMap<Place, LaneId>,
    handovers: Vec<Handover>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// The server confirmed it at some time.
    was_confirmed: bool,
    /// The lane that it was asked for on, while the connection is there.
    at: Option<LaneId>,
}

/// What a subscriber's lane carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Anywhere,
    Node(NodeId),
}

/// A name that is longer is no channel.
const CHANNEL_LEN_MAX: usize = 64 << 10;

impl Client {
    /// A subscriber, with connections of its own as it needs them. It lives until `close_subscriber`.
    pub fn open_subscriber(&mut self, now: Now) -> Result<SubscriberId, SubmitError> {
        self.observe(now);
        self.check_open()?;
        Ok(self.add_subscriber(LaneKind::Subscriber))
    }

    /// A subscriber that gets every command which one server runs, as [`MessageKind::Monitor`].
    pub fn open_monitor(&mut self, now: Now) -> Result<SubscriberId, SubmitError> {
        let now = self.observe(now);
        self.check_open()?;
        let id = self.add_subscriber(LaneKind::Monitor);
        self.subscriber_lane(id, Place::Anywhere, now);
        self.settle(now);
        Ok(id)
    }

    /// Subscribes to channels, for as long as the subscriber lives or until they are unsubscribed from.
    pub fn subscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: ChannelKind,
        channels: &[&[u8]],
        now: Now,
    ) -> Result<(), SubmitError> {
        let now = self.observe(now);
        if channels.iter().any(|channel| channel.len() > CHANNEL_LEN_MAX) {
            let text = "a channel's name is too long".to_owned();
            return Err(SubmitError { code: ErrorCode::InvalidCommand, text });
        }
        self.subscriber_of(subscriber)?;
        for channel in channels {
            let place = self.place_of(kind, channel);
            let lane = self.subscriber_lane(subscriber, place, now);
            let wish = Wish { kind, channel: channel.to_vec(), is_subscribe: true, is_told: true };
            let at = self.wish(lane, wish).then_some(lane);
            if let Some(own) = self.subscribers.iter_mut().find(|own| own.id == subscriber) {
                own.wanted.entry((kind, channel.to_vec())).or_default().at = at;
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Ends subscriptions; all of the kind where no channels are given.
    pub fn unsubscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: ChannelKind,
        channels: &[&[u8]],
        now: Now,
    ) -> Result<(), SubmitError> {
        let now = self.observe(now);
        let own = self.subscriber_of(subscriber)?;
        let all: Vec<Vec<u8>> = if channels.is_empty() {
            own.wanted.keys().filter(|(own, _)| *own == kind).map(|(_, channel)| channel.clone()).collect()
        } else {
            channels.iter().map(|channel| channel.to_vec()).collect()
        };
        let mut told = MessageBuilder::new(subscriber);
        for channel in all {
            let place = self.place_of(kind, &channel);
            let Some(own) = self.subscribers.iter_mut().find(|own| own.id == subscriber) else { break };
            let standing = own.wanted.remove(&(kind, channel.clone()));
            let count = own.wanted.len();
            let lane = standing.and_then(|own| own.at).or_else(|| own.lanes.get(&place).copied());
            let wish = Wish { kind, channel: channel.clone(), is_subscribe: false, is_told: true };
            if !lane.is_some_and(|lane| self.wish(lane, wish)) {
                // There is no connection: so it is done.
                told.push(MessageKind::unsubscribed(kind), &[], &channel, &[], count);
            }
        }
        self.tell(told);
        self.settle(now);
        Ok(())
    }

    /// Ends a subscriber and its connections. No message of its follows.
    pub fn close_subscriber(&mut self, subscriber: SubscriberId, now: Now) {
        let now = self.observe(now);
        let Some(index) = self.subscribers.iter().position(|own| own.id == subscriber) else { return };
        let own = self.subscribers.swap_remove(index);
        for lane in own.lanes.into_values() {
            self.end_lane(lane);
        }
        self.settle(now);
    }

    fn add_subscriber(&mut self, kind: LaneKind) -> SubscriberId {
        self.latest_owner += 1;
        let id = SubscriberId(self.latest_owner);
        let (wanted, lanes) = (BTreeMap::new(), BTreeMap::new());
        self.subscribers.push(Subscriber { id, kind, wanted, lanes, handovers: Vec::new() });
        id
    }

    fn subscriber_of(&self, id: SubscriberId) -> Result<&Subscriber, SubmitError> {
        let closed = || SubmitError { code: ErrorCode::Closed, text: "the subscriber is closed".to_owned() };
        self.subscribers.iter().find(|own| own.id == id).ok_or_else(closed)
    }

    /// Which of a subscriber's lanes carries a channel.
    fn place_of(&self, kind: ChannelKind, channel: &[u8]) -> Place {
        match kind {
            ChannelKind::Channel | ChannelKind::Pattern => Place::Anywhere,
            ChannelKind::Shard if !self.cluster.is_cluster => Place::Anywhere,
            ChannelKind::Shard => Place::Node(self.owner(slot_of(channel)).unwrap_or(SEED)),
        }
    }

    fn subscriber_lane(&mut self, id: SubscriberId, place: Place, now: Instant) -> LaneId {
        let Some(own) = self.subscribers.iter().find(|own| own.id == id) else { return LaneId(0) };
        if let Some(&lane) = own.lanes.get(&place) {
            return lane;
        }
        let kind = own.kind;
        let node = match place {
            Place::Anywhere => self.any_node(),
            Place::Node(node) => node,
        };
        let may = !kind.is_pooled() || self.may_have_another();
        let lane = self.add_lane(kind, node, now);
        if let Some(own) = self.lane_mut(lane) {
            own.is_wanted = true;
            own.has_permit = may;
        }
        if let Some(own) = self.subscribers.iter_mut().find(|own| own.id == id) {
            own.lanes.insert(place, lane);
        }
        lane
    }

    /// Passes a wish on to a connection that is logged in; whether there is one. Another asks for everything when it
    /// is.
    fn wish(&mut self, lane: LaneId, wish: Wish) -> bool {
        let Some(lane) = self.lane_mut(lane) else { return false };
        if let Some(successor) = lane.successor.as_mut().filter(|own| own.phase() == Phase::Ready) {
            successor.wish(Wish { is_told: false, ..wish.clone() });
        }
        let ready = |phase| matches!(phase, Phase::Ready | Phase::Draining);
        match lane.connection.as_mut().filter(|connection| ready(connection.phase())) {
            Some(connection) => {
                connection.wish(wish);
                true
            }
            None => false,
        }
    }

    /// A subscriber's connection is ready: it subscribes to all that is wanted.
    pub(super) fn resubscribe(&mut self, lane: LaneId, conn: ConnId, now: Instant) {
        let is_successor =
            self.lane(lane).is_some_and(|lane| lane.role_of(conn) == Some(super::Role::Successor));
        let Some(index) = self.subscriber_at(lane) else { return };
        let wishes = self.wishes_of(index, lane, is_successor);
        let Some(own) = self.subscribers.get_mut(index) else { return };
        let was_subscribed = wishes.iter().any(|wish| !wish.is_told);
        for wish in &wishes {
            own.wanted.entry((wish.kind, wish.channel.clone())).or_default().at = Some(lane);
        }
        if is_successor {
            own.handovers.push(Handover::of(lane));
        } else if was_subscribed {
            let id = own.id;
            self.tell_gap(id);
        }
        let Client { lanes, .. } = self;
        let Some(lane) = lanes::get(lanes, lane) else { return };
        if let Some(connection) = lane.connection_of(conn) {
            wishes.into_iter().for_each(|wish| connection.wish(wish));
        }
        lane.update_hold(now);
    }

    /// What is to be subscribed to on that lane. Told is what was never confirmed.
    fn wishes_of(&self, index: usize, lane: LaneId, is_successor: bool) -> Vec<Wish> {
        let Some(own) = self.subscribers.get(index) else { return Vec::new() };
        let Some(place) = own.lanes.iter().find(|(_, own)| **own == lane).map(|(&place, _)| place) else {
            return Vec::new();
        };
        let is_here = |kind: ChannelKind, channel: &[u8]| self.place_of(kind, channel) == place;
        own.wanted
            .iter()
            .filter(|((kind, channel), _)| is_here(*kind, channel))
            .map(|((kind, channel), standing)| Wish {
                kind: *kind,
                channel: channel.clone(),
                is_subscribe: true,
                is_told: !standing.was_confirmed && !is_successor,
            })
            .collect()
    }

    fn subscriber_at(&self, lane: LaneId) -> Option<usize> {
        self.subscribers.iter().position(|own| own.lanes.values().any(|&own| own == lane))
    }

    /// What a subscriber's connection brought.
    pub(super) fn handle_messages(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        frames: Vec<(Option<Wish>, usize)>,
        batch: &ReplyBatch,
        now: Instant,
    ) {
        let Some(index) = self.subscriber_at(lane) else {
            for (_, node) in frames.iter().filter(|(wish, _)| wish.is_none()) {
                self.handle_main_message(&Reply::at(&batch.nodes, &batch.bytes, *node), now);
            }
            return;
        };
        let Some(id) = self.subscribers.get(index).map(|own| own.id) else { return };
        let role = self.lane(lane).and_then(|lane| lane.role_of(conn));
        if role == Some(super::Role::Retired) {
            // The one that took over brings the same.
            return;
        }
        let is_successor = role == Some(super::Role::Successor);
        self.abandon_handover(index, lane);
        let mut told = MessageBuilder::new(id);
        for (wish, node) in frames {
            let frame = Reply::at(&batch.nodes, &batch.bytes, node);
            let message = match wish {
                Some(wish) => self.handle_wish_answer(index, lane, &wish, &frame),
                None => self.handle_pushed(index, lane, &frame),
            };
            if let Some(message) = message {
                self.deliver(index, lane, is_successor, message, &mut told);
            }
        }
        self.tell(told);
        self.end_handover(index, lane, conn, now);
    }

    fn handle_pushed(&mut self, index: usize, lane: LaneId, frame: &Reply<'_>) -> Option<OwnedMessage> {
        if frame.kind() == Kind::Error {
            return Some(OwnedMessage::of(MessageKind::Refused, &[], &[], frame.as_bytes(), 0));
        }
        if frame.kind() == Kind::SimpleString && frame.is_text(b"OK") {
            return Some(OwnedMessage::of(MessageKind::Subscribed, &[], &[], &[], 0));
        }
        if frame.kind() == Kind::SimpleString {
            return Some(OwnedMessage::of(MessageKind::Monitor, &[], &[], frame.as_bytes(), 0));
        }
        let parts: Vec<Reply<'_>> = frame.elements().take(4).collect();
        let word = parts.first()?.as_bytes();
        match (word, parts.as_slice()) {
            (b"message", [_, channel, payload]) => {
                Some(OwnedMessage::of(MessageKind::Message, &[], channel.as_bytes(), payload.as_bytes(), 0))
            }
            (b"smessage", [_, channel, payload]) => {
                let kind = MessageKind::ShardMessage;
                Some(OwnedMessage::of(kind, &[], channel.as_bytes(), payload.as_bytes(), 0))
            }
            (b"pmessage", [_, pattern, channel, payload]) => {
                let (pattern, channel) = (pattern.as_bytes(), channel.as_bytes());
                Some(OwnedMessage::of(MessageKind::PatternMessage, pattern, channel, payload.as_bytes(), 0))
            }
            // The server ends a subscription by itself where the slot has gone to another node.
            (b"sunsubscribe", [_, channel, ..]) => {
                self.handle_put_off(index, lane, ChannelKind::Shard, channel.as_bytes());
                None
            }
            _ => None,
        }
    }

    /// A channel is not to be had there for now, or is served elsewhere: it is asked for again behind a look at the
    /// map.
    fn handle_put_off(&mut self, index: usize, lane: LaneId, kind: ChannelKind, channel: &[u8]) {
        let key = (kind, channel.to_vec());
        let standing = self.subscribers.get_mut(index).and_then(|own| own.wanted.get_mut(&key));
        if let Some(standing) = standing.filter(|standing| standing.at == Some(lane)) {
            standing.at = None;
            self.want_topology(Question::Slots);
        }
    }

    fn handle_wish_answer(
        &mut self,
        index: usize,
        lane: LaneId,
        wish: &Wish,
        frame: &Reply<'_>,
    ) -> Option<OwnedMessage> {
        let own = self.subscribers.get_mut(index)?;
        let key = (wish.kind, wish.channel.clone());
        if frame.kind() == Kind::Error {
            if is_passing(frame.as_bytes()) {
                self.handle_put_off(index, lane, wish.kind, &wish.channel);
                return None;
            }
            own.wanted.remove(&key);
            return Some(OwnedMessage::of(MessageKind::Refused, &[], &wish.channel, frame.as_bytes(), 0));
        }
        if wish.is_subscribe {
            let standing = own.wanted.get_mut(&key)?;
            let was_confirmed = std::mem::replace(&mut standing.was_confirmed, true);
            if was_confirmed && !wish.is_told {
                return None;
            }
        } else if !wish.is_told {
            return None;
        }
        let count = frame.elements().nth(2).and_then(|count| count.as_integer()).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(0);
        let kind = match wish.is_subscribe {
            true => MessageKind::subscribed(wish.kind),
            false => MessageKind::unsubscribed(wish.kind),
        };
        Some(OwnedMessage::of(kind, &[], &wish.channel, &[], count))
    }

    fn tell_gap(&mut self, subscriber: SubscriberId) {
        let mut told = MessageBuilder::new(subscriber);
        told.push(MessageKind::Gap, &[], &[], &[], 0);
        self.outputs.push_back(Output::Notice(Notice::Gap { subscriber }));
        self.tell(told);
    }

    fn tell(&mut self, told: MessageBuilder) {
        if let Some(batch) = told.finish() {
            self.outputs.push_back(Output::Messages(batch));
        }
    }

    /// A connection ends, and with it the subscriptions that were to end: who waits to hear of that is told.
    pub(super) fn confirm_ends(&mut self, lane: LaneId, conn: ConnId) {
        let Some(index) = self.subscriber_at(lane) else { return };
        let ends = self.connection_mut(conn).map(|connection| connection.unconfirmed_ends());
        let Some(own) = self.subscribers.get(index) else { return };
        let mut told = MessageBuilder::new(own.id);
        for wish in ends.into_iter().flatten() {
            told.push(MessageKind::unsubscribed(wish.kind), &[], &wish.channel, &[], own.wanted.len());
        }
        self.tell(told);
    }

    /// The connection of a subscriber is lost. One that was about to take over does so as it is.
    pub(super) fn handle_subscriber_lost(&mut self, lane: LaneId, has_successor: bool, now: Instant) {
        let Some(index) = self.subscriber_at(lane) else { return };
        let any = self.any_node();
        let Some(own) = self.subscribers.get_mut(index) else { return };
        let is_anywhere = own.lanes.get(&Place::Anywhere) == Some(&lane);
        if !has_successor {
            own.wanted
                .values_mut()
                .filter(|standing| standing.at == Some(lane))
                .for_each(|own| own.at = None);
        }
        let handover = own.handovers.iter().position(|handover| handover.lane == lane);
        if let Some(handover) = handover {
            let (id, handover) = (own.id, own.handovers.swap_remove(handover));
            if has_successor {
                // The old one may not have brought all of it.
                self.tell_gap(id);
                let mut told = MessageBuilder::new(id);
                handover.rest().iter().for_each(|message| told.push_owned(message));
                self.tell(told);
            }
        }
        if is_anywhere
            && !has_successor
            && let Some(lane) = self.lane_mut(lane)
        {
            // Another node does as well, and this one may be gone.
            lane.node = any;
        }
        let _ = now;
    }

    /// After a look at the map: sharded channels follow their slots, and what was put off is asked for again.
    pub(super) fn move_channels(&mut self, now: Instant) {
        for index in 0..self.subscribers.len() {
            let Some(own) = self.subscribers.get(index) else { break };
            let id = own.id;
            let channels: Vec<(ChannelKind, Vec<u8>, Standing)> = own
                .wanted
                .iter()
                .filter(|((kind, _), standing)| *kind == ChannelKind::Shard || standing.at.is_none())
                .map(|((kind, channel), standing)| (*kind, channel.clone(), *standing))
                .collect();
            let mut has_moved = false;
            for (kind, channel, standing) in channels {
                has_moved |= self.move_channel(id, (kind, channel), standing, now);
            }
            if has_moved {
                self.tell_gap(id);
            }
            self.end_empty_lanes(index);
        }
    }

    /// Subscribes to a channel where it is served now, if it is not subscribed to there. Whether messages may have been
    /// missed that the connection there does not announce.
    fn move_channel(
        &mut self,
        id: SubscriberId,
        (kind, channel): (ChannelKind, Vec<u8>),
        standing: Standing,
        now: Instant,
    ) -> bool {
        let place = self.place_of(kind, &channel);
        let lane = self.subscriber_lane(id, place, now);
        if standing.at == Some(lane) {
            return false;
        }
        let wish = Wish { kind, channel, is_subscribe: true, is_told: false };
        if let Some(old) = standing.at {
            self.wish(old, Wish { is_subscribe: false, ..wish.clone() });
        }
        let key = (wish.kind, wish.channel.clone());
        let is_asked = self.wish(lane, wish);
        if let Some(own) = self.subscribers.iter_mut().find(|own| own.id == id)
            && let Some(standing) = own.wanted.get_mut(&key)
        {
            standing.at = is_asked.then_some(lane);
        }
        is_asked && standing.was_confirmed
    }

    /// Sharded channels that have left a node need no connection there.
    fn end_empty_lanes(&mut self, index: usize) {
        let Some(own) = self.subscribers.get(index) else { return };
        let used: Vec<Place> =
            own.wanted.keys().map(|(kind, channel)| self.place_of(*kind, channel)).collect();
        let unused: Vec<(Place, LaneId)> = own
            .lanes
            .iter()
            .filter(|(place, _)| matches!(place, Place::Node(_)) && !used.contains(place))
            .map(|(&place, &lane)| (place, lane))
            .collect();
        for (place, lane) in unused {
            self.end_lane(lane);
            if let Some(own) = self.subscribers.get_mut(index) {
                own.lanes.remove(&place);
            }
        }
    }
}

/// Whether a subscription was refused for now, or here.
fn is_passing(error: &[u8]) -> bool {
    matches!(
        ErrorCode::of_reply(error),
        ErrorCode::Moved
            | ErrorCode::Ask
            | ErrorCode::TryAgain
            | ErrorCode::ClusterDown
            | ErrorCode::Loading
            | ErrorCode::MasterDown
    )
}
