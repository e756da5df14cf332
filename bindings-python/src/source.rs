//! The token source as a Python class: when to ask a credential, and what its answers are worth.

use crate::clock;
use crate::error;
use crate::fork::Birth;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyTuple;
use respass::{
    FetchedToken, IssuedToken, Now, Secret, SourceOutput, TokenFailure, TokenSource, TokenState, UnixTime,
};
use std::mem::ManuallyDrop;
use std::sync::Mutex;

/// A token on its way from a source to clients. Shows nothing of it.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Token(pub(crate) IssuedToken);

#[pymethods]
impl Token {
    #[getter]
    fn generation(&self) -> u64 {
        self.0.generation()
    }

    fn __repr__(&self) -> String {
        format!("<respass token, generation {}>", self.0.generation())
    }
}

/// Why a credential gave no token.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Failure(pub(crate) TokenFailure);

#[pymethods]
impl Failure {
    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }
}

/// One source serves every client that shares a credential.
#[pyclass(frozen, module = "respass._respass")]
pub(crate) struct Source {
    source: ManuallyDrop<Mutex<TokenSource>>,
    birth: Birth,
}

impl Drop for Source {
    fn drop(&mut self) {
        // See `Shared`: in a forked child the lock may be held for good.
        if self.birth.is_here() {
            // SAFETY: dropped here once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.source) };
        }
    }
}

#[pymethods]
impl Source {
    #[new]
    fn new(seed: [u8; 32]) -> Source {
        let source = TokenSource::new(seed, clock::now());
        Source { source: ManuallyDrop::new(Mutex::new(source)), birth: Birth::here() }
    }

    /// One more client depends on this source.
    fn subscribe(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |source, _| source.subscribe())
    }

    /// One client less.
    fn unsubscribe(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |source, _| source.unsubscribe())
    }

    /// A token newer than that generation, where there is one; else it comes as an output.
    fn request(&self, py: Python<'_>, newer_than: u64) -> PyResult<Option<Token>> {
        self.run(py, |source, now| source.request(newer_than, now).map(Token))
    }

    /// The credential returned a token. Times are seconds; `expires_on` and `refresh_on` since 1970.
    #[pyo3(signature = (text, expires_on=None, refresh_on=None))]
    fn fetched(
        &self,
        py: Python<'_>,
        text: &str,
        expires_on: Option<f64>,
        refresh_on: Option<f64>,
    ) -> PyResult<()> {
        let unix = |seconds: f64| {
            let since = clock::seconds(seconds)?;
            Some(UnixTime::from_micros(u64::try_from(since.as_micros()).ok()?))
        };
        let fetched = FetchedToken {
            text: Secret::new(text.as_bytes().to_vec()),
            expires_on: expires_on.and_then(unix),
            expires_in: None,
            refresh_on: refresh_on.and_then(unix),
        };
        self.run(py, |source, now| source.handle_fetched(fetched, now))
    }

    /// The credential failed.
    #[pyo3(signature = (text, status=None, retry_after=None, is_permanent=false))]
    fn failed(
        &self,
        py: Python<'_>,
        text: String,
        status: Option<u16>,
        retry_after: Option<f64>,
        is_permanent: bool,
    ) -> PyResult<()> {
        let retry_after = retry_after.and_then(clock::seconds);
        let failure = TokenFailure { text, status, retry_after, is_permanent };
        self.run(py, |source, now| source.handle_failed(failure, now))
    }

    /// Time has passed.
    fn timeout(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |source, now| source.handle_timeout(now))
    }

    /// Seconds until `timeout` wants to be called.
    fn wakeup(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.run(py, |source, now| source.poll_timeout().map(|at| at.since(now.monotonic).as_secs_f64()))
    }

    /// What is to be done, in order: tuples with a word in front.
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let outputs: Vec<SourceOutput> = self.run(py, |source, _| {
            let mut outputs = Vec::new();
            while let Some(output) = source.poll_output() {
                outputs.push(output);
            }
            outputs
        })?;
        outputs.into_iter().filter_map(|output| tuple(py, output).transpose()).collect()
    }

    /// `(state, unix time of the next question)`.
    fn status(&self, py: Python<'_>) -> PyResult<(&'static str, Option<f64>)> {
        self.run(py, |source, now| {
            let next = source.next_question_at().map(|at| {
                let at = now.unix + at.since(now.monotonic);
                std::time::Duration::from_micros(at.as_micros()).as_secs_f64()
            });
            (name(source.state()), next)
        })
    }
}

impl Source {
    fn run<R>(&self, py: Python<'_>, act: impl FnOnce(&mut TokenSource, Now) -> R) -> PyResult<R> {
        self.birth.check(py)?;
        let mut source = self.source.lock_py_attached(py).map_err(|_| error::broken(py))?;
        Ok(act(&mut source, clock::now()))
    }
}

fn name(state: TokenState) -> &'static str {
    match state {
        TokenState::Empty => "empty",
        TokenState::Fresh => "fresh",
        TokenState::Renewing => "renewing",
        TokenState::Late => "late",
        TokenState::Expired => "expired",
        _ => "unknown",
    }
}

fn tuple(py: Python<'_>, output: SourceOutput) -> PyResult<Option<Bound<'_, PyTuple>>> {
    match output {
        SourceOutput::Fetch => ("fetch",).into_pyobject(py).map(Some),
        SourceOutput::Issued(token) => ("issued", Bound::new(py, Token(token))?).into_pyobject(py).map(Some),
        SourceOutput::Failed(failure) => {
            ("failed", Bound::new(py, Failure(failure))?).into_pyobject(py).map(Some)
        }
        SourceOutput::State(state) => ("state", name(state)).into_pyobject(py).map(Some),
        _ => Ok(None),
    }
}
