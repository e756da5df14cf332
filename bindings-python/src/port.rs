//! The asyncio side: commands of one loop turn leave together, replies resolve futures.

use crate::call::{Call, Ending, Target, Waiter};
use crate::client::Core;
use crate::command::{CommandBuffer, Commands, push};
use crate::core::Shared;
use crate::error;
use crate::exit::Inside;
use crate::special::{Session, Subscriber};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use respass::ConnId;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Commands that were given in this loop turn.
#[derive(Default)]
struct Pending {
    commands: Commands,
    futures: Vec<Py<PyAny>>,
}

/// Connects a client core to one event loop.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct LoopPort {
    core: Py<Core>,
    pending: Mutex<Pending>,
    event_loop: Py<PyAny>,
    running_loop: Py<PyAny>,
    future: Py<PyAny>,
    future_options: Option<Py<PyDict>>,
    /// Finds the driver, which must not be kept alive from here.
    driver: Py<PyAny>,
    /// The connections that there are, of which there are few. Locked for a moment, after the core.
    lines: Mutex<Vec<Line>>,
}

/// A connection's way out.
struct Line {
    conn: ConnId,
    /// `transport.write`
    write: Py<PyAny>,
    /// The transport's buffer is full.
    is_paused: bool,
}

#[pymethods]
impl LoopPort {
    /// `driver` is a weak reference; `future` makes a future when called with `future_options`.
    #[new]
    fn new(
        py: Python<'_>,
        core: Py<Core>,
        event_loop: Py<PyAny>,
        driver: Py<PyAny>,
        future: Py<PyAny>,
        future_options: Option<Py<PyDict>>,
    ) -> PyResult<LoopPort> {
        Ok(LoopPort {
            core,
            pending: Mutex::default(),
            event_loop,
            running_loop: py.import("asyncio")?.getattr("_get_running_loop")?.unbind(),
            future,
            future_options,
            driver,
            lines: Mutex::default(),
        })
    }

