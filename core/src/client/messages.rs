//! What subscriptions bring, in one shape for all protocols and languages.

pub use crate::connection::ChannelKind;
use std::ops::Range;

/// Who subscribes, or monitors: has connections of its own. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SubscriberId(pub(crate) u64);

impl SubscriberId {
    /// The id as a number, for languages that keep it as one.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that has this number; one that was never given out names no subscriber.
    pub const fn from_u64(number: u64) -> SubscriberId {
        SubscriberId(number)
    }
}

/// What a message is. The numbers are the same in every language and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum MessageKind {
    /// Published to a channel that is subscribed to by name.
    Message = 1,
    /// Published to a channel that matches a pattern.
    PatternMessage = 2,
    /// Published to a sharded channel.
    ShardMessage = 3,
    /// A subscription stands: once for each that was asked for, not again after a reconnect. Of MONITOR, which has no
    /// channel: each time that a server begins.
    Subscribed = 4,
    /// The same for a pattern.
    PatternSubscribed = 5,
    /// The same for a sharded channel.
    ShardSubscribed = 6,
    /// A subscription was ended on request.
    Unsubscribed = 7,
    /// The same for a pattern.
    PatternUnsubscribed = 8,
    /// The same for a sharded channel.
    ShardUnsubscribed = 9,
    /// One line of MONITOR, as the payload.
    Monitor = 10,
    /// Messages may have been missed between those before and those after: there was no connection for a while.
    Gap = 11,
    /// The server refused a subscription, which is dropped, or MONITOR; the payload says why.
    Refused = 12,
}

/// Messages to one subscriber, in the order in which they came, over one block of bytes.
#[derive(Clone, Debug)]
pub struct MessageBatch {
    /// Whose they are.
    pub subscriber: SubscriberId,
    /// The block that the entries point into.
    pub bytes: Vec<u8>,
    /// One for each message.
    pub entries: Vec<MessageEntry>,
}

/// Where the parts of one message are in the block. Offsets and lengths are in bytes; absent parts are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MessageEntry {
    /// What it is.
    pub kind: MessageKind,
    /// Of a confirmation: how many subscriptions the connection has, as the server told.
    pub count: u32,
    /// Where the pattern begins.
    pub pattern_offset: u64,
    /// Its length.
    pub pattern_len: u64,
    /// Where the channel's name begins (of a pattern's confirmation, the pattern).
    pub channel_offset: u64,
    /// Its length.
    pub channel_len: u64,
    /// Where the payload begins.
    pub payload_offset: u64,
    /// Its length.
    pub payload_len: u64,
}

/// One message, for languages that can borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: MessageKind,
    /// The pattern that matched; empty for others.
    pub pattern: &'a [u8],
    /// The channel (of a pattern's confirmation, the pattern).
    pub channel: &'a [u8],
    /// What was published.
    pub payload: &'a [u8],
    /// Of a confirmation: how many subscriptions the connection has.
    pub count: u32,
}

impl MessageBatch {
    /// The messages, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        self.entries.iter().map(|entry| self.message(entry))
    }

    /// The message that one of the entries describes.
    pub fn message(&self, entry: &MessageEntry) -> Message<'_> {
        Message {
            kind: entry.kind,
            pattern: self.part(entry.pattern_offset, entry.pattern_len),
            channel: self.part(entry.channel_offset, entry.channel_len),
            payload: self.part(entry.payload_offset, entry.payload_len),
            count: entry.count,
        }
    }

    fn part(&self, offset: u64, len: u64) -> &[u8] {
        let end = offset.saturating_add(len);
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        range.and_then(|(start, end)| self.bytes.get(Range { start, end })).unwrap_or_default()
    }
}

impl MessageKind {
    pub(super) fn subscribed(kind: ChannelKind) -> MessageKind {
        match kind {
            ChannelKind::Channel => MessageKind::Subscribed,
            ChannelKind::Pattern => MessageKind::PatternSubscribed,
            ChannelKind::Shard => MessageKind::ShardSubscribed,
        }
    }

    pub(super) fn unsubscribed(kind: ChannelKind) -> MessageKind {
        match kind {
            ChannelKind::Channel => MessageKind::Unsubscribed,
            ChannelKind::Pattern => MessageKind::PatternUnsubscribed,
            ChannelKind::Shard => MessageKind::ShardUnsubscribed,
        }
    }
}

/// A message on its way to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedMessage {
    kind: MessageKind,
    pattern: Vec<u8>,
    channel: Vec<u8>,
    payload: Vec<u8>,
    count: usize,
}

impl OwnedMessage {
    pub(super) fn of(
        kind: MessageKind,
        pattern: &[u8],
        channel: &[u8],
        payload: &[u8],
        count: usize,
    ) -> OwnedMessage {
        let (pattern, channel, payload) = (pattern.to_vec(), channel.to_vec(), payload.to_vec());
        OwnedMessage { kind, pattern, channel, payload, count }
    }
}

/// Gathers messages to one subscriber.
pub(super) struct MessageBuilder(MessageBatch);

impl MessageBuilder {
    pub(super) fn new(subscriber: SubscriberId) -> MessageBuilder {
        MessageBuilder(MessageBatch { subscriber, bytes: Vec::new(), entries: Vec::new() })
    }

    pub(super) fn push(
        &mut self,
        kind: MessageKind,
        pattern: &[u8],
        channel: &[u8],
        payload: &[u8],
        count: usize,
    ) {
        let bytes = &mut self.0.bytes;
        let mut append = |part: &[u8]| {
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(part);
            (offset, part.len() as u64)
        };
        let (pattern_offset, pattern_len) = append(pattern);
        let (channel_offset, channel_len) = append(channel);
        let (payload_offset, payload_len) = append(payload);
        self.0.entries.push(MessageEntry {
            kind,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            pattern_offset,
            pattern_len,
            channel_offset,
            channel_len,
            payload_offset,
            payload_len,
        });
    }

    pub(super) fn push_owned(&mut self, message: &OwnedMessage) {
        let OwnedMessage { kind, pattern, channel, payload, count } = message;
        self.push(*kind, pattern, channel, payload, *count);
    }

    /// The messages; `None` where there are none.
    pub(super) fn finish(self) -> Option<MessageBatch> {
        (!self.0.entries.is_empty()).then_some(self.0)
    }
}
