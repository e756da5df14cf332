//! Bytes to a tape of replies, in any chunking.
//!
//! The decoder never looks at a byte twice because a frame was incomplete: what it learned of a half-received token
//! is kept. It is iterative (nesting costs an entry of `open`, not a stack frame), and allocation follows the bytes
//! received, never a length that the peer merely declared.

mod receive;

use super::limits::{DecodeError, DecodeLimits};
use super::reply::{Kind, Node};
use super::scan::{Length, Number, Scan, is_big_number, parse_double, plain_leaf, scan_number};

/// A complete top-level value: a reply, or a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index of its first node on the tape.
    pub node: usize,
    /// What it is.
    pub kind: Kind,
}

/// An incremental decoder with its own buffer and tape. See the module's description.
#[derive(Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    buffer: Vec<u8>,
    nodes: Vec<Node>,
    /// The first byte not yet on the tape.
    position: usize,
    /// What is known of the token at `position`.
    token: Token,
    /// The aggregates around `position`, outermost first.
    open: Vec<Open>,
    /// The first node of the frame being decoded; also the end of the complete ones.
    frame_node: usize,
    /// Where in the buffer that frame begins; `frame_start <= position`.
    frame_start: usize,
    /// Values that the current frame has declared so far.
    declared: u64,
    /// What the buffer held when it was lent.
    lent_len: Option<usize>,
    /// Memory of an earlier large reply; empty where there is none.
    block: Vec<u8>,
}

/// A token that is only partly received.
#[derive(Clone, Copy, Debug)]
enum Token {
    /// Nothing of it was looked at.
    Fresh,
    /// A number, looked at up to `at`.
    Number { at: usize, number: Number },
    /// A line without its end before `at`.
    Line { at: usize },
    /// A bulk string whose `len` bytes begin at `position`.
    Body { form: Form, len: usize },
    /// Chunks, joined so far in `buffer[start..start + len]`; the next one's header is at `position`.
    Chunks { start: usize, len: usize, scan: Option<(usize, Number)> },
    /// A chunk whose `chunk` bytes begin at `position`.
    Chunk { start: usize, len: usize, chunk: usize },
    /// What comes is no RESP, or nothing that can be told from it.
    Failed(DecodeError),
}

/// What a length-prefixed body holds.
#[derive(Clone, Copy, Debug)]
enum Form {
    Bulk,
    Error,
    Verbatim,
}

/// An aggregate that is not complete.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: usize,
    /// Values to come; counted down from `u64::MAX` where the end is marked instead.
    left: u64,
    streamed: bool,
    /// An attribute: it decorates the value after it and is left out of the tape.
    attribute: bool,
}

enum Step {
    NeedMore,
    /// A value is complete on the tape.
    Value,
    /// A token was consumed that completes no value.
    Opened,
}

impl Decoder {
    /// A decoder for one connection's life.
    pub fn new(limits: DecodeLimits) -> Decoder {
        Decoder {
            limits: limits.within_node(),
            buffer: Vec::new(),
            nodes: Vec::new(),
            position: 0,
            token: Token::Fresh,
            open: Vec::new(),
            frame_node: 0,
            frame_start: 0,
            declared: 0,
            lent_len: None,
            block: Vec::new(),
        }
    }