    /// Gives a command to be sent at the end of this loop turn. A future of its reply. On another loop than this
    /// port's, the driver finds the right one.
    #[pyo3(signature = (shape, *arguments))]
    fn call<'py>(
        slf: &Bound<'py, LoopPort>,
        shape: u8,
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let port = slf.get();
        let Some(future) = port.make_future(slf.py())? else {
            let driver = port.driver.bind(slf.py()).call0()?;
            return driver.call_method1(intern!(slf.py(), "elsewhere"), (shape, arguments));
        };
        push(
            &port.pending,
            |pending| &mut pending.commands.block,
            arguments,
            |pending| pending.commands.shapes.push(shape),
        )?;
        if may_take_long(arguments) {
            let ended = slf.getattr(intern!(slf.py(), "ended"))?;
            future.call_method1(intern!(slf.py(), "add_done_callback"), (ended,))?;
        }
        let is_first = {
            let mut pending = port.pending();
            pending.futures.push(future.clone().unbind());
            pending.futures.len() == 1
        };
        if is_first {
            Self::flush_soon(slf)?;
        }
        Ok(future)
    }

    /// Submits a pipeline or a transaction. A future of the list of replies.
    #[pyo3(signature = (buffer, is_transaction, session=None))]
    fn call_all<'py>(
        slf: &Bound<'py, LoopPort>,
        buffer: &CommandBuffer,
        is_transaction: bool,
        session: Option<&Session>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, port) = (slf.py(), slf.get());
        let future = port.make_future(py)?.ok_or_else(|| error::event_loop(py))?;
        let session = session.map(|session| session.id_in(py, port.core.get())).transpose()?;
        // What was given before leaves before.
        port.submit_pending(py)?;
        let commands = buffer.take();
        let count = commands.shapes.len();
        let call = if is_transaction {
            Call::one(Some(commands.shapes.clone().into_boxed_slice()))
        } else {
            Call::many(count)
        };
        call.resolves(future.clone().unbind());
        port.shared().submit(py, &Bound::new(py, call)?, &commands, is_transaction, session)?;
        buffer.keep(commands);
        Self::flush_soon(slf)?;
        Ok(future)
    }

    /// A future that is resolved at a subscriber's next arrival; `None` where something came since there had been
    /// `seen` of them.
    fn next_mail<'py>(
        slf: &Bound<'py, LoopPort>,
        subscriber: &Subscriber,
        seen: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, port) = (slf.py(), slf.get());
        let future = port.make_future(py)?.ok_or_else(|| error::event_loop(py))?;
        let call = Call::one(None);
        call.resolves(future.clone().unbind());
        let call = Py::new(py, call)?;
        let back = port.shared().peek(py, |state| state.mailboxes.wait(subscriber.id, seen, call))?;
        Ok(back.is_none().then_some(future))
    }

    /// Submits what was given in this turn and writes what can be written.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.submit_pending(py)?;
        self.settle(py)
    }

    /// A connection is there to be written to.
    fn attach(&self, conn: u64, write: Py<PyAny>) {
        self.lines().push(Line { conn: ConnId::from_u64(conn), write, is_paused: false });
    }

    /// A connection is not to be written to any more.
    fn detach(&self, conn: u64) {
        let former = {
            let mut lines = self.lines();
            let index = lines.iter().position(|line| line.conn.as_u64() == conn);
            index.map(|index| lines.swap_remove(index))
        };
        drop(former);
    }

    /// A transport's buffer is full: stop writing to it.
    fn pause(&self, conn: u64) {
        self.set_paused(conn, true);
    }

    /// A transport takes bytes again. Commands that were given up meanwhile are not sent.
    fn resume(&self, py: Python<'_>, conn: u64) -> PyResult<()> {
        self.set_paused(conn, false);
        self.forget_cancelled(py)?;
        self.settle(py)
    }

    /// A future that may have waited for long has ended. The server is not left with a command that was given up.
    fn ended(&self, py: Python<'_>, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
            // It may not have left this loop turn yet.
            self.submit_pending(py)?;
            self.forget_cancelled(py)?;
            self.settle(py)?;
        }
        Ok(())
    }

    /// Withdraws commands whose futures were cancelled.
    fn forget_cancelled(&self, py: Python<'_>) -> PyResult<()> {
        // A reference each, taken without running Python code.
        let waiting = self.shared().peek(py, |state| state.waiters.futures(py))?;
        for (id, future) in waiting {
            if future.bind(py).call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                self.shared().run(py, |state, now| {
                    state.client.cancel(id);
                    // A connection may be of no use any more.
                    state.client.handle_timeout(now);
                })?;
            }
        }
        Ok(())
    }

    /// The loop ends: cancels every future that waits, because nobody is left to be told of an error.
    fn cancel_all(&self, py: Python<'_>) -> PyResult<()> {
        let (waiting, called) = self.shared().peek(py, |state| {
            let called: Vec<_> = state.mailboxes.calls().filter_map(|call| call.get().future(py)).collect();
            (state.waiters.futures(py), called)
        })?;
        let pending = std::mem::take(&mut *self.pending()).futures;
        for future in waiting.into_iter().map(|(_, future)| future).chain(called).chain(pending) {
            future.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.event_loop, &self.running_loop, &self.future, &self.driver] {
            visit.call(object)?;
        }
        visit.call(&self.core)?;
        visit.call(&self.future_options)?;
        if let Ok(lines) = self.lines.try_lock() {
            lines.iter().try_for_each(|line| visit.call(&line.write))?;
        }
        match self.pending.try_lock() {
            Ok(pending) => pending.futures.iter().try_for_each(|future| visit.call(future)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let lines = std::mem::take(&mut *self.lines());
        drop(lines);
        let pending = std::mem::take(&mut *self.pending());
        drop(pending);
    }
}

impl LoopPort {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_paused(&self, conn: u64, is_paused: bool) {
        for line in self.lines().iter_mut().filter(|line| line.conn.as_u64() == conn) {
            line.is_paused = is_paused;
        }
    }

    fn is_open(&self, conn: ConnId) -> bool {
        self.lines().iter().any(|line| line.conn == conn && !line.is_paused)
    }

    fn write_of(&self, py: Python<'_>, conn: ConnId) -> Option<Py<PyAny>> {
        self.lines().iter().find(|line| line.conn == conn).map(|line| line.write.clone_ref(py))
    }

    fn shared(&self) -> &Shared {
        &self.core.get().shared
    }

    /// `None` where another loop runs.
    fn make_future<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.running_loop.bind(py).call0()?.is(&self.event_loop) {
            return Ok(None);
        }
        self.future.bind(py).call((), self.future_options.as_ref().map(|options| options.bind(py))).map(Some)
    }

    fn flush_soon(slf: &Bound<'_, LoopPort>) -> PyResult<()> {
        let py = slf.py();
        let _inside = Inside::enter(py);
        let flush = slf.getattr(intern!(py, "flush"))?;
        slf.get().event_loop.bind(py).call_method1(intern!(py, "call_soon"), (flush,))?;
        Ok(())
    }

    fn submit_pending(&self, py: Python<'_>) -> PyResult<()> {
        let Pending { mut commands, futures } = std::mem::take(&mut *self.pending());
        if futures.is_empty() {
            return Ok(());
        }
        let waiters = futures
            .into_iter()
            .zip(&commands.shapes)
            .map(|(future, &shape)| Waiter { target: Target::Future(future), shape })
            .collect();
        let refused = self
            .shared()
            .run(py, |state, now| self.shared().submit_each(py, state, &commands, waiters, now))?;
        for (waiter, error) in refused {
            waiter.end(py, &self.shared().text, Ending::Refused(&error));
        }
        // Its memory serves the next turn.
        commands.clear();
        let mut pending = self.pending();
        if pending.futures.is_empty() {
            pending.commands = commands;
        }
        Ok(())
    }

    /// Writes what can be written; then the driver has its turn, where there is something for it.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = Inside::enter(py);
        let mut delay = None;
        let has_actions = loop {
            let (piece, has_actions, armed) = self.shared().run(py, |state, now| {
                let piece = state.take_next(now, |conn| self.is_open(conn));
                (piece, state.has_news(), state.arm(now))
            })?;
            // Said once: each moves the timer to an earlier moment than the one before.
            delay = armed.or(delay);
            let Some((conn, bytes, has_more)) = piece else { break has_actions };
            if let Some(write) = self.write_of(py, conn) {
                write.bind(py).call1((PyBytes::new(py, &bytes),))?;
            }
            if !has_more {
                break has_actions;
            }
        };
        if has_actions || delay.is_some() {
            let driver = self.driver.bind(py).call0()?;
            if !driver.is_none() {
                driver.call_method1(intern!(py, "attend"), (has_actions, delay))?;
            }
        }
        Ok(())
    }

    fn received(&self, py: Python<'_>, conn: ConnId, bytes: &[u8]) -> PyResult<()> {
        self.shared().run(py, |state, now| {
            state.received_at = now.monotonic.as_micros();
            state.client.handle_received(conn, bytes, now);
        })?;
        // A login may be done: what was given up while it took is not sent.
        if self.shared().has_errands() {
            self.forget_cancelled(py)?;
        }
        self.settle(py)
    }
}

