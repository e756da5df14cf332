//! TLS as bytes in, bytes out: every call appends to the caller's buffer.
//!
//! This is the shape that rustls 0.24 has; underneath stands the buffered API of 0.23, so that the upgrade touches
//! this file alone.

use crate::secret::Secret;
use crate::time::Now;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which certificates to trust, and which to show.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Certificate authorities in PEM, beside or instead of the built-in ones.
    pub ca_pem: Vec<Vec<u8>>,
    /// Whether to trust the public authorities that are built in (Mozilla's list).
    pub builtin_roots: bool,
    /// Certificate chain and private key in PEM, for servers that ask for a client certificate.
    pub client_pem: Option<(Vec<u8>, Arc<Secret>)>,
    /// The name to verify the certificate against and to send as SNI; the configured host where `None`.
    pub server_name: Option<String>,
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig { ca_pem: Vec::new(), builtin_roots: true, client_pem: None, server_name: None }
    }
}

/// Why TLS could not be set up, or broke. The text names the cause and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub(crate) String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// What all TLS connections of a client share: trust, session tickets, and the time.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The name is configured apart from the host.
    is_named: bool,
    clock: Arc<SharedClock>,
}

/// The wall time last reported by the driver. rustls wants a shared provider, which makes this the one shared cell
/// of the core.
#[derive(Debug, Default)]
struct SharedClock(AtomicU64);

impl TimeProvider for SharedClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        (seconds > 0).then(|| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

impl TlsSettings {
    /// TLS 1.3 and 1.2, verified by `host` unless the configuration names another.
    pub(crate) fn new(tls: &TlsConfig, host: &str) -> Result<TlsSettings, TlsError> {
        let clock = Arc::new(SharedClock::default());
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = server_name(name)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, clock.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_root_certificates(roots(tls)?);
        let mut config = match &tls.client_pem {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.expose())
                    .map_err(|_| TlsError("the client's private key is not readable PEM".to_owned()))?;
                builder
                    .with_client_auth_cert(certificates(chain, "client certificate")?, key)
                    .map_err(|error| TlsError(format!("client certificate: {error}")))?
            }
        };
        // Early data could be replayed: a command would run twice.
        config.enable_early_data = false;
        config.resumption = Resumption::in_memory_sessions(8);
        Ok(TlsSettings { config: Arc::new(config), name, is_named: tls.server_name.is_some(), clock })
    }

    /// Tells the time that certificates are judged by.
    pub(crate) fn set_time(&self, now: Now) {
        self.clock.0.store(now.unix.as_secs(), Ordering::Relaxed);
    }

    /// A connection whose server must show a certificate of the configured name.
    pub(crate) fn connect(&self) -> Result<TlsSession, TlsError> {
        self.connect_to(self.name.clone())
    }

    /// A connection whose server must show a certificate of that name or address, unless a name is configured for all.
    pub(crate) fn connect_as(&self, host: &str) -> Result<TlsSession, TlsError> {
        if self.is_named {
            return self.connect();
        }
        self.connect_to(server_name(host)?)
    }

    fn connect_to(&self, name: ServerName<'static>) -> Result<TlsSession, TlsError> {
        let connection =
            ClientConnection::new(self.config.clone(), name).map_err(|error| TlsError(error.to_string()))?;
        Ok(TlsSession { connection, has_peer_closed: false })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| TlsError(format!("'{name}' is no name that a certificate can be verified by")))
}

fn roots(tls: &TlsConfig) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if tls.builtin_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in &tls.ca_pem {
        // A system's bundle may hold an odd one, which is no reason to trust none of the others.
        let (added, _) = roots.add_parsable_certificates(certificates(pem, "certificate authority")?);
        if added == 0 {
            return Err(TlsError(
                "certificate authority: no certificate of the PEM text can be used".to_owned(),
            ));
        }
    }
    if roots.is_empty() {
        return Err(TlsError("no certificate authority to trust".to_owned()));
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError(format!("{what}: not readable PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsError(format!("{what}: the PEM text holds no certificate")));
    }
    Ok(certificates)
}

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct TlsSession {
    connection: ClientConnection,
    has_peer_closed: bool,
}

impl TlsSession {
    /// Whether application data may flow: the server's certificate was verified.
    pub(crate) fn is_verified(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whether the peer said that nothing more will come: whatever is sent now goes unheard.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    /// Takes in records, appends what they held to `plaintext` and what has to be answered to `records`. After an
    /// error, `records` may hold the alert that tells the peer.
    pub(crate) fn receive(
        &mut self,
        mut received: &[u8],
        plaintext: &mut Vec<u8>,
        records: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        while !received.is_empty() {
            // rustls takes in what its own buffer has room for, so several rounds may be needed.
            let taken =
                self.connection.read_tls(&mut received).map_err(|error| TlsError(error.to_string()))?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.write_records(records);
                    // Records before the broken one were good. What is read ends in an error of its own.
                    let _ = self.connection.reader().read_to_end(plaintext);
                    return Err(TlsError(explain(&error, self.connection.is_handshaking())));
                }
            };
            let len = state.plaintext_bytes_to_read();
            self.has_peer_closed |= state.peer_has_closed();
            if len > 0 {
                let start = plaintext.len();
                plaintext.resize(start + len, 0);
                let room = plaintext.get_mut(start..).unwrap_or_default();
                self.connection.reader().read_exact(room).map_err(|error| TlsError(error.to_string()))?;
            }
            if taken == 0 && len == 0 {
                // What follows the peer's end of the stream is nobody's.
                break;
            }
        }
        self.write_records(records);
        Ok(())
    }

    /// Seals `plaintext` into as few records as possible, appended to `records`.
    pub(crate) fn send(&mut self, plaintext: &[u8], records: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut rest = plaintext;
        while !rest.is_empty() {
            let taken = self.connection.writer().write(rest).map_err(|error| TlsError(error.to_string()))?;
            self.write_records(records);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Appends what the handshake has to say.
    pub(crate) fn write_records(&mut self, records: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to a Vec does not fail.
            if self.connection.write_tls(records).is_err() {
                return;
            }
        }
    }

    /// Appends the close_notify alert.
    pub(crate) fn close(&mut self, records: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.write_records(records);
    }
}

/// rustls' own text, and the reason where experience tells one.
fn explain(error: &rustls::Error, is_handshaking: bool) -> String {
    match error {
        rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure) => format!(
            "{error}: the server and this client share no cipher suite (TLS 1.3, or 1.2 with AES-GCM or ChaCha20)"
        ),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => format!(
            "{error}: the certificate's authority is not among the trusted ones: give the right authority (CA)"
        ),
        rustls::Error::InvalidMessage(_) if is_handshaking => {
            format!("the server did not answer in TLS: a port without TLS? ({error})")
        }
        _ => error.to_string(),
    }
}
