//! Replies and messages as JavaScript reads them: one block of memory that it owns and this side fills.
//!
//! ```text
//! 10 numbers (f64)     what `Register` names
//! answers, 16 bytes    command id (f64), index of its first node (f64)
//! nodes, 16 bytes      the tape as it is
//! bytes                what the nodes point into, unless it is too long: then `takeBytes` hands it over
//! ```
//!
//! Messages have, in place of answers and nodes, 8 numbers (f64) each: what it is, how many subscriptions there are,
//! and offset and length of pattern, channel and payload.

use respass::resp::Node;
use respass::{MessageBatch, MessageEntry, ReplyBatch};

/// Numbers at the front of the window. Mirrored in `lib/replies.js`.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Register {
    /// A connection, a command or a generation.
    Id = 0,
    /// Number of answers or messages.
    Answers = 1,
    /// Where the tape begins, in bytes.
    NodesAt = 2,
    /// Where the block begins, in bytes; 0 where `takeBytes` has it.
    BytesAt = 3,
    /// Length of the block.
    BytesLen = 4,
    /// Whether every byte of the block is ASCII.
    IsAscii = 5,
    /// How long the window must be for the batch that waits.
    Needed = 6,
    /// When `timeout` wants to be called, in microseconds; infinity where it does not.
    Wakeup = 7,
    /// The id of the first command that was submitted.
    First = 8,
    /// How many bytes there are to write, negative where more are to come.
    Sendable = 9,
}

const HEADER_LEN: usize = 80;
const ENTRY_LEN: usize = 16;
const MESSAGE_LEN: usize = 64;

/// A longer block is handed over instead of copied.
const COPY_LEN_MAX: usize = 256 << 10;

pub(crate) fn set(window: &mut [u8], register: Register, value: f64) {
    let start = register as usize * 8;
    if let Some(place) = window.get_mut(start..start + 8) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Whether `takeBytes` hands over this block.
pub(crate) fn is_long(bytes: &[u8]) -> bool {
    bytes.len() > COPY_LEN_MAX
}

/// Lays the batch out in the window; whether there was room.
pub(crate) fn fill(window: &mut [u8], batch: &ReplyBatch) -> bool {
    let nodes_at = HEADER_LEN + batch.answers.len() * ENTRY_LEN;
    let bytes_at = nodes_at + batch.nodes.len() * ENTRY_LEN;
    if !fill_block(window, &batch.bytes, bytes_at) {
        return false;
    }
    set(window, Register::Answers, batch.answers.len() as f64);
    set(window, Register::NodesAt, nodes_at as f64);
    let (answers, nodes) = window.split_at_mut(nodes_at);
    let answers = answers.get_mut(HEADER_LEN..).unwrap_or_default();
    for (place, answer) in answers.as_chunks_mut::<ENTRY_LEN>().0.iter_mut().zip(&batch.answers) {
        // Both stay below 2^53.
        let entry = [answer.command.as_u64() as f64, answer.node as f64];
        *place = pair(entry.map(f64::to_ne_bytes));
    }
    for (place, node) in nodes.as_chunks_mut::<ENTRY_LEN>().0.iter_mut().zip(&batch.nodes) {
        *place = entry_of(node);
    }
    true
}

/// The same for messages.
pub(crate) fn fill_messages(window: &mut [u8], batch: &MessageBatch) -> bool {
    let bytes_at = HEADER_LEN + batch.entries.len() * MESSAGE_LEN;
    if !fill_block(window, &batch.bytes, bytes_at) {
        return false;
    }
    set(window, Register::Answers, batch.entries.len() as f64);
    let entries = window.get_mut(HEADER_LEN..bytes_at).unwrap_or_default();
    for (place, entry) in entries.as_chunks_mut::<MESSAGE_LEN>().0.iter_mut().zip(&batch.entries) {
        for (place, number) in place.as_chunks_mut::<8>().0.iter_mut().zip(numbers_of(entry)) {
            *place = number.to_ne_bytes();
        }
    }
    true
}

/// Puts a block at its place, or leaves it to `takeBytes` where it is long; whether there was room.
fn fill_block(window: &mut [u8], bytes: &[u8], at: usize) -> bool {
    let needed = if is_long(bytes) { at } else { at + bytes.len() };
    set(window, Register::Needed, needed as f64);
    if window.len() < needed {
        return false;
    }
    set(window, Register::BytesAt, if is_long(bytes) { 0.0 } else { at as f64 });
    set(window, Register::BytesLen, bytes.len() as f64);
    set(window, Register::IsAscii, f64::from(u8::from(bytes.is_ascii())));
    if let Some(place) = window.get_mut(at..needed).filter(|_| !is_long(bytes)) {
        place.copy_from_slice(bytes);
    }
    true
}

fn numbers_of(entry: &MessageEntry) -> [f64; MESSAGE_LEN / 8] {
    // Lengths and offsets of what is in memory stay below 2^53.
    [
        f64::from(entry.kind as u8),
        f64::from(entry.count),
        entry.pattern_offset as f64,
        entry.pattern_len as f64,
        entry.channel_offset as f64,
        entry.channel_len as f64,
        entry.payload_offset as f64,
        entry.payload_len as f64,
    ]
}

/// A node as two words of 64 bits; JavaScript reads them as four of 32.
fn entry_of(node: &Node) -> [u8; ENTRY_LEN] {
    let first = u64::from(node.kind as u8) | u64::from(node.count) << 32;
    pair([first, node.value].map(u64::to_le_bytes))
}

fn pair([first, second]: [[u8; 8]; 2]) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    let (start, end) = entry.split_at_mut(8);
    start.copy_from_slice(&first);
    end.copy_from_slice(&second);
    entry
}
