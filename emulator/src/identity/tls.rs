//! A listener for axum whose connections are TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Chain;

type Accepted = (TlsStream<TcpStream>, SocketAddr);

pub(crate) struct Listener {
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
}

impl Listener {
    /// Listens in a task of its own, and shakes hands in one for each connection: a slow client holds up
    /// nobody.
    pub(crate) fn new(tcp: TcpListener, chain: &Chain) -> Result<Listener, String> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let certificates = vec![chain.certificate.clone()];
                config.with_no_client_auth().with_single_cert(certificates, chain.key.clone_key())
            })
            .map_err(|error| error.to_string())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = tcp.local_addr().map_err(|error| error.to_string())?;
        let (sender, accepted) = mpsc::channel(BACKLOG);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let Ok((stream, peer)) = tcp.accept().await else {
                    // Out of file descriptors, most likely: give connections time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Listener { address, accepted })
    }
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const BACKLOG: usize = 64;

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task ends with the runtime only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
