//! What a client wants done, and what it has to tell.

use super::messages::{MessageBatch, SubscriberId};
use crate::auth::LoginRefusal;
use crate::command::CommandId;
use crate::connection::{Answer, ConnId};
use crate::error::CommandError;
use crate::resp::{Node, Reply};
use std::fmt;
use std::time::Duration;

/// One instruction or result, in causal order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Open a TCP connection and report `handle_connected` or `handle_disconnected`. TLS is the client's business.
    Connect {
        /// How the connection is called from now on.
        conn: ConnId,
        /// Name or address to connect to; look the name up afresh each time.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Write `last_bytes` (best effort), then close the socket. The connection is forgotten: nothing more need be
    /// reported of it.
    Disconnect {
        /// The connection.
        conn: ConnId,
        /// TLS' close_notify, or nothing.
        last_bytes: Vec<u8>,
    },
    /// `transmit` has bytes. Said once; not again before everything was taken.
    Transmit {
        /// The connection.
        conn: ConnId,
    },
    /// Ask the token source for a token newer than generation `newer_than` (0: any): `TokenSource::request`.
    TokenNeeded {
        /// The generation that will not do.
        newer_than: u64,
    },
    /// Replies that one `handle_received` completed.
    Replies(ReplyBatch),
    /// A command ended without a reply.
    Failed {
        /// The command.
        command: CommandId,
        /// Why.
        error: CommandError,
    },
    /// Something worth a log line or a metric; nothing to act on.
    Notice(Notice),
    /// What a subscription or MONITOR brought.
    Messages(MessageBatch),
}

/// What an [`Output`] is, as a number that is the same in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum OutputKind {
    /// [`Output::Connect`]
    Connect = 1,
    /// [`Output::Disconnect`]
    Disconnect = 2,
    /// [`Output::Transmit`]
    Transmit = 3,
    /// [`Output::TokenNeeded`]
    TokenNeeded = 4,
    /// [`Output::Replies`]
    Replies = 5,
    /// [`Output::Failed`]
    Failed = 6,
    /// [`Output::Notice`]
    Notice = 7,
    /// [`Output::Messages`]
    Messages = 8,
}

impl Output {
    /// Its number.
    pub fn kind(&self) -> OutputKind {
        match self {
            Output::Connect { .. } => OutputKind::Connect,
            Output::Disconnect { .. } => OutputKind::Disconnect,
            Output::Transmit { .. } => OutputKind::Transmit,
            Output::TokenNeeded { .. } => OutputKind::TokenNeeded,
            Output::Replies(_) => OutputKind::Replies,
            Output::Failed { .. } => OutputKind::Failed,
            Output::Notice(_) => OutputKind::Notice,
            Output::Messages(_) => OutputKind::Messages,
        }
    }
}

/// Replies to several commands over one tape. See [`crate::resp::Node`] for its layout.
#[derive(Debug, Default)]
pub struct ReplyBatch {
    /// The byte block that string nodes point into.
    pub bytes: Vec<u8>,
    /// The tape.
    pub nodes: Vec<Node>,
    /// Which command each reply answers, and where it begins on the tape.
    pub answers: Vec<Answer>,
}

impl ReplyBatch {
    /// The replies, in the order they arrived.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (CommandId, Reply<'_>)> {
        self.answers.iter().map(|answer| (answer.command, Reply::at(&self.nodes, &self.bytes, answer.node)))
    }
}

/// Something worth knowing. No notice holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A connection is logged in.
    Ready {
        /// The connection.
        conn: ConnId,
    },
    /// A connection was lost or given up.
    ConnectionLost {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: String,
    },
    /// The server refused a login.
    LoginRefused {
        /// The connection.
        conn: ConnId,
        /// What it said.
        refusal: LoginRefusal,
    },
    /// A live connection presented a newer token and the server accepted it.
    ReAuthenticated {
        /// The connection.
        conn: ConnId,
        /// Of the token.
        generation: u64,
    },
    /// A live connection presented a newer token and the server refused it. The old login stands until its end.
    ReAuthRefused {
        /// The connection.
        conn: ConnId,
        /// What the server said.
        refusal: LoginRefusal,
    },
    /// The server accepted a token that had ended by the local clock.
    ClockIsWrong {
        /// The connection.
        conn: ConnId,
    },
    /// The wall clock ran ahead of the monotonic one: the machine was suspended, or the clock was set.
    ClockJumped {
        /// By how much.
        ahead: Duration,
    },
    /// A token names another identity than the one this client logged in as. It is not used.
    IdentityChanged,
    /// The map of the cluster changed.
    TopologyChanged {
        /// How many primaries it has.
        primaries: usize,
    },
    /// A server sent commands elsewhere, or described a cluster, in a way that is not followed.
    RedirectIgnored {
        /// The connection it came over.
        conn: ConnId,
        /// What was wrong with it.
        cause: String,
    },
    /// Messages may have been missed: a subscriber was without a connection.
    Gap {
        /// The subscriber.
        subscriber: SubscriberId,
    },
    /// The service told of maintenance.
    Maintenance {
        /// What it told.
        text: String,
    },
}

