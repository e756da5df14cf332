//! Replies: owning views of what one read brought, and what they can be turned into.

use crate::Error;
use respass::ReplyBatch;
use respass::resp::{Kind, Reply as Value};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::{fmt, str};

/// A reply, or one value inside a reply. Cloning it copies nothing.
///
/// It shares the memory of everything that was read with it, 1 MiB at most; where more came in one read, replies are
/// given memory of their own. To keep a small value for long, convert it.
#[derive(Clone)]
pub struct Reply {
    batch: Arc<ReplyBatch>,
    node: usize,
}

/// A small reply must not keep more than this alive.
const SHARED_LEN_MAX: usize = 1 << 20;

impl Reply {
    /// The reply that begins at `node` of the batch.
    pub(crate) fn new(batch: &Arc<ReplyBatch>, node: usize) -> Reply {
        let reply = Reply { batch: Arc::clone(batch), node };
        if batch.bytes.capacity() > SHARED_LEN_MAX && reply.value().bytes_len() < batch.bytes.capacity() / 2 {
            let (nodes, bytes) = reply.value().to_tape();
            let batch = Arc::new(ReplyBatch { bytes, nodes, answers: Vec::new() });
            return Reply { batch, node: 0 };
        }
        reply
    }

    /// The value without copying: its kind, its bytes, its elements.
    pub fn value(&self) -> Value<'_> {
        Value::at(&self.batch.nodes, &self.batch.bytes, self.node)
    }

    /// What the value is.
    pub fn kind(&self) -> Kind {
        self.value().kind()
    }

    /// The bytes of a string; empty for other kinds.
    pub fn as_bytes(&self) -> &[u8] {
        self.value().as_bytes()
    }

    /// Whether there is no value: the key does not exist, for one.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// The elements of an array or a set; keys and values in turn for a map; nothing for other kinds.
    pub fn elements(&self) -> impl Iterator<Item = Reply> {
        let mut node = self.node + 1;
        self.value().elements().map(move |element| {
            let reply = Reply { batch: Arc::clone(&self.batch), node };
            node += element.span();
            reply
        })
    }

    /// The value as one of the types that [`FromReply`] lists.
    pub fn to<T: FromReply>(&self) -> Result<T, Error> {
        T::from_reply(self.value())
    }

    /// An error that the server sent is an `Err`.
    pub(crate) fn or_error(self) -> Result<Reply, Error> {
        match self.kind() {
            Kind::Error => Err(Error::of_reply(self.as_bytes())),
            _ => Ok(self),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, mut debug) = (self.value(), f.debug_tuple("Reply"));
        match value.kind() {
            Kind::Integer => debug.field(&value.as_integer()),
            Kind::Double => debug.field(&value.as_double()),
            Kind::Boolean => debug.field(&value.as_boolean()),
            Kind::Null => &mut debug,
            kind if kind.is_aggregate() => debug.field(&kind).field(&value.elements().len()),
            _ => debug.field(&String::from_utf8_lossy(value.as_bytes())),
        }
        .finish()
    }
}

/// What a reply can be turned into. Numbers are read from decimal text too, maps from the flat arrays of RESP2.
pub trait FromReply: Sized {
    /// The value as this type; an error where it is of another kind, or is an error itself.
    fn from_reply(value: Value<'_>) -> Result<Self, Error>;
}

impl FromReply for Vec<u8> {
    fn from_reply(value: Value<'_>) -> Result<Vec<u8>, Error> {
        text(value, "bytes").map(<[u8]>::to_vec)
    }
}

impl FromReply for String {
    fn from_reply(value: Value<'_>) -> Result<String, Error> {
        let bytes = text(value, "a string")?;
        let text = str::from_utf8(bytes).map_err(|_| Error::unexpected("a string in UTF-8", value))?;
        Ok(text.to_owned())
    }
}

impl FromReply for i64 {
    fn from_reply(value: Value<'_>) -> Result<i64, Error> {
        value.as_integer().or_else(|| parse(value)).ok_or_else(|| Error::unexpected("an integer of 64 bits", value))
    }
}

impl FromReply for u64 {
    fn from_reply(value: Value<'_>) -> Result<u64, Error> {
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.or_else(|| parse(value)).ok_or_else(|| Error::unexpected("a natural number of 64 bits", value))
    }
}

impl FromReply for f64 {
    fn from_reply(value: Value<'_>) -> Result<f64, Error> {
        value.as_double().or_else(|| parse(value)).ok_or_else(|| Error::unexpected("a number", value))
    }
}

impl FromReply for bool {
    fn from_reply(value: Value<'_>) -> Result<bool, Error> {
        let number = value.as_integer().filter(|number| (0..=1).contains(number)).map(|number| number == 1);
        value.as_boolean().or(number).ok_or_else(|| Error::unexpected("a truth value", value))
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(value: Value<'_>) -> Result<Option<T>, Error> {
        if value.kind() == Kind::Null { Ok(None) } else { T::from_reply(value).map(Some) }
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(value: Value<'_>) -> Result<Vec<T>, Error> {
        match value.kind() {
            Kind::Array | Kind::Set | Kind::Push => value.elements().map(T::from_reply).collect(),
            _ => Err(Error::unexpected("an array", value)),
        }
    }
}

impl<K: FromReply + Eq + Hash, V: FromReply> FromReply for HashMap<K, V> {
    fn from_reply(value: Value<'_>) -> Result<HashMap<K, V>, Error> {
        let mut elements = value.elements();
        if !matches!(value.kind(), Kind::Map | Kind::Array) || elements.len() % 2 == 1 {
            return Err(Error::unexpected("a map", value));
        }
        let mut map = HashMap::with_capacity(elements.len() / 2);
        while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
            map.insert(K::from_reply(key)?, V::from_reply(value)?);
        }
        Ok(map)
    }
}

/// `reply.try_into()?` for those who prefer it to `reply.to()?`.
macro_rules! convertible {
    ($(($($parameter:ident: $bound:path),*) $type:ty;)*) => {
        $(impl<$($parameter: $bound),*> TryFrom<Reply> for $type
        where
            $type: FromReply,
        {
            type Error = Error;

            fn try_from(reply: Reply) -> Result<$type, Error> {
                reply.to()
            }
        })*
    };
}

convertible! {
    () Vec<u8>;
    () String;
    () i64;
    () u64;
    () f64;
    () bool;
    (T: FromReply) Option<T>;
    (T: FromReply) Vec<T>;
    (K: FromReply, V: FromReply) HashMap<K, V>;
}

/// The bytes of anything that is sent as text.
fn text<'a>(value: Value<'a>, wanted: &str) -> Result<&'a [u8], Error> {
    match value.kind() {
        Kind::Error => Err(Error::unexpected(wanted, value)),
        kind if kind.has_bytes() => Ok(value.as_bytes()),
        _ => Err(Error::unexpected(wanted, value)),
    }
}

/// A number in decimal text, or an integer.
fn parse<T: str::FromStr>(value: Value<'_>) -> Option<T> {
    match value.as_integer() {
        Some(number) => number.to_string().parse().ok(),
        None => str::from_utf8(text(value, "").ok()?).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use respass::resp::{DecodeLimits, Decoder};
}
