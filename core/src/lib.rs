//! A Redis client that logs in with Microsoft Entra ID tokens and never lets a connection lapse, as a state machine
//! without sockets, clocks, threads or callbacks.
//!
//! # How to drive it
//!
//! A *driver* owns the sockets and the clocks. It tells the [`Client`] facts (`handle_…`) and obeys its [`Output`]s:
//!
//! ```text
//! loop {
//!     while let Some(output) = client.poll_output() {
//!         Connect { conn, host, port }  → open a TCP connection; then handle_connected or handle_disconnected
//!         Transmit { conn }             → write client.transmit(conn), report handle_transmitted; until it is empty,
//!                                         or the socket takes no more: then go on when it is writable again
//!         Disconnect { conn, .. }       → write the last bytes, close the socket
//!         TokenNeeded { newer_than }    → source.request(newer_than); what it returns goes to handle_token
//!         Replies(batch)                → hand each reply to whoever submitted the command, then recycle(batch)
//!         Failed { command, error }     → the same for commands without a reply
//!         Notice(notice)                → log it
//!     }
//!     sleep until client.poll_timeout() or a socket is ready
//!     handle_received / handle_disconnected / handle_timeout
//! }
//! ```
//!
//! A [`TokenSource`] is driven the same way: [`SourceOutput::Fetch`] asks the host to call its credential, the answer
//! goes to `handle_fetched` or `handle_failed`, and [`SourceOutput::Issued`] and [`SourceOutput::Failed`] go to every
//! client that depends on the source. One source serves all clients that share a credential.
//!
//! `Transmit` is said once: a driver whose socket took only a part must come back by itself, because nothing reminds
//! it. `poll_timeout` may be early, never late; a driver keeps one timer and moves it only to earlier moments.
//!
//! # What can be relied on
//!
//! - Facts may be fed in any number before outputs are drained.
//! - Every accepted command gets exactly one answer: a reply in a batch, or [`Output::Failed`].
//! - `handle_…` never fails and never panics, whatever the network sent. Only `submit…` can refuse.
//! - Ids are never reused and stay below 2^53.
//! - A clock that runs backwards is clamped; a `handle_timeout` that is not due does nothing.
//! - After `close` everything pending is answered, sockets are told to close, and nothing follows.
//! - The same configuration, seed, facts and times give the same outputs (TLS records excepted: their keys are drawn
//!   from the system).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod error;
pub mod resp;
mod rng;
mod secret;
mod slot;
mod time;
mod tls;

pub use auth::{
    Claims, FetchedToken, IssuedToken, LoginRefusal, SourceOutput, TokenFailure, TokenSource, TokenState,
};
pub use client::{
    AuthStatus, ChannelKind, Client, ConnectionStatus, DisconnectCause, LaneKind, Message, MessageBatch,
    MessageEntry, MessageKind, Notice, NoticeKind, Output, OutputKind, ReplyBatch, SessionId, Severity,
    SubscriberId, Wakeup,
};
pub use command::{Command, CommandId, CommandIds};
pub use config::{AddressMap, ClusterMode, Config, Credential, Limits, MaintenanceEvents, Timeouts};
pub use connection::{Answer, ConnId, WakeupReason};
pub use error::{CommandError, ConfigError, ErrorCode, Outcome, SubmitError};
pub use secret::Secret;
pub use time::{Instant, Now, UnixTime};
pub use tls::{TlsConfig, TlsError};
