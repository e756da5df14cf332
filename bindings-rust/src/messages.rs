//! Messages on their way from the driver to whoever subscribed.

use crate::waiters::Exchange;
use respass::{MessageBatch, MessageEntry, MessageKind, SubscriberId};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// What a subscription brought. Cloning it copies nothing.
///
/// It shares the memory of the messages that came with it, 1 MiB at most. To keep a small one for long, copy what is
/// needed of it.
#[derive(Clone)]
pub struct Message {
    batch: Arc<MessageBatch>,
    index: usize,
}

/// A small message must not keep more than this alive.
const SHARED_LEN_MAX: usize = 1 << 20;

/// As much as a server holds by default for a subscriber that does not read (`client-output-buffer-limit`).
const WAITING_LEN_MAX: usize = 32 << 20;

const GAP: MessageEntry = MessageEntry {
    kind: MessageKind::Gap,
    count: 0,
    pattern_offset: 0,
    pattern_len: 0,
    channel_offset: 0,
    channel_len: 0,
    payload_offset: 0,
    payload_len: 0,
};

impl Message {
    /// What it is.
    pub fn kind(&self) -> MessageKind {
        self.parts().kind
    }

    /// The channel; of a pattern's confirmation, the pattern.
    pub fn channel(&self) -> &[u8] {
        self.parts().channel
    }

    /// The pattern that matched; empty for others.
    pub fn pattern(&self) -> &[u8] {
        self.parts().pattern
    }

    /// What was published; of a refusal, why.
    pub fn payload(&self) -> &[u8] {
        self.parts().payload
    }

    /// Of a confirmation: how many subscriptions there are on its connection.
    pub fn count(&self) -> u32 {
        self.parts().count
    }

    fn parts(&self) -> respass::Message<'_> {
        let entry = self.batch.entries.get(self.index).expect("made of an entry of this batch");
        self.batch.message(entry)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("channel", &String::from_utf8_lossy(self.channel()))
            .field("payload", &format_args!("{} bytes", self.payload().len()))
            .finish_non_exhaustive()
    }
}

/// All streams of messages of one client.
#[derive(Default)]
pub(crate) struct Mailboxes {
    mailboxes: BTreeMap<SubscriberId, Mailbox>,
    has_ended: bool,
}

/// What waits for one stream.
#[derive(Default)]
pub(crate) struct Mailbox {
    batches: VecDeque<Arc<MessageBatch>>,
    /// The next entry of the first batch.
    next: usize,
    /// About as many bytes.
    held: usize,
    waker: Option<Waker>,
}

impl Mailboxes {
    pub(crate) fn add(&mut self, id: SubscriberId) {
        self.mailboxes.insert(id, Mailbox::default());
    }

    pub(crate) fn remove(&mut self, id: SubscriberId) -> Option<Mailbox> {
        self.mailboxes.remove(&id)
    }

    pub(crate) fn deliver(&mut self, batch: MessageBatch, wakers: &mut Vec<Waker>) {
        if let Some(mailbox) = self.mailboxes.get_mut(&batch.subscriber) {
            mailbox.push(batch);
            wakers.extend(mailbox.waker.take());
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self, wakers: &mut Vec<Waker>) {
        self.has_ended = true;
        wakers.extend(self.mailboxes.values_mut().filter_map(|mailbox| mailbox.waker.take()));
    }

    pub(crate) fn poll(&mut self, id: SubscriberId, wakers: Exchange<'_>) -> Poll<Option<Message>> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Poll::Ready(None) };
        match mailbox.pop() {
            Some(message) => Poll::Ready(Some(message)),
            None if self.has_ended => Poll::Ready(None),
            None => {
                wakers.put(&mut mailbox.waker);
                Poll::Pending
            }
        }
    }
}

impl Mailbox {
    fn push(&mut self, batch: MessageBatch) {
        let batch = if self.held < WAITING_LEN_MAX { batch } else { self.without_published(&batch) };
        if !batch.entries.is_empty() {
            self.held += cost(&batch);
            self.batches.push_back(Arc::new(batch));
        }
    }

    /// What has to be told all the same, with one gap where messages were left out.
    fn without_published(&self, batch: &MessageBatch) -> MessageBatch {
        let mut kept = MessageBatch { subscriber: batch.subscriber, bytes: Vec::new(), entries: Vec::new() };
        let mut latest = self.batches.back().and_then(|batch| batch.entries.last()).map(|entry| entry.kind);
        for message in batch.iter() {
            if is_published(message.kind) {
                if latest != Some(MessageKind::Gap) {
                    kept.entries.push(GAP);
                }
                latest = Some(MessageKind::Gap);
            } else {
                copy_to(&mut kept, message);
                latest = Some(message.kind);
            }
        }
        kept
    }

