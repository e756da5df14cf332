//! An async Redis client that logs in with Microsoft Entra ID tokens and renews the login before they end, on
//! any executor: smol, async-std, tokio. Passwords and open servers work as well.
//!
//! ```no_run
//! use respass_futures::{Config, Connector, FetchedToken, Redis, Secret, TokenFailure, Tokens};
//! use std::{future::Future, io, time::Duration};
//! use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
//!
//! /// What a client needs of its executor, here of tokio. With smol these are the same three lines each.
//! struct Tokio;
//!
//! impl Connector for Tokio {
//!     type Stream = Compat<tokio::net::TcpStream>;
//!
//!     async fn connect(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
//!         let stream = tokio::net::TcpStream::connect((host, port)).await?;
//!         stream.set_nodelay(true)?;
//!         Ok(stream.compat())
//!     }
//!
//!     async fn sleep(&self, duration: Duration) {
//!         tokio::time::sleep(duration).await
//!     }
//!
//!     fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
//!         tokio::spawn(driver);
//!     }
//! }
//!
//! # async fn ask_the_identity_endpoint() -> Result<(String, u64), io::Error> { unimplemented!() }
//! async fn example() -> Result<(), respass_futures::Error> {
//!     // Asked when a token is needed: once for all clients that share it, never more often than necessary.
//!     let tokens = Tokens::new(|| async {
//!         let answer = ask_the_identity_endpoint().await;
//!         let (token, seconds) = answer.map_err(|error| TokenFailure::transient(error.to_string()))?;
//!         let token = FetchedToken::new(Secret::new(token.into_bytes()));
//!         Ok(FetchedToken { expires_in: Some(Duration::from_secs(seconds)), ..token })
//!     });
//!     let config = Config::from_url("rediss://mycache.westeurope.redis.azure.net:10000")?;
//!     let redis = Redis::connect_with_tokens(config, &tokens, Tokio).await?;
//!
//!     redis.command(&["SET", "greeting", "hello"]).await?;
//!     let greeting: Option<String> = redis.command(&["GET", "greeting"]).await?.to()?;
//!     assert_eq!(greeting.as_deref(), Some("hello"));
//!
//!     // One write, one unit of replies; `transaction` in place of `pipeline` puts MULTI and EXEC around it.
//!     let mut pipeline = redis.pipeline();
//!     for number in 0..100 {
//!         pipeline.command(&["INCR", &format!("counter:{number}")]);
//!     }
//!     for reply in pipeline.execute().await? {
//!         let _count: i64 = reply?.to()?;
//!     }
//!     redis.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # What does the work
//!
//! Protocol, TLS, login, the life of tokens, timeouts and reconnecting are in [`respass`], a state machine
//! without IO. This crate carries bytes and time to it: one future per client, the *driver*, owns the sockets
//! and one timer. The executor runs it, through [`Connector::spawn`]: there is no hidden thread, and no
//! driver that somebody forgot to poll, while logins are renewed whether or not a command is under way. A
//! driver that is dropped because its executor ends fails what waits and closes the client; nobody hangs.
//!
//! # What can be relied on
//!
//! - Handles are cheap to clone, `Send` and `Sync`; all clones share one connection to each server. Commands
//!   to one server keep the order of the calls of [`Redis::command`], which submits at once. What many tasks
//!   submit while the driver waits its turn leaves in one write.
//! - Dropping a future cancels its command; a reply that comes all the same is dropped, never given to
//!   another.
//! - Every error has a code ([`Error::code`]), tells what became of the command ([`Error::outcome`]) and
//!   names the cause. A command that may have run is never sent again.
//! - Nothing holds a lock while it waits or while it calls foreign code. No error, notice or `Debug` text
//!   holds a token or a password.
//! - Commands that block (BLPOP, XREAD) get a connection of a pool: give them like any other; their own timeout
//!   is the one that counts. WATCH belongs into a [`Session`], subscriptions into a [`Subscriber`].
//! - A cluster is found out by itself, and needs no option where it is Azure's.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth_status;
mod bell;
mod clock;
mod connector;
mod driver;
mod error;
mod link;
mod messages;
mod notices;
mod pipeline;
mod redis;
mod reply;
mod session;
mod shared;
mod subscriber;
mod tokens;
mod waiters;

pub use auth_status::{AuthStatus, ConnectionStatus};
pub use connector::Connector;
pub use error::Error;
pub use messages::Message;
pub use notices::Notices;
pub use pipeline::{Pipeline, PipelineFuture};
pub use redis::{CommandFuture, Redis};
pub use reply::{FromReply, Reply};
pub use respass::resp::{DecodeLimits, Elements, Kind, Reply as Value};
pub use respass::{
    AddressMap, ClusterMode, Config, ConnId, Credential, ErrorCode, FetchedToken, LaneKind, Limits,
    MessageKind, Notice, NoticeKind, Outcome, Secret, Severity, Timeouts, TlsConfig, TokenFailure,
    TokenState, UnixTime,
};
pub use session::Session;
pub use subscriber::{Monitor, Subscriber};
pub use tokens::Tokens;
