//! Drives a core over a blocking socket, on the caller's thread. It decides nothing: the core says what to do and
//! until when to wait.

use crate::clock::{self, Clock};
use crate::credential::{Subscription, Tokens};
use crate::handle::Failure;
use crate::reply::{Piece, Replies, Spare};
use crate::socket::{Progress, Socket, wait};
use crate::source::News;
use crate::{error, output};
use respass_core::{
    Client, CommandError, CommandId, ConnId, DisconnectCause, Instant, Notice, Now, Output, ReplyBatch,
    SubmitError,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// One read, at least.
const READ_LEN: usize = 64 << 10;
/// Appended commands begin to leave when there is about so much of them: the server works while the rest is given. A
/// write costs as much as some hundred commands do, so it is not less, and the next ones wait for more.
const FIRST_WRITE_LEN: usize = 12 << 10;
const NEXT_WRITE_LEN: usize = 64 << 10;
/// What an argument takes beside its bytes.
const ARGUMENT_OVERHEAD: usize = 8;
/// A socket is looked at so often at most before it is written to: a server that never stops sending cannot keep a
/// command from being written.
const LOOKS_MAX: usize = 16;
/// So little is copied: a short reply that is kept must not keep a read's memory.
const SMALL_LEN: usize = 4 << 10;
/// After less silence nothing unasked is looked for: it saves a system call a command.
const SILENCE_MIN: Duration = Duration::from_millis(1);
/// Of notices that nobody asks for, the latest are kept.
const NOTICES_MAX: usize = 256;

pub(crate) struct Driver {
    pub(crate) core: Client,
    connect_timeout: Duration,
    link: Option<Link>,
    subscription: Option<Subscription>,
    /// One was asked for: the bell may ring.
    awaits_token: bool,
    clock: Clock,
    now: Now,
    received_at: Instant,
    answers: Answers,
    /// Appended commands whose replies were not asked for, in order.
    due: VecDeque<CommandId>,
    /// About how much was appended since the last write.
    appended_len: usize,
    write_len: usize,
    notices: VecDeque<Notice>,
}

struct Link {
    conn: ConnId,
    socket: Socket,
    /// The socket took less than there is.
    is_full: bool,
}

/// What came, until somebody wants it.
#[derive(Default)]
struct Answers {
    /// In the order of their commands, within a batch and from batch to batch.
    batches: VecDeque<Arc<Replies>>,
    /// Answers of the first batch that were looked at.
    seen: usize,
    failed: Vec<(CommandId, CommandError)>,
    spare: Arc<Spare>,
}

/// Some of the answers of a batch.
type Run = (Arc<Replies>, Range<usize>);

impl Answers {
    fn put(&mut self, replies: ReplyBatch, core: &mut Client) {
        let kept = if replies.bytes.len() <= SMALL_LEN {
            let ReplyBatch { bytes, nodes, answers } = &replies;
            let copy = ReplyBatch { bytes: bytes.clone(), nodes: nodes.clone(), answers: answers.clone() };
            core.recycle(replies);
            Replies { replies: copy, home: None }
        } else {
            Replies { replies, home: Some(self.spare.clone()) }
        };
        self.batches.push_back(Arc::new(kept));
    }

    /// The next one, of commands that are asked for in order. Those of commands before it are forgotten.
    fn take_next(&mut self, id: CommandId) -> Option<Result<Piece, Failure>> {
        while let Some(batch) = self.batches.front() {
            while let Some(answer) = batch.replies.answers.get(self.seen) {
                if answer.command > id {
                    return self.take_failure(id);
                }
                self.seen += 1;
                if answer.command == id {
                    return Some(outcome(Piece { batch: batch.clone(), node: answer.node }));
                }
            }
            self.batches.pop_front();
            self.seen = 0;
        }
        self.take_failure(id)
    }

    /// As many as came together and answer the commands that are due, beginning with the first of them: the batch,
    /// and which of its answers.
    fn take_run(&mut self, due: &VecDeque<CommandId>) -> Option<Run> {
        let first = *due.front()?;
        while let Some(batch) = self.batches.front() {
            let answers = batch.replies.answers.get(self.seen..).unwrap_or_default();
            let skipped = answers.iter().take_while(|answer| answer.command < first).count();
            let rest = answers.iter().skip(skipped);
            let len = rest.zip(due).take_while(|(answer, due)| answer.command == **due).count();
            let start = self.seen + skipped;
            if len > 0 {
                self.seen = start + len;
                return Some((batch.clone(), start..start + len));
            }
            if start < batch.replies.answers.len() {
                return None;
            }
            self.batches.pop_front();
            self.seen = 0;
        }
        None
    }

    /// The latest one.
    fn take_latest(&mut self, id: CommandId) -> Option<Result<Piece, Failure>> {
        for batch in self.batches.iter().rev() {
            let answers = &batch.replies.answers;
            if let Ok(index) = answers.binary_search_by_key(&id, |answer| answer.command) {
                return Some(outcome(Piece { batch: batch.clone(), node: answers[index].node }));
            }
        }
        self.take_failure(id)
    }

    fn take_failure<R>(&mut self, id: CommandId) -> Option<Result<R, Failure>> {
        let index = self.failed.iter().position(|(failed, _)| *failed == id)?;
        let (_, error) = self.failed.remove(index);
        Some(Err(Failure::from(&error)))
    }

    fn clear(&mut self) {
        self.batches.clear();
        self.seen = 0;
        self.failed.clear();
    }
}

/// An error reply is a failure of its command.
fn outcome(piece: Piece) -> Result<Piece, Failure> {
    let view = piece.view();
    if view.kind() == respass_core::resp::Kind::Error { Err(error::of_reply(&view)) } else { Ok(piece) }
}

impl Driver {
    pub(crate) fn new(config: respass_core::Config, tokens: Option<&Arc<Tokens>>) -> Result<Driver, Failure> {
        let mut clock = Clock::new();
        let now = clock.now();
        let connect_timeout = config.timeouts.connect;
        let core = Client::new(config, clock::seed()?, now)
            .map_err(|error| Failure::new(respass_core::ErrorCode::InvalidConfig as u32, error.text))?;
        Ok(Driver {
            core,
            connect_timeout,
            link: None,
            subscription: tokens.map(Subscription::new).transpose()?,
            awaits_token: false,
            clock,
            now,
            received_at: now.monotonic,
            answers: Answers::default(),
            due: VecDeque::new(),
            appended_len: 0,
            write_len: FIRST_WRITE_LEN,
            notices: VecDeque::new(),
        })
    }

    /// Gives what `submit` submits, and waits for its reply.
    pub(crate) fn run(
        &mut self,
        submit: impl FnOnce(&mut Client, Now) -> Result<CommandId, SubmitError>,
    ) -> Result<Piece, Failure> {
        self.now = self.clock.now();
        self.catch_up();
        let id = submit(&mut self.core, self.now)?;
        let result = loop {
            self.turn();
            if let Some(result) = self.answers.take_latest(id) {
                break result;
            }
        };
        if self.due.is_empty() {
            self.answers.clear();
        }
        result
    }

    /// Gives commands whose replies `next` waits for.
    pub(crate) fn append(
        &mut self,
        len: usize,
        arguments: usize,
        submit: impl FnOnce(&mut Client, Now) -> Result<(CommandId, usize), SubmitError>,
    ) -> Result<(), Failure> {
        let now = if self.due.is_empty() {
            self.write_len = FIRST_WRITE_LEN;
            self.now = self.clock.now();
            self.catch_up();
            self.now
        } else {
            self.clock.about_now()
        };
        let (first, count) = submit(&mut self.core, now)?;
        match count {
            1 => self.due.push_back(first),
            _ => self.due.extend((first.as_u64()..).take(count).map(CommandId::from_u64)),
        }
        self.appended_len += len + ARGUMENT_OVERHEAD * arguments;
        if self.appended_len >= self.write_len {
            self.write_len = NEXT_WRITE_LEN;
            self.now = self.clock.now();
            self.obey();
        }
        Ok(())
    }

    /// The reply to the first appended command that was not asked for; `None` where there is none.
    pub(crate) fn next(&mut self) -> Option<Result<Piece, Failure>> {
        let id = *self.due.front()?;
        let result = self.wait_for(|driver| driver.answers.take_next(id));
        self.forget_due(1);
        Some(result)
    }

    /// The replies to the next appended commands that came together; `None` where no command is left.
    pub(crate) fn next_run(&mut self) -> Option<Result<Run, Failure>> {
        let id = *self.due.front()?;
        let result = self.wait_for(|driver| match driver.answers.take_run(&driver.due) {
            Some(run) => Some(Ok(run)),
            None => driver.answers.take_failure(id),
        });
        self.forget_due(result.as_ref().map_or(1, |(_, run)| run.len()));
        Some(result)
    }

    fn wait_for<R>(&mut self, mut look: impl FnMut(&mut Driver) -> Option<R>) -> R {
        if let Some(found) = look(self) {
            return found;
        }
        self.now = self.clock.now();
        loop {
            self.turn();
            if let Some(found) = look(self) {
                return found;
            }
        }
    }

    fn forget_due(&mut self, count: usize) {
        self.due.drain(..count);
        if self.due.is_empty() {
            self.answers.clear();
        }
    }

    /// Waits, and keeps the connection alive and logged in meanwhile.
    pub(crate) fn idle(&mut self, duration: Duration) {
        self.now = self.clock.now();
        let end = self.now.monotonic + duration;
        self.catch_up();
        while self.now.monotonic < end {
            self.obey();
            self.wait(end.since(self.now.monotonic));
        }
        self.obey();
    }

    /// Ends everything, with a word to the server where it can be had at once.
    pub(crate) fn close(&mut self) {
        self.now = self.clock.now();
        self.core.close(self.now);
        self.obey();
        self.link = None;
    }

    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// In a child of `fork`: ends without a word to the server, or to other clients of the credential.
    pub(crate) fn forsake(mut self) {
        if let Some(subscription) = self.subscription.take() {
            subscription.forsake();
        }
    }

    /// After some silence, what came or became due while nobody called goes before a new command: the connection's
    /// end, or bytes that answer nobody.
    fn catch_up(&mut self) {
        if self.now.monotonic.since(self.received_at) < SILENCE_MIN {
            return;
        }
        if self.link.as_ref().is_none_or(|link| self.core.is_idle(link.conn)) {
            for _ in 0..LOOKS_MAX {
                if !self.read(|socket, buffer| socket.read_now(buffer)) {
                    break;
                }
            }
        }
        self.handle_time();
    }

    /// Does what is to be done, and then waits once, unless something came of it already.
    fn turn(&mut self) {
        if self.obey() {
            return;
        }
        self.wait(Duration::MAX);
        self.obey();
    }

    /// Does what the core wants done. Whether a command was answered.
    fn obey(&mut self) -> bool {
        let mut has_answer = false;
        self.appended_len = 0;
        if self.link.as_ref().is_some_and(|link| link.is_full) {
            self.write();
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { conn, host, port } => self.connect(conn, &host, port),
                Output::Disconnect { conn, last_bytes } => self.disconnect(conn, &last_bytes),
                Output::Transmit { .. } => self.write(),
                Output::TokenNeeded { newer_than } => self.need_token(newer_than),
                Output::Replies(batch) => {
                    has_answer = true;
                    self.answers.put(batch, &mut self.core);
                }
                Output::Failed { command, error } => {
                    has_answer = true;
                    self.answers.failed.push((command, error));
                }
                Output::Notice(notice) => {
                    if self.notices.len() == NOTICES_MAX {
                        self.notices.pop_front();
                    }
                    self.notices.push_back(notice);
                }
                other => unreachable!("an output of a newer core: {other:?}"),
            }
        }
        has_answer
    }

    /// Waits for bytes, room, a token or a timer, and tells the core.
    fn wait(&mut self, delay_max: Duration) {
        let due = self.delay();
        let timer_at = self.now.monotonic + due;
        let delay = due.min(delay_max);
        if !delay.is_zero() {
            match &mut self.link {
                Some(link) if !link.is_full && !self.awaits_token => {
                    self.read(|socket, buffer| socket.read(buffer, delay));
                }
                link => {
                    let socket = link.as_ref().map(|link| (&link.socket, link.is_full));
                    let bell = self.subscription.as_ref().map(|subscription| subscription.bell.as_fd());
                    let is_ready = wait(socket, bell, delay);
                    self.now = self.clock.now();
                    self.read_if(is_ready);
                }
            }
        }
        if self.now.monotonic >= timer_at || self.subscription.is_some() {
            self.handle_time();
        }
    }

    fn read_if(&mut self, is_ready: bool) {
        if let Some(subscription) = &self.subscription {
            subscription.silence();
        }
        if is_ready {
            self.read(|socket, buffer| socket.read_now(buffer));
        }
    }

    /// Until the next timer, the core's or the token source's.
    fn delay(&self) -> Duration {
        let core = self.core.poll_timeout(self.now).map(|wakeup| wakeup.at.as_micros());
        let source = self.subscription.as_ref().map(Subscription::wakeup_us);
        let wakeup_us = core.into_iter().chain(source).min().unwrap_or(u64::MAX);
        Duration::from_micros(wakeup_us.saturating_sub(self.now.monotonic.as_micros()))
    }

    /// Reads into the core's own memory. Whether there was something, the connection's end included.
    fn read(&mut self, read: impl FnOnce(&mut Socket, &mut Vec<u8>) -> Progress) -> bool {
        let Some(link) = &mut self.link else { return false };
        let conn = link.conn;
        if let Some(spare) = self.answers.spare.try_lock().ok().and_then(|mut spare| spare.take()) {
            self.core.recycle(spare);
        }
        let mut buffer = self.core.take_receive_buffer(conn, READ_LEN);
        let progress = read(&mut link.socket, &mut buffer);
        self.now = self.clock.now();
        self.core.handle_received_in(conn, buffer, self.now);
        match progress {
            Progress::Nothing => return false,
            Progress::Bytes(_) => self.received_at = self.now.monotonic,
            Progress::Closed => self.lose(DisconnectCause::Closed),
            Progress::Broken(text) => self.lose(DisconnectCause::Broken(text)),
        }
        true
    }

    fn lose(&mut self, cause: DisconnectCause) {
        if let Some(link) = self.link.take() {
            drop(link.socket);
            self.core.handle_disconnected(link.conn, cause, self.now);
        }
    }

    fn handle_time(&mut self) {
        if let Some(subscription) = &self.subscription {
            for news in subscription.news(self.now) {
                self.awaits_token = false;
                match news {
                    News::Issued(token) => self.core.handle_token(&token, self.now),
                    News::Failed(failure) => self.core.handle_token_failed(&failure, self.now),
                }
            }
        }
        self.core.handle_timeout(self.now);
    }

    fn need_token(&mut self, newer_than: u64) {
        let Some(subscription) = &self.subscription else { return };
        match subscription.request(newer_than, self.now) {
            Some(token) => self.core.handle_token(&token, self.now),
            None => self.awaits_token = true,
        }
        self.now = self.clock.now();
    }

    fn connect(&mut self, conn: ConnId, host: &str, port: u16) {
        let socket = Socket::connect(host, port, self.connect_timeout);
        self.now = self.clock.now();
        match socket {
            Ok(socket) => {
                self.link = Some(Link { conn, socket, is_full: false });
                self.core.handle_connected(conn, self.now);
            }
            Err(error) => {
                let text = format!("{host}:{port}: {error}");
                self.core.handle_disconnected(conn, DisconnectCause::ConnectFailed(text), self.now);
            }
        }
    }

    fn disconnect(&mut self, conn: ConnId, last_bytes: &[u8]) {
        if let Some(link) = self.link.take_if(|link| link.conn == conn)
            && !last_bytes.is_empty()
        {
            // The best that can be done; the socket may be gone.
            let _ = link.socket.write(last_bytes);
        }
    }

    /// Writes until the socket or the core has no more.
    fn write(&mut self) {
        let Some(link) = &mut self.link else { return };
        loop {
            let bytes = self.core.transmit(link.conn, self.now);
            if bytes.is_empty() {
                link.is_full = false;
                return;
            }
            match link.socket.write(bytes) {
                Progress::Bytes(len) => {
                    self.core.handle_transmitted(link.conn, len, self.now);
                    if !self.core.has_transmit(link.conn) {
                        link.is_full = false;
                        return;
                    }
                }
                // Where it is broken, the next read tells, after what came before.
                Progress::Nothing | Progress::Closed | Progress::Broken(_) => {
                    link.is_full = true;
                    return;
                }
            }
        }
    }
}

/// A notice as C knows outputs; of kind RESPASS_OUTPUT_KIND_NONE where there is none.
pub(crate) fn notice_output(notice: Option<Notice>) -> output::Output {
    notice.map_or_else(output::Output::none, |notice| output::Output::of_notice(&notice))
}
