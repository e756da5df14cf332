//! One connection of a client: commands to the server, replies back, and what strikes it from outside.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::Front;
use super::command::{Command, Treatment};
use super::ending::{Ending, frozen, sleep_until};
use super::gate::Gate;
use super::live::{Spoil, Strike, Strikes};
use super::outstanding::{Content, Expected, Outstanding, Settled};
use super::{reply, wording};
use crate::census::Cause;
use crate::cluster::Door;
use crate::dialect::{Refused, Verdict};
use crate::fault::ExpiryMode;
use crate::token::{Grant, Refusal};

/// Runs a connection to its end.
pub(super) async fn run(
    front: &Front,
    (door, server): (Door, usize),
    client: TlsStream<TcpStream>,
    backend: UnixStream,
) {
    let connection = Connection::new(front, door, &client);
    let mut strikes = front.live.add(connection.id, door, server);
    if front.cluster.server(door) != server {
        // There was a failover while this connection was being made.
        front.live.strike_server(server, Strike::Close(Cause::Failover));
    }
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut backend_in, mut backend_out) = backend.into_split();
    let ending = {
        let mut commands = pin!(connection.forward_commands(&mut client_in, &mut backend_out));
        let mut replies = pin!(connection.return_replies(&mut backend_in, &mut client_out));
        let mut cut_by = None;
        loop {
            let event = tokio::select! {
                biased;
                event = connection.next_event(&mut strikes, &mut cut_by) => event,
                _ = &mut commands => Event::End(Ending::orderly(Cause::Client)),
                ending = &mut replies => Event::End(ending),
            };
            match event {
                Event::End(ending) => break ending,
                Event::Freeze(time) => {
                    if let Some(ending) = frozen(time, &mut strikes).await {
                        break ending;
                    }
                }
            }
        }
    };
    front.live.remove(connection.id);
    front.census.disconnected(connection.id, ending.cause);
    drop((backend_in, backend_out));
    ending.close(client_in.unsplit(client_out)).await;
}

const RECEIVE_LEN: usize = 64 * 1_024;

/// What strikes a connection.
enum Event {
    End(Ending),
    /// For so long, or until it thaws.
    Freeze(Option<Duration>),
}

struct Connection<'f> {
    front: &'f Front,
    id: u64,
    door: Door,
    /// The name in the TLS handshake; empty if there was none.
    host: String,
    outstanding: Mutex<Outstanding>,
    /// The user of the last good login; empty before the first.
    user: Mutex<String>,
    /// Expiry of the last good login, in seconds since 1970.
    expires_at: watch::Sender<Option<i64>>,
    last_received: Mutex<Instant>,
    client_closed: AtomicBool,
    tampering: Mutex<Tampering>,
    tampered: Notify,
}

/// What a fault does to the replies.
#[derive(Default)]
struct Tampering {
    /// Sent between two replies.
    injected: Vec<u8>,
    /// What happens to the next reply.
    spoil: Option<Spoil>,
}

/// Replies that go to the client with one write.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// Length of the last frame in it.
    last_len: usize,
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

