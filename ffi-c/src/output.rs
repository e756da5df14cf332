//! What a core or a source has to tell, as one fixed-size struct.

use crate::handle;
use crate::reply::Replies;
use crate::source::{News, State, Token};
use respass_core::resp::Node;
use respass_core::{MessageBatch, MessageEntry, Notice, Output as CoreOutput, ReplyBatch, SourceOutput};
use std::mem::offset_of;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that somebody else owns. `data` is never NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

impl Slice {
    pub(crate) fn of(bytes: &[u8]) -> Slice {
        Slice { data: bytes.as_ptr(), len: bytes.len() }
    }
}

/// Which command a reply answers, and where it begins on the tape.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The id that `respass_core_submit` gave.
    pub command: u64,
    /// Index of the reply's first node.
    pub node: usize,
}

/// What an output wants done, or tells. Kinds that a program does not know are to be cleared and skipped.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Nothing is left to do.
    None = 0,
    /// Open a TCP connection to `text` (a name or an address) and port `code`; call it `id` from now on. TLS is the
    /// core's business.
    Connect = 1,
    /// Write `text` (best effort), then close the socket of connection `id`, and report nothing of it any more.
    Disconnect = 2,
    /// `respass_core_transmit` has bytes for connection `id`. Not said again before everything was taken.
    Transmit = 3,
    /// Ask `respass_source_request` for a token newer than generation `id`.
    TokenNeeded = 4,
    /// Replies: `answers` over `nodes` over `bytes`.
    Replies = 5,
    /// Command `id` ended without a reply: `code` is a RESPASS_ERROR_…, `outcome` a RESPASS_OUTCOME_…, `text` says
    /// more.
    Failed = 6,
    /// Worth a log line: `code` is a RESPASS_NOTICE_…, `id` a connection, of RESPASS_NOTICE_GAP a subscriber, or 0;
    /// `text` says more.
    Notice = 7,
    /// Messages to subscriber `id`: `messages` over `bytes`. `respass_output_message` shows one.
    Messages = 8,
    /// Of a source: ask the credential for a token, then call `respass_source_fetched` or `_failed`.
    Fetch = 16,
    /// Of a source: hand `token` to `respass_core_token` of every core that depends on the source.
    Token = 17,
    /// Of a source: the supply's state is `code`, a RESPASS_STATE_….
    State = 18,
}

const _: () = {
    use respass_core::OutputKind as Core;
    assert!(OutputKind::Connect as u32 == Core::Connect as u32);
    assert!(OutputKind::Disconnect as u32 == Core::Disconnect as u32);
    assert!(OutputKind::Transmit as u32 == Core::Transmit as u32);
    assert!(OutputKind::TokenNeeded as u32 == Core::TokenNeeded as u32);
    assert!(OutputKind::Replies as u32 == Core::Replies as u32);
    assert!(OutputKind::Failed as u32 == Core::Failed as u32);
    assert!(OutputKind::Notice as u32 == Core::Notice as u32);
    assert!(OutputKind::Messages as u32 == Core::Messages as u32);
};

/// One instruction or result. What it points at is its own: release it with `respass_output_clear`, or with
/// `respass_core_recycle`.
#[repr(C)]
#[derive(Debug)]
pub struct Output {
    /// A RESPASS_OUTPUT_KIND_…, which says what the other fields mean. Those it does not mention are 0 and empty.
    pub kind: u32,
    /// See the kind.
    pub code: u32,
    /// A RESPASS_OUTCOME_…: what became of a command that failed.
    pub outcome: u32,
    /// 0.
    pub reserved: u32,
    /// A connection, a command, a generation or a subscriber.
    pub id: u64,
    /// See the kind.
    pub text: Slice,
    /// The block that string nodes and messages point into.
    pub bytes: Slice,
    /// The tape.
    pub nodes: *const Node,
    /// Number of nodes.
    pub nodes_len: usize,
    /// The replies, in the order they arrived.
    pub answers: *const Answer,
    /// Number of replies.
    pub answers_len: usize,
    /// The messages, in the order they arrived.
    pub messages: *const MessageEntry,
    /// Number of messages.
    pub messages_len: usize,
    /// Of RESPASS_OUTPUT_KIND_TOKEN.
    pub token: *mut Token,
    /// What all of this points into.
    pub owner: *mut Owner,
}

/// What the pointers of an output point into.
pub struct Owner {
    _opaque: [u8; 0],
}

object!(Owner, Owned, 5);

#[derive(Debug, Default)]
pub(crate) struct Owned {
    pub(crate) batch: ReplyBatch,
    /// Of a blocking client: what it shares with single replies.
    #[expect(dead_code, reason = "is there to be there")]
    shared: Option<Arc<Replies>>,
    text: Vec<u8>,
    /// Of messages.
    pub(crate) messages: Option<MessageBatch>,
}

const _: () = assert!(size_of::<Output>() == 120 || size_of::<usize>() != 8);
const _: () = assert!(size_of::<Slice>() == 16 || size_of::<usize>() != 8);
// The core's own answers are handed out as they are.
const _: () = assert!(
    size_of::<Answer>() == size_of::<respass_core::Answer>()
        && offset_of!(Answer, command) == offset_of!(respass_core::Answer, command)
        && offset_of!(Answer, node) == offset_of!(respass_core::Answer, node)
);
const _: () = assert!(size_of::<MessageEntry>() == 56 && align_of::<MessageEntry>() == 8);
const _: () = assert!(size_of::<Answer>() == 16 && size_of::<Node>() == 16 && align_of::<Node>() == 8);

