//! The native part of the Python package `respass`: the client core, and conversion between its values and Python's.
//!
//! Sockets, timers and credentials are the business of the Python drivers (`_driver.py`, `asyncio.py`).

mod call;
mod client;
mod clock;
mod command;
mod compound;
mod config;
mod core;
mod error;
mod exit;
mod fork;
mod mailbox;
mod port;
mod readable;
mod reply;
mod shape;
mod source;
mod special;
mod turn;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Says that a call is not complete: no reply is this object.
pub(crate) static PENDING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// See `_respass.pyi` for the types.
#[pymodule]
fn _respass(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<client::Core>()?;
    module.add_class::<call::Call>()?;
    module.add_class::<command::CommandBuffer>()?;
    module.add_class::<port::LoopPort>()?;
    module.add_class::<port::Link>()?;
    module.add_class::<special::Session>()?;
    module.add_class::<special::Subscriber>()?;
    module.add_class::<source::Source>()?;
    module.add_class::<source::Token>()?;
    module.add_class::<source::Failure>()?;
    module.add_function(wrap_pyfunction!(fork::forked, module)?)?;
    module.add_function(wrap_pyfunction!(fork::leak, module)?)?;
    module.add_function(wrap_pyfunction!(exit::exiting, module)?)?;
    module.add_function(wrap_pyfunction!(clock::stop_clocks, module)?)?;
    let pending = PENDING
        .get_or_try_init(py, || py.import("builtins")?.getattr("object")?.call0().map(Bound::unbind))?;
    module.add("PENDING", pending)?;
    for &(name, shape) in shape::Shape::NAMES {
        module.add(name, shape as u8)?;
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
