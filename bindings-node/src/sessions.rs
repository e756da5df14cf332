//! Sessions, subscribers and monitors: what has connections of its own.

use crate::core::{Core, used};
use crate::now;
use napi_derive::napi;
use respass::{ChannelKind, Command, SessionId, SubmitError, SubscriberId};

/// A kind by its number; `None` where there is no such kind.
fn kind_of(number: u32) -> Option<ChannelKind> {
    [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard]
        .into_iter()
        .find(|kind| *kind as u32 == number)
}

#[napi]
impl Core {
    /// Opens a session; its id, or 0 where it is refused, and `detail` says why.
    #[napi(catch_unwind)]
    pub fn open_session(&mut self, monotonic_us: f64, unix_us: f64) -> f64 {
        let session = self.client.open_session(now(monotonic_us, unix_us));
        self.taken(session.map(SessionId::as_u64))
    }

    /// Submits the one command that the blocks hold to a session; its id, or 0.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments, reason = "each call across the line costs more than its arguments")]
    pub fn submit_in(
        &mut self,
        session: f64,
        bytes: &[u8],
        bytes_len: u32,
        lengths: &[u32],
        lengths_len: u32,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let (mut bytes, lengths) = (used(bytes, bytes_len), used(lengths, lengths_len));
        let mut arguments = Vec::with_capacity(lengths.len());
        for &len in lengths.iter().skip(1) {
            let (argument, rest) = bytes.split_at_checked(len as usize).unwrap_or((bytes, &[]));
            arguments.push(argument);
            bytes = rest;
        }
        let session = SessionId::from_u64(session as u64);
        let id = self.client.submit_in(session, Command::new(&arguments), now(monotonic_us, unix_us));
        self.accepted(id)
    }

    /// Submits a transaction to a session; its id, or 0.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments, reason = "each call across the line costs more than its arguments")]
    pub fn submit_transaction_in(
        &mut self,
        session: f64,
        bytes: &[u8],
        bytes_len: u32,
        lengths: &[u32],
        lengths_len: u32,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let (bytes, lengths) = (used(bytes, bytes_len), used(lengths, lengths_len));
        let session = SessionId::from_u64(session as u64);
        let id = self.client.submit_transaction_in(session, bytes, lengths, now(monotonic_us, unix_us));
        self.accepted(id)
    }

    /// Ends a session.
    #[napi(catch_unwind)]
    pub fn close_session(&mut self, session: f64, monotonic_us: f64, unix_us: f64) {
        self.client.close_session(SessionId::from_u64(session as u64), now(monotonic_us, unix_us));
    }

    /// Opens a subscriber; its id, or 0.
    #[napi(catch_unwind)]
    pub fn open_subscriber(&mut self, monotonic_us: f64, unix_us: f64) -> f64 {
        let subscriber = self.client.open_subscriber(now(monotonic_us, unix_us));
        self.taken(subscriber.map(SubscriberId::as_u64))
    }

    /// Opens a monitor; its id, or 0.
    #[napi(catch_unwind)]
    pub fn open_monitor(&mut self, monotonic_us: f64, unix_us: f64) -> f64 {
        let subscriber = self.client.open_monitor(now(monotonic_us, unix_us));
        self.taken(subscriber.map(SubscriberId::as_u64))
    }

    /// Subscribes to channels of a kind, one at least; how many there are, or 0 where it is refused.
    #[napi(catch_unwind)]
    pub fn subscribe(
        &mut self,
        subscriber: f64,
        kind: u32,
        channels: Vec<String>,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let now = now(monotonic_us, unix_us);
        self.with_channels(kind, &channels, |core, kind, channels| {
            core.client.subscribe(SubscriberId::from_u64(subscriber as u64), kind, channels, now)
        })
    }

    /// Ends subscriptions to channels, one at least; how many there are, or 0 where it is refused.
    #[napi(catch_unwind)]
    pub fn unsubscribe(
        &mut self,
        subscriber: f64,
        kind: u32,
        channels: Vec<String>,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let now = now(monotonic_us, unix_us);
        self.with_channels(kind, &channels, |core, kind, channels| {
            core.client.unsubscribe(SubscriberId::from_u64(subscriber as u64), kind, channels, now)
        })
    }

    /// Ends a subscriber or a monitor.
    #[napi(catch_unwind)]
    pub fn close_subscriber(&mut self, subscriber: f64, monotonic_us: f64, unix_us: f64) {
        self.client.close_subscriber(SubscriberId::from_u64(subscriber as u64), now(monotonic_us, unix_us));
    }

    fn with_channels(
        &mut self,
        kind: u32,
        channels: &[String],
        act: impl FnOnce(&mut Core, ChannelKind, &[&[u8]]) -> Result<(), SubmitError>,
    ) -> f64 {
        let names: Vec<_> = channels.iter().map(String::as_bytes).collect();
        let Some(kind) = kind_of(kind) else { return 0.0 };
        let outcome = act(self, kind, &names);
        self.taken(outcome.map(|()| names.len() as u64))
    }
}