impl Output {
    fn new(kind: OutputKind, code: u32, id: u64) -> Output {
        Output {
            kind: kind as u32,
            code,
            outcome: 0,
            reserved: 0,
            id,
            text: Slice::of(&[]),
            bytes: Slice::of(&[]),
            nodes: std::ptr::null(),
            nodes_len: 0,
            answers: std::ptr::null(),
            answers_len: 0,
            messages: std::ptr::null(),
            messages_len: 0,
            token: std::ptr::null_mut(),
            owner: std::ptr::null_mut(),
        }
    }

    pub(crate) fn none() -> Output {
        Output::new(OutputKind::None, 0, 0)
    }

    fn with_text(self, text: impl Into<Vec<u8>>) -> Output {
        let owned = Owned { text: text.into(), ..Owned::default() };
        Output { text: Slice::of(&owned.text), owner: handle::insert(owned), ..self }
    }

    fn of_token(news: News) -> Output {
        Output { token: handle::insert(news), ..Output::new(OutputKind::Token, 0, 0) }
    }

    fn of_batch(batch: ReplyBatch, mut owned: Owned) -> Output {
        owned.batch = batch;
        let batch = &owned.batch;
        Output {
            bytes: Slice::of(&batch.bytes),
            nodes: batch.nodes.as_ptr(),
            nodes_len: batch.nodes.len(),
            answers: batch.answers.as_ptr().cast(),
            answers_len: batch.answers.len(),
            owner: handle::insert(owned),
            ..Output::new(OutputKind::Replies, 0, 0)
        }
    }

    pub(crate) fn of_run(shared: Arc<Replies>, run: Range<usize>) -> Output {
        let batch = &shared.replies;
        let answers = batch.answers.get(run).unwrap_or_default();
        Output {
            bytes: Slice::of(&batch.bytes),
            nodes: batch.nodes.as_ptr(),
            nodes_len: batch.nodes.len(),
            answers: answers.as_ptr().cast(),
            answers_len: answers.len(),
            owner: handle::insert(Owned { shared: Some(shared), ..Owned::default() }),
            ..Output::new(OutputKind::Replies, 0, 0)
        }
    }

    fn of_messages(batch: MessageBatch) -> Output {
        Output {
            bytes: Slice::of(&batch.bytes),
            messages: batch.entries.as_ptr(),
            messages_len: batch.entries.len(),
            ..Output::new(OutputKind::Messages, 0, batch.subscriber.as_u64())
        }
        .owning(Owned { messages: Some(batch), ..Owned::default() })
    }

    fn owning(self, owned: Owned) -> Output {
        Output { owner: handle::insert(owned), ..self }
    }

    /// Empties the output, and returns what it owned but for the token.
    pub(crate) fn take(&mut self) -> Option<Owned> {
        let emptied = std::mem::replace(self, Output::none());
        handle::free(emptied.token);
        handle::take(emptied.owner).ok()
    }

    /// `spare` is used up only where it helps.
    pub(crate) fn of_core(output: Option<CoreOutput>, spare: &mut Option<Owned>) -> Output {
        match output {
            None => Output::none(),
            Some(CoreOutput::Connect { conn, host, port }) => {
                Output::new(OutputKind::Connect, port.into(), conn.as_u64()).with_text(host)
            }
            Some(CoreOutput::Disconnect { conn, last_bytes }) => {
                Output::new(OutputKind::Disconnect, 0, conn.as_u64()).with_text(last_bytes)
            }
            Some(CoreOutput::Transmit { conn }) => Output::new(OutputKind::Transmit, 0, conn.as_u64()),
            Some(CoreOutput::TokenNeeded { newer_than }) => {
                Output::new(OutputKind::TokenNeeded, 0, newer_than)
            }
            Some(CoreOutput::Replies(batch)) => Output::of_batch(batch, spare.take().unwrap_or_default()),
            Some(CoreOutput::Failed { command, error }) => Output {
                outcome: error.outcome as u32,
                ..Output::new(OutputKind::Failed, error.code as u32, command.as_u64())
                    .with_text(error.message())
            },
            Some(CoreOutput::Notice(notice)) => Output::of_notice(&notice),
            Some(CoreOutput::Messages(batch)) => Output::of_messages(batch),
            Some(other) => unreachable!("an output of a newer core: {other:?}"),
        }
    }

    pub(crate) fn of_notice(notice: &Notice) -> Output {
        let id = match notice {
            Notice::Gap { subscriber } => subscriber.as_u64(),
            other => other.conn().map_or(0, |conn| conn.as_u64()),
        };
        Output::new(OutputKind::Notice, notice.kind() as u32, id).with_text(notice.to_string())
    }

    pub(crate) fn of_source(output: Option<SourceOutput>) -> Output {
        match output {
            None => Output::none(),
            Some(SourceOutput::Fetch) => Output::new(OutputKind::Fetch, 0, 0),
            Some(SourceOutput::Issued(token)) => Output::of_token(News::Issued(token)),
            Some(SourceOutput::Failed(failure)) => Output::of_token(News::Failed(failure)),
            Some(SourceOutput::State(state)) => Output::new(OutputKind::State, State::of(state) as u32, 0),
            Some(other) => unreachable!("an output of a newer source: {other:?}"),
        }
    }
}

/// Releases what the output owns, whatever its kind, and empties it. NULL and an empty output do nothing, and so does
/// a copy of one that was cleared.
#[unsafe(no_mangle)]
pub extern "C" fn respass_output_clear(output: Option<&mut Output>) {
    // Nobody is left to be told.
    let _ = handle::make(|| {
        drop(output.and_then(Output::take));
        Ok(())
    });
}
