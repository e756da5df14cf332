//! Drives a core over blocking sockets, on the caller's thread. It decides nothing: the core says what to do and until
//! when to wait.

use crate::answers::{Answers, Run};
use crate::clock::{self, Clock};
use crate::credential::{Subscription, Tokens};
use crate::handle::Failure;
use crate::links::{Links, Step};
use crate::messages::Messages;
use crate::output;
use crate::reply::Piece;
use crate::socket::{Progress, Socket};
use crate::source::News;
use respass_core::{
    ChannelKind, Client, CommandId, ConnId, DisconnectCause, Instant, Message, Notice, Now, Output,
    SessionId, SubmitError, SubscriberId,
};
use std::collections::VecDeque;
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
/// After less silence nothing unasked is looked for: it saves a system call a command.
const SILENCE_MIN: Duration = Duration::from_millis(1);
/// Of notices that nobody asks for, the latest are kept.
const NOTICES_MAX: usize = 256;

pub(crate) struct Driver {
    pub(crate) core: Client,
    links: Links,
    subscription: Option<Subscription>,
    /// One was asked for: the bell may ring.
    awaits_token: bool,
    clock: Clock,
    now: Now,
    /// When a read had something.
    received_at: Instant,
    answers: Answers,
    /// Appended commands whose replies were not asked for, in order.
    due: VecDeque<CommandId>,
    /// About how much was appended since the last write.
    appended_len: usize,
    write_len: usize,
    notices: VecDeque<Notice>,
    /// Of all subscriptions; there from the first one on.
    subscriber: Option<SubscriberId>,
    messages: Messages,
}

