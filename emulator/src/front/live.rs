//! The connections there are, for what strikes them from outside.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::census::Cause;
use crate::cluster::Door;

#[derive(Default)]
pub(crate) struct Live {
    connections: Mutex<BTreeMap<u64, Entry>>,
}

struct Entry {
    door: Door,
    server: usize,
    /// Empty before the first login.
    user: String,
    strikes: UnboundedSender<Strike>,
}

/// What happens to a connection at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strike {
    Close(Cause),
    /// Neither read nor written for so long, or until it thaws.
    Freeze(Option<Duration>),
    Thaw,
    /// The client gets these bytes between two replies.
    Inject(&'static [u8]),
    /// This happens to the next reply.
    Spoil(Spoil),
    /// Some deadline of the connection has changed.
    Recheck,
}

/// What happens to a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoil {
    /// It breaks off, and the connection ends.
    Cut(Cause),
    Duplicate,
    Swallow,
}

pub(super) type Strikes = UnboundedReceiver<Strike>;

impl Live {
    pub(super) fn add(&self, id: u64, door: Door, server: usize) -> Strikes {
        let (strikes, receiver) = unbounded_channel();
        self.connections().insert(id, Entry { door, server, user: String::new(), strikes });
        receiver
    }

    pub(super) fn remove(&self, id: u64) {
        self.connections().remove(&id);
    }

    pub(super) fn logged_in(&self, id: u64, user: &str) {
        if let Some(entry) = self.connections().get_mut(&id) {
            user.clone_into(&mut entry.user);
        }
    }

    /// Strikes the oldest `count` connections of some door, or of all.
    pub(crate) fn strike(&self, count: Option<u64>, door: Option<Door>, strike: Strike) {
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        let connections = self.connections();
        let there = connections.values().filter(|entry| door.is_none_or(|door| entry.door == door));
        for entry in there.take(count) {
            // It fails only for a connection that is ending.
            let _ = entry.strikes.send(strike);
        }
    }

    /// Strikes the connections to one server, through whatever door they came.
    pub(crate) fn strike_server(&self, server: usize, strike: Strike) {
        for entry in self.connections().values().filter(|entry| entry.server == server) {
            let _ = entry.strikes.send(strike);
        }
    }

    /// Strikes the connections of one user.
    pub(crate) fn strike_user(&self, user: &str, strike: Strike) {
        let user = user.to_ascii_lowercase();
        for entry in self.connections().values().filter(|entry| entry.user == user) {
            let _ = entry.strikes.send(strike);
        }
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.connections.lock().expect("nothing panics with this lock held")
    }
}
