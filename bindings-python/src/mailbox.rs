//! What subscriptions brought and nobody has taken yet.

use crate::call::Call;
use crate::error;
use crate::reply::Text;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use respass::{ChannelKind, Message, MessageBatch, MessageKind, SubscriberId};
use std::collections::{HashMap, HashSet, VecDeque};

/// A mailbox holds so many bytes; what does not fit is a gap. A server cuts off whoever is that far behind.
const HELD_LEN_MAX: usize = 64 << 20;
/// What a message counts for beside its bytes.
const MESSAGE_OVERHEAD: usize = 64;

/// What came for one subscriber.
#[derive(Default)]
struct Mailbox {
    batches: VecDeque<Mail>,
    held_len: usize,
    /// How often something came.
    arrivals: u64,
    /// Those that wait for the next arrival.
    waiters: Vec<Py<Call>>,
    /// Subscriptions that were asked for and not answered.
    asked: HashSet<(u8, Vec<u8>)>,
}

enum Mail {
    Batch(MessageBatch),
    /// Messages came and were dropped.
    Overflow,
}

/// The mailboxes of all subscribers.
#[derive(Default)]
pub(crate) struct Mailboxes {
    boxes: HashMap<SubscriberId, Mailbox>,
}

impl Mailboxes {
    pub(crate) fn open(&mut self, subscriber: SubscriberId) {
        self.boxes.insert(subscriber, Mailbox::default());
    }

    /// Forgets the subscriber; those that waited.
    pub(crate) fn close(&mut self, subscriber: SubscriberId) -> Vec<Py<Call>> {
        self.boxes.remove(&subscriber).map(|mailbox| mailbox.waiters).unwrap_or_default()
    }

    /// Forgets all subscribers; those that waited.
    pub(crate) fn close_all(&mut self) -> Vec<Py<Call>> {
        std::mem::take(&mut self.boxes).into_values().flat_map(|mailbox| mailbox.waiters).collect()
    }

    pub(crate) fn ask(&mut self, subscriber: SubscriberId, kind: ChannelKind, channels: &[&[u8]]) {
        if let Some(mailbox) = self.boxes.get_mut(&subscriber) {
            mailbox.asked.extend(channels.iter().map(|channel| (kind as u8, channel.to_vec())));
        }
    }

    /// Whether all of these subscriptions were answered, and how often something came.
    pub(crate) fn are_answered(
        &self,
        subscriber: SubscriberId,
        kind: ChannelKind,
        channels: Vec<Vec<u8>>,
    ) -> Option<(bool, u64)> {
        let mailbox = self.boxes.get(&subscriber)?;
        let are_answered =
            channels.into_iter().all(|channel| !mailbox.asked.contains(&(kind as u8, channel)));
        Some((are_answered, mailbox.arrivals))
    }

    /// Subscriptions were given up.
    pub(crate) fn forget(&mut self, subscriber: SubscriberId, kind: ChannelKind, channels: &[&[u8]]) {
        if let Some(mailbox) = self.boxes.get_mut(&subscriber) {
            mailbox.asked.retain(|(other, channel)| {
                *other != kind as u8 || !(channels.is_empty() || channels.contains(&channel.as_slice()))
            });
        }
    }

    /// Has the call end at the next arrival. It is handed back where something came since there had been `seen`
    /// arrivals, or where there is no such subscriber.
    pub(crate) fn wait(&mut self, subscriber: SubscriberId, seen: u64, call: Py<Call>) -> Option<Py<Call>> {
        match self.boxes.get_mut(&subscriber) {
            Some(mailbox) if mailbox.arrivals == seen => {
                mailbox.waiters.push(call);
                None
            }
            _ => Some(call),
        }
    }

    /// A call waits no more. It is handed back, to be dropped elsewhere.
    pub(crate) fn give_up(&mut self, call: &Py<Call>) -> Option<Py<Call>> {
        self.boxes.values_mut().find_map(|mailbox| {
            let index = mailbox.waiters.iter().position(|other| other.is(call))?;
            Some(mailbox.waiters.swap_remove(index))
        })
    }

