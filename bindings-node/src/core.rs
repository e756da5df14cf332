//! The client: facts in, outputs out.

use crate::settings::Settings;
use crate::source::{News, Token, seed_of};
use crate::text::LongText;
use crate::window::{self, Register};
use crate::{milliseconds, now};
use napi::Env;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;
use respass::{
    Client, CommandId, ConnId, DisconnectCause, MessageBatch, Now, Output, ReplyBatch, SubmitError,
};

/// What `Core.poll` found. Mirrored in `lib/replies.js`.
#[derive(Clone, Copy)]
enum Kind {
    None = 0,
    Connect = 1,
    Disconnect = 2,
    Transmit = 3,
    TokenNeeded = 4,
    Replies = 5,
    Failed = 6,
    Notice = 7,
    /// The window is too small for what waits: poll again with a larger one.
    Grow = 8,
    Messages = 9,
}

/// Added to a kind: no output follows.
const LAST: u32 = 16;

/// What `poll` found, where that is more than a number.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct Detail {
    /// A host, a cause, a server's text; the name of a notice.
    pub text: String,
    /// What a notice tells, or a connection is for.
    pub name: String,
    /// A port or an error's number.
    pub code: u32,
    /// What became of a command.
    pub outcome: u32,
    /// What to do about it, where experience tells. Part of `text`.
    pub hint: Option<String>,
    /// How much a notice matters: 1 routine, 2 worth knowing, 3 somebody should look.
    pub severity: u32,
}

/// How a client stands with its login.
#[napi(object, object_from_js = false)]
pub struct AuthStatus {
    /// Whether a connection is ready.
    pub is_ready: bool,
    /// The object id in the latest token.
    pub oid: Option<String>,
    /// When the token in use ends by its own claim, in milliseconds since 1970.
    pub expires_on_ms: Option<f64>,
    /// How often a live connection presented a newer token with success.
    pub reauth_count: f64,
    /// What last went wrong, if it still does.
    pub last_error: Option<String>,
    /// Every connection that there is.
    pub connections: Vec<ConnectionStatus>,
}

/// How one connection stands.
#[napi(object, object_from_js = false)]
pub struct ConnectionStatus {
    /// The host that was dialled.
    pub host: String,
    /// The port that was dialled.
    pub port: u16,
    /// What it is for.
    pub lane: &'static str,
    /// Whether it is logged in.
    pub is_ready: bool,
    /// When the token that it uses ends by its own claim, in milliseconds since 1970.
    pub expires_on_ms: Option<f64>,
}

/// What the window had no room for.
enum Waiting {
    Replies(ReplyBatch),
    Messages(MessageBatch),
}

/// A Redis client without sockets, clocks and threads.
#[napi]
pub struct Core {
    pub(crate) client: Client,
    detail: Detail,
    waiting: Option<Waiting>,
    /// Bytes that are handed over instead of copied.
    bytes: Vec<u8>,
}

/// The part of a caller's buffer that is in use.
pub(crate) fn used<T>(block: &[T], len: u32) -> &[T] {
    block.get(..len as usize).unwrap_or(block)
}

fn status_of(status: respass::ConnectionStatus) -> ConnectionStatus {
    ConnectionStatus {
        host: status.host,
        port: status.port,
        lane: status.lane.name(),
        is_ready: status.is_ready,
        expires_on_ms: status.expires_on.map(milliseconds),
    }
}

#[napi]
impl Core {
    /// A core that connects when the first command is submitted.
    #[napi(constructor, catch_unwind)]
    pub fn new(settings: Settings, seed: &[u8], monotonic_us: f64, unix_us: f64) -> napi::Result<Core> {
        let client = Client::new(settings.into_config(), seed_of(seed)?, now(monotonic_us, unix_us))
            .map_err(|error| napi::Error::from_reason(error.text))?;
        Ok(Core { client, detail: Detail::default(), waiting: None, bytes: Vec::new() })
    }

    /// Connects without waiting for a command.
    #[napi(catch_unwind)]
    pub fn connect(&mut self, monotonic_us: f64, unix_us: f64) {
        self.client.connect(now(monotonic_us, unix_us));
    }

