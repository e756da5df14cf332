//! RESP as bytes, as trees and as text, and the table that the decoder's tests share.

use respass::resp::{DecodeError, DecodeLimits, Decoder, Frame, Kind, Node, Reply};
use std::fmt;

/// A reply as a tree of owned values, for comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Boolean(bool),
    Double(f64),
    BigNumber(Vec<u8>),
    Verbatim { format: Vec<u8>, text: Vec<u8> },
    Array(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Set(Vec<Tree>),
    Push(Vec<Tree>),
}

impl Tree {
    /// The tree behind `reply`, a view of `bytes`.
    pub fn of(reply: Reply<'_>, bytes: &[u8]) -> Tree {
        let text = || reply.as_bytes().to_vec();
        let elements = || reply.elements().map(|element| Tree::of(element, bytes)).collect::<Vec<_>>();
        match reply.kind() {
            Kind::SimpleString => Tree::Simple(text()),
            Kind::Error => Tree::Error(text()),
            Kind::Integer => Tree::Integer(reply.as_integer().expect("kind is Integer")),
            Kind::BulkString => Tree::Bulk(text()),
            Kind::Null => Tree::Null,
            Kind::Boolean => Tree::Boolean(reply.as_boolean().expect("kind is Boolean")),
            Kind::Double => Tree::Double(reply.as_double().expect("kind is Double")),
            Kind::BigNumber => Tree::BigNumber(text()),
            Kind::VerbatimString => {
                let start = usize::try_from(reply.node().value).expect("an offset into a block");
                Tree::Verbatim { format: bytes[start - 4..start - 1].to_vec(), text: text() }
            }
            Kind::Array => Tree::Array(elements()),
            Kind::Set => Tree::Set(elements()),
            Kind::Push => Tree::Push(elements()),
            Kind::Map => {
                Tree::Map(elements().chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
            }
        }
    }

    /// Appends the tree as RESP3; `resp2_nulls` writes the null as RESP2 does.
    pub fn encode(&self, resp2_nulls: bool, out: &mut Vec<u8>) {
        let mut line = |sign: &str, text: &[u8]| out.extend([sign.as_bytes(), text, b"\r\n"].concat());
        match self {
            Tree::Simple(text) => line("+", text),
            Tree::Error(text) => line("-", text),
            Tree::Integer(value) => line(":", value.to_string().as_bytes()),
            Tree::Null if resp2_nulls => line("$", b"-1"),
            Tree::Null => line("_", b""),
            Tree::Boolean(value) => line("#", if *value { b"t" } else { b"f" }),
            Tree::Double(value) => line(",", value.to_string().to_lowercase().as_bytes()),
            Tree::BigNumber(digits) => line("(", digits),
            Tree::Bulk(bytes) => {
                line("$", bytes.len().to_string().as_bytes());
                line("", bytes);
            }
            Tree::Verbatim { format, text } => {
                let body = [format, b":".as_slice(), text].concat();
                line("=", body.len().to_string().as_bytes());
                line("", &body);
            }
            Tree::Array(elements) | Tree::Set(elements) | Tree::Push(elements) => {
                let sign = match self {
                    Tree::Array(_) => "*",
                    Tree::Set(_) => "~",
                    _ => ">",
                };
                line(sign, elements.len().to_string().as_bytes());
                elements.iter().for_each(|element| element.encode(resp2_nulls, out));
            }
            Tree::Map(pairs) => {
                line("%", pairs.len().to_string().as_bytes());
                for (key, value) in pairs {
                    key.encode(resp2_nulls, out);
                    value.encode(resp2_nulls, out);
                }
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Tree::Simple(_) => Kind::SimpleString,
            Tree::Error(_) => Kind::Error,
            Tree::Integer(_) => Kind::Integer,
            Tree::Bulk(_) => Kind::BulkString,
            Tree::Null => Kind::Null,
            Tree::Boolean(_) => Kind::Boolean,
            Tree::Double(_) => Kind::Double,
            Tree::BigNumber(_) => Kind::BigNumber,
            Tree::Verbatim { .. } => Kind::VerbatimString,
            Tree::Array(_) => Kind::Array,
            Tree::Map(_) => Kind::Map,
            Tree::Set(_) => Kind::Set,
            Tree::Push(_) => Kind::Push,
        }
    }

    fn nodes_len(&self) -> usize {
        match self {
            Tree::Array(elements) | Tree::Set(elements) | Tree::Push(elements) => {
                1 + elements.iter().map(Tree::nodes_len).sum::<usize>()
            }
            Tree::Map(pairs) => {
                1 + pairs.iter().map(|(key, value)| key.nodes_len() + value.nodes_len()).sum::<usize>()
            }
            _ => 1,
        }
    }
}

/// The text form of the table: the type's sign, then the value; strings quoted, elements in brackets.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign: &str, elements: &[Tree]| {
            let elements: Vec<String> = elements.iter().map(Tree::to_string).collect();
            write!(f, "{sign}[{}]", elements.join(" "))
        };
        match self {
            Tree::Simple(text) => write!(f, "+'{}'", text.escape_ascii()),
            Tree::Error(text) => write!(f, "-'{}'", text.escape_ascii()),
            Tree::Integer(value) => write!(f, "{value}"),
            Tree::Bulk(bytes) => write!(f, "'{}'", bytes.escape_ascii()),
            Tree::Null => f.write_str("null"),
            Tree::Boolean(value) => write!(f, "{value}"),
            Tree::Double(value) => write!(f, "{value:?}"),
            Tree::BigNumber(digits) => write!(f, "({})", digits.escape_ascii()),
            Tree::Verbatim { format, text } => {
                write!(f, "{}:'{}'", format.escape_ascii(), text.escape_ascii())
            }
            Tree::Array(elements) => list(f, "", elements),
            Tree::Set(elements) => list(f, "~", elements),
            Tree::Push(elements) => list(f, ">", elements),
            Tree::Map(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// What a decoder made of a stream: the frames in order, and what ended it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub frames: Vec<String>,
    pub error: Option<DecodeError>,
}

/// When to hand over what is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// After each chunk that completed a frame, as the client does it.
    Completed,
    /// After every chunk, so that every unfinished token moves to another buffer.
    Always,
    /// When the stream has ended.
    AtEnd,
}

/// Decodes a stream given as chunks. Checks on the way that the tape is well formed and that errors stay.
pub fn decode<'a>(limits: DecodeLimits, chunks: impl IntoIterator<Item = &'a [u8]>, take: Take) -> Outcome {
    let mut decoder = Decoder::new(limits);
    let mut spare = (Vec::new(), Vec::new());
    let mut outcome = Outcome { frames: Vec::new(), error: None };
    let mut complete = Vec::new();
    for chunk in chunks {
        decoder.receive(chunk);
        outcome.error = drain(&mut decoder, &mut complete).err();
        if take == Take::Always
            || (take == Take::Completed && !complete.is_empty())
            || outcome.error.is_some()
        {
            spare = decoder.take(spare);
            show(&spare, &mut complete, &mut outcome.frames);
        }
        if let Some(error) = outcome.error {
            decoder.receive(b"+OK\r\n");
            assert_eq!(decoder.next_frame(), Err(error), "an error stays");
            return outcome;
        }
    }
    show(&decoder.take(spare), &mut complete, &mut outcome.frames);
    outcome
}

