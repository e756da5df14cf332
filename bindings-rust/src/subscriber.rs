//! Subscriptions and MONITOR, as streams of messages.

use crate::Error;
use crate::messages::Message;
use crate::shared::Shared;
use crate::waiters::Exchange;
use futures_lite::Stream;
use respass::{ChannelKind, Client, Now, SubmitError, SubscriberId};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Subscriptions and what they bring, as a [`Stream`] that ends with the client. It has connections of its own,
/// which are closed when it is dropped; they are logged in anew and replaced as tokens and nodes come and go.
///
/// Each subscription is confirmed in the stream, once. Where messages may be missing, the stream holds
/// [`MessageKind::Gap`](crate::MessageKind::Gap): there was no connection for a while, or 32 MiB of messages
/// waited for a reader that was too slow, and those that came then were dropped. Confirmations are never dropped.
pub struct Subscriber {
    shared: Arc<Shared>,
    id: SubscriberId,
}

impl Subscriber {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Subscriber, Error> {
        Subscriber::open(shared, Client::open_subscriber)
    }

    fn open(
        shared: &Arc<Shared>,
        open: impl FnOnce(&mut Client, Now) -> Result<SubscriberId, SubmitError>,
    ) -> Result<Subscriber, Error> {
        let id = shared.tell(|state, now| {
            let id = open(&mut state.client, now)?;
            state.mailboxes.add(id);
            Ok::<_, SubmitError>(id)
        })?;
        Ok(Subscriber { shared: Arc::clone(shared), id })
    }

    /// Subscribes to channels by their names, at once and for as long as this lives.
    pub fn subscribe<A: AsRef<[u8]>>(&self, channels: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Channel, channels, Client::subscribe)
    }

    /// Subscribes to all channels whose names match.
    pub fn psubscribe<A: AsRef<[u8]>>(&self, patterns: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Pattern, patterns, Client::subscribe)
    }

    /// Subscribes to sharded channels.
    pub fn ssubscribe<A: AsRef<[u8]>>(&self, channels: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Shard, channels, Client::subscribe)
    }

    /// Ends subscriptions to channels; all of them where none is named.
    pub fn unsubscribe<A: AsRef<[u8]>>(&self, channels: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Channel, channels, Client::unsubscribe)
    }

    /// Ends subscriptions to patterns; all of them where none is named.
    pub fn punsubscribe<A: AsRef<[u8]>>(&self, patterns: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Pattern, patterns, Client::unsubscribe)
    }

    /// Ends subscriptions to sharded channels; all of them where none is named.
    pub fn sunsubscribe<A: AsRef<[u8]>>(&self, channels: &[A]) -> Result<(), Error> {
        self.change(ChannelKind::Shard, channels, Client::unsubscribe)
    }

    fn change<A: AsRef<[u8]>>(
        &self,
        kind: ChannelKind,
        channels: &[A],
        change: impl FnOnce(&mut Client, SubscriberId, ChannelKind, &[&[u8]], Now) -> Result<(), SubmitError>,
    ) -> Result<(), Error> {
        let channels: Vec<&[u8]> = channels.iter().map(AsRef::as_ref).collect();
        self.shared.tell(|state, now| change(&mut state.client, self.id, kind, &channels, now))?;
        Ok(())
    }
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut old = None;
        let wakers = Exchange { new: context.waker(), old: &mut old };
        // The lock is released before the old waker goes.
        self.shared.lock().mailboxes.poll(self.id, wakers)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mailbox = self.shared.tell(|state, now| {
            state.client.close_subscriber(self.id, now);
            state.mailboxes.remove(self.id)
        });
        // Only now: its waker may call anything.
        drop(mailbox);
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Every command that one server runs, as a [`Stream`] of [`MessageKind::Monitor`](crate::MessageKind::Monitor)
/// with a line as the payload. It ends with the client; dropping it closes its connection. A slow reader finds
/// gaps, as with [`Subscriber`].
#[derive(Debug)]
pub struct Monitor(Subscriber);

impl Monitor {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Monitor, Error> {
        Subscriber::open(shared, Client::open_monitor).map(Monitor)
    }
}

impl Stream for Monitor {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.0).poll_next(context)
    }
}
