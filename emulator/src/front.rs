//! The TLS front of the cache: takes connections and ties each to a connection of its own to the backend.
//!
//! - `command`: what a client sent, and the rewriting of logins.
//! - `gate`, `keys`: what becomes of a command before the server sees it.
//! - `reply`: what the server answered; `wording`: the same in the words of the emulated version.
//! - `outstanding`: which reply belongs to which command.
//! - `connection`: the two directions of one connection; `ending`: how it ends.
//! - `doors`: where clients come in: at the configured endpoint and at each node.
//! - `injection`: errors that faults have for commands.
//! - `live`: all connections, for what strikes them from outside.

mod command;
mod connection;
mod doors;
mod ending;
mod gate;
mod injection;
mod keys;
pub(crate) mod live;
mod outstanding;
mod reply;
mod wording;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::doors::{Doors, Ticket};
use self::live::Live;
use crate::access::{Access, KEY_USER};
use crate::census::{Cause, Census};
use crate::certificate::Chain;
use crate::cluster::{Cluster, Door};
use crate::dialect::Dialect;
use crate::fault::{Faults, Tls};
use crate::token::{Grant, Refusal, Tenant};

pub(crate) struct Front {
    /// One for each [`Tls`].
    acceptors: [TlsAcceptor; 3],
    dialect: Dialect,
    pub(crate) cluster: Arc<Cluster>,
    /// Password of the servers' users; no client ever sees it.
    password: String,
    tenant: Arc<Tenant>,
    access: Arc<Access>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    pub(crate) live: Live,
    pub(crate) doors: Doors,
}

/// What the front is made of, beside what is its own.
pub(crate) struct Parts<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) password: &'a str,
    pub(crate) chain: &'a Chain,
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) tenant: &'a Arc<Tenant>,
    pub(crate) access: &'a Arc<Access>,
    pub(crate) census: &'a Arc<Census>,
    pub(crate) faults: &'a Arc<Faults>,
}

impl Front {
    /// A front with the door to the configured endpoint and those to the nodes.
    pub(crate) fn new(parts: &Parts<'_>, doors: Doors) -> Result<Front, String> {
        let acceptor = |tls| match tls_config(parts.chain, tls) {
            Ok(config) => Ok(TlsAcceptor::from(Arc::new(config))),
            Err(error) => Err(error.to_string()),
        };
        Ok(Front {
            acceptors: [acceptor(Tls::Both)?, acceptor(Tls::Only12)?, acceptor(Tls::Only13)?],
            dialect: parts.dialect,
            cluster: Arc::clone(parts.cluster),
            password: parts.password.to_owned(),
            tenant: Arc::clone(parts.tenant),
            access: Arc::clone(parts.access),
            census: Arc::clone(parts.census),
            faults: Arc::clone(parts.faults),
            live: Live::default(),
            doors,
        })
    }

    async fn take(self: Arc<Front>, door: Door, stream: TcpStream) {
        self.doors.wait_while_silent(door).await;
        if !self.faults.cache().takes_connection() {
            return self.census.closed(Cause::BeforeTls);
        }
        let (wait, tls) = {
            let faults = self.faults.cache();
            (faults.slow_accept, faults.tls)
        };
        tokio::time::sleep(wait).await;
        // Replies are written in batches as it is.
        let _ = stream.set_nodelay(true);
        let handshake = self.acceptors[tls as usize].accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, handshake).await else {
            return;
        };
        if !self.doors.is_open(door) {
            return self.census.closed(Cause::NodeClosed);
        }
        let server = self.cluster.server(door);
        match UnixStream::connect(self.cluster.socket(server)).await {
            Ok(backend) => connection::run(&self, (door, server), stream, backend).await,
            Err(error) => eprintln!("respass-emulator: cannot reach redis-server: {error}"),
        }
    }

    /// Checks a login, with the faults that are on.
    async fn check(&self, user: &[u8], password: &[u8]) -> Result<Grant, Refusal> {
        let (delay, patience) = self.auth_times();
        tokio::time::sleep(delay.min(patience)).await;
        if delay > patience {
            return Err(Refusal::TimedOut);
        }
        if self.faults.cache().auth_fail.take() {
            return Err(Refusal::Fault);
        }
        if self.access.is_access_key(user, password) {
            return Ok(Grant { oid: KEY_USER.to_owned(), expires_at: None });
        }
        let grant = self.tenant.check(user, password)?;
        if self.access.is_assigned(&grant.oid) { Ok(grant) } else { Err(Refusal::NoAssignment) }
    }

    /// How long the check of a login takes, and how long the cache waits for it.
    fn auth_times(&self) -> (Duration, Duration) {
        let faults = self.faults.cache();
        (faults.auth_delay, faults.auth_fail_after)
    }
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// AES-GCM only, as Azure documents it for TLS 1.3 (no ChaCha20).
fn tls_config(chain: &Chain, tls: Tls) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match tls {
        Tls::Both => &[&TLS13, &TLS12],
        Tls::Only12 => &[&TLS12],
        Tls::Only13 => &[&TLS13],
    };
    let mut provider: CryptoProvider = ring::default_provider();
    provider.cipher_suites.retain(|suite| !format!("{:?}", suite.suite()).contains("CHACHA20"));
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(vec![chain.certificate.clone()], chain.key.clone_key())
}
