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
/// It shares the memory of everything that was read with it, 1 MiB at most; where more came in one read,
/// replies are given memory of their own. To keep a small value for long, convert it.
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
        if batch.bytes.capacity() > SHARED_LEN_MAX && reply.value().bytes_len() < batch.bytes.len() / 2 {
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

/// What a reply can be turned into. Numbers are read from decimal text too, maps from the flat arrays of
/// RESP2.
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
        value
            .as_integer()
            .or_else(|| parse(value))
            .ok_or_else(|| Error::unexpected("an integer of 64 bits", value))
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

    /// What a connection would deliver for these bytes: a batch, and where its replies begin.
    fn batch_of(bytes: &[u8]) -> (Arc<ReplyBatch>, Vec<usize>) {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.receive(bytes);
        let mut starts = Vec::new();
        while let Some(frame) = decoder.next_frame().expect("RESP") {
            starts.push(frame.node);
        }
        let (bytes, nodes) = decoder.take((Vec::new(), Vec::new()));
        (Arc::new(ReplyBatch { bytes, nodes, answers: Vec::new() }), starts)
    }

    fn reply(bytes: &[u8]) -> Reply {
        let (batch, starts) = batch_of(bytes);
        Reply::new(&batch, starts[0])
    }

    #[test]
    fn numbers_are_read_from_every_form_a_server_has_for_them() {
        assert_eq!(reply(b":-7\r\n").to::<i64>(), Ok(-7));
        assert_eq!(reply(b"$2\r\n-7\r\n").to::<i64>(), Ok(-7));
        assert!(reply(b":-7\r\n").to::<u64>().is_err());
        assert_eq!(reply(b",1.5\r\n").to::<f64>(), Ok(1.5));
        assert_eq!(reply(b"$3\r\n1.5\r\n").to::<f64>(), Ok(1.5));
        assert_eq!(reply(b":3\r\n").to::<f64>(), Ok(3.0));
        assert_eq!(reply(b"$4\r\n-inf\r\n").to::<f64>(), Ok(f64::NEG_INFINITY));
        assert_eq!(reply(b"#t\r\n").to::<bool>(), Ok(true));
        assert_eq!(reply(b":0\r\n").to::<bool>(), Ok(false));
        assert!(reply(b":2\r\n").to::<bool>().is_err());
    }

    #[test]
    fn text_is_read_from_strings_of_all_kinds_and_from_nothing_else() {
        assert_eq!(reply(b"+OK\r\n").to::<String>().as_deref(), Ok("OK"));
        assert_eq!(reply(b"=6\r\ntxt:ab\r\n").to::<String>().as_deref(), Ok("ab"));
        assert!(reply(b"$2\r\n\xff\xfe\r\n").to::<String>().is_err());
        assert_eq!(reply(b"$2\r\n\xff\xfe\r\n").to::<Vec<u8>>().as_deref(), Ok(&b"\xff\xfe"[..]));
        assert!(reply(b":1\r\n").to::<String>().is_err());
        assert_eq!(reply(b"$-1\r\n").to::<Option<String>>(), Ok(None));
        assert!(reply(b"$-1\r\n").to::<String>().is_err());
    }

    #[test]
    fn maps_are_read_from_both_versions_of_the_protocol() {
        let map = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(reply(b"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n").to::<HashMap<String, i64>>(), Ok(map.clone()));
        assert_eq!(HashMap::try_from(reply(b"*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n")), Ok(map));
        assert!(reply(b"*3\r\n+a\r\n:1\r\n+b\r\n").to::<HashMap<String, i64>>().is_err());
    }

    #[test]
    fn an_error_inside_a_reply_is_the_server_s_own() {
        let error = reply(b"*2\r\n:1\r\n-WRONGTYPE no\r\n").to::<Vec<i64>>().unwrap_err();
        assert_eq!((error.code(), error.text()), (respass::ErrorCode::WrongType, "WRONGTYPE no"));
    }

    #[test]
    fn elements_own_themselves_and_know_their_place() {
        let list = reply(b"*3\r\n*2\r\n+a\r\n+b\r\n+c\r\n%1\r\n+k\r\n:1\r\n");
        let elements: Vec<Reply> = list.elements().collect();
        drop(list);
        assert_eq!(elements[0].elements().last().expect("two").as_bytes(), b"b");
        assert_eq!(elements[1].as_bytes(), b"c");
        assert_eq!(elements[2].kind(), Kind::Map);
        assert_eq!(format!("{:?}", elements[1]), r#"Reply("c")"#);
    }

    #[test]
    fn a_small_reply_does_not_keep_a_large_one_alive() {
        let large = 2 << 20;
        let mut bytes = format!("+small\r\n${large}\r\n").into_bytes();
        bytes.resize(bytes.len() + large, b'x');
        bytes.extend_from_slice(b"\r\n*2\r\n+a\r\n+b\r\n");
        let (batch, starts) = batch_of(&bytes);
        let replies: Vec<Reply> = starts.iter().map(|&start| Reply::new(&batch, start)).collect();
        assert_eq!(Arc::strong_count(&batch), 2, "the large one alone shares the block");
        assert_eq!(replies[0].as_bytes(), b"small");
        assert_eq!(replies[1].as_bytes().len(), large);
        assert_eq!(replies[2].to::<Vec<String>>().expect("a list"), ["a", "b"]);
    }
}