    /// Decodes the next complete frame; `None` where more bytes are needed. After an error every call repeats it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        if self.open.is_empty() && self.leaves(1) == 1 {
            return Ok(Some(self.finish_frame()));
        }
        self.advance().inspect_err(|&error| self.token = Token::Failed(error))
    }

    /// Whether complete frames wait to be taken.
    pub fn has_frames(&self) -> bool {
        self.frame_start > 0
    }

    /// Hands over the bytes and the tape of every complete frame, and goes on with the unfinished rest in `spare`.
    pub fn take(&mut self, mut spare: (Vec<u8>, Vec<Node>)) -> (Vec<u8>, Vec<Node>) {
        // Whatever it was kept for did not come.
        self.block = Vec::new();
        let (bytes, nodes) = &mut spare;
        bytes.clear();
        nodes.clear();
        bytes.extend_from_slice(self.buffer.get(self.frame_start..).unwrap_or_default());
        let moved = self.frame_start as u64;
        nodes.extend(self.nodes.get(self.frame_node..).unwrap_or_default().iter().map(|node| {
            let shift = if node.kind.has_bytes() { moved } else { 0 };
            Node::new(node.kind, node.count, node.value.saturating_sub(shift))
        }));
        for open in &mut self.open {
            open.node -= self.frame_node;
        }
        self.token = self.token.moved_back(self.frame_start);
        self.position -= self.frame_start;
        self.nodes.truncate(self.frame_node);
        self.frame_start = 0;
        self.frame_node = 0;
        std::mem::swap(&mut self.buffer, bytes);
        std::mem::swap(&mut self.nodes, nodes);
        spare
    }

    /// The tape and the bytes decoded so far, for a look at a frame before it is handed over.
    pub fn tape(&self) -> (&[Node], &[u8]) {
        (&self.nodes, &self.buffer)
    }

    // Not inlined, so that the short way in `next_frame` stays small.
    #[inline(never)]
    fn advance(&mut self) -> Result<Option<Frame>, DecodeError> {
        loop {
            let step = if self.leaves_of_aggregate() { Step::Value } else { self.step()? };
            match step {
                Step::NeedMore => return Ok(None),
                Step::Opened => {}
                Step::Value => {
                    if self.close_parents()? {
                        return Ok(Some(self.finish_frame()));
                    }
                }
            }
        }
    }

    /// The short way through what most replies are made of: bulk strings and integers that are there as a whole and
    /// have nothing unusual about them. Takes up to `count_max` in a row; `step` looks at what comes after them.
    #[inline(always)]
    fn leaves(&mut self, count_max: u64) -> u64 {
        if !matches!(self.token, Token::Fresh) {
            return 0;
        }
        let buffer_len = self.buffer.len();
        let Some(mut rest) = self.buffer.get(self.position..) else { return 0 };
        let mut count = 0;
        while count < count_max {
            let Some((node, behind)) = plain_leaf(rest, buffer_len, self.limits.bulk_len_max) else { break };
            self.nodes.push(node);
            rest = behind;
            count += 1;
        }
        self.position = buffer_len - rest.len();
        count
    }

    /// Leaves of the innermost aggregate. True where they completed it, but for `close_parents`, which counts the
    /// last one.
    fn leaves_of_aggregate(&mut self) -> bool {
        let Some(&Open { left, streamed: false, .. }) = self.open.last() else { return false };
        let left = left - self.leaves(left);
        if let Some(open) = self.open.last_mut() {
            open.left = left.max(1);
        }
        left == 0
    }

    fn step(&mut self) -> Result<Step, DecodeError> {
        match self.token {
            Token::Body { form, len } => return self.finish_body(form, len),
            Token::Chunks { start, len, scan } => return self.chunk_header(start, len, scan),
            Token::Chunk { start, len, chunk } => return self.finish_chunk(start, len, chunk),
            Token::Failed(error) => return Err(error),
            Token::Fresh | Token::Number { .. } | Token::Line { .. } => {}
        }
        let Some(&first) = self.buffer.get(self.position) else { return Ok(Step::NeedMore) };
        match first {
            b'$' => self.bulk(Form::Bulk),
            b'*' => self.aggregate(Kind::Array),
            b':' => self.integer(),
            b'+' => self.line(Kind::SimpleString),
            b'-' => self.line(Kind::Error),
            b'%' => self.aggregate(Kind::Map),
            b'~' => self.aggregate(Kind::Set),
            b'>' if self.open.is_empty() => self.aggregate(Kind::Push),
            b'>' => Err(DecodeError::NestedPush),
            b'|' => self.attribute(),
            b'_' => self.line(Kind::Null),
            b'#' => self.line(Kind::Boolean),
            b',' => self.line(Kind::Double),
            b'(' => self.line(Kind::BigNumber),
            b'!' => self.bulk(Form::Error),
            b'=' => self.bulk(Form::Verbatim),
            b'.' => self.end_of_stream(),
            b';' => Err(DecodeError::BadStream),
            other => Err(DecodeError::UnknownType(other)),
        }
    }

    fn push(&mut self, kind: Kind, count: usize, value: u64) {
        // Lengths and counts are below 2^32 by the limits that were checked before.
        self.nodes.push(Node::new(kind, u32::try_from(count).unwrap_or(u32::MAX), value));
        self.token = Token::Fresh;
    }

    // Numbers

    /// The number of the token at `position`, and where its line ends; `None` where bytes are missing.
    fn number(&mut self) -> Result<Option<(Number, usize)>, DecodeError> {
        let (at, number) = match self.token {
            Token::Number { at, number } => (at, number),
            _ => (self.position + 1, Number::default()),
        };
        match scan_number(&self.buffer, at, number)? {
            Scan::Complete { number, next } => Ok(Some((number, next))),
            Scan::Partial { number, at } => {
                self.token = Token::Number { at, number };
                Ok(None)
            }
        }
    }

    fn integer(&mut self) -> Result<Step, DecodeError> {
        let Some((number, next)) = self.number().map_err(|_| DecodeError::BadInteger)? else {
            return Ok(Step::NeedMore);
        };
        let value = number.integer().ok_or(DecodeError::BadInteger)?;
        self.position = next;
        self.push(Kind::Integer, 0, value.cast_unsigned());
        Ok(Step::Value)
    }

    /// Whether the token is `<type>?`, the mark of a streamed value; `None` where the byte is missing.
    fn is_streamed(&self) -> Option<bool> {
        self.buffer.get(self.position + 1).map(|&byte| byte == b'?')
    }

    /// Where the line of a `<type>?` token ends.
    fn stream_header(&self) -> Result<Option<usize>, DecodeError> {
        let rest = self.buffer.get(self.position + 2..).unwrap_or_default();
        match rest {
            [b'\r', b'\n', ..] => Ok(Some(self.position + 4)),
            [] | [b'\r'] => Ok(None),
            _ => Err(DecodeError::BadLength),
        }
    }

    // Strings

    fn bulk(&mut self, form: Form) -> Result<Step, DecodeError> {
        if self.is_streamed() == Some(true) {
            let Some(next) = self.stream_header()? else { return Ok(Step::NeedMore) };
            if !matches!(form, Form::Bulk) {
                return Err(DecodeError::BadLength);
            }
            self.position = next;
            self.token = Token::Chunks { start: next, len: 0, scan: None };
            return Ok(Step::Opened);
        }
        let Some((number, next)) = self.number()? else { return Ok(Step::NeedMore) };
        self.position = next;
        let len = match (number.length()?, form) {
            (Length::Known(len), _) => usize::try_from(len).map_err(|_| DecodeError::BulkTooLong)?,
            (Length::Null, Form::Bulk) => {
                self.push(Kind::Null, 0, 0);
                return Ok(Step::Value);
            }
            (Length::Null, Form::Error | Form::Verbatim) => return Err(DecodeError::BadLength),
        };
        if len > self.limits.bulk_len_max {
            return Err(DecodeError::BulkTooLong);
        }
        self.finish_body(form, len)
    }

    fn finish_body(&mut self, form: Form, len: usize) -> Result<Step, DecodeError> {
        let start = self.position;
        match self.buffer.get(start + len..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => {
                self.token = Token::Body { form, len };
                return Ok(Step::NeedMore);
            }
            Some(_) => return Err(DecodeError::BadTerminator),
        }
        self.position = start + len + 2;
        match form {
            Form::Bulk => self.push(Kind::BulkString, len, start as u64),
            Form::Error => self.push(Kind::Error, len, start as u64),
            // `txt:` stands before the text, and stays readable there.
            Form::Verbatim if len >= 4 && self.buffer.get(start + 3) == Some(&b':') => {
                self.push(Kind::VerbatimString, len - 4, start as u64 + 4);
            }
            Form::Verbatim => return Err(DecodeError::BadValue(b'=')),
        }
        Ok(Step::Value)
    }

    fn chunk_header(
        &mut self,
        start: usize,
        len: usize,
        scan: Option<(usize, Number)>,
    ) -> Result<Step, DecodeError> {
        match self.buffer.get(self.position) {
            None => return Ok(Step::NeedMore),
            Some(b';') => {}
            Some(_) => return Err(DecodeError::BadStream),
        }
        let (at, number) = scan.unwrap_or((self.position + 1, Number::default()));
        let (number, next) = match scan_number(&self.buffer, at, number)? {
            Scan::Complete { number, next } => (number, next),
            Scan::Partial { number, at } => {
                self.token = Token::Chunks { start, len, scan: Some((at, number)) };
                return Ok(Step::NeedMore);
            }
        };
        let Length::Known(chunk) = number.length()? else { return Err(DecodeError::BadLength) };
        let chunk = usize::try_from(chunk).map_err(|_| DecodeError::BulkTooLong)?;
        if len.saturating_add(chunk) > self.limits.bulk_len_max {
            return Err(DecodeError::BulkTooLong);
        }
        self.position = next;
        if chunk == 0 {
            self.push(Kind::BulkString, len, start as u64);
            return Ok(Step::Value);
        }
        self.finish_chunk(start, len, chunk)
    }

    /// Joins a chunk to those before it: headers between them were read and may be written over.
    fn finish_chunk(&mut self, start: usize, len: usize, chunk: usize) -> Result<Step, DecodeError> {
        let from = self.position;
        match self.buffer.get(from + chunk..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => {
                self.token = Token::Chunk { start, len, chunk };
                return Ok(Step::NeedMore);
            }
            Some(_) => return Err(DecodeError::BadTerminator),
        }
        self.buffer.copy_within(from..from + chunk, start + len);
        self.position = from + chunk + 2;
        self.token = Token::Chunks { start, len: len + chunk, scan: None };
        Ok(Step::Opened)
    }

    // Lines

    fn line(&mut self, kind: Kind) -> Result<Step, DecodeError> {
        let text_start = self.position + 1;
        let from = match self.token {
            Token::Line { at } => at,
            _ => text_start,
        };
        let rest = self.buffer.get(from..).unwrap_or_default();
        let found = memchr::memchr2(b'\r', b'\n', rest).map(|index| from + index);
        let text_end = found.unwrap_or(self.buffer.len());
        if text_end - text_start > self.limits.line_len_max {
            return Err(DecodeError::LineTooLong);
        }
        match self.buffer.get(text_end..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => {
                self.token = Token::Line { at: text_end };
                return Ok(Step::NeedMore);
            }
            Some(_) => return Err(DecodeError::BadTerminator),
        }
        self.position = text_end + 2;
        self.line_value(kind, text_start, text_end)?;
        Ok(Step::Value)
    }

    fn line_value(&mut self, kind: Kind, start: usize, end: usize) -> Result<(), DecodeError> {
        let text = self.buffer.get(start..end).unwrap_or_default();
        let value = match kind {
            Kind::Null if text.is_empty() => Some(0),
            Kind::Boolean => match text {
                b"t" => Some(1),
                b"f" => Some(0),
                _ => None,
            },
            Kind::Double => parse_double(text).map(f64::to_bits),
            Kind::BigNumber if is_big_number(text) => Some(start as u64),
            Kind::SimpleString | Kind::Error => Some(start as u64),
            _ => None,
        };
        let sign = self.buffer.get(start - 1).copied().unwrap_or_default();
        let value = value.ok_or(DecodeError::BadValue(sign))?;
        self.push(kind, if kind.has_bytes() { end - start } else { 0 }, value);
        Ok(())
    }

    // Aggregates

    fn aggregate(&mut self, kind: Kind) -> Result<Step, DecodeError> {
        if self.is_streamed() == Some(true) && kind != Kind::Push {
            return self.open_streamed(kind, false);
        }
        let Some((number, next)) = self.number()? else { return Ok(Step::NeedMore) };
        self.position = next;
        match number.length()? {
            Length::Known(count) => self.open_counted(kind, count, false),
            Length::Null if kind == Kind::Array => {
                self.push(Kind::Null, 0, 0);
                Ok(Step::Value)
            }
            Length::Null => Err(DecodeError::BadLength),
        }
    }

    fn attribute(&mut self) -> Result<Step, DecodeError> {
        if self.is_streamed() == Some(true) {
            return self.open_streamed(Kind::Map, true);
        }
        let Some((number, next)) = self.number()? else { return Ok(Step::NeedMore) };
        let Length::Known(count) = number.length()? else { return Err(DecodeError::BadLength) };
        self.position = next;
        self.open_counted(Kind::Map, count, true)
    }

    fn open_counted(&mut self, kind: Kind, count: u64, attribute: bool) -> Result<Step, DecodeError> {
        let children = if kind == Kind::Map { count.saturating_mul(2) } else { count };
        // Each attribute counts, or empty ones could come for ever before a value.
        self.declare(children.saturating_add(u64::from(attribute)))?;
        if count == 0 {
            if attribute {
                self.token = Token::Fresh;
                return Ok(Step::Opened);
            }
            self.push(kind, 0, 1);
            return Ok(Step::Value);
        }
        self.check_depth()?;
        self.open.push(Open { node: self.nodes.len(), left: children, streamed: false, attribute });
        self.push(kind, usize::try_from(count).unwrap_or(usize::MAX), 0);
        Ok(Step::Opened)
    }

    fn open_streamed(&mut self, kind: Kind, attribute: bool) -> Result<Step, DecodeError> {
        let Some(next) = self.stream_header()? else { return Ok(Step::NeedMore) };
        self.declare(u64::from(attribute))?;
        self.check_depth()?;
        self.position = next;
        self.open.push(Open { node: self.nodes.len(), left: u64::MAX, streamed: true, attribute });
        self.push(kind, 0, 0);
        Ok(Step::Opened)
    }

    /// `.`: the end of a streamed aggregate.
    fn end_of_stream(&mut self) -> Result<Step, DecodeError> {
        let rest = self.buffer.get(self.position + 1..).unwrap_or_default();
        match rest {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(Step::NeedMore),
            _ => return Err(DecodeError::BadTerminator),
        }
        let Some(open) = self.open.pop_if(|open| open.streamed) else { return Err(DecodeError::BadStream) };
        self.position += 3;
        let children = u64::MAX - open.left;
        let span = (self.nodes.len() - open.node) as u64;
        if open.attribute {
            self.nodes.truncate(open.node);
            return if children % 2 == 0 { Ok(Step::Opened) } else { Err(DecodeError::BadStream) };
        }
        let Some(node) = self.nodes.get_mut(open.node) else { return Err(DecodeError::BadStream) };
        let count = match node.kind {
            Kind::Map if children % 2 == 1 => return Err(DecodeError::BadStream),
            Kind::Map => children / 2,
            _ => children,
        };
        *node = Node::new(node.kind, u32::try_from(count).unwrap_or(u32::MAX), span);
        Ok(Step::Value)
    }

    fn declare(&mut self, children: u64) -> Result<(), DecodeError> {
        self.declared = self.declared.saturating_add(children);
        if self.declared > u64::from(self.limits.elements_max) {
            return Err(DecodeError::TooManyElements);
        }
        Ok(())
    }

    fn check_depth(&self) -> Result<(), DecodeError> {
        if self.open.len() >= self.limits.depth_max { Err(DecodeError::TooDeep) } else { Ok(()) }
    }

    /// Counts a complete value in the aggregates around it, closing those it completes. True where it completes
    /// the frame.
    fn close_parents(&mut self) -> Result<bool, DecodeError> {
        while let Some(open) = self.open.last_mut() {
            open.left -= 1;
            if open.left > 0 {
                if open.streamed {
                    self.declare(1)?;
                }
                return Ok(false);
            }
            let span = (self.nodes.len() - open.node) as u64;
            let (node, attribute) = (open.node, open.attribute);
            self.open.pop();
            if attribute {
                self.nodes.truncate(node);
                return Ok(false);
            }
            if let Some(node) = self.nodes.get_mut(node) {
                node.value = span;
            }
        }
        Ok(true)
    }

    fn finish_frame(&mut self) -> Frame {
        let node = self.frame_node;
        let kind = self.nodes.get(node).map_or(Kind::Null, |node| node.kind);
        self.frame_node = self.nodes.len();
        self.frame_start = self.position;
        self.declared = 0;
        Frame { node, kind }
    }
}

impl Token {
    /// The same token after the buffer lost its first `len` bytes.
    fn moved_back(self, len: usize) -> Token {
        match self {
            Token::Fresh | Token::Body { .. } | Token::Failed(_) => self,
            Token::Number { at, number } => Token::Number { at: at - len, number },
            Token::Line { at } => Token::Line { at: at - len },
            Token::Chunks { start, len: joined, scan } => Token::Chunks {
                start: start - len,
                len: joined,
                scan: scan.map(|(at, number)| (at - len, number)),
            },
            Token::Chunk { start, len: joined, chunk } => {
                Token::Chunk { start: start - len, len: joined, chunk }
            }
        }
    }
}
