//! What one subscriber heard, against what was published.

use super::ledger::Publication;
use respass::{ChannelKind, Message, MessageKind, SubscriberId};
use std::collections::{BTreeMap, BTreeSet};

/// A subscriber and its wishes.
#[derive(Debug)]
pub struct Listener {
    /// How the core calls it.
    pub id: SubscriberId,
    /// What it is subscribed to, and how far it heard each channel.
    pub subscriptions: BTreeMap<(ChannelKind, Vec<u8>), Subscription>,
    /// Messages heard.
    pub heard: u64,
    /// Messages heard again, over another connection.
    pub repeated: u64,
    /// Gaps that were announced.
    pub gaps: u64,
    /// Refusals, with their texts.
    pub refused: Vec<String>,
    /// What it heard.
    pub payloads: BTreeSet<u64>,
}

/// One subscription.
#[derive(Debug, Default)]
pub struct Subscription {
    /// Unsubscribed from: the confirmation is still to come.
    pub is_ending: bool,
    /// Since when it stands, as the client was told; true time.
    confirmed_at: Option<u64>,
    /// Messages may be missing until the next one of a channel.
    is_broken: bool,
    /// The number of the latest publication heard, by channel.
    heard: BTreeMap<Vec<u8>, usize>,
}

impl Listener {
    /// One that is not subscribed to anything.
    pub fn new(id: SubscriberId) -> Listener {
        Listener {
            id,
            subscriptions: BTreeMap::new(),
            heard: 0,
            repeated: 0,
            gaps: 0,
            refused: Vec::new(),
            payloads: BTreeSet::new(),
        }
    }

    /// Something came for it.
    pub fn hear(&mut self, message: &Message<'_>, published: &BTreeMap<Vec<u8>, Vec<Publication>>, now: u64) {
        let own = |kind| (kind, message.channel.to_vec());
        match message.kind {
            MessageKind::Message => self.hear_message(own(ChannelKind::Channel), message, published),
            MessageKind::ShardMessage => self.hear_message(own(ChannelKind::Shard), message, published),
            MessageKind::PatternMessage => {
                self.hear_message((ChannelKind::Pattern, message.pattern.to_vec()), message, published);
            }
            MessageKind::Subscribed => self.confirm(own(ChannelKind::Channel), now),
            MessageKind::PatternSubscribed => self.confirm(own(ChannelKind::Pattern), now),
            MessageKind::ShardSubscribed => self.confirm(own(ChannelKind::Shard), now),
            MessageKind::Unsubscribed => self.end(&own(ChannelKind::Channel)),
            MessageKind::PatternUnsubscribed => self.end(&own(ChannelKind::Pattern)),
            MessageKind::ShardUnsubscribed => self.end(&own(ChannelKind::Shard)),
            MessageKind::Gap => {
                self.gaps += 1;
                for subscription in self.subscriptions.values_mut() {
                    subscription.is_broken = true;
                    subscription.heard.clear();
                }
            }
            MessageKind::Refused => {
                self.refused.push(String::from_utf8_lossy(message.payload).into_owned());
            }
            other => panic!("{other:?} to a subscriber"),
        }
    }

    fn hear_message(
        &mut self,
        key: (ChannelKind, Vec<u8>),
        message: &Message<'_>,
        published: &BTreeMap<Vec<u8>, Vec<Publication>>,
    ) {
        let prefix = if key.0 == ChannelKind::Shard { "s" } else { "" };
        let log = &published[&[prefix.as_bytes(), message.channel].concat()];
        let payload: u64 = std::str::from_utf8(message.payload).expect("digits").parse().expect("a number");
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            panic!("E4: a message of {key:?}, which nobody is subscribed to");
        };
        let since = subscription.confirmed_at.expect("E3: a message before its confirmation");
        let before = subscription.heard.get(message.channel).copied();
        let from = before.map_or(0, |index| index + 1);
        let index = log.iter().skip(from).position(|publication| publication.payload == payload);
        let Some(index) = index.map(|index| index + from) else {
            assert!(
                log.iter().any(|publication| publication.payload == payload),
                "nobody published {payload}"
            );
            self.repeated += 1;
            return;
        };
        // Whatever was published in between is missing.
        let missing = match before {
            Some(before) => index > before + 1,
            None => !subscription.is_broken && index > 0 && log[index - 1].at > since,
        };
        assert!(!missing, "E2: messages before {payload} on {key:?} are missing, and no gap was announced");
        subscription.heard.insert(message.channel.to_vec(), index);
        self.payloads.insert(payload);
        self.heard += 1;
    }

    fn confirm(&mut self, key: (ChannelKind, Vec<u8>), now: u64) {
        let subscription = self.subscriptions.get_mut(&key).expect("E4: a confirmation of nobody's wish");
        subscription.confirmed_at = Some(now);
        subscription.is_broken = false;
        subscription.heard.clear();
    }

    fn end(&mut self, key: &(ChannelKind, Vec<u8>)) {
        let subscription = self.subscriptions.get(key).expect("an end of nobody's subscription");
        if subscription.is_ending {
            self.subscriptions.remove(key);
        }
    }
}