    /// Accepts the commands of one turn; returns the first one's id. One that cannot be sent fails by itself. Where the
    /// blocks do not fit each other: 0, and `detail` says why.
    #[napi(catch_unwind)]
    pub fn submit_each(
        &mut self,
        bytes: &[u8],
        bytes_len: u32,
        lengths: &[u32],
        lengths_len: u32,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let (bytes, lengths) = (used(bytes, bytes_len), used(lengths, lengths_len));
        let ids = self.client.submit_each(bytes, lengths, now(monotonic_us, unix_us));
        self.accepted(ids.map(|ids| ids.first))
    }

    /// Accepts a transaction; returns its id, or 0 where it is refused, and `detail` says why.
    #[napi(catch_unwind)]
    pub fn submit_transaction(
        &mut self,
        bytes: &[u8],
        bytes_len: u32,
        lengths: &[u32],
        lengths_len: u32,
        monotonic_us: f64,
        unix_us: f64,
    ) -> f64 {
        let (bytes, lengths) = (used(bytes, bytes_len), used(lengths, lengths_len));
        let id = self.client.submit_transaction(bytes, lengths, now(monotonic_us, unix_us));
        self.accepted(id)
    }

    /// Gives up on a command.
    #[napi(catch_unwind)]
    pub fn cancel(&mut self, command: f64) {
        self.client.cancel(CommandId::from_u64(command as u64));
    }

    /// Accepts no more commands, and closes as soon as none waits.
    #[napi(catch_unwind)]
    pub fn finish(&mut self, monotonic_us: f64, unix_us: f64) {
        self.client.finish(now(monotonic_us, unix_us));
    }

    /// Whether nothing follows.
    #[napi(getter, catch_unwind)]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How the client stands with its login. Holds no secret.
    #[napi(catch_unwind)]
    pub fn auth_status(&self) -> AuthStatus {
        let status = self.client.auth_status();
        AuthStatus {
            is_ready: status.is_ready,
            oid: status.oid,
            expires_on_ms: status.expires_on.map(milliseconds),
            reauth_count: status.reauth_count as f64,
            last_error: status.last_error,
            connections: status.connections.into_iter().map(status_of).collect(),
        }
    }

    /// Ends everything.
    #[napi(catch_unwind)]
    pub fn close(&mut self, monotonic_us: f64, unix_us: f64) {
        self.client.close(now(monotonic_us, unix_us));
    }

    /// The socket that was asked for is connected.
    #[napi(catch_unwind)]
    pub fn connected(&mut self, conn: f64, monotonic_us: f64, unix_us: f64) {
        self.client.handle_connected(ConnId::from_u64(conn as u64), now(monotonic_us, unix_us));
    }

    /// Bytes came in.
    #[napi(catch_unwind)]
    pub fn received(&mut self, conn: f64, bytes: &[u8], bytes_len: u32, monotonic_us: f64, unix_us: f64) {
        let now = now(monotonic_us, unix_us);
        self.client.handle_received(ConnId::from_u64(conn as u64), used(bytes, bytes_len), now);
    }

    /// There is no socket any more, or none was made.
    #[napi(catch_unwind)]
    pub fn disconnected(
        &mut self,
        conn: f64,
        was_connected: bool,
        text: Option<String>,
        monotonic_us: f64,
        unix_us: f64,
    ) {
        let cause = match text {
            Some(text) if was_connected => DisconnectCause::Broken(text),
            None if was_connected => DisconnectCause::Closed,
            text => DisconnectCause::ConnectFailed(text.unwrap_or_default()),
        };
        self.client.handle_disconnected(ConnId::from_u64(conn as u64), cause, now(monotonic_us, unix_us));
    }

    /// A source issued a token, or says that there is none.
    #[napi(catch_unwind)]
    pub fn token(&mut self, token: &Token, monotonic_us: f64, unix_us: f64) {
        let now = now(monotonic_us, unix_us);
        match &token.0 {
            News::Issued(token) => self.client.handle_token(token, now),
            News::Failed(failure) => self.client.handle_token_failed(failure, now),
        }
    }

    /// Time has passed.
    #[napi(catch_unwind)]
    pub fn timeout(&mut self, monotonic_us: f64, unix_us: f64) {
        self.client.handle_timeout(now(monotonic_us, unix_us));
    }

