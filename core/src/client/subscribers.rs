//! Subscribers: who is subscribed to what, and the connections that carry it.

use super::messages::{ChannelKind, SubscriberId};
use super::{Client, Now};
use crate::error::{ErrorCode, SubmitError};

impl Client {
    /// A subscriber, with connections of its own as it needs them. It lives until `close_subscriber`.
    pub fn open_subscriber(&mut self, now: Now) -> Result<SubscriberId, SubmitError> {
        let _ = now;
        Err(not_here())
    }

    /// A subscriber that gets every command which one server runs, as [`MessageKind::Monitor`](super::MessageKind).
    pub fn open_monitor(&mut self, now: Now) -> Result<SubscriberId, SubmitError> {
        let _ = now;
        Err(not_here())
    }

    /// Subscribes to channels, for as long as the subscriber lives or until they are unsubscribed from.
    pub fn subscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: ChannelKind,
        channels: &[&[u8]],
        now: Now,
    ) -> Result<(), SubmitError> {
        let _ = (subscriber, kind, channels, now);
        Err(not_here())
    }

    /// Ends subscriptions; all of the kind where no channels are given.
    pub fn unsubscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: ChannelKind,
        channels: &[&[u8]],
        now: Now,
    ) -> Result<(), SubmitError> {
        let _ = (subscriber, kind, channels, now);
        Err(not_here())
    }

    /// Ends a subscriber and its connections. No message of its follows.
    pub fn close_subscriber(&mut self, subscriber: SubscriberId, now: Now) {
        let _ = (subscriber, now);
    }
}

fn not_here() -> SubmitError {
    SubmitError { code: ErrorCode::NeedsOwnConnection, text: "no subscriptions yet".to_owned() }
}
