//! Replies with a form of their own: scored members, stream entries, cursors. RESP2 and RESP3 give the same objects.

use crate::reply::{Text, float_of_text, truth, utf8};
use crate::shape::Shape;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};
use respass::resp::{Kind, Reply};

type Object<'py> = PyResult<Bound<'py, PyAny>>;

impl Text {
    /// The value of an aggregate.
    pub(crate) fn compound<'py>(&self, py: Python<'py>, reply: &Reply<'_>, shape: Shape) -> Object<'py> {
        match shape {
            Shape::Bools => list(py, reply, |item| Ok(truth(py, item.as_integer() != Some(0)))),
            Shape::Texts => list(py, reply, |item| text(py, &item).unwrap_or_else(|| self.raw(py, &item))),
            Shape::Floats => list(py, reply, |item| self.float(py, &item)),
            Shape::Points => list(py, reply, |item| self.point(py, &item)),
            Shape::Found => list(py, reply, |item| self.place(py, &item)),
            Shape::Scored => self.scored(py, reply),
            Shape::ScoredRank => self.rank(py, reply),
            Shape::Entries => self.entries(py, reply),
            Shape::Streams => self.streams(py, reply),
            Shape::Claimed => self.claimed(py, reply),
            Shape::Scan | Shape::ScanMap | Shape::ScanScored => self.scan(py, reply, shape),
            Shape::Record => self.record(py, reply),
            Shape::Records => list(py, reply, |item| self.record(py, &item)),
            Shape::TextMap => self.text_map(py, reply),
            Shape::Ints => self.integers(py, reply),
            Shape::Resp2 => self.resp2(py, reply),
            Shape::Resp2Flat => self.resp2_flat(py, reply),
            _ => self.raw(py, reply),
        }
    }