/// Whether a command's future is worth being watched for its cancellation: all that block begin so, and few others.
fn may_take_long(arguments: &Bound<'_, PyTuple>) -> bool {
    let is_long = |name: &[u8]| {
        let starts_with =
            |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        [&b"BL"[..], b"BR", b"BZ", b"XREAD"].into_iter().any(starts_with)
    };
    let Ok(name) = arguments.get_item(0) else { return false };
    match (name.cast::<PyString>(), name.cast::<PyBytes>()) {
        (Ok(text), _) => text.to_str().is_ok_and(|text| is_long(text.as_bytes())),
        (_, Ok(bytes)) => is_long(bytes.as_bytes()),
        _ => false,
    }
}

/// One connection's way in: a fixed buffer that the transport reads into and the core reads from.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Link {
    port: Py<LoopPort>,
    conn: ConnId,
    buffer: Py<PyByteArray>,
}

#[pymethods]
impl Link {
    #[new]
    fn new(port: Py<LoopPort>, conn: u64, buffer: Py<PyByteArray>) -> Link {
        Link { port, conn: ConnId::from_u64(conn), buffer }
    }

    /// `BufferedProtocol.get_buffer`.
    fn get_buffer<'py>(&self, py: Python<'py>, _size_hint: isize) -> Bound<'py, PyByteArray> {
        self.buffer.bind(py).clone()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.port)?;
        visit.call(&self.buffer)
    }

    /// `BufferedProtocol.buffer_updated`.
    fn buffer_updated(&self, py: Python<'_>, len: usize) -> PyResult<()> {
        let buffer = self.buffer.bind(py);
        // SAFETY: the buffer is the driver's own and is never resized; nothing writes to it before this returns,
        // because the transport, its only writer, called this.
        let bytes = unsafe { buffer.as_bytes() };
        let bytes = bytes.get(..len).ok_or_else(|| PyValueError::new_err("longer than the buffer"))?;
        self.port.get().received(py, self.conn, bytes)
    }
}
