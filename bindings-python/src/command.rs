//! Python arguments become one block of bytes and one of lengths: the form in which commands cross into the core.

use crate::error;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyFloat, PyInt, PyMemoryView, PyString, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Commands as `Client::submit_batch` takes them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<u32>,
}

/// Why an argument was not encoded.
#[derive(Debug)]
enum Trouble {
    /// Only its own Python code can tell its bytes.
    Foreign,
    Raised(PyErr),
}

impl From<PyErr> for Trouble {
    fn from(error: PyErr) -> Trouble {
        Trouble::Raised(error)
    }
}

impl Block {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        if self.bytes.capacity() > KEPT_LEN_MAX {
            self.bytes = Vec::new();
        }
        if self.lengths.capacity() > KEPT_LEN_MAX / 4 {
            self.lengths = Vec::new();
        }
    }

    /// The commands one by one.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&[u8], &[u32])> {
        let (mut bytes, mut lengths) = (self.bytes.as_slice(), self.lengths.as_slice());
        std::iter::from_fn(move || {
            let count = *lengths.first()? as usize;
            let (own, rest) = lengths.split_at_checked(count + 1)?;
            let len = own.iter().skip(1).map(|&len| len as usize).sum();
            let (text, others) = bytes.split_at_checked(len)?;
            (bytes, lengths) = (others, rest);
            Some((text, own))
        })
    }

    /// Appends one command, or nothing at all. Runs no foreign Python code: an argument that needs some is reported.
    fn push(&mut self, arguments: &Bound<'_, PyTuple>) -> Result<(), Trouble> {
        let (bytes, lengths) = (self.bytes.len(), self.lengths.len());
        self.lengths.push(0);
        for (index, argument) in arguments.iter_borrowed().enumerate() {
            let pushed = match index {
                0 => self.push_name(&argument),
                _ => self.push_argument(&argument),
            };
            if let Err(trouble) = pushed {
                self.bytes.truncate(bytes);
                self.lengths.truncate(lengths);
                return Err(trouble);
            }
        }
        let count = self.lengths.len() - lengths - 1;
        if let Some(first) = self.lengths.get_mut(lengths) {
            *first = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// `"CONFIG GET"` is two arguments.
    fn push_name(&mut self, name: &Bound<'_, PyAny>) -> Result<(), Trouble> {
        match name.cast_exact::<PyString>() {
            Ok(name) => {
                for word in name.to_str()?.split_ascii_whitespace() {
                    self.push_bytes(word.as_bytes(), name)?;
                }
                Ok(())
            }
            Err(_) => self.push_argument(name),
        }
    }

    fn push_argument(&mut self, argument: &Bound<'_, PyAny>) -> Result<(), Trouble> {
        if let Ok(text) = argument.cast_exact::<PyString>() {
            self.push_bytes(text.to_str()?.as_bytes(), argument)
        } else if let Ok(bytes) = argument.cast_exact::<PyBytes>() {
            self.push_bytes(bytes.as_bytes(), argument)
        } else if argument.is_exact_instance_of::<PyInt>() {
            match argument.extract::<i64>() {
                Ok(number) => self.push_bytes(itoa::Buffer::new().format(number).as_bytes(), argument),
                Err(_) => self.push_bytes(argument.str()?.to_str()?.as_bytes(), argument),
            }
        } else if argument.is_exact_instance_of::<PyFloat>() {
            self.push_bytes(argument.repr()?.to_str()?.as_bytes(), argument)
        } else if argument.is_exact_instance_of::<PyByteArray>()
            || argument.is_exact_instance_of::<PyMemoryView>()
        {
            let bytes = PyBuffer::<u8>::get(argument)?.to_vec(argument.py())?;
            self.push_bytes(&bytes, argument)
        } else {
            Err(Trouble::Foreign)
        }
    }

    fn push_bytes(&mut self, bytes: &[u8], argument: &Bound<'_, PyAny>) -> Result<(), Trouble> {
        let too_long = |_| Trouble::Raised(error::data(argument.py(), "an argument has 4 GiB or more"));
        self.lengths.push(u32::try_from(bytes.len()).map_err(too_long)?);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// A larger block is given back once it is empty.
const KEPT_LEN_MAX: usize = 1 << 20;

/// Appends a command to a block behind a lock. Foreign Python code runs while it is free.
pub(crate) fn push<T>(
    holder: &Mutex<T>,
    block: impl Fn(&mut T) -> &mut Block,
    arguments: &Bound<'_, PyTuple>,
    then: impl Fn(&mut T),
) -> PyResult<()> {
    let attempt = |arguments: &Bound<'_, PyTuple>| {
        let mut holder = lock(holder);
        block(&mut holder).push(arguments)?;
        then(&mut holder);
        Ok(())
    };
    match attempt(arguments) {
        Ok(()) => Ok(()),
        Err(Trouble::Raised(error)) => Err(error),
        Err(Trouble::Foreign) => match attempt(&plain(arguments)?) {
            Ok(()) => Ok(()),
            Err(Trouble::Raised(error)) => Err(error),
            Err(Trouble::Foreign) => Err(error::data(arguments.py(), "an argument has no bytes")),
        },
    }
}

/// The same arguments as exact `str` and `bytes`, by the rules of redis-py.
fn plain<'py>(arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
    let py = arguments.py();
    let plain: Vec<Bound<'py, PyAny>> =
        arguments.iter().map(|argument| plain_argument(py, argument)).collect::<PyResult<_>>()?;
    PyTuple::new(py, plain)
}

fn plain_argument<'py>(py: Python<'py>, argument: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if argument.is_instance_of::<PyBool>() {
        // Refused below: which of "True" and "1" would be meant?
    } else if let Ok(text) = argument.cast::<PyString>() {
        return Ok(PyString::new(py, text.to_str()?).into_any());
    } else if let Ok(bytes) = argument.cast::<PyBytes>() {
        return Ok(PyBytes::new(py, bytes.as_bytes()).into_any());
    } else if argument.is_instance_of::<PyInt>() || argument.is_instance_of::<PyFloat>() {
        return Ok(PyString::new(py, argument.repr()?.to_str()?).into_any());
    } else if let Ok(buffer) = PyBuffer::<u8>::get(&argument) {
        return Ok(PyBytes::new(py, &buffer.to_vec(py)?).into_any());
    }
    let class = argument.get_type().name()?;
    Err(error::data(
        py,
        &format!("Invalid input of type: '{class}'. Convert to a bytes, string, int or float first."),
    ))
}

