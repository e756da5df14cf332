//! Replies as a flat tape: one node per value, in pre-order, over one block of bytes.
//!
//! Every language walks the same 16-byte nodes. A walker needs no recursion: an aggregate's children follow it, and
//! its node says how many nodes it spans.

/// What a node is. The numbers are part of the C and Node interfaces and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `+OK`: a line of text.
    SimpleString = 1,
    /// `-ERR …` or `!len`: an error sent by the server.
    Error = 2,
    /// `:1`
    Integer = 3,
    /// `$len`: bytes.
    BulkString = 4,
    /// `*n`
    Array = 5,
    /// `_`, and RESP2's `$-1` and `*-1`.
    Null = 6,
    /// `#t`, `#f`
    Boolean = 7,
    /// `,1.5`
    Double = 8,
    /// `(123…`: an integer of any size, as its digits.
    BigNumber = 9,
    /// `=len`: text with a three-byte format in front.
    VerbatimString = 10,
    /// `%n`: n pairs.
    Map = 11,
    /// `~n`
    Set = 12,
    /// `>n`: out of band, answers no command.
    Push = 13,
}

impl Kind {
    /// Whether the node has children.
    pub const fn is_aggregate(self) -> bool {
        matches!(self, Kind::Array | Kind::Map | Kind::Set | Kind::Push)
    }

    /// Whether the node points at bytes of the block.
    pub const fn has_bytes(self) -> bool {
        matches!(
            self,
            Kind::SimpleString | Kind::Error | Kind::BulkString | Kind::BigNumber | Kind::VerbatimString
        )
    }
}

/// One value of the tape. What `count` and `value` mean depends on `kind`:
///
/// | kind | count | value |
/// |---|---|---|
/// | strings, errors, big numbers | length in bytes | offset in the byte block |
/// | arrays, sets, pushes | number of elements | number of nodes spanned, this one included |
/// | maps | number of pairs | number of nodes spanned, this one included |
/// | integer | 0 | the number, as two's complement |
/// | double | 0 | the bits of the IEEE 754 number |
/// | boolean | 0 | 0 or 1 |
/// | null | 0 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Node {
    /// What the node is.
    pub kind: Kind,
    reserved: [u8; 3],
    /// See the table above.
    pub count: u32,
    /// See the table above.
    pub value: u64,
}

impl Node {
    pub(crate) const fn new(kind: Kind, count: u32, value: u64) -> Node {
        Node { kind, reserved: [0; 3], count, value }
    }
}

/// One reply, or one value inside a reply: a view of a tape and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
}

impl<'a> Reply<'a> {
    const MISSING: Node = Node::new(Kind::Null, 0, 0);

