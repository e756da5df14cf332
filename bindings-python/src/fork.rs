//! Tells a child of `fork` apart from the process that made an object.
//!
//! A lock may be held by a thread that does not exist in the child, and the parent goes on using the sockets and the
//! TLS keys: the child must touch neither.

use crate::error;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Called in the child right after a fork.
#[pyfunction]
pub(crate) fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    crate::exit::forget_others();
}

/// Keeps an object for ever, with all that it holds: its finalisers would act on what the parent uses.
#[pyfunction]
pub(crate) fn leak(object: Py<PyAny>) {
    std::mem::forget(object);
}

/// Which process an object was made in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth(u64);

impl Birth {
    pub(crate) fn here() -> Birth {
        Birth(GENERATION.load(Ordering::Relaxed))
    }

    pub(crate) fn is_here(self) -> bool {
        self.0 == GENERATION.load(Ordering::Relaxed)
    }

    pub(crate) fn check(self, py: Python<'_>) -> PyResult<()> {
        if self.is_here() { Ok(()) } else { Err(error::forked(py)) }
    }
}
