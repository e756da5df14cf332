//! The `Core` class: a client core with its facts and wishes as methods. Both drivers use it.

use crate::call::Call;
use crate::command::{CommandBuffer, Commands, push};
use crate::config::Options;
use crate::core::{Action, Shared};
use crate::error;
use crate::readable;
use crate::source::{Failure, Token};
use crate::special::Session;
use crate::{PENDING, clock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use respass::{Client, ConnId, DisconnectCause, Notice, Severity};
use std::sync::Mutex;

#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Core {
    pub(crate) shared: Shared,
}

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, options: Options, seed: [u8; 32]) -> PyResult<Core> {
        let text = options.text()?;
        let client = Client::new(options.config(py)?, seed, clock::now())
            .map_err(|error| error::config(py, &error.text))?;
        Ok(Core { shared: Shared::new(client, text) })
    }

    /// Connects without waiting for a command.
    fn connect(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.run(py, |state, now| state.client.connect(now))
    }

    /// Submits one command; `None` where this very thread is in the middle of another.
    #[pyo3(signature = (shape, *arguments))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        shape: u8,
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<Option<Bound<'py, Call>>> {
        if self.shared.turn.is_mine() {
            return Ok(None);
        }
        let holder = Mutex::new(Commands::default());
        push(&holder, |commands| &mut commands.block, arguments, |commands| commands.shapes.push(shape))?;
        let commands = holder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let call = Bound::new(py, Call::one(None))?;
        self.shared.submit(py, &call, &commands, false, None)?;
        Ok(Some(call))
    }

    /// Submits the commands of a buffer and empties it; `None` likewise.
    #[pyo3(signature = (buffer, is_transaction, session=None))]
    fn submit_all<'py>(
        &self,
        py: Python<'py>,
        buffer: &CommandBuffer,
        is_transaction: bool,
        session: Option<&Session>,
    ) -> PyResult<Option<Bound<'py, Call>>> {
        let session = session.map(|session| session.id_in(py, self)).transpose()?;
        if self.shared.turn.is_mine() {
            return Ok(None);
        }
        let commands = buffer.take();
        let call = if is_transaction {
            Call::one(Some(commands.shapes.clone().into_boxed_slice()))
        } else {
            Call::many(commands.shapes.len())
        };
        let call = Bound::new(py, call)?;
        self.shared.submit(py, &call, &commands, is_transaction, session)?;
        buffer.keep(commands);
        Ok(Some(call))
    }

    /// Gives up on a call.
    fn cancel(&self, py: Python<'_>, call: &Bound<'_, Call>) -> PyResult<()> {
        let ids: Vec<_> = call.get().ids().collect();
        let call = call.clone().unbind();
        let given_up = self.shared.run(py, |state, now| {
            ids.into_iter().for_each(|id| state.client.cancel(id));
            // A connection may be of no use any more.
            state.client.handle_timeout(now);
            state.mailboxes.give_up(&call)
        })?;
        drop(given_up);
        Ok(())
    }

    /// Takes the turn to read, to connect and to close, where it is free.
    fn lead(&self) -> bool {
        self.shared.turn.lead()
    }

    /// Gives back every turn that this thread has. Whether there are actions to be done, or notices to be told.
    fn leave(&self) -> bool {
        self.shared.turn.leave();
        self.shared.has_errands()
    }

    /// Whether any thread has the turn to read.
    #[getter]
    fn is_led(&self) -> bool {
        self.shared.turn.is_led()
    }

    /// Whether this thread is in the middle of reading or writing.
    #[getter]
    fn is_mine(&self) -> bool {
        self.shared.turn.is_mine()
    }

    /// Whether another thread is about to write to a socket.
    #[getter]
    fn is_written(&self) -> bool {
        self.shared.turn.is_written()
    }

    /// Whether a thread was interrupted with bytes in its hands: nothing is written until `mended`.
    #[getter]
    fn is_torn(&self) -> bool {
        self.shared.turn.is_torn()
    }

    /// The number of the connection that lost them, if it is still there.
    fn torn(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.shared.peek(py, |state| state.taken_from.map(ConnId::as_u64))
    }

    /// The connection that lost bytes is gone.
    fn mended(&self) {
        self.shared.turn.mend();
    }

    /// Bytes to write to that connection: `sent` must follow. Empty where there are none or another thread writes,
    /// which will come back for them; `None` where there are actions to be done first, or a loss to be mended.
    fn take<'py>(&self, py: Python<'py>, conn: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if !self.shared.turn.start_writing() {
            return Ok(Some(PyBytes::new(py, b"")));
        }
        if self.shared.turn.is_torn() {
            self.shared.turn.stop_writing();
            return Ok(None);
        }
        let bytes = self.shared.run(py, |state, now| {
            let bytes = state.may_write().then(|| state.take_piece(ConnId::from_u64(conn), now));
            if bytes.as_ref().is_none_or(Vec::is_empty) {
                self.shared.turn.stop_writing();
            }
            bytes
        })?;
        Ok(bytes.map(|bytes| PyBytes::new(py, &bytes)))
    }

    /// The socket took `count` bytes of what `take` gave. Whether there is more to write at once.
    fn sent(&self, py: Python<'_>, piece: &[u8], count: usize) -> PyResult<bool> {
        self.shared.peek(py, |state| {
            self.shared.turn.stop_writing();
            state.sent(piece, count)
        })
    }

    /// The socket is connected.
    fn connected(&self, py: Python<'_>, conn: u64) -> PyResult<()> {
        self.shared.run(py, |state, now| state.client.handle_connected(ConnId::from_u64(conn), now))
    }

    /// There is no socket any more (`how`: `"closed"`, `"broken"`), or none was made (`"failed"`).
    fn disconnected(&self, py: Python<'_>, conn: u64, how: &str, text: String) -> PyResult<()> {
        let cause = match how {
            "closed" => DisconnectCause::Closed,
            "failed" => DisconnectCause::ConnectFailed(text),
            _ => DisconnectCause::Broken(text),
        };
        let conn = ConnId::from_u64(conn);
        self.shared.run(py, |state, now| {
            state.forget_bytes(conn);
            state.client.handle_disconnected(conn, cause, now);
        })
    }

    /// The first `len` bytes of `buffer` were received. The result of `call` where it is complete, else `PENDING`.
    fn received<'py>(
        &self,
        py: Python<'py>,
        conn: u64,
        buffer: &Bound<'py, PyByteArray>,
        len: usize,
        call: Option<&Call>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the buffer is the driver's own and is never resized; only the thread whose turn it is to read,
        // which is this one, writes to it.
        let bytes = unsafe { buffer.as_bytes() };
        let bytes = bytes.get(..len).ok_or_else(|| PyValueError::new_err("longer than the buffer"))?;
        self.shared.run(py, |state, now| {
            state.received_at = now.monotonic.as_micros();
            state.client.handle_received(ConnId::from_u64(conn), bytes, now);
        })?;
        let pending = PENDING.get(py).ok_or_else(|| error::broken(py))?;
        match call {
            Some(call) => call.finish(py, pending),
            None => Ok(pending.bind(py).clone()),
        }
    }

    /// A token came from the source.
    fn token(&self, py: Python<'_>, token: &Token) -> PyResult<()> {
        self.shared.run(py, |state, now| state.client.handle_token(&token.0, now))
    }

    /// The source got no token.
    fn token_failed(&self, py: Python<'_>, failure: &Failure) -> PyResult<()> {
        self.shared.run(py, |state, now| state.client.handle_token_failed(&failure.0, now))
    }

    /// Time has passed.
    fn timeout(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.run(py, |state, now| {
            state.armed_at = u64::MAX;
            state.client.handle_timeout(now);
        })
    }

    /// Seconds until `timeout` wants to be called; `None` where there is nothing to wait for.
    fn wakeup(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.shared.run(py, |state, now| {
            let wakeup = state.client.poll_timeout(now)?;
            Some(wakeup.at.since(now.monotonic).as_secs_f64())
        })
    }

    /// Seconds until a timer must fire, if it must fire earlier than those asked for so far.
    fn arm(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.shared.run(py, |state, now| state.arm(now))
    }

    /// Whether a connection's socket (its descriptor) is to be looked at before it is written to: nothing was heard
    /// for a while, or there is something to read that nobody asked for.
    fn wants_look(&self, py: Python<'_>, conn: u64, descriptor: i64) -> PyResult<bool> {
        let (is_idle, silent) = self.shared.peek(py, |state| {
            let silent = clock::now().monotonic.as_micros().saturating_sub(state.received_at);
            (state.client.is_idle(ConnId::from_u64(conn)), silent)
        })?;
        Ok(silent > STALE || (is_idle && readable::is_readable(descriptor)))
    }

    /// Whether `actions` has any.
    #[getter]
    fn has_actions(&self, py: Python<'_>) -> PyResult<bool> {
        self.shared.run(py, |state, _| !state.actions.is_empty())
    }

    /// Whether there are bytes to write.
    #[getter]
    fn has_bytes(&self, py: Python<'_>) -> PyResult<bool> {
        self.shared.run(py, |state, _| state.has_bytes())
    }

    /// The numbers of the connections that have bytes to write; `None` where there are actions to be done first.
    fn writable(&self, py: Python<'_>) -> PyResult<Option<Vec<u64>>> {
        self.shared.run(py, |state, _| state.may_write().then(|| state.writable()))
    }

    /// What the driver has to do first. It stays so until `acted`: an interrupt loses nothing.
    fn action<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let action = self.shared.peek(py, |state| state.actions.first().cloned())?;
        action.map(|action| tuple(py, action)).transpose()
    }

    /// What `action` said is done.
    fn acted(&self, py: Python<'_>) -> PyResult<()> {
        let action =
            self.shared.peek(py, |state| (!state.actions.is_empty()).then(|| state.actions.remove(0)))?;
        drop(action);
        Ok(())
    }

    /// What the driver has to do, in order: tuples with a word in front.
    fn actions<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let actions = self.shared.run(py, |state, _| std::mem::take(&mut state.actions))?;
        actions.into_iter().map(|action| tuple(py, action)).collect()
    }

    /// What is worth a log line: name, severity, text, and the number of the connection it is about.
    fn notices(&self, py: Python<'_>) -> PyResult<Vec<NoticeParts>> {
        let notices = self.shared.take_notices(py)?;
        Ok(notices.iter().map(describe).collect())
    }

    /// Ends everything.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let called = self.shared.run(py, |state, now| {
            state.client.close(now);
            state.mailboxes.close_all()
        })?;
        called.iter().for_each(|call| call.get().wake(py));
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.traverse(&visit)
    }

    fn __clear__(&self) {
        self.shared.clear();
    }

    /// How the login stands.
    fn auth_status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let status = self.shared.run(py, |state, _| state.client.auth_status())?;
        let dict = PyDict::new(py);
        dict.set_item("is_ready", status.is_ready)?;
        dict.set_item("oid", status.oid)?;
        dict.set_item("expires_at", status.expires_on.map(|at| at.as_secs()))?;
        dict.set_item("reauth_count", status.reauth_count)?;
        dict.set_item("last_error", status.last_error)?;
        let connections: Vec<_> = status
            .connections
            .into_iter()
            .map(|one| {
                (one.host, one.port, one.lane.name(), one.is_ready, one.expires_on.map(|at| at.as_secs()))
            })
            .collect();
        dict.set_item("connections", connections)?;
        Ok(dict)
    }
}

fn tuple(py: Python<'_>, action: Action) -> PyResult<Bound<'_, PyTuple>> {
    match action {
        Action::Connect { conn, host, port } => ("connect", conn.as_u64(), host, port).into_pyobject(py),
        Action::Disconnect { conn, last_bytes } => {
            ("disconnect", conn.as_u64(), PyBytes::new(py, &last_bytes)).into_pyobject(py)
        }
        Action::TokenNeeded { newer_than } => ("token", newer_than).into_pyobject(py),
    }
}

/// Name, severity, text, and the number of the connection.
type NoticeParts = (&'static str, &'static str, String, Option<u64>);

/// A notice as Python's `Notice` takes it.
fn describe(notice: &Notice) -> NoticeParts {
    let severity = match notice.severity() {
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warning => "warning",
    };
    (notice.name(), severity, notice.to_string(), notice.conn().map(respass::ConnId::as_u64))
}

/// Silence in microseconds, after which timers and the socket are looked at first.
const STALE: u64 = 1_000_000;