fn drain(decoder: &mut Decoder, complete: &mut Vec<Frame>) -> Result<(), DecodeError> {
    while let Some(frame) = decoder.next_frame()? {
        complete.push(frame);
    }
    Ok(())
}

fn show((bytes, nodes): &(Vec<u8>, Vec<Node>), complete: &mut Vec<Frame>, out: &mut Vec<String>) {
    let mut end = 0;
    for frame in complete.drain(..) {
        let tree = Tree::of(Reply::at(nodes, bytes, frame.node), bytes);
        assert_eq!(frame.node, end, "frames follow each other");
        assert_eq!(frame.kind, tree.kind());
        end += tree.nodes_len();
        out.push(tree.to_string());
    }
    assert_eq!(end, nodes.len(), "a batch ends with its last frame");
}

/// Cuts `bytes` into pieces whose lengths `len` gives.
pub fn cut(bytes: &[u8], mut len: impl FnMut() -> usize) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(len().clamp(1, rest.len()));
        chunks.push(chunk);
        rest = more;
    }
    chunks
}

/// What a row of the table says of its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// One frame, in the text form of `Tree`.
    Is(&'static str),
    Fails(DecodeError),
    /// The beginning of a frame.
    Unfinished,
}

use DecodeError::*;
use Expected::*;