    /// A number, as such or as text; anything else as it comes.
    pub(crate) fn float<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        match reply.kind() {
            Kind::BulkString | Kind::SimpleString => float_of_text(py, reply.as_bytes()),
            _ => self.raw(py, reply),
        }
    }

    fn point<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        if !reply.kind().is_aggregate() {
            return self.raw(py, reply);
        }
        let axes: Vec<_> = reply.elements().map(|axis| self.float(py, &axis)).collect::<PyResult<_>>()?;
        Ok(PyTuple::new(py, axes)?.into_any())
    }

    /// The name alone, or with distance (text or double), hash (integer) and coordinates (array) as asked for.
    fn place<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        if !reply.kind().is_aggregate() {
            return self.raw(py, reply);
        }
        let mut items = Vec::new();
        for item in reply.elements() {
            items.push(match item.kind() {
                _ if items.is_empty() => self.raw(py, &item)?,
                Kind::Array => self.point(py, &item)?,
                _ => self.float(py, &item)?,
            });
        }
        Ok(PyList::new(py, items)?.into_any())
    }

    /// `[m, 1, n, 2]` and `[[m, 1], [n, 2]]` are the same.
    fn scored<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        let result = PyList::empty(py);
        let mut elements = reply.elements();
        while let Some(first) = elements.next() {
            let mut inner = first.elements();
            let (member, score) = match first.kind() {
                Kind::Array => (inner.next(), inner.next()),
                _ => (Some(first), elements.next()),
            };
            let (Some(member), Some(score)) = (member, score) else { break };
            result.append((self.raw(py, &member)?, self.float(py, &score)?))?;
        }
        Ok(result.into_any())
    }

    fn rank<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        list(py, reply, |item| self.float(py, &item))
    }

    fn entries<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        list(py, reply, |entry| {
            let mut parts = entry.elements();
            match (entry.kind(), parts.next(), parts.next()) {
                // A deleted entry that was pending.
                (Kind::Null, ..) => Ok((py.None(), py.None()).into_pyobject(py)?.into_any()),
                (_, Some(id), Some(fields)) if fields.kind().is_aggregate() => {
                    Ok((self.raw(py, &id)?, self.dict(py, &fields)?).into_pyobject(py)?.into_any())
                }
                (_, Some(id), Some(fields)) => {
                    Ok((self.raw(py, &id)?, self.raw(py, &fields)?).into_pyobject(py)?.into_any())
                }
                _ => self.raw(py, &entry),
            }
        })
    }

    /// A map of names and entries, or a list of pairs of them.
    fn streams<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        let result = PyList::empty(py);
        let mut elements = reply.elements();
        while let Some(first) = elements.next() {
            let mut inner = first.elements();
            let (name, entries) = match reply.kind() {
                Kind::Map => (Some(first), elements.next()),
                _ => (inner.next(), inner.next()),
            };
            let (Some(name), Some(entries)) = (name, entries) else { break };
            result.append(PyList::new(py, [self.raw(py, &name)?, self.entries(py, &entries)?])?)?;
        }
        Ok(result.into_any())
    }

    fn claimed<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        let result = PyList::empty(py);
        for (index, part) in reply.elements().enumerate() {
            result.append(if index == 1 { self.entries(py, &part)? } else { self.raw(py, &part)? })?;
        }
        Ok(result.into_any())
    }

    fn scan<'py>(&self, py: Python<'py>, reply: &Reply<'_>, shape: Shape) -> Object<'py> {
        let mut parts = reply.elements();
        let (Some(cursor), Some(found)) = (parts.next(), parts.next()) else { return self.raw(py, reply) };
        let found = match shape {
            Shape::ScanMap => self.dict(py, &found)?,
            Shape::ScanScored => self.scored(py, &found)?,
            _ => self.raw(py, &found)?,
        };
        Ok((integer(py, &cursor)?, found).into_pyobject(py)?.into_any())
    }

    fn record<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        self.mapping(py, reply, |value| self.raw(py, value))
    }

    fn text_map<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        self.mapping(py, reply, |value| text(py, value).unwrap_or_else(|| self.raw(py, value)))
    }

    /// A dict whose keys are `str`.
    fn mapping<'py>(
        &self,
        py: Python<'py>,
        reply: &Reply<'_>,
        value_of: impl Fn(&Reply<'_>) -> Object<'py>,
    ) -> Object<'py> {
        if !reply.kind().is_aggregate() {
            return self.raw(py, reply);
        }
        let dict = PyDict::new(py);
        let mut elements = reply.elements();
        while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
            let key = text(py, &key).unwrap_or_else(|| self.raw(py, &key))?;
            dict.set_item(key, value_of(&value)?)?;
        }
        Ok(dict.into_any())
    }

    fn integers<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        let numbers: Vec<_> = reply.elements().map(|item| integer(py, &item)).collect::<PyResult<_>>()?;
        Ok(PyTuple::new(py, numbers)?.into_any())
    }

    /// The decoder limits how deep replies are nested.
    fn resp2<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        match reply.kind() {
            Kind::Double => self.score(py, reply),
            _ if reply.kind().is_aggregate() => list(py, reply, |item| self.resp2(py, &item)),
            _ => self.raw(py, reply),
        }
    }

    fn resp2_flat<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        let result = PyList::empty(py);
        for item in reply.elements() {
            if item.kind().is_aggregate() {
                for part in item.elements() {
                    result.append(self.resp2(py, &part)?)?;
                }
            } else {
                result.append(self.resp2(py, &item)?)?;
            }
        }
        Ok(result.into_any())
    }

    /// A double as RESP2's text: `1`, `1.5`, `inf`.
    fn score<'py>(&self, py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
        self.string(py, reply.as_double().unwrap_or_default().to_string().as_bytes())
    }
}

fn list<'py>(
    py: Python<'py>,
    reply: &Reply<'_>,
    mut value_of: impl FnMut(Reply<'_>) -> Object<'py>,
) -> Object<'py> {
    let items: Vec<_> = reply.elements().map(&mut value_of).collect::<PyResult<_>>()?;
    Ok(PyList::new(py, items)?.into_any())
}

/// Text as `str`; `None` for what is no text.
fn text<'py>(py: Python<'py>, reply: &Reply<'_>) -> Option<Object<'py>> {
    (reply.kind().has_bytes() && reply.kind() != Kind::Error).then(|| utf8(py, reply.as_bytes()))
}

/// An integer, as such or as text.
fn integer<'py>(py: Python<'py>, reply: &Reply<'_>) -> Object<'py> {
    match reply.as_integer() {
        Some(number) => Ok(PyInt::new(py, number).into_any()),
        None => py.get_type::<PyInt>().call1((PyBytes::new(py, reply.as_bytes()),)),
    }
}
