//! Replies become Python objects, straight from the tape.

use crate::error;
use crate::shape::Shape;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PySet};
use respass::resp::{Kind, Reply};
use std::ffi::CString;

/// What strings become.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Bytes,
    Utf8,
    Other { encoding: CString, errors: CString },
}

impl Text {
    /// The codec of `decode_responses=True`, or bytes.
    pub(crate) fn new(decode: bool, encoding: &str, errors: &str) -> PyResult<Text> {
        if !decode {
            return Ok(Text::Bytes);
        }
        let name = encoding.to_ascii_lowercase().replace('_', "-");
        if matches!(name.as_str(), "utf-8" | "utf8") && errors == "strict" {
            return Ok(Text::Utf8);
        }
        let text =
            |text: &str| CString::new(text).map_err(|_| PyValueError::new_err("a codec name holds NUL"));
        Ok(Text::Other { encoding: text(encoding)?, errors: text(errors)? })
    }

    pub(crate) fn string<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Text::Bytes => Ok(PyBytes::new(py, bytes).into_any()),
            Text::Utf8 => utf8(py, bytes),
            Text::Other { encoding, errors } => {
                let start = bytes.as_ptr().cast();
                // SAFETY: the pointer and length are those of a live slice, the names are NUL-terminated, and the
                // result is a new reference or null with an exception set.
                unsafe {
                    let text = ffi::PyUnicode_Decode(start, len(bytes), encoding.as_ptr(), errors.as_ptr());
                    Bound::from_owned_ptr_or_err(py, text)
                }
            }
        }
    }

    /// The value of a reply that is no error.
    pub(crate) fn value<'py>(
        &self,
        py: Python<'py>,
        reply: &Reply<'_>,
        shape: Shape,
    ) -> PyResult<Bound<'py, PyAny>> {
        match shape {
            Shape::Raw => self.raw(py, reply),
            Shape::Ok if reply.is_text(b"OK") => Ok(truth(py, true)),
            Shape::Pong => Ok(truth(py, reply.is_text(b"PONG"))),
            Shape::Yes => Ok(truth(py, true)),
            Shape::Bool => match reply.as_integer() {
                Some(number) => Ok(truth(py, number != 0)),
                None => self.raw(py, reply),
            },
            Shape::Dict if matches!(reply.kind(), Kind::Map | Kind::Array) => self.dict(py, reply),
            Shape::Set if matches!(reply.kind(), Kind::Set | Kind::Array) => self.set(py, reply),
            Shape::Float => self.float(py, reply),
            Shape::Text if reply.kind().has_bytes() => utf8(py, reply.as_bytes()),
            Shape::Bytes => Text::Bytes.raw(py, reply),
            // No entries are no null, but an empty list.
            Shape::Streams if reply.kind() == Kind::Null => Ok(PyList::empty(py).into_any()),
            _ if reply.kind().is_aggregate() => self.compound(py, reply, shape),
            _ => self.raw(py, reply),
        }
    }

    /// The result of a transaction: each element by its own command's shape, errors as exception objects.
    pub(crate) fn transaction<'py>(
        &self,
        py: Python<'py>,
        reply: &Reply<'_>,
        shapes: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        if reply.kind() == Kind::Null {
            // A watched key changed: nothing ran.
            return Ok(py.None().into_bound(py));
        }
        let list = PyList::empty(py);
        for (index, element) in reply.elements().enumerate() {
            let shape = Shape::of(shapes.get(index).copied().unwrap_or_default());
            list.append(match element.kind() {
                Kind::Error => error::reply(py, &element)?,
                _ => self.value(py, &element, shape)?,
            })?;
        }
        Ok(list.into_any())
    }

    pub(crate) fn raw<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> PyResult<Bound<'py, PyAny>> {
        match reply.kind() {
            Kind::BulkString | Kind::SimpleString | Kind::VerbatimString => self.string(py, reply.as_bytes()),
            Kind::Null => Ok(py.None().into_bound(py)),
            Kind::Integer => Ok(PyInt::new(py, reply.as_integer().unwrap_or_default()).into_any()),
            Kind::Array | Kind::Push => self.list(py, reply),
            Kind::Map => self.dict(py, reply),
            // The elements of a set may be lists, which no Python set holds.
            Kind::Set => self.list(py, reply),
            Kind::Double => Ok(PyFloat::new(py, reply.as_double().unwrap_or_default()).into_any()),
            Kind::Boolean => Ok(truth(py, reply.as_boolean().unwrap_or_default())),
            Kind::BigNumber => py.get_type::<PyInt>().call1((utf8(py, reply.as_bytes())?,)),
            Kind::Error => error::reply(py, reply),
        }
    }

    fn list<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> PyResult<Bound<'py, PyAny>> {
        let count = reply.node().count as usize;
        // SAFETY: a new list of the exact size; every item is set below before anybody else sees the list, and on
        // the way out of an error the items that were not set are null, which list deallocation allows.
        let list = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyList_New(isize::try_from(count).unwrap_or(isize::MAX)))?
        };
        for (index, element) in (0..).zip(reply.elements()) {
            let value = self.raw(py, &element)?;
            // SAFETY: the list is ours alone, `index` is below `count`, and the reference is given away.
            unsafe { ffi::PyList_SetItem(list.as_ptr(), index, value.into_ptr()) };
        }
        Ok(list)
    }

    pub(crate) fn dict<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> PyResult<Bound<'py, PyAny>> {
        let dict = PyDict::new(py);
        let mut elements = reply.elements();
        while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
            dict.set_item(self.raw(py, &key)?, self.raw(py, &value)?)?;
        }
        Ok(dict.into_any())
    }

    fn set<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> PyResult<Bound<'py, PyAny>> {
        let set = PySet::empty(py)?;
        for element in reply.elements() {
            set.add(self.raw(py, &element)?)?;
        }
        Ok(set.into_any())
    }
}

/// `float(b"1.5")`.
pub(crate) fn float_of_text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    py.get_type::<PyFloat>().call1((PyBytes::new(py, bytes),))
}

pub(crate) fn truth(py: Python<'_>, truth: bool) -> Bound<'_, PyAny> {
    PyBool::new(py, truth).to_owned().into_any()
}

pub(crate) fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the pointer and length are those of a live slice; no error handler is named, which means strict; the
    // result is a new reference or null with an exception set.
    unsafe {
        let text = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), len(bytes), std::ptr::null());
        Bound::from_owned_ptr_or_err(py, text)
    }
}

fn len(bytes: &[u8]) -> ffi::Py_ssize_t {
    // No slice is longer than `isize::MAX`.
    ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX)
}
