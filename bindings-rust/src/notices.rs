//! Notices for whoever listens.

use crate::shared::Shared;
use crate::waiters::Exchange;
use futures_lite::Stream;
use respass::Notice;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What happens to a client's connection and login, as a [`Stream`] that ends with the client.
///
/// It begins with what happens after [`Redis::notices`](crate::Redis::notices) was called. Of a stream that
/// nobody reads, the latest 1,024 notices are kept.
pub struct Notices {
    shared: Arc<Shared>,
    listener: u64,
}

/// As many notices are kept for a stream that nobody reads.
const KEPT_MAX: usize = 1024;

impl Notices {
    pub(crate) fn new(shared: Arc<Shared>) -> Notices {
        let listener = shared.lock().listeners.add();
        Notices { shared, listener }
    }
}

impl Stream for Notices {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Notice>> {
        let mut old = None;
        let wakers = Exchange { new: context.waker(), old: &mut old };
        self.shared.lock().listeners.poll(self.listener, wakers)
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        let listener = self.shared.lock().listeners.remove(self.listener);
        // Only now: its waker may call anything.
        drop(listener);
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

/// All streams of one client.
#[derive(Default)]
pub(crate) struct Listeners {
    listeners: BTreeMap<u64, Listener>,
    latest: u64,
    has_ended: bool,
}

#[derive(Default)]
struct Listener {
    notices: VecDeque<Notice>,
    waker: Option<Waker>,
}

impl Listeners {
    fn add(&mut self) -> u64 {
        self.latest += 1;
        self.listeners.insert(self.latest, Listener::default());
        self.latest
    }

    fn remove(&mut self, id: u64) -> Option<Listener> {
        self.listeners.remove(&id)
    }

    pub(crate) fn tell(&mut self, notice: &Notice, wakers: &mut Vec<Waker>) {
        for listener in self.listeners.values_mut() {
            if listener.notices.len() == KEPT_MAX {
                listener.notices.pop_front();
            }
            listener.notices.push_back(notice.clone());
            wakers.extend(listener.waker.take());
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self, wakers: &mut Vec<Waker>) {
        self.has_ended = true;
        wakers.extend(self.listeners.values_mut().filter_map(|listener| listener.waker.take()));
    }

    fn poll(&mut self, id: u64, wakers: Exchange<'_>) -> Poll<Option<Notice>> {
        let Some(listener) = self.listeners.get_mut(&id) else { return Poll::Ready(None) };
        match listener.notices.pop_front() {
            Some(notice) => Poll::Ready(Some(notice)),
            None if self.has_ended => Poll::Ready(None),
            None => {
                wakers.put(&mut listener.waker);
                Poll::Pending
            }
        }
    }
}
