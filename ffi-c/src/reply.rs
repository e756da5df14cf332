//! Replies of the blocking surface: handles over a shared batch.

use crate::ResultCode;
use crate::handle::{self, Failure, place};
use crate::output::Slice;
use respass_core::ReplyBatch;
use respass_core::resp::{Kind, Node};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

/// A reply, or one value inside of one. It stays as it is after its client was closed.
pub struct Reply {
    _opaque: [u8; 0],
}

object!(Reply, Piece, 7);

/// A value and the batch that it lies in.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) batch: Arc<Replies>,
    pub(crate) node: usize,
}

/// Replies that came together, and share their memory.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) replies: ReplyBatch,
    /// `None`: it is not worth it.
    pub(crate) home: Option<Arc<Spare>>,
}

/// Where a batch leaves its memory for the next one.
pub(crate) type Spare = Mutex<Option<ReplyBatch>>;

impl Drop for Replies {
    fn drop(&mut self) {
        // Not worth waiting for.
        if let Some(mut place) = self.home.as_ref().and_then(|home| home.try_lock().ok()) {
            *place = Some(std::mem::take(&mut self.replies));
        }
    }
}

/// A reply's nodes and bytes, for programs that walk them by themselves. See `respass_node`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tape {
    /// The reply's own node, followed by what is inside of it.
    pub nodes: *const Node,
    /// Number of nodes.
    pub nodes_len: usize,
    /// The block that string nodes point into.
    pub bytes: Slice,
}

const _: () = assert!(size_of::<Tape>() == 32 || size_of::<usize>() != 8);

impl Piece {
    pub(crate) fn view(&self) -> respass_core::resp::Reply<'_> {
        let ReplyBatch { nodes, bytes, .. } = &self.batch.replies;
        respass_core::resp::Reply::at(nodes, bytes, self.node)
    }

    /// The element's node. Of a flat array it is found at once.
    fn element(&self, index: usize) -> Option<usize> {
        let own = self.view().node();
        let nodes = self.batch.replies.nodes.get(self.node..)?;
        if index >= elements_of(own) {
            return None;
        }
        if own.value == elements_of(own) as u64 + 1 {
            return Some(self.node + 1 + index);
        }
        let mut at = 1;
        for _ in 0..index {
            at += span_of(nodes.get(at)?);
        }
        Some(self.node + at)
    }
}

fn elements_of(node: Node) -> usize {
    match node.kind {
        Kind::Map => 2 * node.count as usize,
        kind if kind.is_aggregate() => node.count as usize,
        _ => 0,
    }
}

fn span_of(node: &Node) -> usize {
    if node.kind.is_aggregate() { usize::try_from(node.value).unwrap_or(usize::MAX) } else { 1 }
}

fn other_kind(what: &'static str) -> Failure {
    Failure::argument(format!("the reply is no {what}: look at respass_reply_kind first"))
}

/// Releases the reply.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_free(reply: *mut Reply) {
    handle::free(reply);
}

/// What the reply is: a RESPASS_KIND_….
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_kind(
    reply: *const Reply,
    kind: Option<&mut MaybeUninit<Kind>>,
) -> ResultCode {
    enter!(reply => place(kind)?.write(reply.view().kind()))
}

/// The number of an integer; 0 or 1 of a boolean. RESPASS_RESULT_ARGUMENT for other kinds.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_integer(
    reply: *const Reply,
    integer: Option<&mut MaybeUninit<i64>>,
) -> ResultCode {
    enter!(reply => {
        let node = reply.view().node();
        if !matches!(node.kind, Kind::Integer | Kind::Boolean) {
            return Err(other_kind("integer"));
        }
        place(integer)?.write(node.value.cast_signed());
    })
}

/// The number of a double. RESPASS_RESULT_ARGUMENT for other kinds.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_double(
    reply: *const Reply,
    number: Option<&mut MaybeUninit<f64>>,
) -> ResultCode {
    enter!(reply => {
        let node = reply.view().node();
        if node.kind != Kind::Double {
            return Err(other_kind("double"));
        }
        place(number)?.write(f64::from_bits(node.value));
    })
}

/// The bytes of a string, an error or a big number: borrowed until the reply is freed. RESPASS_RESULT_ARGUMENT for
/// other kinds.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_text(
    reply: *const Reply,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    enter!(reply => {
        let view = reply.view();
        if !view.kind().has_bytes() {
            return Err(other_kind("string"));
        }
        place(text)?.write(Slice::of(view.as_bytes()));
    })
}

/// How many elements an array, a set or a map has (of a map, keys and values), and how many bytes a string; else 0.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_length(
    reply: *const Reply,
    length: Option<&mut MaybeUninit<usize>>,
) -> ResultCode {
    enter!(reply => {
        let view = reply.view();
        let is_text = view.kind().has_bytes();
        place(length)?.write(if is_text { view.as_bytes().len() } else { elements_of(view.node()) });
    })
}

/// One element of an array, a set or a map (of a map, keys and values in turn), as a reply of its own that shares the
/// memory: to be freed, too. `respass_reply_tape` is the way through large ones.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_element(
    reply: *const Reply,
    index: usize,
    element: Option<&mut MaybeUninit<*mut Reply>>,
) -> ResultCode {
    enter!(reply => {
        let place = place(element)?;
        let node = reply.element(index).ok_or_else(|| Failure::argument("there is no such element"))?;
        place.write(handle::insert(Piece { batch: reply.batch.clone(), node }));
    })
}

/// The reply as nodes over bytes: borrowed until the reply is freed.
#[unsafe(no_mangle)]
pub extern "C" fn respass_reply_tape(
    reply: *const Reply,
    tape: Option<&mut MaybeUninit<Tape>>,
) -> ResultCode {
    enter!(reply => {
        let place = place(tape)?;
        let nodes = reply.batch.replies.nodes.get(reply.node..).unwrap_or_default();
        let span = nodes.first().map_or(0, span_of);
        let bytes = Slice::of(&reply.batch.replies.bytes);
        place.write(Tape { nodes: nodes.as_ptr(), nodes_len: span, bytes });
    })
}
