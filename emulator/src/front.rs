//! The TLS front of the cache: takes connections and ties each to a connection of its own to the backend.
//!
//! - `command`: what a client sent, and the rewriting of logins.
//! - `reply`: what the server answered.
//! - `outstanding`: which reply belongs to which command.
//! - `connection`: the two directions of one connection, and its end at expiry.

mod command;
mod connection;
mod outstanding;
mod reply;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::backend::Backend;
use crate::census::Census;
use crate::certificate::Chain;
use crate::fault::Faults;
use crate::token::{Grant, Refusal, Tenant};

pub(crate) struct Front {
    acceptor: TlsAcceptor,
    socket: PathBuf,
    /// Password of the backend's user; no client ever sees it.
    password: String,
    tenant: Arc<Tenant>,
    census: Arc<Census>,
    faults: Arc<Faults>,
    /// Every change closes the connections there are.
    close_all: watch::Sender<()>,
}

impl Front {
    pub(crate) fn new(
        chain: &Chain,
        backend: &Backend,
        tenant: &Arc<Tenant>,
        census: &Arc<Census>,
        faults: &Arc<Faults>,
    ) -> Result<Front, String> {
        Ok(Front {
            acceptor: TlsAcceptor::from(Arc::new(tls_config(chain).map_err(|error| error.to_string())?)),
            socket: backend.socket.clone(),
            password: backend.password.clone(),
            tenant: Arc::clone(tenant),
            census: Arc::clone(census),
            faults: Arc::clone(faults),
            close_all: watch::Sender::new(()),
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

    /// Closes every connection at once; clients may come back at once.
    pub(crate) fn close_all(&self) {
        self.close_all.send_replace(());
    }

    async fn take(self: Arc<Front>, stream: TcpStream) {
        // Replies are written in batches as it is.
        let _ = stream.set_nodelay(true);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, self.acceptor.accept(stream)).await else {
            return;
        };
        match UnixStream::connect(&self.socket).await {
            Ok(backend) => connection::run(&self, stream, backend).await,
            Err(error) => eprintln!("respass-emulator: cannot reach redis-server: {error}"),
        }
    }

    /// Checks a login, with the faults that are on.
    async fn check(&self, user: &[u8], token: &[u8]) -> Result<Grant, Refusal> {
        tokio::time::sleep(self.faults.auth_delay()).await;
        if self.faults.take_auth_fail() { Err(Refusal::Fault) } else { self.tenant.check(user, token) }
    }
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// TLS 1.3 and 1.2 with AES-GCM only, as Azure documents it (no ChaCha20).
fn tls_config(chain: &Chain) -> Result<ServerConfig, rustls::Error> {
    let mut provider: CryptoProvider = ring::default_provider();
    provider.cipher_suites.retain(|suite| !format!("{:?}", suite.suite()).contains("CHACHA20"));
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![chain.certificate.clone()], chain.key.clone_key())
}
