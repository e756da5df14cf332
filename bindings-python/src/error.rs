//! Errors become the exceptions of `respass.exceptions`, which holds the one table of codes and classes.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use respass::resp::Reply;
use respass::{CommandError, ErrorCode, Outcome, SubmitError};

static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn make<'py>(py: Python<'py>, code: ErrorCode, outcome: &str, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let make =
        MAKE.get_or_try_init(py, || py.import("respass.exceptions")?.getattr("make").map(Bound::unbind))?;
    make.bind(py).call1((code as u16, outcome, text, code.hint()))
}

/// The exception for a command that ended without a reply.
pub(crate) fn command<'py>(py: Python<'py>, error: &CommandError) -> PyResult<Bound<'py, PyAny>> {
    let outcome = match error.outcome {
        Outcome::NotSent => "not_sent",
        Outcome::Indeterminate => "indeterminate",
        Outcome::Refused => "refused",
    };
    make(py, error.code, outcome, &error.text)
}

/// The exception for an error that the server sent.
pub(crate) fn reply<'py>(py: Python<'py>, reply: &Reply<'_>) -> PyResult<Bound<'py, PyAny>> {
    refused(py, reply.as_bytes())
}

/// The exception for the text of such an error.
pub(crate) fn refused<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    make(py, ErrorCode::of_reply(text), "refused", &String::from_utf8_lossy(text))
}

/// The exception for a command that was not accepted.
pub(crate) fn submit(py: Python<'_>, error: &SubmitError) -> PyErr {
    raise(make(py, error.code, "not_sent", &error.text))
}

/// The exception for a configuration that cannot work.
pub(crate) fn config(py: Python<'_>, text: &str) -> PyErr {
    raise(make(py, ErrorCode::InvalidConfig, "not_sent", text))
}

/// An argument that is no command argument.
pub(crate) fn data(py: Python<'_>, text: &str) -> PyErr {
    named(py, "DataError", text)
}

/// An object that the parent of this process made.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    named(py, "ForkError", "this was begun before fork(): it belongs to the parent process")
}

/// An asyncio client outside the event loop that it belongs to.
pub(crate) fn event_loop(py: Python<'_>) -> PyErr {
    named(
        py,
        "EventLoopError",
        "an asyncio client is used on a running event loop: this belongs to another one",
    )
}

/// A panic in the core has left it in an unknown state.
pub(crate) fn broken(py: Python<'_>) -> PyErr {
    named(py, "RedisError", "the client broke down through an internal error: make a new one")
}

fn named(py: Python<'_>, class: &str, text: &str) -> PyErr {
    raise(py.import("respass.exceptions").and_then(|module| module.getattr(class)?.call1((text,))))
}

fn raise(exception: PyResult<Bound<'_, PyAny>>) -> PyErr {
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
