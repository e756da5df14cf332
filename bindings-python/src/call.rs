//! Whoever waits for replies: an asyncio future, or a [`Call`] that gathers one reply or many.

use crate::error;
use crate::exit::Inside;
use crate::reply::Text;
use crate::shape::Shape;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};
use respass::resp::{Kind, Reply};
use respass::{CommandError, CommandId, SubmitError};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A place to put one reply.
#[derive(Debug)]
pub(crate) enum Target {
    Future(Py<PyAny>),
    /// The reply of that number.
    Call(Py<Call>, usize),
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) target: Target,
    pub(crate) shape: u8,
}

/// Waiters by command id. Ids are consecutive and mostly answered in order, so a queue finds each at once.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: VecDeque<Option<Waiter>>,
    /// The id of the queue's front.
    first: u64,
}

impl Waiters {
    /// Adds the waiter of the command that was submitted last.
    pub(crate) fn push(&mut self, id: CommandId, waiter: Waiter) {
        if self.queue.is_empty() {
            self.first = id.as_u64();
        }
        self.queue.push_back(Some(waiter));
    }

    /// Takes out a command's waiter; `None` where it had its answer already.
    pub(crate) fn take(&mut self, id: CommandId) -> Option<Waiter> {
        let index = usize::try_from(id.as_u64().checked_sub(self.first)?).ok()?;
        let waiter = self.queue.get_mut(index)?.take();
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.first += 1;
        }
        waiter
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.iter().flatten().try_for_each(|waiter| match &waiter.target {
            Target::Future(future) => visit.call(future),
            Target::Call(call, _) => visit.call(call),
        })
    }

    /// Futures that wait, each with a command that it waits for: that of a pipeline comes once for each command.
    pub(crate) fn futures(&self, py: Python<'_>) -> Vec<(CommandId, Py<PyAny>)> {
        let futures = (self.first..).zip(&self.queue).filter_map(|(id, waiter)| {
            let future = match &waiter.as_ref()?.target {
                Target::Future(future) => future.clone_ref(py),
                Target::Call(call, _) => call.get().future(py)?,
            };
            Some((CommandId::from_u64(id), future))
        });
        futures.collect()
    }
}

/// How a waiter's command ended.
#[derive(Clone, Copy)]
pub(crate) enum Ending<'a> {
    Reply(Reply<'a>),
    Failed(&'a CommandError),
    Refused(&'a SubmitError),
}

impl Ending<'_> {
    /// The value, or the exception, as an object each. An error of the conversion is an exception as well.
    fn object<'py>(
        &self,
        py: Python<'py>,
        text: &Text,
        shape: u8,
        parts: Option<&[u8]>,
    ) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
        let exception = |exception: PyResult<Bound<'py, PyAny>>| {
            Err(exception.unwrap_or_else(|error| error.into_value(py).into_bound(py).into_any()))
        };
        let value = match self {
            Ending::Failed(error) => return exception(error::command(py, error)),
            Ending::Refused(error) => {
                return exception(Ok(error::submit(py, error).into_value(py).into_bound(py).into_any()));
            }
            Ending::Reply(reply) if reply.kind() == Kind::Error => return exception(error::reply(py, reply)),
            Ending::Reply(reply) => match parts {
                Some(shapes) => text.transaction(py, reply, shapes),
                None => text.value(py, reply, Shape::of(shape)),
            },
        };
        value.or_else(|error| exception(Err(error)))
    }
}

impl Waiter {
    /// Hands over the ending. Whatever the receiver says to that is its own business.
    pub(crate) fn end(self, py: Python<'_>, text: &Text, ending: Ending<'_>) {
        match self.target {
            Target::Future(future) => {
                let result = ending.object(py, text, self.shape, None);
                resolve(future.bind(py), result);
            }
            Target::Call(call, index) => {
                let call = call.bind(py).get();
                let result = ending.object(py, text, self.shape, call.parts.as_deref());
                call.put(py, index, result);
            }
        }
    }
}

/// Sets a future's result. One that was cancelled says so with an exception, which is of no interest.
pub(crate) fn resolve<'py>(future: &Bound<'py, PyAny>, result: Result<Bound<'py, PyAny>, Bound<'py, PyAny>>) {
    let py = future.py();
    let (name, value) = match result {
        Ok(value) => (intern!(py, "set_result"), value),
        Err(exception) => (intern!(py, "set_exception"), exception),
    };
    // SAFETY: all three are live objects, and a null pointer ends the arguments. This is the one vectorcall of a
    // method that the stable ABI of Python 3.11 has.
    let returned = unsafe {
        ffi::PyObject_CallMethodObjArgs(
            future.as_ptr(),
            name.as_ptr(),
            value.as_ptr(),
            std::ptr::null_mut::<ffi::PyObject>(),
        )
    };
    if returned.is_null() {
        drop(PyErr::take(py));
    } else {
        // SAFETY: a new reference that nobody else owns.
        unsafe { ffi::Py_DecRef(returned) };
    }
}

#[derive(Debug)]
enum Results {
    One(Option<Result<Py<PyAny>, Py<PyAny>>>),
    /// Exceptions stand among the values.
    Many {
        values: Vec<Option<Py<PyAny>>>,
        left: usize,
    },
}

#[derive(Debug)]
struct CallState {
    results: Results,
    waker: Option<Waker>,
}

/// Who is told that a call is complete.
#[derive(Debug)]
enum Waker {
    /// A lock that somebody waits to acquire.
    Lock(Py<PyAny>),
    Future(Py<PyAny>),
}

