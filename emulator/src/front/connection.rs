//! One connection of a client: commands to the server, replies back, and the end when its token expires.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::Front;
use super::command::{Command, Treatment};
use super::outstanding::{Expected, Outstanding, Settled};
use super::reply;
use crate::token::{Grant, Refusal};

/// Runs a connection to its end.
pub(super) async fn run(front: &Front, client: TlsStream<TcpStream>, backend: UnixStream) {
    let host = client.get_ref().1.server_name().unwrap_or_default().to_owned();
    let connection = Connection {
        front,
        id: front.census.connected(),
        host,
        outstanding: Mutex::default(),
        expires_at: watch::Sender::new(None),
    };
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut backend_in, mut backend_out) = backend.into_split();
    let at_expiry = tokio::select! {
        _ = connection.forward_commands(&mut client_in, &mut backend_out) => false,
        _ = connection.return_replies(&mut backend_in, &mut client_out) => false,
        at_expiry = connection.closed_from_outside() => at_expiry,
    };
    front.census.disconnected(connection.id, at_expiry);
    drop((backend_in, backend_out));
    // close_notify and FIN; then what the client still sends is read away, or TCP would turn the FIN into a
    // reset that may overtake the last replies.
    let _ = tokio::time::timeout(CLOSE_MAX, client_out.shutdown()).await;
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut client_in, &mut tokio::io::sink())).await;
}

const CLOSE_MAX: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_millis(200);
const RECEIVE_LEN: usize = 64 * 1_024;

struct Connection<'f> {
    front: &'f Front,
    id: u64,
    /// The name in the TLS handshake; empty if there was none.
    host: String,
    outstanding: Mutex<Outstanding>,
    /// Expiry of the last good login, in seconds since 1970.
    expires_at: watch::Sender<Option<i64>>,
}

/// Commands that go to the server with one write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    expected: Vec<Expected>,
}

impl Batch {
    fn push(&mut self, expected: Expected, bytes: &[u8]) {
        self.expect(expected);
        self.bytes.extend_from_slice(bytes);
    }

    fn expect(&mut self, expected: Expected) {
        match (self.expected.last_mut(), expected) {
            (Some(Expected::Ordinary(run)), Expected::Ordinary(more)) => *run += more,
            (_, expected) => self.expected.push(expected),
        }
    }
}