/// RESP2 and RESP3, under the default limits.
pub const TABLE: &[(&[u8], Expected)] = &[
    // Simple strings and errors
    (b"+OK\r\n", Is("+'OK'")),
    (b"+\r\n", Is("+''")),
    (b"+a b\tc\xff\r\n", Is(r"+'a b\tc\xff'")),
    (b"-ERR unknown command\r\n", Is("-'ERR unknown command'")),
    (b"-\r\n", Is("-''")),
    (b"+OK", Unfinished),
    (b"+OK\r", Unfinished),
    (b"+O\rK\r\n", Fails(BadTerminator)),
    (b"+O\nK\r\n", Fails(BadTerminator)),
    (b"+OK\n", Fails(BadTerminator)),
    (b"+OK\r\r\n", Fails(BadTerminator)),
    (b"-ERR\rX\r\n", Fails(BadTerminator)),
    // Integers
    (b":0\r\n", Is("0")),
    (b":1000\r\n", Is("1000")),
    (b":+7\r\n", Is("7")),
    (b":-7\r\n", Is("-7")),
    (b":-0\r\n", Is("0")),
    (b":9223372036854775807\r\n", Is("9223372036854775807")),
    (b":-9223372036854775808\r\n", Is("-9223372036854775808")),
    (b":9223372036854775808\r\n", Fails(BadInteger)),
    (b":-9223372036854775809\r\n", Fails(BadInteger)),
    (b":18446744073709551615\r\n", Fails(BadInteger)),
    (b":18446744073709551616\r\n", Fails(BadInteger)),
    (b":99999999999999999999\r\n", Fails(BadInteger)),
    (b":\r\n", Fails(BadInteger)),
    (b":-\r\n", Fails(BadInteger)),
    (b":+-1\r\n", Fails(BadInteger)),
    (b":1-\r\n", Fails(BadInteger)),
    (b":01\r\n", Fails(BadInteger)),
    (b":-00\r\n", Fails(BadInteger)),
    (b":1.5\r\n", Fails(BadInteger)),
    (b": 1\r\n", Fails(BadInteger)),
    (b":1 \r\n", Fails(BadInteger)),
    (b":1\n", Fails(BadInteger)),
    (b":1\rx\n", Fails(BadInteger)),
    (b":?\r\n", Fails(BadInteger)),
    (b":-12\r", Unfinished),
    // Bulk strings
    (b"$0\r\n\r\n", Is("''")),
    (b"$3\r\nabc\r\n", Is("'abc'")),
    (b"$4\r\na\r\nb\r\n", Is(r"'a\r\nb'")),
    (b"$11\r\n*1\r\n$1\r\nx\r\n\r\n", Is(r"'*1\r\n$1\r\nx\r\n'")),
    (b"$-1\r\n", Is("null")),
    (b"$", Unfinished),
    (b"$3\r\nab", Unfinished),
    (b"$3\r\nabc", Unfinished),
    (b"$3\r\nabc\r", Unfinished),
    (b"$536870912\r\n", Unfinished),
    (b"$536870913\r\n", Fails(BulkTooLong)),
    (b"$18446744073709551615\r\n", Fails(BulkTooLong)),
    (b"$18446744073709551616\r\n", Fails(BadLength)),
    (b"$3\r\nabcX\r\n", Fails(BadTerminator)),
    (b"$3\r\nabc\rX", Fails(BadTerminator)),
    (b"$3\r\nabc\n", Fails(BadTerminator)),
    (b"$2\r\nabc\r\n", Fails(BadTerminator)),
    (b"$0\r\nX\r\n", Fails(BadTerminator)),
    (b"$-2\r\n", Fails(BadLength)),
    (b"$-0\r\n", Fails(BadLength)),
    (b"$-01\r\n", Fails(BadLength)),
    (b"$+3\r\nabc\r\n", Fails(BadLength)),
    (b"$03\r\nabc\r\n", Fails(BadLength)),
    (b"$00\r\n\r\n", Fails(BadLength)),
    (b"$\r\n", Fails(BadLength)),
    (b"$ 3\r\nabc\r\n", Fails(BadLength)),
    (b"$3a\r\nabc\r\n", Fails(BadLength)),
    (b"$0x3\r\nabc\r\n", Fails(BadLength)),
    (b"$3\n", Fails(BadLength)),
    (b"$3\rXabc\r\n", Fails(BadTerminator)),
    // Arrays
    (b"*0\r\n", Is("[]")),
    (b"*-1\r\n", Is("null")),
    (b"*1\r\n$1\r\na\r\n", Is("['a']")),
    (b"*3\r\n:1\r\n+two\r\n$5\r\nthree\r\n", Is("[1 +'two' 'three']")),
    (b"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n", Is("[[1 2] [3]]")),
    (b"*3\r\n*0\r\n*-1\r\n$-1\r\n", Is("[[] null null]")),
    (b"*2\r\n*1\r\n*1\r\n*0\r\n-ERR\r\n", Is("[[[[]]] -'ERR']")),
    (b"*2\r\n:1\r\n", Unfinished),
    (b"*16777216\r\n", Unfinished),
    (b"*16777217\r\n", Fails(TooManyElements)),
    (b"*4294967295\r\n", Fails(TooManyElements)),
    (b"*18446744073709551615\r\n", Fails(TooManyElements)),
    (b"*2\r\n*16777214\r\n", Unfinished),
    (b"*2\r\n*16777215\r\n", Fails(TooManyElements)),
    (b"*18446744073709551616\r\n", Fails(BadLength)),
    (b"*-5\r\n", Fails(BadLength)),
    (b"*-0\r\n", Fails(BadLength)),
    (b"*+1\r\n:1\r\n", Fails(BadLength)),
    (b"*01\r\n:1\r\n", Fails(BadLength)),
    (b"*\r\n", Fails(BadLength)),
    (b"*1 \r\n", Fails(BadLength)),
    (b"*1\r\r\n", Fails(BadTerminator)),
    (b"*1\r\n$3\r\nabcX", Fails(BadTerminator)),
    (b"*1\r\n\r\n", Fails(UnknownType(b'\r'))),
    // Nulls and booleans
    (b"_\r\n", Is("null")),
    (b"#t\r\n", Is("true")),
    (b"#f\r\n", Is("false")),
    (b"_x\r\n", Fails(BadValue(b'_'))),
    (b"#\r\n", Fails(BadValue(b'#'))),
    (b"#T\r\n", Fails(BadValue(b'#'))),
    (b"#true\r\n", Fails(BadValue(b'#'))),
    (b"#1\r\n", Fails(BadValue(b'#'))),
    (b"_\r", Unfinished),
    // Doubles
    (b",1\r\n", Is("1.0")),
    (b",1.25\r\n", Is("1.25")),
    (b",-0\r\n", Is("-0.0")),
    (b",+1.5\r\n", Is("1.5")),
    (b",1e3\r\n", Is("1000.0")),
    (b",1.5E+3\r\n", Is("1500.0")),
    (b",-25e-1\r\n", Is("-2.5")),
    (b",1.7976931348623157e308\r\n", Is("1.7976931348623157e308")),
    (b",5e-324\r\n", Is("5e-324")),
    (b",inf\r\n", Is("inf")),
    (b",-inf\r\n", Is("-inf")),
    (b",nan\r\n", Is("NaN")),
    (b",-nan\r\n", Is("NaN")),
    (b",\r\n", Fails(BadValue(b','))),
    (b",.\r\n", Fails(BadValue(b','))),
    (b",1e\r\n", Fails(BadValue(b','))),
    (b",e1\r\n", Fails(BadValue(b','))),
    (b",1,5\r\n", Fails(BadValue(b','))),
    (b",--1\r\n", Fails(BadValue(b','))),
    (b",infinity\r\n", Fails(BadValue(b','))),
    (b",NaN\r\n", Fails(BadValue(b','))),
    (b",0x1p3\r\n", Fails(BadValue(b','))),
    (b", 1\r\n", Fails(BadValue(b','))),
    // Big numbers
    (
        b"(3492890328409238509324850943850943825024385\r\n",
        Is("(3492890328409238509324850943850943825024385)"),
    ),
    (b"(-1\r\n", Is("(-1)")),
    (b"(+1\r\n", Is("(+1)")),
    (b"(0\r\n", Is("(0)")),
    (b"(\r\n", Fails(BadValue(b'('))),
    (b"(-\r\n", Fails(BadValue(b'('))),
    (b"(1.5\r\n", Fails(BadValue(b'('))),
    (b"(12a\r\n", Fails(BadValue(b'('))),
    // Bulk errors and verbatim strings
    (b"!21\r\nSYNTAX invalid syntax\r\n", Is("-'SYNTAX invalid syntax'")),
    (b"!0\r\n\r\n", Is("-''")),
    (b"!3\r\na\r\n\r\n", Is(r"-'a\r\n'")),
    (b"!-1\r\n", Fails(BadLength)),
    (b"!?\r\n", Fails(BadLength)),
    (b"!?x", Fails(BadLength)),
    (b"!3\r\nabcX", Fails(BadTerminator)),
    (b"=15\r\ntxt:Some string\r\n", Is("txt:'Some string'")),
    (b"=4\r\nmkd:\r\n", Is("mkd:''")),
    (b"=8\r\ntxt:a\r\nb\r\n", Is(r"txt:'a\r\nb'")),
    (b"=-1\r\n", Fails(BadLength)),
    (b"=?\r\n", Fails(BadLength)),
    (b"=0\r\n\r\n", Fails(BadValue(b'='))),
    (b"=3\r\ntxt\r\n", Fails(BadValue(b'='))),
    (b"=5\r\ntxt-a\r\n", Fails(BadValue(b'='))),
    (b"=5\r\ntxt:a\rX", Fails(BadTerminator)),
    // Maps, sets, pushes
    (b"%0\r\n", Is("{}")),
    (b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n:2\r\n", Is("{+'a': 1, 'b': [2]}")),
    (b"%1\r\n*2\r\n:1\r\n:2\r\n%1\r\n_\r\n#t\r\n", Is("{[1 2]: {null: true}}")),
    (b"%1\r\n:1\r\n", Unfinished),
    (b"%8388608\r\n", Unfinished),
    (b"%8388609\r\n", Fails(TooManyElements)),
    (b"%4611686018427387904\r\n", Fails(TooManyElements)),
    (b"%18446744073709551615\r\n", Fails(TooManyElements)),
    (b"%-1\r\n", Fails(BadLength)),
    (b"~0\r\n", Is("~[]")),
    (b"~3\r\n:1\r\n:1\r\n~1\r\n+x\r\n", Is("~[1 1 ~[+'x']]")),
    (b"~-1\r\n", Fails(BadLength)),
    (b">0\r\n", Is(">[]")),
    (b">3\r\n+message\r\n$1\r\nc\r\n*2\r\n:1\r\n_\r\n", Is(">[+'message' 'c' [1 null]]")),
    (b">-1\r\n", Fails(BadLength)),
    (b">?\r\n", Fails(BadLength)),
    (b"*2\r\n:1\r\n>1\r\n:2\r\n", Fails(NestedPush)),
    (b">1\r\n>1\r\n:2\r\n", Fails(NestedPush)),
    (b"*?\r\n>", Fails(NestedPush)),
    (b"|1\r\n+k\r\n>", Fails(NestedPush)),
    // Attributes decorate the value after them and are left out
    (b"|1\r\n+ttl\r\n:3600\r\n+OK\r\n", Is("+'OK'")),
    (b"|0\r\n:1\r\n", Is("1")),
    (b"|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n$1\r\nx\r\n", Is("'x'")),
    (b"|1\r\n+k\r\n%2\r\n+a\r\n,0.1\r\n+b\r\n*0\r\n*2\r\n:1\r\n:2\r\n", Is("[1 2]")),
    (b"*3\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n:3\r\n", Is("[1 2 3]")),
    (b"*2\r\n|1\r\n+k\r\n:0\r\n*2\r\n|1\r\n+k\r\n:0\r\n:1\r\n:2\r\n:3\r\n", Is("[[1 2] 3]")),
    (b"%1\r\n|1\r\n+k\r\n:0\r\n+key\r\n|1\r\n+k\r\n:0\r\n+value\r\n", Is("{+'key': +'value'}")),
    (b"|1\r\n|1\r\n+k\r\n+v\r\n+a\r\n|0\r\n+b\r\n+OK\r\n", Is("+'OK'")),
    (b"|1\r\n+k\r\n|1\r\n+k\r\n+v\r\n*1\r\n$1\r\na\r\n_\r\n", Is("null")),
    (b"|1\r\n+k\r\n+v\r\n>1\r\n:1\r\n", Is(">[1]")),
    (b"~1\r\n|1\r\n+k\r\n+v\r\n%0\r\n", Is("~[{}]")),
    (b"|?\r\n+k\r\n+v\r\n.\r\n+OK\r\n", Is("+'OK'")),
    (b"|?\r\n.\r\n+OK\r\n", Is("+'OK'")),
    (b"*?\r\n|1\r\n+k\r\n+v\r\n:1\r\n.\r\n", Is("[1]")),
    (b"|1\r\n+k\r\n$?\r\n;1\r\nv\r\n;0\r\n*?\r\n:1\r\n.\r\n", Is("[1]")),
    (b"|1\r\n+k\r\n+v\r\n", Unfinished),
    (b"|1\r\n+k\r\n", Unfinished),
    (b"|?\r\n+k\r\n.\r\n+OK\r\n", Fails(BadStream)),
    (b"|-1\r\n", Fails(BadLength)),
    (b"|01\r\n", Fails(BadLength)),
    (b"|8388609\r\n", Fails(TooManyElements)),
    // Streamed strings
    (b"$?\r\n;0\r\n", Is("''")),
    (b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", Is("'Hello word'")),
    (b"$?\r\n;2\r\n\r\n\r\n;0\r\n", Is(r"'\r\n'")),
    (b"*2\r\n$?\r\n;1\r\na\r\n;2\r\nbc\r\n;0\r\n$1\r\nd\r\n", Is("['abc' 'd']")),
    (b"$?", Unfinished),
    (b"$?\r\n;1\r\na\r\n", Unfinished),
    (b"$?x", Fails(BadLength)),
    (b"$?\rx", Fails(BadLength)),
    (b"$?\r\n$1\r\na\r\n", Fails(BadStream)),
    (b"$?\r\n.\r\n", Fails(BadStream)),
    (b"$?\r\n;-1\r\n", Fails(BadLength)),
    (b"$?\r\n;01\r\n", Fails(BadLength)),
    (b"$?\r\n;?\r\n", Fails(BadLength)),
    (b"$?\r\n;1\r\nab\r\n", Fails(BadTerminator)),
    (b"$?\r\n;536870913\r\n", Fails(BulkTooLong)),
    (b"$?\r\n;1\r\na\r\n;536870912\r\n", Fails(BulkTooLong)),
    // Streamed aggregates
    (b"*?\r\n.\r\n", Is("[]")),
    (b"*?\r\n:1\r\n*?\r\n:2\r\n.\r\n*1\r\n:3\r\n.\r\n", Is("[1 [2] [3]]")),
    (b"~?\r\n+a\r\n+b\r\n.\r\n", Is("~[+'a' +'b']")),
    (b"%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n", Is("{+'a': 1, +'b': 2}")),
    (b"%?\r\n.\r\n", Is("{}")),
    (b"*1\r\n%?\r\n$?\r\n;1\r\nk\r\n;0\r\n~?\r\n.\r\n.\r\n", Is("[{'k': ~[]}]")),
    (b"*?\r\n:1\r\n", Unfinished),
    (b"*?\r\n.\r", Unfinished),
    (b"%?\r\n+a\r\n.\r\n", Fails(BadStream)),
    (b"*?\r\n.x", Fails(BadTerminator)),
    (b"*?x", Fails(BadLength)),
    (b".\r\n", Fails(BadStream)),
    (b"*1\r\n.\r\n", Fails(BadStream)),
    (b"*?\r\n*1\r\n.\r\n", Fails(BadStream)),
    (b";", Fails(BadStream)),
    (b"*?\r\n;1\r\na\r\n", Fails(BadStream)),
    // What RESP is not
    (b"PING\r\n", Fails(UnknownType(b'P'))),
    (b"HTTP/1.1 400 Bad Request\r\n", Fails(UnknownType(b'H'))),
    (b"\x15\x03\x01", Fails(UnknownType(0x15))),
    (b"\0", Fails(UnknownType(0))),
    (b"\r\n", Fails(UnknownType(b'\r'))),
    (b"?\r\n", Fails(UnknownType(b'?'))),
];