/// One command, pipeline or transaction, and what was answered so far.
#[pyclass(frozen, module = "respass._respass")]
#[derive(Debug)]
pub(crate) struct Call {
    state: Mutex<CallState>,
    /// The shapes of a transaction's parts.
    parts: Option<Box<[u8]>>,
    ids: OnceLock<(u64, usize)>,
}

impl Call {
    pub(crate) fn one(parts: Option<Box<[u8]>>) -> Call {
        Call::new(Results::One(None), parts)
    }

    pub(crate) fn many(count: usize) -> Call {
        let values = std::iter::repeat_with(|| None).take(count).collect();
        Call::new(Results::Many { values, left: count }, None)
    }

    fn new(results: Results, parts: Option<Box<[u8]>>) -> Call {
        Call { state: Mutex::new(CallState { results, waker: None }), parts, ids: OnceLock::new() }
    }

    /// Tells the future the result, as soon as it is complete.
    pub(crate) fn resolves(&self, future: Py<PyAny>) {
        self.lock().waker = Some(Waker::Future(future));
    }

    pub(crate) fn set_ids(&self, first: CommandId, count: usize) {
        // Set once, at submission; a second time would change nothing.
        let _ = self.ids.set((first.as_u64(), count));
    }

    /// The ids of its commands.
    pub(crate) fn ids(&self) -> impl Iterator<Item = CommandId> {
        let (first, count) = self.ids.get().copied().unwrap_or_default();
        (first..).take(count).map(CommandId::from_u64)
    }

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, py: Python<'_>, index: usize, result: Result<Bound<'_, PyAny>, Bound<'_, PyAny>>) {
        let waker = {
            let mut state = self.lock();
            let is_complete = match &mut state.results {
                Results::One(slot) => {
                    *slot = Some(result.map(Bound::unbind).map_err(Bound::unbind));
                    true
                }
                Results::Many { values, left } => {
                    let (Ok(value) | Err(value)) = result;
                    if let Some(slot) = values.get_mut(index) {
                        *slot = Some(value.unbind());
                        *left = left.saturating_sub(1);
                    }
                    *left == 0
                }
            };
            if is_complete { state.waker.take() } else { None }
        };
        match waker {
            Some(Waker::Future(future)) => {
                if let Some(result) = self.take(py) {
                    resolve(future.bind(py), result);
                }
            }
            Some(Waker::Lock(lock)) => {
                // A lock that is free already has woken its thread.
                let _ = lock.bind(py).call_method0(intern!(py, "release"));
            }
            None => {}
        }
    }

    /// What it waited for is here: it ends with `None`.
    pub(crate) fn wake(&self, py: Python<'_>) {
        let _inside = Inside::enter(py);
        self.put(py, 0, Ok(py.None().into_bound(py)));
    }

    /// The future that it resolves, if it resolves one.
    pub(crate) fn future(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.lock().waker {
            Some(Waker::Future(future)) => Some(future.clone_ref(py)),
            _ => None,
        }
    }

    /// The result, where it is complete.
    pub(crate) fn take<'py>(&self, py: Python<'py>) -> Option<Result<Bound<'py, PyAny>, Bound<'py, PyAny>>> {
        let values = {
            let mut state = self.lock();
            match &mut state.results {
                Results::One(result) => {
                    let result = result.take()?;
                    return Some(
                        result
                            .map(|value| value.into_bound(py))
                            .map_err(|exception| exception.into_bound(py)),
                    );
                }
                Results::Many { values, left: 0 } => std::mem::take(values),
                Results::Many { .. } => return None,
            }
        };
        let none = || py.None();
        let list = PyList::new(py, values.into_iter().map(|value| value.unwrap_or_else(none)));
        Some(list.map(Bound::into_any).map_err(|error| error.into_value(py).into_bound(py).into_any()))
    }

    /// The result, or `pending`; a single error is raised.
    pub(crate) fn finish<'py>(&self, py: Python<'py>, pending: &Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.take(py) {
            None => Ok(pending.bind(py).clone()),
            Some(Ok(value)) => Ok(value),
            Some(Err(exception)) => Err(PyErr::from_value(exception)),
        }
    }
}

#[pymethods]
impl Call {
    /// Whether every reply is here.
    #[getter]
    fn done(&self) -> bool {
        match &self.lock().results {
            Results::One(result) => result.is_some(),
            Results::Many { left, .. } => *left == 0,
        }
    }

    /// The result; raises the error of a single command.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.take(py) {
            None => Err(PyRuntimeError::new_err("the replies are not here yet")),
            Some(Ok(value)) => Ok(value),
            Some(Err(exception)) => Err(PyErr::from_value(exception)),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        match &state.results {
            Results::One(Some(Ok(object) | Err(object))) => visit.call(object)?,
            Results::One(None) => {}
            Results::Many { values, .. } => {
                values.iter().flatten().try_for_each(|value| visit.call(value))?
            }
        }
        match &state.waker {
            Some(Waker::Lock(object) | Waker::Future(object)) => visit.call(object),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let waker = self.state.try_lock().ok().and_then(|mut state| state.waker.take());
        drop(waker);
    }

    /// Has `lock` released as soon as every reply is here; false where they are here already.
    fn wakes(&self, lock: Py<PyAny>) -> bool {
        if self.done() {
            return false;
        }
        let former = self.lock().waker.replace(Waker::Lock(lock));
        drop(former);
        !self.done()
    }
}
