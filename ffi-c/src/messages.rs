//! Messages that came, until somebody wants them.

use respass_core::{Message, MessageBatch, MessageEntry, MessageKind, SubscriberId};
use std::collections::{BTreeSet, VecDeque};

/// What waits takes up no more than about this.
const KEPT_LEN_MAX: usize = 64 << 20;

#[derive(Default)]
pub(crate) struct Messages {
    batches: VecDeque<MessageBatch>,
    /// Messages of the first batch that were handed out.
    seen: usize,
    /// What all batches take up.
    len: usize,
}

fn len_of(batch: &MessageBatch) -> usize {
    batch.bytes.len() + batch.entries.len() * size_of::<MessageEntry>()
}

impl Messages {
    pub(crate) fn put(&mut self, batch: MessageBatch) {
        self.len += len_of(&batch);
        self.batches.push_back(batch);
        if self.len > KEPT_LEN_MAX {
            self.give_way();
        }
    }

    /// The oldest go, and a gap in their place says so.
    fn give_way(&mut self) {
        let mut who = BTreeSet::new();
        while self.len > KEPT_LEN_MAX && self.batches.len() > 1 {
            who.extend(self.pop().map(|batch| batch.subscriber));
        }
        for subscriber in who {
            let gap = gap_of(subscriber);
            self.len += len_of(&gap);
            self.batches.push_front(gap);
        }
    }

    fn pop(&mut self) -> Option<MessageBatch> {
        let batch = self.batches.pop_front()?;
        self.seen = 0;
        self.len -= len_of(&batch);
        Some(batch)
    }

    /// Lets go of batches that were handed out to their end. Whether there is a message.
    pub(crate) fn has_next(&mut self) -> bool {
        while self.batches.front().is_some_and(|batch| batch.entries.len() <= self.seen) {
            self.pop();
        }
        !self.batches.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<(SubscriberId, Message<'_>)> {
        if !self.has_next() {
            return None;
        }
        let batch = self.batches.front()?;
        let message = batch.iter().nth(self.seen)?;
        self.seen += 1;
        Some((batch.subscriber, message))
    }
}

fn gap_of(subscriber: SubscriberId) -> MessageBatch {
    let entry = MessageEntry {
        kind: MessageKind::Gap,
        count: 0,
        pattern_offset: 0,
        pattern_len: 0,
        channel_offset: 0,
        channel_len: 0,
        payload_offset: 0,
        payload_len: 0,
    };
    MessageBatch { subscriber, bytes: Vec::new(), entries: vec![entry] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(subscriber: u64, payload: &[u8]) -> MessageBatch {
        let mut batch = gap_of(SubscriberId::from_u64(subscriber));
        batch.entries[0].kind = MessageKind::Message;
        batch.entries[0].payload_len = payload.len() as u64;
        batch.bytes = payload.to_vec();
        batch
    }

    #[test]
    fn messages_come_out_in_the_order_they_came_in() {
        let mut messages = Messages::default();
        messages.put(batch(1, b"a"));
        messages.put(batch(2, b"b"));
        let mut next = || messages.next().map(|(who, message)| (who.as_u64(), message.payload.to_vec()));
        assert_eq!([next(), next()], [Some((1, b"a".to_vec())), Some((2, b"b".to_vec()))]);
        assert_eq!(messages.len, 56 + 1, "the last one stays until somebody asks again");
        assert!(!messages.has_next());
        assert_eq!(messages.len, 0);
    }

    #[test]
    fn the_oldest_messages_give_way_to_a_gap() {
        let mut messages = Messages::default();
        let large = vec![7; KEPT_LEN_MAX / 4];
        for number in 0..8 {
            messages.put(batch(1 + number % 2, &large));
        }
        assert!(messages.len <= KEPT_LEN_MAX + 2 * 56);
        let mut kinds = Vec::new();
        while let Some((subscriber, message)) = messages.next() {
            kinds.push((subscriber.as_u64(), message.kind));
        }
        let gaps = kinds.iter().take_while(|(_, kind)| *kind == MessageKind::Gap).count();
        assert_eq!(gaps, 2);
        assert!(kinds[gaps..].iter().all(|(_, kind)| *kind == MessageKind::Message));
        assert_eq!(kinds.len(), gaps + 3);
    }
}