    /// Bytes to write; they count as transmitted. To be called until it is empty.
    #[napi(catch_unwind)]
    pub fn take_transmit<'env>(
        &mut self,
        env: &'env Env,
        conn: f64,
        monotonic_us: f64,
        unix_us: f64,
    ) -> napi::Result<BufferSlice<'env>> {
        let now = now(monotonic_us, unix_us);
        BufferSlice::from_data(env, self.client.take_transmit(ConnId::from_u64(conn as u64), now))
    }

    /// As `takeTransmit`, but copies as much as there is room for; how much that was, negative where more is to come.
    #[napi(catch_unwind)]
    pub fn transmit(&mut self, conn: f64, mut into: BufferSlice<'_>, monotonic_us: f64, unix_us: f64) -> f64 {
        self.copy_transmit(ConnId::from_u64(conn as u64), &mut into, now(monotonic_us, unix_us))
    }

    /// The next output: a number that says what it is, and its particulars in the window's registers.
    #[napi(catch_unwind)]
    pub fn poll(&mut self, mut window: BufferSlice<'_>, monotonic_us: f64, unix_us: f64) -> u32 {
        self.next_output(&mut window, &mut [], now(monotonic_us, unix_us)) & !LAST
    }

    /// As `poll`, with `LAST` added where nothing follows until something happens; then the wakeup is told as well.
    /// Where there is something to transmit, it is copied to `out`, as far as there is room.
    #[napi(catch_unwind)]
    pub fn advance(
        &mut self,
        mut window: BufferSlice<'_>,
        mut out: BufferSlice<'_>,
        monotonic_us: f64,
        unix_us: f64,
    ) -> u32 {
        self.next_output(&mut window, &mut out, now(monotonic_us, unix_us))
    }

    /// `received` and then `advance`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments, reason = "each call across the line costs more than its arguments")]
    pub fn read(
        &mut self,
        conn: f64,
        bytes: &[u8],
        bytes_len: u32,
        mut window: BufferSlice<'_>,
        mut out: BufferSlice<'_>,
        monotonic_us: f64,
        unix_us: f64,
    ) -> u32 {
        let now = now(monotonic_us, unix_us);
        self.client.handle_received(ConnId::from_u64(conn as u64), used(bytes, bytes_len), now);
        self.next_output(&mut window, &mut out, now)
    }

    /// `submitEach`, whose result goes to a register, and then `advance`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments, reason = "each call across the line costs more than its arguments")]
    pub fn submit(
        &mut self,
        bytes: &[u8],
        bytes_len: u32,
        lengths: &[u32],
        lengths_len: u32,
        mut window: BufferSlice<'_>,
        mut out: BufferSlice<'_>,
        monotonic_us: f64,
        unix_us: f64,
    ) -> u32 {
        let first = self.submit_each(bytes, bytes_len, lengths, lengths_len, monotonic_us, unix_us);
        window::set(&mut window, Register::First, first);
        self.next_output(&mut window, &mut out, now(monotonic_us, unix_us))
    }

    /// What `poll` found, where that is more than a number.
    #[napi(catch_unwind)]
    pub fn detail(&mut self) -> Detail {
        std::mem::take(&mut self.detail)
    }

    /// Bytes that `poll` found: a long block of replies, or the last bytes of a connection.
    #[napi(catch_unwind)]
    pub fn take_bytes<'env>(&mut self, env: &'env Env) -> napi::Result<BufferSlice<'env>> {
        BufferSlice::from_data(env, std::mem::take(&mut self.bytes))
    }

    /// The same block's text between two offsets as a string that keeps the block, without a copy. A Buffer of the
    /// whole block where Node cannot do that.
    #[napi(catch_unwind, ts_return_type = "string | Buffer")]
    pub fn take_text(&mut self, start: f64, len: f64) -> LongText {
        LongText { block: std::mem::take(&mut self.bytes), start: start as usize, len: len as usize }
    }

    fn copy_transmit(&mut self, conn: ConnId, into: &mut [u8], now: Now) -> f64 {
        let bytes = self.client.transmit(conn, now);
        let len = bytes.len().min(into.len());
        if let (Some(into), Some(bytes)) = (into.get_mut(..len), bytes.get(..len)) {
            into.copy_from_slice(bytes);
        }
        self.client.handle_transmitted(conn, len, now);
        if self.client.has_transmit(conn) { -(len as f64) } else { len as f64 }
    }

    fn next_output(&mut self, window: &mut [u8], out: &mut [u8], now: Now) -> u32 {
        let (kind, id) = match self.waiting.take() {
            Some(Waiting::Replies(batch)) => (self.show(batch, window), 0),
            Some(Waiting::Messages(batch)) => self.show_messages(batch, window),
            None => self.next(window),
        };
        window::set(window, Register::Id, id as f64);
        if matches!(kind, Kind::Transmit) && !out.is_empty() {
            let len = self.copy_transmit(ConnId::from_u64(id), out, now);
            window::set(window, Register::Sendable, len);
        }
        let is_last = self.waiting.is_none() && !self.client.has_output();
        if is_last {
            let wakeup = self.client.poll_timeout(now);
            let at = wakeup.map_or(f64::INFINITY, |wakeup| wakeup.at.as_micros() as f64);
            window::set(window, Register::Wakeup, at);
        }
        kind as u32 | if is_last { LAST } else { 0 }
    }

    pub(crate) fn accepted(&mut self, id: Result<CommandId, SubmitError>) -> f64 {
        self.taken(id.map(CommandId::as_u64))
    }

    /// A number that the client gave out, or 0 where it refused, and `detail` says why.
    pub(crate) fn taken(&mut self, number: Result<u64, SubmitError>) -> f64 {
        match number {
            Ok(number) => number as f64,
            Err(error) => {
                let code = (error.code as u16).into();
                self.detail = Detail { text: error.text, code, ..Detail::default() };
                0.0
            }
        }
    }

    fn next(&mut self, window: &mut [u8]) -> (Kind, u64) {
        match self.client.poll_output() {
            None => (Kind::None, 0),
            Some(Output::Replies(batch)) => (self.show(batch, window), 0),
            Some(Output::Messages(batch)) => self.show_messages(batch, window),
            Some(Output::Transmit { conn }) => (Kind::Transmit, conn.as_u64()),
            Some(Output::Connect { conn, host, port }) => {
                let name = self.lane_of(conn).to_owned();
                self.detail = Detail { text: host, name, code: port.into(), ..Detail::default() };
                (Kind::Connect, conn.as_u64())
            }
            Some(Output::Disconnect { conn, last_bytes }) => {
                self.bytes = last_bytes;
                (Kind::Disconnect, conn.as_u64())
            }
            Some(Output::TokenNeeded { newer_than }) => (Kind::TokenNeeded, newer_than),
            Some(Output::Failed { command, error }) => {
                let (code, outcome) = ((error.code as u16).into(), error.outcome as u32);
                let hint = error.code.hint().map(str::to_owned);
                self.detail = Detail { text: error.message(), code, outcome, hint, ..Detail::default() };
                (Kind::Failed, command.as_u64())
            }
            Some(Output::Notice(notice)) => {
                let (name, text) = (notice.name().to_owned(), notice.to_string());
                let severity = notice.severity() as u32;
                self.detail = Detail { name, text, severity, ..Detail::default() };
                (Kind::Notice, notice.conn().map_or(0, ConnId::as_u64))
            }
            Some(_) => (Kind::Notice, 0),
        }
    }

    fn show(&mut self, mut batch: ReplyBatch, window: &mut [u8]) -> Kind {
        if !window::fill(window, &batch) {
            self.waiting = Some(Waiting::Replies(batch));
            return Kind::Grow;
        }
        if window::is_long(&batch.bytes) {
            self.bytes = std::mem::take(&mut batch.bytes);
        }
        self.client.recycle(batch);
        Kind::Replies
    }

    fn show_messages(&mut self, batch: MessageBatch, window: &mut [u8]) -> (Kind, u64) {
        if !window::fill_messages(window, &batch) {
            self.waiting = Some(Waiting::Messages(batch));
            return (Kind::Grow, 0);
        }
        let subscriber = batch.subscriber.as_u64();
        if window::is_long(&batch.bytes) {
            self.bytes = batch.bytes;
        }
        (Kind::Messages, subscriber)
    }

    /// What a connection is for; empty where the client does not tell.
    fn lane_of(&self, conn: ConnId) -> &'static str {
        let connections = self.client.auth_status().connections;
        connections.iter().find(|status| status.conn == conn).map_or("", |status| status.lane.name())
    }
}