impl<'f> Connection<'f> {
    fn new(front: &'f Front, door: Door, client: &TlsStream<TcpStream>) -> Connection<'f> {
        Connection {
            front,
            id: front.census.connected(door),
            door,
            host: client.get_ref().1.server_name().unwrap_or_default().to_owned(),
            outstanding: Mutex::default(),
            user: Mutex::default(),
            expires_at: watch::Sender::new(None),
            last_received: Mutex::new(Instant::now()),
            client_closed: AtomicBool::new(false),
            tampering: Mutex::default(),
            tampered: Notify::new(),
        }
    }

    /// Completes only at an error of the client's side: replies may still be on their way when it stops
    /// sending.
    async fn forward_commands(
        &self,
        client: &mut (impl AsyncRead + Unpin),
        backend: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut received = BytesMut::new();
        let (mut batch, mut gate) = (Batch::default(), Gate::default());
        let mut broken = false;
        while !broken {
            received.reserve(RECEIVE_LEN);
            if client.read_buf(&mut received).await? == 0 {
                self.client_closed.store(true, Ordering::Relaxed);
                break;
            }
            *lock(&self.last_received) = Instant::now();
            loop {
                match Command::decode(&received) {
                    Ok(None) => break,
                    Ok(Some(command)) => {
                        let len = command.len;
                        self.treat(&command, &mut gate, &mut batch, backend).await;
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

    async fn treat(
        &self,
        command: &Command<'_>,
        gate: &mut Gate,
        batch: &mut Batch,
        backend: &mut (impl AsyncWrite + Unpin),
    ) {
        let treatment = command.treatment();
        if let Treatment::Drop = treatment {
            return;
        }
        if let Some(lane) = command.lane() {
            self.front.census.in_lane(self.id, lane);
        }
        let verdict = self.judge_hello(command);
        match verdict.unwrap_or_else(|| gate.judge(self.front.dialect, &command.arguments())) {
            Verdict::Pass => (),
            // In a MULTI it is the server that takes note of the mistake.
            Verdict::Refuse(refused) => return batch.push(Expected::Refused(refused), MISTAKE),
            Verdict::Spoil(position) => {
                command.spoil(position, &mut batch.bytes);
                return batch.expect(Expected::Ordinary(1));
            }
            Verdict::SelectZero => return batch.push(Expected::Ordinary(1), SELECT_ZERO),
        }
        match treatment {
            Treatment::Drop => (),
            Treatment::Forward(Expected::Topology(view)) => {
                let question = view.question(self.front.dialect.product);
                batch.push(Expected::Topology(view), question.unwrap_or(command.bytes()));
            }
            Treatment::Forward(Expected::Ordinary(count)) => {
                match self.front.injected_error(self.door, command) {
                    Some(refused) => batch.push(Expected::Refused(refused), MISTAKE),
                    None => batch.push(Expected::Ordinary(count), command.bytes()),
                }
            }
            Treatment::Forward(expected) => batch.push(expected, command.bytes()),
            Treatment::OversizeLogin => {
                self.front.census.login_arrived(self.door, &self.host);
                batch.push(Expected::Login(Err(Refusal::NotAToken)), command.bytes());
            }
            Treatment::Login { user, token } => self.log_in(command, (user, token), batch, backend).await,
        }
    }

    /// What HELLO meets before anything else: RESP3 that is off, or in Redis 6.0 a policy without HELLO. 6.0
    /// lets only AUTH pass whatever the rights; without a login the rights are those of the default user.
    fn judge_hello(&self, command: &Command<'_>) -> Option<Verdict> {
        let (hello, resp3) = command.is_hello();
        if resp3 && self.front.faults.cache().resp3_off {
            return Some(Verdict::Refuse(Refused::first_of_all("NOPROTO unsupported protocol version")));
        }
        let allowed = !hello || self.front.access.allows(&lock(&self.user), "hello", "");
        (!allowed).then(|| Verdict::Refuse(Refused::after_rights("", "hello", "")))
    }

    async fn log_in(
        &self,
        command: &Command<'_>,
        (user, token): (Option<usize>, usize),
        batch: &mut Batch,
        backend: &mut (impl AsyncWrite + Unpin),
    ) {
        self.front.census.login_arrived(self.door, &self.host);
        if !self.front.auth_times().0.is_zero() {
            // What came before the login does not wait for it.
            self.send(batch, backend).await;
        }
        let name = user.map_or(b"default".as_slice(), |user| command.argument(user));
        let opinion = self.front.check(name, command.argument(token)).await;
        // A bad one goes to the server with a wrong password, so that the refusal has redis' words, its place
        // among the replies, and QUEUED in a MULTI.
        let credentials = match &opinion {
            Ok(grant) => (grant.oid.as_str(), self.front.password.as_str()),
            Err(_) => ("default", "refused"),
        };
        command.rewrite(user, token, credentials, &mut batch.bytes);
        batch.expect(Expected::Login(opinion));
    }

    /// Sends the batch, unless the cluster wants it to wait. The server may be gone by then; its last words are for
    /// [`Connection::return_replies`].
    async fn send(&self, batch: &mut Batch, backend: &mut (impl AsyncWrite + Unpin)) {
        if !batch.bytes.is_empty() {
            self.front.cluster.admit().await;
        }
        {
            let mut outstanding = lock(&self.outstanding);
            batch.expected.drain(..).for_each(|expected| outstanding.push(expected));
        }
        let _ = backend.write_all(&batch.bytes).await;
        batch.bytes.clear();
    }

    /// Completes when the server has closed the connection, or a fault has cut a reply.
    async fn return_replies(
        &self,
        backend: &mut (impl AsyncRead + Unpin),
        client: &mut (impl AsyncWrite + Unpin),
    ) -> Ending {
        let mut received = BytesMut::new();
        loop {
            received.reserve(RECEIVE_LEN);
            tokio::select! {
                len = backend.read_buf(&mut received) => if !len.is_ok_and(|len| len > 0) {
                    let by_client = self.client_closed.load(Ordering::Relaxed);
                    return Ending::orderly(if by_client { Cause::Client } else { Cause::Server });
                },
                () = self.tampered.notified() => (),
            }
            let mut output = Output::default();
            output.bytes.append(&mut lock(&self.tampering).injected);
            match self.settle(&received, &mut output) {
                Ok(len) => received.advance(len),
                Err(Unreadable) => return Ending::orderly(Cause::Unreadable),
            }
            if let Some(ending) = self.write(output, client).await {
                return ending;
            }
        }
    }

    /// Writes replies to the client; the answer is the end of the connection, if this was it.
    async fn write(&self, mut output: Output, client: &mut (impl AsyncWrite + Unpin)) -> Option<Ending> {
        let wait = self.front.faults.cache().slow_reply;
        if !output.bytes.is_empty() && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut end = None;
        if output.last_len > 0 {
            let begin = output.bytes.len() - output.last_len;
            match lock(&self.tampering).spoil.take() {
                None => (),
                Some(Spoil::Swallow) => output.bytes.truncate(begin),
                Some(Spoil::Duplicate) => output.bytes.extend_from_within(begin..),
                Some(Spoil::Cut(cause)) => {
                    output.bytes.truncate(begin + output.last_len / 2);
                    end = Some(Ending::abrupt(cause));
                }
            }
        }
        match write_all(client, &output.bytes).await {
            Ok(()) => end,
            Err(_gone) => Some(Ending::orderly(Cause::Client)),
        }
    }

    /// Matches the whole frames at the start of `received` with the commands; the answer is their length.
    fn settle(&self, received: &[u8], output: &mut Output) -> Result<usize, Unreadable> {
        let mut outstanding = lock(&self.outstanding);
        let (mut settled_len, mut answered_count) = (0, 0);
        loop {
            let rest = &received[settled_len..];
            let (frame, len) = match reply::decode(rest, outstanding.resp3) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => {
                    eprintln!("respass-emulator: closing a connection: redis-protocol cannot read a reply");
                    return Err(Unreadable);
                }
            };
            settled_len += len;
            let bytes = &rest[..len];
            let begin = output.bytes.len();
            let content = outstanding.content();
            if outstanding.settle_ordinary(bytes) {
                answered_count += 1;
                self.reword(bytes, &mut output.bytes);
            } else {
                match outstanding.settle(&frame.view(rest)) {
                    Settled::OutOfBand => output.bytes.extend_from_slice(bytes),
                    Settled::Answered => {
                        answered_count += 1;
                        self.reword_content(content, outstanding.resp3, bytes, &mut output.bytes);
                    }
                    Settled::Refused(refused) => {
                        answered_count += 1;
                        self.refuse(&refused, &mut output.bytes);
                    }
                    Settled::Logins(logins) => {
                        self.count(&mut answered_count);
                        logins.into_iter().for_each(|login| self.apply(login));
                        self.reword_content(content, outstanding.resp3, bytes, &mut output.bytes);
                    }
                }
            }
            output.last_len = output.bytes.len() - begin;
        }
        self.count(&mut answered_count);
        Ok(settled_len)
    }

    fn reword(&self, frame: &[u8], output: &mut Vec<u8>) {
        if frame[0] == b'-' {
            self.reword_errors(frame, output);
        } else {
            output.extend_from_slice(frame);
        }
    }

    fn reword_errors(&self, frame: &[u8], output: &mut Vec<u8>) {
        let Front { dialect, cluster, .. } = self.front;
        wording::errors(*dialect, |text| cluster.redirect(text), &lock(&self.user), frame, output);
    }

    fn reword_content(&self, content: Content, resp3: bool, frame: &[u8], output: &mut Vec<u8>) {
        let dialect = self.front.dialect;
        match (content, frame[0]) {
            (_, b'>') => output.extend_from_slice(frame),
            (Content::Greeting, b'%' | b'*') => {
                let broken = match frame[0] {
                    b'%' => self.front.faults.cache().take_hello_broken(),
                    _ => None,
                };
                output.extend(wording::greeting(dialect, broken, frame));
            }
            (Content::Info, b'$' | b'=') => output.extend(wording::info(dialect, frame)),
            (Content::Topology(view), b'*' | b'$' | b'=') => {
                match self.front.cluster.show(view, self.door, resp3, frame) {
                    Some(shown) => output.extend(shown),
                    None => output.extend_from_slice(b"-ERR the emulator cannot read its own topology\r\n"),
                }
            }
            _ => self.reword_errors(frame, output),
        }
    }

    fn refuse(&self, refused: &Refused, output: &mut Vec<u8>) {
        let user = lock(&self.user);
        let allowed = refused
            .after_rights
            .as_ref()
            .is_none_or(|(name, subcommand)| self.front.access.allows(&user, name, subcommand));
        let text = wording::refusal(self.front.dialect.product, &user, allowed, refused);
        output.extend_from_slice(format!("-{text}\r\n").as_bytes());
    }

    fn apply(&self, login: Result<Grant, Refusal>) {
        match login {
            Ok(grant) => {
                self.front.census.login_accepted(self.id, &grant);
                self.front.live.logged_in(self.id, &grant.oid);
                // The last login counts, even if its token expires sooner.
                self.expires_at.send_replace(grant.expires_at);
                *lock(&self.user) = grant.oid;
            }
            Err(refusal) => self.front.census.login_refused(refusal),
        }
    }

    /// Books answered commands; those before a login belong to nobody.
    fn count(&self, answered_count: &mut u64) {
        let user = lock(&self.user);
        if *answered_count > 0 && !user.is_empty() {
            self.front.census.commands_answered(&user, *answered_count);
        }
        *answered_count = 0;
    }

    /// The next thing that strikes the connection although both sides are well. `cut_by` is when a
    /// connection that waits for a reply to cut has waited long enough.
    async fn next_event(&self, strikes: &mut Strikes, cut_by: &mut Option<Instant>) -> Event {
        let mut expiry = self.expires_at.subscribe();
        loop {
            let expires_at = *expiry.borrow_and_update();
            let (close, idle_cut) = {
                let faults = self.front.faults.cache();
                (faults.expiry_close, faults.idle_cut)
            };
            let expired_at = cut_by.or_else(|| instant_of(expires_at?, close.delay));
            let idle_at = idle_cut.map(|time| *lock(&self.last_received) + time);
            tokio::select! {
                () = sleep_until(expired_at) => {
                    if close.mode != ExpiryMode::MidReply || cut_by.is_some() {
                        return Event::End(Ending::at_expiry(close.mode));
                    }
                    *cut_by = Some(Instant::now() + CUT_MAX);
                    lock(&self.tampering).spoil = Some(Spoil::Cut(Cause::Expired));
                }
                () = sleep_until(idle_at) => {
                    // Something may have arrived in the meantime.
                    if idle_cut.is_some_and(|time| lock(&self.last_received).elapsed() >= time) {
                        return Event::End(Ending::orderly(Cause::Idle));
                    }
                }
                _ = expiry.changed() => (),
                Some(strike) = strikes.recv() => {
                    if let Some(event) = self.strike(strike) {
                        return event;
                    }
                }
            }
        }
    }

    fn strike(&self, strike: Strike) -> Option<Event> {
        match strike {
            Strike::Close(cause) => return Some(Event::End(Ending::orderly(cause))),
            Strike::Freeze(time) => return Some(Event::Freeze(time)),
            Strike::Inject(bytes) => {
                lock(&self.tampering).injected.extend_from_slice(bytes);
                self.tampered.notify_one();
            }
            Strike::Spoil(spoil) => lock(&self.tampering).spoil = Some(spoil),
            Strike::Thaw => lock(&self.tampering).spoil = None,
            Strike::Recheck => (),
        }
        None
    }
}

/// What the server gets in place of a refused command.
const MISTAKE: &[u8] = b"*1\r\n$7\r\nREFUSED\r\n";
const SELECT_ZERO: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

/// How long a connection whose token has expired waits for a reply to cut.
const CUT_MAX: Duration = Duration::from_secs(2);

/// redis-protocol cannot read what the server sent.
struct Unreadable;

async fn write_all(client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    client.write_all(bytes).await?;
    client.flush().await
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nothing panics with this lock held")
}

/// The moment so long after a time in seconds since 1970; none if it is too far away for a clock.
fn instant_of(time: i64, later: Duration) -> Option<Instant> {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(time.max(0).cast_unsigned()))?.checked_add(later)?;
    Instant::now().checked_add(at.duration_since(SystemTime::now()).unwrap_or_default())
}