/// Encoded commands with the shapes of their replies.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) block: Block,
    pub(crate) shapes: Vec<u8>,
}

impl Commands {
    pub(crate) fn clear(&mut self) {
        self.block.clear();
        self.shapes.clear();
    }
}

/// Collects the commands of a pipeline. `respass.Pipeline` derives from it.
#[pyclass(subclass, frozen, module = "respass._respass")]
#[derive(Debug, Default)]
pub(crate) struct CommandBuffer {
    pub(crate) commands: Mutex<Commands>,
    /// Those that were submitted last, for messages; their memory serves the next ones.
    submitted: Mutex<Commands>,
}

#[pymethods]
impl CommandBuffer {
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(
        _arguments: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, pyo3::types::PyDict>>,
    ) -> CommandBuffer {
        CommandBuffer::default()
    }

    /// Encodes one command behind those before it, and returns the buffer itself.
    #[pyo3(signature = (shape, *arguments))]
    fn _call<'py>(
        slf: Bound<'py, CommandBuffer>,
        shape: u8,
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, CommandBuffer>> {
        push(
            &slf.get().commands,
            |commands| &mut commands.block,
            arguments,
            |commands| commands.shapes.push(shape),
        )?;
        Ok(slf)
    }

    /// How many commands wait.
    fn _count(&self) -> usize {
        lock(&self.commands).shapes.len()
    }

    /// Drops the commands.
    fn _clear(&self) {
        lock(&self.commands).clear();
        lock(&self.submitted).clear();
    }

    /// The beginning of a command that was submitted, as text, without what may be secret.
    fn _describe(&self, index: usize) -> String {
        let submitted = lock(&self.submitted);
        let Some((mut bytes, lengths)) = submitted.block.commands().nth(index) else { return String::new() };
        let mut words = Vec::new();
        for &len in lengths.iter().skip(1) {
            let Some((word, rest)) = bytes.split_at_checked(len as usize) else { break };
            words.push(String::from_utf8_lossy(word).into_owned());
            bytes = rest;
        }
        let shown_count = shown_count(&words);
        let is_withheld = words.len() > shown_count;
        words.truncate(shown_count);
        let text = words.join(" ");
        match text.char_indices().nth(DESCRIBED_LEN_MAX) {
            None if is_withheld => format!("{text} (the rest is withheld)"),
            None => text,
            Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        }
    }
}

/// Commands whose arguments may be secrets, and how many of their words are shown.
const SECRETIVE: [(&[&str], usize); 5] =
    [(&["ACL", "SETUSER"], 3), (&["AUTH"], 1), (&["CONFIG", "SET"], 3), (&["HELLO"], 2), (&["MIGRATE"], 3)];

/// How many words of a command are no secret.
fn shown_count(words: &[String]) -> usize {
    let begins_with = |name: &[&str]| {
        words.len() >= name.len()
            && name.iter().zip(words).all(|(name, word)| word.eq_ignore_ascii_case(name))
    };
    SECRETIVE.iter().find(|(name, _)| begins_with(name)).map_or(words.len(), |&(_, count)| count)
}

/// redis-py cuts commands in messages here.
const DESCRIBED_LEN_MAX: usize = 97;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CommandBuffer {
    /// Takes the commands out.
    pub(crate) fn take(&self) -> Commands {
        let mut spare = std::mem::take(&mut *lock(&self.submitted));
        spare.clear();
        std::mem::replace(&mut *lock(&self.commands), spare)
    }

    /// Keeps what was submitted, for messages.
    pub(crate) fn keep(&self, commands: Commands) {
        *lock(&self.submitted) = commands;
    }
}
