//! Connections of somebody's own: sessions and subscribers.

use crate::call::Call;
use crate::client::Core;
use crate::core::Shared;
use crate::error;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use respass::{ChannelKind, SessionId, SubscriberId};

/// A connection for one pipeline that watches keys.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Session {
    core: Py<Core>,
    id: SessionId,
}

impl Session {
    /// Its id in that core; an error where it is another's, which the parent of this process made.
    pub(crate) fn id_in(&self, py: Python<'_>, core: &Core) -> PyResult<SessionId> {
        if std::ptr::eq(self.core.get(), core) { Ok(self.id) } else { Err(error::forked(py)) }
    }
}

#[pymethods]
impl Session {
    #[new]
    fn new(py: Python<'_>, core: Py<Core>) -> PyResult<Session> {
        let opened = core.get().shared.run(py, |state, now| state.client.open_session(now))?;
        let id = opened.map_err(|error| error::submit(py, &error))?;
        Ok(Session { core, id })
    }

    /// Ends it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.core.get().shared.run(py, |state, now| state.client.close_session(self.id, now))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}

/// Who subscribes, or monitors.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Subscriber {
    core: Py<Core>,
    pub(crate) id: SubscriberId,
}

#[pymethods]
impl Subscriber {
    #[new]
    fn new(py: Python<'_>, core: Py<Core>, is_monitor: bool) -> PyResult<Subscriber> {
        let opened = core.get().shared.run(py, |state, now| {
            let opened = match is_monitor {
                true => state.client.open_monitor(now),
                false => state.client.open_subscriber(now),
            };
            opened.inspect(|&id| state.mailboxes.open(id))
        })?;
        let id = opened.map_err(|error| error::submit(py, &error))?;
        Ok(Subscriber { core, id })
    }

    /// Subscribes to channels of a kind (1 by name, 2 by pattern, 3 of a shard).
    fn subscribe(&self, py: Python<'_>, kind: u8, channels: Vec<Vec<u8>>) -> PyResult<()> {
        let (kind, names) = (kind_of(kind), slices(&channels));
        let subscribed = self.shared().run(py, |state, now| {
            // Noted before: an answer may come of this at once.
            state.mailboxes.ask(self.id, kind, &names);
            let subscribed = state.client.subscribe(self.id, kind, &names, now);
            subscribed.inspect_err(|_| state.mailboxes.forget(self.id, kind, &names))
        })?;
        subscribed.map_err(|error| error::submit(py, &error))
    }

    /// Ends subscriptions; all of the kind where no channels are given.
    fn unsubscribe(&self, py: Python<'_>, kind: u8, channels: Vec<Vec<u8>>) -> PyResult<()> {
        let (kind, names) = (kind_of(kind), slices(&channels));
        let unsubscribed = self.shared().run(py, |state, now| {
            state.mailboxes.forget(self.id, kind, &names);
            state.client.unsubscribe(self.id, kind, &names, now)
        })?;
        unsubscribed.map_err(|error| error::submit(py, &error))
    }

    /// Ends it. Those that wait for messages are woken.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let called = self.shared().run(py, |state, now| {
            state.client.close_subscriber(self.id, now);
            state.mailboxes.close(self.id)
        })?;
        called.iter().for_each(|call| call.get().wake(py));
        Ok(())
    }

    /// What came, as tuples of a word, a pattern, a channel and data; and how often something came. `None` where it is
    /// closed.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<(Vec<Bound<'py, PyTuple>>, u64)>> {
        let taken = self.shared().peek(py, |state| state.mailboxes.take(self.id))?;
        taken.map(|(taken, seen)| Ok((taken.objects(py, &self.shared().text)?, seen))).transpose()
    }

    /// Whether these subscriptions were answered, and how often something came; `None` where it is closed.
    fn are_answered(
        &self,
        py: Python<'_>,
        kind: u8,
        channels: Vec<Vec<u8>>,
    ) -> PyResult<Option<(bool, u64)>> {
        self.shared().peek(py, |state| state.mailboxes.are_answered(self.id, kind_of(kind), channels))
    }

    /// A call that ends with the next arrival; `None` where something came since there had been `seen` of them.
    fn next<'py>(&self, py: Python<'py>, seen: u64) -> PyResult<Option<Bound<'py, Call>>> {
        let call = Bound::new(py, Call::one(None))?;
        let mine = call.clone().unbind();
        let waits = self.shared().peek(py, |state| state.mailboxes.wait(self.id, seen, mine))?;
        Ok(waits.is_none().then_some(call))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}

impl Subscriber {
    fn shared(&self) -> &Shared {
        &self.core.get().shared
    }
}

fn slices(names: &[Vec<u8>]) -> Vec<&[u8]> {
    names.iter().map(Vec::as_slice).collect()
}

fn kind_of(number: u8) -> ChannelKind {
    match number {
        2 => ChannelKind::Pattern,
        3 => ChannelKind::Shard,
        _ => ChannelKind::Channel,
    }
}