    /// Messages came; those that waited for them.
    pub(crate) fn put(&mut self, batch: MessageBatch) -> Vec<Py<Call>> {
        let Some(mailbox) = self.boxes.get_mut(&batch.subscriber) else { return Vec::new() };
        mailbox.note_answers(&batch);
        mailbox.arrivals += 1;
        let len = batch.len();
        if mailbox.held_len > 0 && mailbox.held_len + len > HELD_LEN_MAX {
            if !matches!(mailbox.batches.back(), Some(Mail::Overflow)) {
                mailbox.batches.push_back(Mail::Overflow);
            }
        } else {
            mailbox.held_len += len;
            mailbox.batches.push_back(Mail::Batch(batch));
        }
        std::mem::take(&mut mailbox.waiters)
    }

    /// Takes what is there for a subscriber, and tells how often something came.
    pub(crate) fn take(&mut self, subscriber: SubscriberId) -> Option<(Taken, u64)> {
        let mailbox = self.boxes.get_mut(&subscriber)?;
        mailbox.held_len = 0;
        Some((Taken(std::mem::take(&mut mailbox.batches)), mailbox.arrivals))
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Py<Call>> {
        self.boxes.values().flat_map(|mailbox| &mailbox.waiters)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.calls().try_for_each(|call| visit.call(call))
    }
}

impl Mailbox {
    fn note_answers(&mut self, batch: &MessageBatch) {
        if self.asked.is_empty() {
            return;
        }
        for message in batch.iter() {
            let kind = match message.kind {
                MessageKind::Subscribed => ChannelKind::Channel,
                MessageKind::PatternSubscribed => ChannelKind::Pattern,
                MessageKind::ShardSubscribed => ChannelKind::Shard,
                MessageKind::Refused => {
                    self.asked.retain(|(_, channel)| channel != message.channel);
                    continue;
                }
                _ => continue,
            };
            self.asked.remove(&(kind as u8, message.channel.to_vec()));
        }
    }
}

/// What a batch counts for.
trait Held {
    fn len(&self) -> usize;
}

impl Held for MessageBatch {
    fn len(&self) -> usize {
        self.bytes.len() + self.entries.len() * MESSAGE_OVERHEAD
    }
}

/// What was in a mailbox.
pub(crate) struct Taken(VecDeque<Mail>);

impl Taken {
    /// The messages as tuples of a word, the pattern, the channel and the data.
    pub(crate) fn objects<'py>(&self, py: Python<'py>, text: &Text) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let mut objects = Vec::new();
        for mail in &self.0 {
            match mail {
                Mail::Batch(batch) => {
                    for message in batch.iter() {
                        objects.push(object(py, text, message)?);
                    }
                }
                Mail::Overflow => objects.push(("gap", py.None(), py.None(), py.None()).into_pyobject(py)?),
            }
        }
        Ok(objects)
    }
}

fn object<'py>(py: Python<'py>, text: &Text, message: Message<'_>) -> PyResult<Bound<'py, PyTuple>> {
    let word = match message.kind {
        MessageKind::Message => "message",
        MessageKind::PatternMessage => "pmessage",
        MessageKind::ShardMessage => "smessage",
        MessageKind::Subscribed => "subscribe",
        MessageKind::PatternSubscribed => "psubscribe",
        MessageKind::ShardSubscribed => "ssubscribe",
        MessageKind::Unsubscribed => "unsubscribe",
        MessageKind::PatternUnsubscribed => "punsubscribe",
        MessageKind::ShardUnsubscribed => "sunsubscribe",
        MessageKind::Monitor => "monitor",
        MessageKind::Refused => "refused",
        // What a newer core may tell besides is no message: something may be missing.
        _ => "gap",
    };
    let pattern = match message.kind {
        MessageKind::PatternMessage => text.string(py, message.pattern)?,
        _ => py.None().into_bound(py),
    };
    let channel = match message.kind {
        MessageKind::Monitor | MessageKind::Gap => py.None().into_bound(py),
        _ => text.string(py, message.channel)?,
    };
    let data = match message.kind {
        MessageKind::Message | MessageKind::PatternMessage | MessageKind::ShardMessage => {
            text.string(py, message.payload)?
        }
        MessageKind::Monitor => Text::Bytes.string(py, message.payload)?,
        MessageKind::Refused => error::refused(py, message.payload)?,
        _ => message.count.into_pyobject(py)?.into_any(),
    };
    (word, pattern, channel, data).into_pyobject(py)
}