impl Driver {
    pub(crate) fn new(config: respass_core::Config, tokens: Option<&Arc<Tokens>>) -> Result<Driver, Failure> {
        let mut clock = Clock::new();
        let now = clock.now();
        let core = Client::new(config, clock::seed()?, now)
            .map_err(|error| Failure::new(respass_core::ErrorCode::InvalidConfig as u32, error.text))?;
        Ok(Driver {
            core,
            links: Links::default(),
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
            subscriber: None,
            messages: Messages::default(),
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

    pub(crate) fn open_session(&mut self) -> Result<SessionId, Failure> {
        self.now = self.clock.now();
        Ok(self.core.open_session(self.now)?)
    }

    pub(crate) fn close_session(&mut self, session: SessionId) {
        self.now = self.clock.now();
        self.core.close_session(session, self.now);
        self.obey();
    }

    pub(crate) fn subscribe(&mut self, kind: ChannelKind, channels: &[&[u8]]) -> Result<(), Failure> {
        self.now = self.clock.now();
        self.catch_up();
        let subscriber = match self.subscriber {
            Some(subscriber) => subscriber,
            None => self.core.open_subscriber(self.now)?,
        };
        self.subscriber = Some(subscriber);
        self.core.subscribe(subscriber, kind, channels, self.now)?;
        self.obey();
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, kind: ChannelKind, channels: &[&[u8]]) -> Result<(), Failure> {
        self.now = self.clock.now();
        self.catch_up();
        if let Some(subscriber) = self.subscriber {
            self.core.unsubscribe(subscriber, kind, channels, self.now)?;
            self.obey();
        }
        Ok(())
    }

    pub(crate) fn monitor(&mut self) -> Result<(), Failure> {
        self.now = self.clock.now();
        self.core.open_monitor(self.now)?;
        self.obey();
        Ok(())
    }

    /// The next message, or `None` where none came in time.
    pub(crate) fn next_message(&mut self, timeout: Duration) -> Option<(SubscriberId, Message<'_>)> {
        if !self.messages.has_next() {
            self.now = self.clock.now();
            let end = self.now.monotonic + timeout;
            self.look();
            self.handle_time();
            self.obey();
            while !self.messages.has_next() && self.now.monotonic < end {
                self.wait(end.since(self.now.monotonic));
                self.obey();
            }
        }
        self.messages.next()
    }

    /// Ends everything, with a word to the server where it can be had at once.
    pub(crate) fn close(&mut self) {
        self.now = self.clock.now();
        self.core.close(self.now);
        self.obey();
        self.links.clear();
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
        self.look();
        self.handle_time();
    }

    /// Reads what is here, but not the replies that a single connection is going to be asked for anyway.
    fn look(&mut self) {
        for _ in 0..LOOKS_MAX {
            let has_more = match self.links.only() {
                Some(conn) => {
                    self.core.is_idle(conn) && self.read(conn, |socket, buffer| socket.read_now(buffer))
                }
                None => !self.links.is_empty() && self.serve(Duration::ZERO),
            };
            if !has_more {
                break;
            }
        }
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
        for index in 0..self.links.len() {
            if let Some(conn) = self.links.full_at(index) {
                self.write(conn);
            }
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { conn, host, port } => self.connect(conn, &host, port),
                Output::Disconnect { conn, last_bytes } => self.links.close(conn, &last_bytes),
                Output::Transmit { conn } => self.write(conn),
                Output::TokenNeeded { newer_than } => self.need_token(newer_than),
                Output::Replies(batch) => {
                    has_answer = true;
                    self.answers.put(batch, &mut self.core);
                }
                Output::Failed { command, error } => {
                    has_answer = true;
                    self.answers.put_failure(command, error);
                }
                Output::Notice(notice) => {
                    if self.notices.len() == NOTICES_MAX {
                        self.notices.pop_front();
                    }
                    self.notices.push_back(notice);
                }
                Output::Messages(batch) => self.messages.put(batch),
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
            match self.links.only() {
                Some(conn) if !self.awaits_token => {
                    self.read(conn, |socket, buffer| socket.read(buffer, delay));
                }
                _ => {
                    self.serve(delay);
                }
            }
        }
        if self.now.monotonic >= timer_at || self.subscription.is_some() {
            self.handle_time();
        }
    }

    /// Waits for all connections and the bell, and sees to those that have something. Whether there was any.
    fn serve(&mut self, delay: Duration) -> bool {
        let bell = self.subscription.as_ref().map(|subscription| subscription.bell.as_fd());
        let ready = self.links.wait(bell, delay);
        self.now = self.clock.now();
        if let Some(subscription) = &self.subscription {
            subscription.silence();
        }
        for &conn in &ready {
            let step = self.links.step(conn);
            self.follow(conn, step);
        }
        !ready.is_empty()
    }

    fn follow(&mut self, conn: ConnId, step: Step) {
        match step {
            Step::None => {}
            Step::Connected => self.core.handle_connected(conn, self.now),
            Step::Failed(text) => {
                self.core.handle_disconnected(conn, DisconnectCause::ConnectFailed(text), self.now);
            }
            Step::Readable => {
                self.read(conn, |socket, buffer| socket.read_now(buffer));
            }
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
    fn read(&mut self, conn: ConnId, read: impl FnOnce(&mut Socket, &mut Vec<u8>) -> Progress) -> bool {
        let Some(link) = self.links.connected(conn) else { return false };
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
            Progress::Closed => self.lose(conn, DisconnectCause::Closed),
            Progress::Broken(text) => self.lose(conn, DisconnectCause::Broken(text)),
        }
        true
    }

    fn lose(&mut self, conn: ConnId, cause: DisconnectCause) {
        self.links.close(conn, &[]);
        self.core.handle_disconnected(conn, cause, self.now);
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
        let step = self.links.connect(conn, host, port);
        self.now = self.clock.now();
        self.follow(conn, step);
    }

    /// Writes until the socket or the core has no more.
    fn write(&mut self, conn: ConnId) {
        let Some(link) = self.links.connected(conn) else { return };
        loop {
            let bytes = self.core.transmit(conn, self.now);
            if bytes.is_empty() {
                link.is_full = false;
                return;
            }
            match link.socket.write(bytes) {
                Progress::Bytes(len) => {
                    self.core.handle_transmitted(conn, len, self.now);
                    if !self.core.has_transmit(conn) {
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
