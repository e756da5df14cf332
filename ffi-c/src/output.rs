//! What a core or a source has to tell, as one fixed-size struct.

use crate::handle;
use crate::source::{State, Token};
use respass_core::resp::Node;
use respass_core::{ErrorCode, Notice as CoreNotice, Output as CoreOutput, ReplyBatch, SourceOutput};
use std::ffi::c_char;

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
    pub node: u64,
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
    /// Worth a log line: `code` is a RESPASS_NOTICE_…, `id` a connection or 0, `text` says more.
    Notice = 7,
    /// Of a source: ask the credential for a token, then call `respass_source_fetched` or `_failed`.
    Fetch = 16,
    /// Of a source: hand `token` to `respass_core_token` of every core that depends on the source.
    Token = 17,
    /// Of a source: the supply's state is `code`, a RESPASS_STATE_….
    State = 18,
}

/// What a notice tells.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// One that this version has no number for.
    Other = 0,
    /// The connection is logged in.
    Ready = 1,
    /// The connection was lost or given up.
    ConnectionLost = 2,
    /// The server refused the login.
    LoginRefused = 3,
    /// The live connection presented a newer token and the server accepted it.
    ReAuthenticated = 4,
    /// The live connection presented a newer token and the server refused it.
    ReAuthRefused = 5,
    /// The server accepted a token that had ended by the local clock.
    ClockIsWrong = 6,
    /// The wall clock ran ahead of the monotonic one.
    ClockJumped = 7,
    /// A token names another identity. It is not used.
    IdentityChanged = 8,
}

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
    /// A connection, a command or a generation.
    pub id: u64,
    /// See the kind.
    pub text: Slice,
    /// The block that string nodes point into.
    pub bytes: Slice,
    /// The tape.
    pub nodes: *const Node,
    /// Number of nodes.
    pub nodes_len: usize,
    /// The replies, in the order they arrived.
    pub answers: *const Answer,
    /// Number of replies.
    pub answers_len: usize,
    /// Of RESPASS_OUTPUT_KIND_TOKEN.
    pub token: Option<Box<Token>>,
    /// What all of this points into.
    pub owner: Option<Box<Owner>>,
}

/// What the pointers of an output point into.
#[derive(Debug, Default)]
pub struct Owner {
    pub(crate) batch: ReplyBatch,
    pub(crate) answers: Vec<Answer>,
    text: Vec<u8>,
}

const _: () = assert!(size_of::<Output>() == 104 || size_of::<usize>() != 8);
const _: () = assert!(size_of::<Slice>() == 16 || size_of::<usize>() != 8);
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
            token: None,
            owner: None,
        }
    }

    fn with_text(self, text: impl Into<Vec<u8>>) -> Output {
        let owner = Box::new(Owner { text: text.into(), ..Owner::default() });
        Output { text: Slice::of(&owner.text), owner: Some(owner), ..self }
    }

    fn of_token(token: Token) -> Output {
        Output { token: Some(Box::new(token)), ..Output::new(OutputKind::Token, 0, 0) }
    }

    fn of_batch(batch: ReplyBatch, mut owner: Box<Owner>) -> Output {
        owner.answers.clear();
        owner.answers.extend(
            batch
                .answers
                .iter()
                .map(|answer| Answer { command: answer.command.as_u64(), node: answer.node as u64 }),
        );
        owner.batch = batch;
        Output {
            bytes: Slice::of(&owner.batch.bytes),
            nodes: owner.batch.nodes.as_ptr(),
            nodes_len: owner.batch.nodes.len(),
            answers: owner.answers.as_ptr(),
            answers_len: owner.answers.len(),
            owner: Some(owner),
            ..Output::new(OutputKind::Replies, 0, 0)
        }
    }

    /// `spare` is used up only where it helps.
    pub(crate) fn of_core(output: Option<CoreOutput>, spare: &mut Option<Box<Owner>>) -> Output {
        match output {
            None => Output::new(OutputKind::None, 0, 0),
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
            Some(CoreOutput::Notice(notice)) => of_notice(&notice),
            Some(_) => Output::new(OutputKind::Notice, Notice::Other as u32, 0),
        }
    }

    pub(crate) fn of_source(output: Option<SourceOutput>) -> Output {
        match output {
            None => Output::new(OutputKind::None, 0, 0),
            Some(SourceOutput::Fetch) => Output::new(OutputKind::Fetch, 0, 0),
            Some(SourceOutput::Issued(token)) => Output::of_token(Token::Issued(token)),
            Some(SourceOutput::Failed(failure)) => Output::of_token(Token::Failed(failure)),
            Some(SourceOutput::State(state)) => Output::new(OutputKind::State, State::of(state) as u32, 0),
            Some(_) => Output::new(OutputKind::Notice, Notice::Other as u32, 0),
        }
    }
}

fn of_notice(notice: &CoreNotice) -> Output {
    let code = match notice {
        CoreNotice::Ready { .. } => Notice::Ready,
        CoreNotice::ConnectionLost { .. } => Notice::ConnectionLost,
        CoreNotice::LoginRefused { .. } => Notice::LoginRefused,
        CoreNotice::ReAuthenticated { .. } => Notice::ReAuthenticated,
        CoreNotice::ReAuthRefused { .. } => Notice::ReAuthRefused,
        CoreNotice::ClockIsWrong { .. } => Notice::ClockIsWrong,
        CoreNotice::ClockJumped { .. } => Notice::ClockJumped,
        CoreNotice::IdentityChanged => Notice::IdentityChanged,
        _ => Notice::Other,
    };
    let conn = notice.conn().map_or(0, |conn| conn.as_u64());
    Output::new(OutputKind::Notice, code as u32, conn).with_text(notice.to_string())
}

/// Releases what the output owns, whatever its kind, and empties it. NULL and an empty output do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn respass_output_clear(output: Option<&mut Output>) {
    if let Some(output) = output {
        let owned = (output.owner.take(), output.token.take());
        *output = Output::new(OutputKind::None, 0, 0);
        handle::free(Some(Box::new(owned)));
    }
}

/// Which RESPASS_ERROR_… an error reply is, by its first word; 0 where `text` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_error_of_reply(text: *const c_char, text_len: usize) -> u32 {
    bytes!(text, text_len).map_or(0, |text| u32::from(ErrorCode::of_reply(text) as u16))
}