/// What a notice tells, as a number that is the same in every language and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum NoticeKind {
    /// A connection is logged in.
    Ready = 1,
    /// A connection was lost or given up.
    ConnectionLost = 2,
    /// The server refused a login.
    LoginRefused = 3,
    /// A live connection presented a newer token and the server accepted it.
    ReAuthenticated = 4,
    /// A live connection presented a newer token and the server refused it.
    ReAuthRefused = 5,
    /// The server accepted a token that had ended by the local clock.
    ClockIsWrong = 6,
    /// The wall clock ran ahead of the monotonic one.
    ClockJumped = 7,
    /// A token names another identity. It is not used.
    IdentityChanged = 8,
    /// The map of the cluster changed.
    TopologyChanged = 9,
    /// A redirect or a description of a cluster is not followed.
    RedirectIgnored = 10,
    /// Messages may have been missed.
    Gap = 11,
    /// The service told of maintenance.
    Maintenance = 12,
}

impl NoticeKind {
    /// A stable name, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Ready => "ready",
            NoticeKind::ConnectionLost => "connection-lost",
            NoticeKind::LoginRefused => "login-refused",
            NoticeKind::ReAuthenticated => "reauthenticated",
            NoticeKind::ReAuthRefused => "reauth-refused",
            NoticeKind::ClockIsWrong => "clock-is-wrong",
            NoticeKind::ClockJumped => "clock-jumped",
            NoticeKind::IdentityChanged => "identity-changed",
            NoticeKind::TopologyChanged => "topology-changed",
            NoticeKind::RedirectIgnored => "redirect-ignored",
            NoticeKind::Gap => "gap",
            NoticeKind::Maintenance => "maintenance",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            NoticeKind::Ready => Severity::Debug,
            NoticeKind::ConnectionLost
            | NoticeKind::ReAuthenticated
            | NoticeKind::ClockJumped
            | NoticeKind::TopologyChanged
            | NoticeKind::Gap
            | NoticeKind::Maintenance => Severity::Info,
            NoticeKind::LoginRefused
            | NoticeKind::ReAuthRefused
            | NoticeKind::ClockIsWrong
            | NoticeKind::IdentityChanged
            | NoticeKind::RedirectIgnored => Severity::Warning,
        }
    }
}

/// How much a notice matters to whoever keeps the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// Routine.
    Debug = 1,
    /// Worth knowing later.
    Info = 2,
    /// Somebody should look.
    Warning = 3,
}

impl Notice {
    /// Its number.
    pub fn kind(&self) -> NoticeKind {
        match self {
            Notice::Ready { .. } => NoticeKind::Ready,
            Notice::ConnectionLost { .. } => NoticeKind::ConnectionLost,
            Notice::LoginRefused { .. } => NoticeKind::LoginRefused,
            Notice::ReAuthenticated { .. } => NoticeKind::ReAuthenticated,
            Notice::ReAuthRefused { .. } => NoticeKind::ReAuthRefused,
            Notice::ClockIsWrong { .. } => NoticeKind::ClockIsWrong,
            Notice::ClockJumped { .. } => NoticeKind::ClockJumped,
            Notice::IdentityChanged => NoticeKind::IdentityChanged,
            Notice::TopologyChanged { .. } => NoticeKind::TopologyChanged,
            Notice::RedirectIgnored { .. } => NoticeKind::RedirectIgnored,
            Notice::Gap { .. } => NoticeKind::Gap,
            Notice::Maintenance { .. } => NoticeKind::Maintenance,
        }
    }

    /// A stable name, the same in every language.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.kind().severity()
    }

    /// The connection it is about, if it is about one.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Notice::Ready { conn }
            | Notice::ConnectionLost { conn, .. }
            | Notice::LoginRefused { conn, .. }
            | Notice::ReAuthenticated { conn, .. }
            | Notice::ReAuthRefused { conn, .. }
            | Notice::RedirectIgnored { conn, .. }
            | Notice::ClockIsWrong { conn } => Some(*conn),
            Notice::ClockJumped { .. }
            | Notice::IdentityChanged
            | Notice::TopologyChanged { .. }
            | Notice::Gap { .. }
            | Notice::Maintenance { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Ready { .. } => f.write_str("connected and logged in"),
            Notice::ConnectionLost { cause, .. } => write!(f, "the connection was lost: {cause}"),
            Notice::LoginRefused { refusal, .. } => {
                write!(f, "the server refused the login: {}", refusal.text)
            }
            Notice::ReAuthenticated { generation, .. } => {
                write!(f, "the connection presented token {generation}")
            }
            Notice::ReAuthRefused { refusal, .. } => {
                write!(f, "the server refused a newer token, the old login stands: {}", refusal.text)
            }
            Notice::ClockIsWrong { .. } => {
                f.write_str("the server accepted a token that ended by the local clock: the clock is wrong")
            }
            Notice::ClockJumped { ahead } => write!(f, "the wall clock ran ahead by {} s", ahead.as_secs()),
            Notice::IdentityChanged => f.write_str("a token of another identity came and is not used"),
            Notice::TopologyChanged { primaries } => {
                write!(f, "the cluster's map changed: {primaries} primaries")
            }
            Notice::RedirectIgnored { cause, .. } => write!(f, "not followed: {cause}"),
            Notice::Gap { .. } => {
                f.write_str("a subscriber was without a connection: messages may be missing")
            }
            Notice::Maintenance { text } => write!(f, "the service told of maintenance: {text}"),
        }
    }
}
