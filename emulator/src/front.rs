//! The TLS front of the cache: takes connections and ties each to a connection of its own to the backend.
//!
//! - `command`: what a client sent, and the rewriting of logins.
//! - `gate`, `keys`: what becomes of a command before the server sees it.
//! - `reply`: what the server answered; `wording`: the same in the words of the emulated version.
//! - `outstanding`: which reply belongs to which command.
//! - `connection`: the two directions of one connection; `ending`: how it ends.
//! - `live`: all connections, for what strikes them from outside.

mod command;
mod connection;
mod ending;
mod gate;
mod keys;
pub(crate) mod live;
mod outstanding;
mod reply;
mod wording;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use self::live::Live;
use crate::access::{Access, KEY_USER};
use crate::backend::Backend;
use crate::census::{Cause, Census};
use crate::certificate::Chain;
use crate::dialect::Dialect;
use crate::fault::{Faults, Tls};
use crate::token::{Grant, Refusal, Tenant};

pub(crate) struct Front {
    /// One for each [`Tls`].
    acceptors: [TlsAcceptor; 3],
    dialect: Dialect,
    socket: PathBuf,
    /// Password of the backend's users; no client ever sees it.
    password: String,
    tenant: Arc<Tenant>,
    access: Arc<Access>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    pub(crate) live: Live,
}

impl Front {
    pub(crate) fn new(
        chain: &Chain,
        backend: &Backend,
        tenant: &Arc<Tenant>,
        access: &Arc<Access>,
        census: &Arc<Census>,
        faults: &Arc<Faults>,
    ) -> Result<Front, String> {
        let acceptor = |tls| match tls_config(chain, tls) {
            Ok(config) => Ok(TlsAcceptor::from(Arc::new(config))),
            Err(error) => Err(error.to_string()),
        };
        Ok(Front {
            acceptors: [acceptor(Tls::Both)?, acceptor(Tls::Only12)?, acceptor(Tls::Only13)?],
            dialect: backend.dialect,
            socket: backend.socket.clone(),
            password: backend.password.clone(),
            tenant: Arc::clone(tenant),
            access: Arc::clone(access),
            census: Arc::clone(census),
            faults: Arc::clone(faults),
            live: Live::default(),
        })
    }

    /// Accepts connections for ever.
    pub(crate) async fn serve(self: &Arc<Front>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(self).take(stream))),
                Err(error) => {
                    eprintln!("respass-emulator: cannot accept a connection: {error}");
                    // Out of file descriptors, most likely: give connections time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn take(self: Arc<Front>, stream: TcpStream) {
        if self.faults.cache().accept_close.take() {
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
        match UnixStream::connect(&self.socket).await {
            Ok(backend) => connection::run(&self, stream, backend).await,
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