    fn pop(&mut self) -> Option<Message> {
        let batch = Arc::clone(self.batches.front()?);
        let index = self.next;
        self.next += 1;
        if self.next == batch.entries.len() {
            self.next = 0;
            self.held -= cost(&batch);
            self.batches.pop_front();
        }
        let message = Message { batch, index };
        if message.batch.bytes.len() <= SHARED_LEN_MAX {
            return Some(message);
        }
        let subscriber = message.batch.subscriber;
        let mut own = MessageBatch { subscriber, bytes: Vec::new(), entries: Vec::new() };
        copy_to(&mut own, message.parts());
        Some(Message { batch: Arc::new(own), index: 0 })
    }
}

fn is_published(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::Message | MessageKind::PatternMessage | MessageKind::ShardMessage | MessageKind::Monitor
    )
}

/// Confirmations without bytes count as well.
fn cost(batch: &MessageBatch) -> usize {
    batch.bytes.len() + batch.entries.len() * size_of::<MessageEntry>()
}

fn copy_to(batch: &mut MessageBatch, message: respass::Message<'_>) {
    let mut place = |part: &[u8]| {
        let offset = batch.bytes.len() as u64;
        batch.bytes.extend_from_slice(part);
        (offset, part.len() as u64)
    };
    let (pattern_offset, pattern_len) = place(message.pattern);
    let (channel_offset, channel_len) = place(message.channel);
    let (payload_offset, payload_len) = place(message.payload);
    batch.entries.push(MessageEntry {
        kind: message.kind,
        count: message.count,
        pattern_offset,
        pattern_len,
        channel_offset,
        channel_len,
        payload_offset,
        payload_len,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBER: SubscriberId = SubscriberId::from_u64(1);

    fn batch(messages: &[(MessageKind, &[u8])]) -> MessageBatch {
        let mut batch = MessageBatch { subscriber: SUBSCRIBER, bytes: Vec::new(), entries: Vec::new() };
        for &(kind, payload) in messages {
            copy_to(&mut batch, respass::Message { kind, pattern: b"", channel: b"news", payload, count: 1 });
        }
        batch
    }

    fn kinds(mailbox: &mut Mailbox) -> Vec<MessageKind> {
        std::iter::from_fn(|| mailbox.pop()).map(|message| message.kind()).collect()
    }

    #[test]
    fn messages_come_in_order_with_all_their_parts() {
        let mut mailbox = Mailbox::default();
        mailbox.push(batch(&[(MessageKind::Subscribed, b""), (MessageKind::Message, b"one")]));
        mailbox.push(batch(&[(MessageKind::Message, b"two")]));
        let told: Vec<_> = std::iter::from_fn(|| mailbox.pop()).collect();
        let payloads: Vec<_> = told.iter().map(Message::payload).collect();
        assert_eq!(payloads, [&b""[..], b"one", b"two"]);
        assert!(told.iter().all(|message| message.channel() == b"news" && message.count() == 1));
        assert_eq!(mailbox.held, 0);
    }

    #[test]
    fn a_slow_reader_finds_one_gap_and_every_confirmation() {
        use MessageKind::{Gap, Message, Subscribed};
        let mut mailbox = Mailbox::default();
        let large = vec![b'x'; 20 << 20];
        for _ in 0..4 {
            mailbox.push(batch(&[(Message, &large)]));
        }
        mailbox.push(batch(&[(Message, b"lost"), (Subscribed, b"")]));
        assert!(mailbox.held < WAITING_LEN_MAX + large.len());
        assert_eq!(kinds(&mut mailbox), [Message, Message, Gap, Subscribed]);
        mailbox.push(batch(&[(Message, b"next")]));
        assert_eq!(kinds(&mut mailbox), [Message], "once it has caught up, all is as before");
    }

    #[test]
    fn a_small_message_does_not_keep_a_large_block() {
        let mut mailbox = Mailbox::default();
        let large = vec![b'x'; 2 << 20];
        mailbox.push(batch(&[(MessageKind::Message, &large), (MessageKind::Message, b"small")]));
        assert_eq!(mailbox.pop().expect("the first").payload(), large);
        let small = mailbox.pop().expect("the second");
        assert_eq!((small.payload(), small.batch.bytes.len()), (&b"small"[..], 9));
    }
}