    /// The value whose node is `index`; a null where there is no such node.
    pub fn at(nodes: &'a [Node], bytes: &'a [u8], index: usize) -> Reply<'a> {
        Reply { nodes: nodes.get(index..).unwrap_or_default(), bytes }
    }

    /// The value's own node.
    pub fn node(&self) -> Node {
        self.nodes.first().copied().unwrap_or(Self::MISSING)
    }

    /// What the value is.
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// The bytes of a string, error or big number; empty for other kinds.
    pub fn as_bytes(&self) -> &'a [u8] {
        let node = self.node();
        if !node.kind.has_bytes() {
            return &[];
        }
        usize::try_from(node.value)
            .ok()
            .and_then(|start| self.bytes.get(start..)?.get(..node.count as usize))
            .unwrap_or_default()
    }

    /// The number of an integer; `None` for other kinds.
    pub fn as_integer(&self) -> Option<i64> {
        let node = self.node();
        (node.kind == Kind::Integer).then_some(node.value.cast_signed())
    }

    /// The number of a double; `None` for other kinds.
    pub fn as_double(&self) -> Option<f64> {
        let node = self.node();
        (node.kind == Kind::Double).then_some(f64::from_bits(node.value))
    }

    /// The truth value of a boolean; `None` for other kinds.
    pub fn as_boolean(&self) -> Option<bool> {
        let node = self.node();
        (node.kind == Kind::Boolean).then_some(node.value != 0)
    }

    /// Whether this is `+<text>` or a bulk string of that text.
    pub fn is_text(&self, text: &[u8]) -> bool {
        matches!(self.kind(), Kind::SimpleString | Kind::BulkString) && self.as_bytes() == text
    }

    /// The elements of an array, set or push; keys and values in turn for a map; nothing for other kinds.
    pub fn elements(&self) -> Elements<'a> {
        let node = self.node();
        let left = match node.kind {
            Kind::Array | Kind::Set | Kind::Push => node.count as usize,
            Kind::Map => node.count as usize * 2,
            _ => 0,
        };
        Elements { nodes: self.nodes.get(1..).unwrap_or_default(), bytes: self.bytes, left }
    }

    /// How many nodes the value spans, its own included: the next value of the tape begins so much later.
    pub fn span(&self) -> usize {
        let node = self.node();
        if node.kind.is_aggregate() { usize::try_from(node.value).unwrap_or(1).max(1) } else { 1 }
    }

    /// Bytes of all strings in the value.
    pub fn bytes_len(&self) -> usize {
        let strings = self.own_nodes().iter().filter(|node| node.kind.has_bytes());
        strings.map(|node| node.count as usize).sum()
    }

    /// The value on a tape of its own over a block of its own: what to keep where the others need not be kept.
    pub fn to_tape(&self) -> (Vec<Node>, Vec<u8>) {
        let (mut nodes, mut bytes) = (Vec::new(), Vec::with_capacity(self.bytes_len()));
        self.append_to(&mut nodes, &mut bytes);
        (nodes, bytes)
    }

    /// Appends the value to another tape.
    pub(crate) fn append_to(&self, nodes: &mut Vec<Node>, bytes: &mut Vec<u8>) {
        nodes.extend(self.own_nodes().iter().enumerate().map(|(index, &node)| {
            if !node.kind.has_bytes() {
                return node;
            }
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(Reply::at(self.nodes, self.bytes, index).as_bytes());
            Node { value: offset, ..node }
        }));
    }

    fn own_nodes(&self) -> &'a [Node] {
        self.nodes.get(..self.span()).unwrap_or(self.nodes)
    }
}

/// The children of an aggregate, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.left = self.left.checked_sub(1)?;
        let reply = Reply { nodes: self.nodes, bytes: self.bytes };
        self.nodes = self.nodes.get(reply.span()..).unwrap_or_default();
        Some(reply)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_tape_of_its_own_takes_its_bytes_along_and_nothing_else() {
        // [ "ab", ["cd", 7] ] in front of "other".
        let nodes = [
            Node::new(Kind::Array, 2, 5),
            Node::new(Kind::BulkString, 2, 10),
            Node::new(Kind::Array, 2, 3),
            Node::new(Kind::SimpleString, 2, 20),
            Node::new(Kind::Integer, 0, 7),
            Node::new(Kind::BulkString, 5, 30),
        ];
        let mut block = vec![b'.'; 40];
        block[10..12].copy_from_slice(b"ab");
        block[20..22].copy_from_slice(b"cd");
        block[30..35].copy_from_slice(b"other");
        let whole = Reply::at(&nodes, &block, 0);
        assert_eq!((whole.span(), whole.bytes_len()), (5, 4));
        let (own_nodes, own_bytes) = whole.to_tape();
        assert_eq!((own_nodes.len(), own_bytes.as_slice()), (5, &b"abcd"[..]));
        let inner = Reply::at(&own_nodes, &own_bytes, 2);
        let texts: Vec<_> = inner.elements().map(|element| element.as_bytes()).collect();
        assert_eq!(texts, [&b"cd"[..], b""]);
        assert_eq!(Reply::at(&nodes, &block, 5).to_tape().1, b"other");
    }
}