impl Connection<'_> {
    /// Completes only at an error of the client's side: replies may still be on their way when it stops
    /// sending.
    async fn forward_commands(
        &self,
        client: &mut (impl AsyncRead + Unpin),
        backend: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut received = BytesMut::new();
        let mut batch = Batch::default();
        let mut broken = false;
        while !broken {
            received.reserve(RECEIVE_LEN);
            if client.read_buf(&mut received).await? == 0 {
                break;
            }
            loop {
                match Command::decode(&received) {
                    Ok(None) => break,
                    Ok(Some(command)) => {
                        let len = command.len;
                        self.treat(&command, &mut batch, backend).await;
                        received.advance(len);
                    }
                    Err(_) => {
                        // Redis has the words for it. It would take an inline command, which the front could
                        // not count; so it is shown a mistake instead.
                        let bytes = if received[0] == b'*' { &received[..] } else { b"*1\r\n!\r\n" };
                        batch.bytes.extend_from_slice(bytes);
                        broken = true;
                        break;
                    }
                }
            }
            self.send(&mut batch, backend).await;
        }
        let _ = backend.shutdown().await;
        std::future::pending().await
    }

    async fn treat(&self, command: &Command<'_>, batch: &mut Batch, backend: &mut (impl AsyncWrite + Unpin)) {
        match command.treatment() {
            Treatment::Drop => (),
            Treatment::Forward(expected) => batch.push(expected, command.bytes()),
            Treatment::OversizeLogin => {
                self.front.census.login_arrived(&self.host);
                batch.push(Expected::Login(Err(Refusal::NotAToken)), command.bytes());
            }
            Treatment::Login { user, token } => {
                self.front.census.login_arrived(&self.host);
                if !self.front.faults.auth_delay().is_zero() {
                    // What came before the login does not wait for it.
                    self.send(batch, backend).await;
                }
                let name = user.map_or(b"default".as_slice(), |user| command.argument(user));
                let opinion = self.front.check(name, command.argument(token)).await;
                // A bad one goes to the server with a wrong password, so that the refusal has redis' words,
                // its place among the replies, and QUEUED in a MULTI.
                let credentials = match &opinion {
                    Ok(grant) => (grant.oid.as_str(), self.front.password.as_str()),
                    Err(_) => ("default", "refused"),
                };
                command.rewrite(user, token, credentials, &mut batch.bytes);
                batch.expect(Expected::Login(opinion));
            }
        }
    }

    /// Sends the batch. The server may be gone by then; its last words are for
    /// [`Connection::return_replies`].
    async fn send(&self, batch: &mut Batch, backend: &mut (impl AsyncWrite + Unpin)) {
        {
            let mut outstanding = self.outstanding();
            batch.expected.drain(..).for_each(|expected| outstanding.push(expected));
        }
        let _ = backend.write_all(&batch.bytes).await;
        batch.bytes.clear();
    }

    /// Completes when the server has closed the connection.
    async fn return_replies(
        &self,
        backend: &mut (impl AsyncRead + Unpin),
        client: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut received = BytesMut::new();
        let mut oid = String::new();
        loop {
            received.reserve(RECEIVE_LEN);
            if backend.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            let len = self.settle(&received, &mut oid)?;
            if len > 0 {
                client.write_all(&received[..len]).await?;
                client.flush().await?;
                received.advance(len);
            }
        }
    }

    /// Matches the whole frames at the start of `received` with the commands; the answer is their length.
    fn settle(&self, received: &[u8], oid: &mut String) -> io::Result<usize> {
        let mut outstanding = self.outstanding();
        let (mut settled_len, mut answered_count) = (0, 0);
        loop {
            let rest = &received[settled_len..];
            let (frame, len) = match reply::decode(rest, outstanding.resp3) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => {
                    eprintln!("respass-emulator: closing a connection: redis-protocol cannot read a reply");
                    return Err(io::ErrorKind::InvalidData.into());
                }
            };
            settled_len += len;
            if outstanding.settle_ordinary(&rest[..len]) {
                answered_count += 1;
                continue;
            }
            match outstanding.settle(&frame.view(rest)) {
                Settled::Answered => answered_count += 1,
                Settled::OutOfBand => (),
                Settled::Logins(logins) => {
                    self.count(oid, &mut answered_count);
                    logins.into_iter().for_each(|login| self.apply(login, oid));
                }
            }
        }
        self.count(oid, &mut answered_count);
        Ok(settled_len)
    }

    fn apply(&self, login: Result<Grant, Refusal>, oid: &mut String) {
        match login {
            Ok(grant) => {
                self.front.census.login_accepted(self.id, &grant);
                // The last login counts, even if its token expires sooner.
                self.expires_at.send_replace(Some(grant.expires_at));
                *oid = grant.oid;
            }
            Err(refusal) => self.front.census.login_refused(refusal),
        }
    }

    /// Books answered commands; those before a login belong to nobody.
    fn count(&self, oid: &str, answered_count: &mut u64) {
        if *answered_count > 0 && !oid.is_empty() {
            self.front.census.commands_answered(oid, *answered_count);
        }
        *answered_count = 0;
    }

    /// Completes when the connection has to be closed although both sides are well: true at the token's
    /// expiry.
    async fn closed_from_outside(&self) -> bool {
        let mut expiry = self.expires_at.subscribe();
        let mut close_all = self.front.close_all.subscribe();
        loop {
            let expires_at = *expiry.borrow_and_update();
            tokio::select! {
                () = sleep_until(expires_at) => return true,
                _ = expiry.changed() => (),
                _ = close_all.changed() => return false,
            }
        }
    }

    fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().expect("nothing panics with this lock held")
    }
}

/// Sleeps until a time in seconds since 1970, or for ever.
async fn sleep_until(time: Option<i64>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let at = UNIX_EPOCH + Duration::from_secs(time.max(0).cast_unsigned());
    tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await;
}
