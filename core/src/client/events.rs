//! What the client does about what its parts report.

use super::trouble::code_of;
use super::{
    Client, CommandError, CommandId, ConnId, Connection, ConnectionToken, Credential, ErrorCode, Event,
    Handshake, Instant, Login, Notice, Outcome, Output, Patience, Phase, Removed, Stage, Trouble, outcome_of,
};
use crate::auth::{Diagnosis, LoginRefusal};

impl Client {
    /// Drains the connection's events.
    pub(super) fn act_on_events(&mut self, now: Instant) {
        if self.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.act_on_event(event, now);
        }
        events.clear();
        self.events = events;
    }

    fn act_on_event(&mut self, event: Event, now: Instant) {
        let connection =
            self.node.connection.as_ref().map(|connection| (connection.id(), Stage::of(connection)));
        match (event, connection) {
            // The outcome is owed to its caller also where an earlier event ended the connection.
            (Event::TransactionRefused { id, step, text, has_run }, _) => {
                self.handle_transaction_refused(id, step, &text, has_run);
            }
            // All others are about the connection itself; what the server thinks of a token, the next login
            // tells.
            (_, None) => {}
            (Event::Ready, Some((conn, _))) => self.handle_ready(conn, now),
            (Event::LoginRefused(refusal), Some((conn, _))) => {
                self.handle_login_refused(conn, refusal, now);
            }
            (Event::LoginLost, Some(_)) if matches!(self.config.credential, Credential::None) => {}
            (Event::LoginLost, Some(_)) => {
                let text = "the server no longer knew of the login (NOAUTH)".to_owned();
                self.lose_connection(Trouble { code: ErrorCode::ConnectionLost, text }, true, now);
            }
            (Event::ReAuthenticated { generation }, Some((conn, _))) => {
                self.handle_reauthenticated(conn, generation, now);
            }
            (Event::ReAuthRefused { generation, refusal }, Some((conn, _))) => {
                self.handle_reauth_refused(conn, generation, refusal, now);
            }
            (Event::Broken(breakage), Some((_, stage))) => {
                self.lose_connection(Trouble::of_breakage(breakage, stage), true, now);
            }
        }
    }

    fn handle_reauthenticated(&mut self, conn: ConnId, generation: u64, now: Instant) {
        self.handle_accepted(generation);
        self.reauth_count += 1;
        self.last_error = None;
        self.node.handle_reauthenticated();
        self.outputs.push_back(Output::Notice(Notice::ReAuthenticated { conn, generation }));
        self.offer_token(now);
    }

    fn handle_reauth_refused(&mut self, conn: ConnId, generation: u64, refusal: LoginRefusal, now: Instant) {
        let (_, refusal) = self.diagnose(refusal, Some(generation));
        self.last_error = Some(refusal.text.clone());
        self.outputs.push_back(Output::Notice(Notice::ReAuthRefused { conn, refusal }));
        if generation >= self.tokens.generation() {
            self.node.handle_reauth_refused(now, &mut self.rng);
            self.need_token(generation);
        } else {
            self.offer_token(now);
        }
    }

    fn handle_transaction_refused(&mut self, id: CommandId, step: u32, text: &[u8], has_run: bool) {
        let text = String::from_utf8_lossy(text);
        let text = match step {
            0 => format!("the transaction was refused: {text}"),
            _ => format!("command {step} of the transaction: {text}"),
        };
        let outcome = if has_run { Outcome::Indeterminate } else { Outcome::Refused };
        self.fail(id, ErrorCode::ExecAbort, outcome, &text);
    }

    /// Brings everything in line after a fact was taken in.
    pub(super) fn settle(&mut self, now: Instant) {
        self.end_if_finished();
        if self.node.connection.as_ref().is_some_and(|connection| connection.phase() == Phase::Draining) {
            // A newer one that is here already is presented first, and may do.
            let generation = self.tokens.generation();
            let used =
                self.node.connection.as_ref().and_then(Connection::token).map(|token| token.generation);
            if used.is_some_and(|used| used >= generation) {
                self.need_token(generation);
            }
            if self.node.connection.as_ref().is_some_and(Connection::is_drained) {
                self.drop_connection(ErrorCode::ConnectionLost, "the token was about to end");
                self.node.retry_at = now;
            }
        }
        if self.node.connection.is_none() {
            self.open_connection(now);
        }
        self.signal_transmit();
        self.node.update_clock(self.is_token_awaited(), now);
    }

    fn handle_ready(&mut self, conn: ConnId, now: Instant) {
        self.node.handle_ready(now);
        self.last_error = None;
        self.outputs.push_back(Output::Notice(Notice::Ready { conn }));
        let used = self.node.connection.as_ref().and_then(Connection::token).map(|token| token.generation);
        if let Some(generation) = used {
            self.handle_accepted(generation);
        }
        if self.tokens.current().is_some_and(|token| token.is_doubtful && Some(token.generation) == used) {
            self.outputs.push_back(Output::Notice(Notice::ClockIsWrong { conn }));
        }
        self.offer_token(now);
    }

    /// The server accepted the token of this generation: where it is the latest, no other is needed for now.
    fn handle_accepted(&mut self, generation: u64) {
        self.tokens.handle_accepted(generation);
        if generation >= self.tokens.generation() {
            self.is_token_requested = false;
        }
    }

    fn handle_login_refused(&mut self, conn: ConnId, refusal: LoginRefusal, now: Instant) {
        let used = self.node.connection.as_ref().and_then(Connection::token).map(|token| token.generation);
        let (code, refusal) = self.diagnose(refusal, used);
        let trouble = Trouble { code, text: refusal.text.clone() };
        self.last_error = Some(refusal.text.clone());
        self.outputs.push_back(Output::Notice(Notice::LoginRefused { conn, refusal }));
        self.lose_connection(trouble, true, now);
        match used {
            Some(generation) if self.tokens.handle_refused(generation) => {
                if self.tokens.is_refused() {
                    self.need_token(generation);
                } else {
                    self.node.retry_at = now;
                }
            }
            Some(_) | None => self.give_up_login(now),
        }
    }

    /// There is nothing else to log in with: those who wait are told. The next command tries again.
    pub(super) fn give_up_login(&mut self, now: Instant) {
        self.node.is_wanted = false;
        self.node.retry_at = self.node.retry_at.max(now);
        self.tokens.forgive();
        self.is_token_requested = false;
        let (code, text) = match &self.node.trouble {
            Some(trouble) if trouble.code.is_about_login() => (trouble.code, trouble.text.clone()),
            _ => (ErrorCode::LoginRefused, "the server refused the login".to_owned()),
        };
        self.fail_queue(code, &text);
    }

    /// What the server said to a login, with the likely cause; `used` is the generation of the token in it.
    fn diagnose(&self, refusal: LoginRefusal, used: Option<u64>) -> (ErrorCode, LoginRefusal) {
        let diagnosis = match (&self.config.credential, self.tokens.current()) {
            (Credential::None, _) => Diagnosis::of_nothing(&refusal.text),
            (Credential::Password { .. }, _) => Diagnosis::of_password(&refusal.text),
            (Credential::Token { username }, Some(token)) if Some(token.generation) == used => {
                let username = username.as_deref().or(token.oid()).unwrap_or_default();
                Diagnosis::of_token(&refusal.text, &token.claims, username, self.clock.unix())
            }
            // A newer token is here already: this one's claims are gone.
            (Credential::Token { .. }, _) => return (ErrorCode::LoginRefused, refusal),
        };
        (code_of(diagnosis.fault), LoginRefusal { text: diagnosis.text })
    }

    /// Presents the latest token on the live connection, where that has not happened, or opens a connection with it.
    pub(super) fn offer_token(&mut self, now: Instant) {
        let Some(connection) = &mut self.node.connection else { return self.open_connection(now) };
        if !matches!(connection.phase(), Phase::Ready | Phase::Draining) {
            return;
        }
        let is_newer = self.tokens.generation() > connection.latest_generation();
        if let Some(token) = self.tokens.for_connection(now).filter(|_| is_newer) {
            connection.reauthenticate(token);
        }
    }

    pub(super) fn need_token(&mut self, newer_than: u64) {
        if !self.is_token_requested {
            self.is_token_requested = true;
            self.outputs.push_back(Output::TokenNeeded { newer_than });
        }
    }

    /// Whether there is something to log in with.
    pub(super) fn can_login(&self, now: Instant) -> bool {
        match &self.config.credential {
            Credential::None | Credential::Password { .. } => true,
            Credential::Token { .. } => self.tokens.for_connection(now).is_some(),
        }
    }

    pub(super) fn open_connection(&mut self, now: Instant) {
        if self.is_closed || self.node.connection.is_some() || !self.node.needs_connection() {
            return;
        }
        let (login, token) = match &self.config.credential {
            Credential::None => (Login::default(), None),
            Credential::Password { username, password } => {
                (Login { username: username.clone(), secret: Some(password.clone()) }, None)
            }
            Credential::Token { .. } => match self.tokens.for_connection(now) {
                Some(token) => (token.login.clone(), Some(token)),
                None => return self.need_token(self.tokens.generation()),
            },
        };
        if now < self.node.retry_at {
            return;
        }
        let session = match self.tls.as_ref().map(|tls| tls.connect()).transpose() {
            Ok(session) => session,
            Err(error) => {
                let trouble = Trouble { code: ErrorCode::Tls, text: error.to_string() };
                return self.node.handle_lost(trouble, false, now, &mut self.rng);
            }
        };
        self.latest_conn += 1;
        let conn = ConnId(self.latest_conn);
        let handshake = Handshake::new(login, &self.config.client_name, self.config.database);
        self.node.connection = Some(self.new_connection(conn, session, handshake, token, now));
        self.is_transmit_signalled = false;
        let (host, port) = (self.config.host.clone(), self.config.port);
        self.outputs.push_back(Output::Connect { conn, host, port });
    }

    fn new_connection(
        &self,
        conn: ConnId,
        session: Option<crate::tls::TlsSession>,
        handshake: Handshake,
        token: Option<ConnectionToken>,
        now: Instant,
    ) -> Connection {
        let timeouts = &self.config.timeouts;
        let patience = Patience {
            connect: timeouts.connect,
            login: timeouts.login,
            idle: timeouts.idle,
            keep_alive: timeouts.keep_alive,
            alignment: timeouts.alignment,
            silence: timeouts.silence,
        };
        let limits = &self.config.limits;
        Connection::new(
            conn,
            session,
            handshake,
            token,
            limits.decode,
            limits.sealed_ahead_max,
            patience,
            now,
        )
    }

    /// The connection is of no use any more. `by_us`: the driver still holds a socket.
    pub(super) fn lose_connection(&mut self, trouble: Trouble, by_us: bool, now: Instant) {
        let Some(connection) = self.node.connection.take() else { return };
        let (conn, was_useful) = (connection.id(), connection.was_useful());
        let (waiters, last_bytes) = connection.end(&mut self.node.queue);
        for id in waiters {
            self.fail(id, trouble.code, Outcome::Indeterminate, &trouble.text);
        }
        if by_us {
            self.outputs.push_back(Output::Disconnect { conn, last_bytes });
        }
        self.outputs.push_back(Output::Notice(Notice::ConnectionLost { conn, cause: trouble.text.clone() }));
        self.is_transmit_signalled = false;
        self.node.handle_lost(trouble, was_useful, now, &mut self.rng);
    }

    /// Ends a connection that nothing is wrong with.
    pub(super) fn drop_connection(&mut self, code: ErrorCode, text: &str) {
        let Some(connection) = self.node.connection.take() else { return };
        let conn = connection.id();
        let (waiters, last_bytes) = connection.end(&mut self.node.queue);
        for id in waiters {
            self.fail(id, code, Outcome::Indeterminate, text);
        }
        self.is_transmit_signalled = false;
        self.outputs.push_back(Output::Disconnect { conn, last_bytes });
    }

    pub(super) fn fail(&mut self, command: CommandId, code: ErrorCode, outcome: Outcome, text: &str) {
        let error = CommandError { code, outcome, text: text.to_owned() };
        self.outputs.push_back(Output::Failed { command, error });
    }

    /// Tells every command that waits to be sent that it will not be.
    pub(super) fn fail_queue(&mut self, code: ErrorCode, text: &str) {
        let outputs = &mut self.outputs;
        self.node.queue.remove_all(|command, removed| {
            let error = CommandError { code, outcome: outcome_of(removed), text: text.to_owned() };
            outputs.push_back(Output::Failed { command, error });
        });
    }

    pub(super) fn fail_overdue(&mut self, now: Instant) {
        let clock = self.node.clock.read(now);
        let outputs = &mut self.outputs;
        // What keeps commands from being sent says more than that time ran out.
        let (code, text) = match &self.node.trouble {
            Some(trouble) => (trouble.code, format!("timed out; meanwhile: {}", trouble.text)),
            None if self.is_token_requested && self.node.connection.is_none() => {
                (ErrorCode::TokenUnavailable, "timed out; the credential has not answered".to_owned())
            }
            None => (ErrorCode::Timeout, "timed out before it could be sent".to_owned()),
        };
        self.node.queue.remove_overdue(clock, |command, removed| {
            let text = match removed {
                Removed::Untouched => text.clone(),
                Removed::PartlySealed => "timed out before all of it could be sent".to_owned(),
            };
            let error = CommandError { code, outcome: outcome_of(removed), text };
            outputs.push_back(Output::Failed { command, error });
        });
        if let Some(connection) = &mut self.node.connection {
            connection.cancel_overdue(clock, |command| {
                let text = "no reply came in time".to_owned();
                let error = CommandError { code: ErrorCode::Timeout, outcome: Outcome::Indeterminate, text };
                outputs.push_back(Output::Failed { command, error });
            });
        }
    }

    pub(super) fn signal_transmit(&mut self) {
        let Some(connection) = self.node.connection.as_ref().filter(|_| !self.is_transmit_signalled) else {
            return;
        };
        if !connection.unsent().is_empty() || connection.wants_seal(&self.node.queue) {
            self.is_transmit_signalled = true;
            self.outputs.push_back(Output::Transmit { conn: connection.id() });
        }
    }
}
