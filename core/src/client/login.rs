//! Logging in: which token a connection gets and when, and what a refusal means.

use super::nodes::NodeId;
use super::trouble::code_of;
use super::{
    Arrival, Client, ConnId, Connection, ConnectionToken, Credential, ErrorCode, Handshake, Instant,
    IssuedToken, LaneId, LaneKind, Login, Notice, Output, Patience, Phase, Target, TokenFailure, Trouble,
    lanes,
};
use crate::auth::{Diagnosis, LoginRefusal};
use crate::cluster::ServerNameFrom;
use crate::connection::Setup;
use crate::time::Now;
use std::time::Duration;

/// Connections to one node that connect and log in at the same time.
const NODE_HANDSHAKES_MAX: usize = 2;

/// All connections of a client present a newer token within this time.
const SPREAD_MAX: Duration = Duration::from_secs(60);

impl Client {
    /// A token came from the source.
    pub fn handle_token(&mut self, token: &IssuedToken, now: Now) {
        let now = self.observe(now);
        if self.is_closed {
            return;
        }
        match self.tokens.handle_token(token) {
            Arrival::New => {
                self.is_token_requested = false;
                let can_login = self.can_login(now);
                for lane in self.lanes.iter_mut().filter(|lane| lane.connection.is_none() && !can_login) {
                    let left = token.expires_at().since(now);
                    let text = format!("the credential's token ends in {left:.1?}: too soon to log in with");
                    lane.trouble = Some(Trouble { code: ErrorCode::TokenUnavailable, text });
                }
                self.spread_token(now);
            }
            Arrival::Known => {
                if self.tokens.is_refused() {
                    for lane in self.lanes_without_connection() {
                        self.give_up_login(lane);
                    }
                }
            }
            Arrival::OtherIdentity => {
                self.outputs.push_back(Output::Notice(Notice::IdentityChanged));
                self.refuse_token(
                    "the token names another identity than the one that logged in: make a new client for it",
                );
            }
            Arrival::NoIdentity => {
                self.refuse_token(
                    "the token names no object id (oid): give it as the user name (the object id of the identity \
                     that is assigned to the cache)",
                );
            }
        }
        self.settle(now);
    }

    /// The source could not get a token. It goes on trying by itself.
    pub fn handle_token_failed(&mut self, failure: &TokenFailure, now: Now) {
        let now = self.observe(now);
        self.last_error = Some(failure.text.clone());
        if self.is_token_requested && !self.can_login(now) {
            let trouble = Trouble { code: ErrorCode::TokenUnavailable, text: failure.text.clone() };
            for lane in self.lanes_without_connection() {
                if failure.is_permanent {
                    self.fail_queue(lane, trouble.code, &trouble.text);
                }
                if let Some(lane) = self.lane_mut(lane) {
                    lane.trouble = Some(trouble.clone());
                }
            }
        }
        self.settle(now);
    }

    fn lanes_without_connection(&self) -> Vec<LaneId> {
        self.lanes.iter().filter(|lane| lane.connection.is_none()).map(|lane| lane.id).collect()
    }

    /// A token came that cannot be used. Connections that are logged in go on.
    fn refuse_token(&mut self, text: &str) {
        self.last_error = Some(text.to_owned());
        for lane in self.lanes_without_connection() {
            self.fail_queue(lane, ErrorCode::TokenRefused, text);
            if let Some(lane) = self.lane_mut(lane) {
                lane.trouble = Some(Trouble { code: ErrorCode::TokenRefused, text: text.to_owned() });
            }
        }
    }

    /// A new token is here: the first connection presents it at once, the others at moments of their own, so that the
    /// server need not validate all of them together.
    fn spread_token(&mut self, now: Instant) {
        let Client { lanes, rng, tokens, .. } = self;
        let life = tokens.current().map_or(Duration::ZERO, |token| token.life);
        let mut is_first = true;
        for lane in lanes.iter_mut().filter(|lane| lane.connection.is_some()) {
            let used = lane.connection.as_ref().and_then(Connection::token).map(|token| token.expires_at);
            let slack =
                used.map_or(Duration::ZERO, |end| end.since(now).saturating_sub(crate::auth::lead(life)));
            let wait = if is_first {
                Duration::ZERO
            } else {
                rng.between(Duration::ZERO, SPREAD_MAX.min(slack / 2))
            };
            lane.reauth_at = Some(now + wait);
            is_first &= !lane.is_ready();
        }
        self.present_due_tokens(now);
    }

    /// Presents the latest token on every connection whose moment has come.
    pub(super) fn present_due_tokens(&mut self, now: Instant) {
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { break };
            if lane.reauth_at.is_some_and(|at| now >= at) {
                lane.reauth_at = None;
                let id = lane.id;
                self.offer_token(id, now);
            }
        }
    }

    /// Presents the latest token on the lane's live connection, where that has not happened.
    pub(super) fn offer_token(&mut self, lane: LaneId, now: Instant) {
        let Client { lanes, tokens, .. } = self;
        let connection = lanes::get(lanes, lane).and_then(|lane| lane.connection.as_mut());
        let Some(connection) = connection else { return self.open_connection(lane, now) };
        if !matches!(connection.phase(), Phase::Ready | Phase::Draining) {
            return;
        }
        let is_newer = tokens.generation() > connection.latest_generation();
        if let Some(token) = tokens.for_connection(now).filter(|_| is_newer) {
            connection.reauthenticate(token, now);
        }
    }

    pub(super) fn need_token(&mut self, newer_than: u64) {
        if !self.is_token_requested {
            self.is_token_requested = true;
            self.outputs.push_back(Output::TokenNeeded { newer_than });
        }
    }

    /// Whether commands wait for a token, with no failure that explains why.
    pub(super) fn is_token_awaited(&self) -> bool {
        let seed = self.lanes.first().and_then(|lane| lane.trouble.as_ref());
        self.is_token_requested && !seed.is_some_and(|trouble| trouble.code.is_about_login())
    }

    /// Whether there is something to log in with.
    pub(super) fn can_login(&self, now: Instant) -> bool {
        match &self.config.credential {
            Credential::None | Credential::Password { .. } => true,
            Credential::Token { .. } => self.tokens.for_connection(now).is_some(),
        }
    }

    /// What to log in with; asks for a token where there is none.
    fn login(&mut self, now: Instant) -> Option<(Login, Option<ConnectionToken>)> {
        match &self.config.credential {
            Credential::None => Some((Login::default(), None)),
            Credential::Password { username, password } => {
                Some((Login { username: username.clone(), secret: Some(password.clone()) }, None))
            }
            Credential::Token { .. } => match self.tokens.for_connection(now) {
                Some(token) => Some((token.login.clone(), Some(token))),
                None => {
                    self.need_token(self.tokens.generation());
                    None
                }
            },
        }
    }

    /// Whether another connection may be opened: a server that comes back is not to be overrun, and one that does not
    /// answer is not to keep others from being connected to.
    pub(super) fn may_shake_hands(&self, node: NodeId) -> bool {
        let is_under_way = |own: &&Connection| matches!(own.phase(), Phase::Connecting | Phase::LoggingIn);
        let (mut all, mut own) = (0, 0);
        for lane in &self.lanes {
            let count = lane.connections().filter(is_under_way).count();
            all += count;
            own += if lane.node == node { count } else { 0 };
        }
        all < self.config.limits.handshakes_max && own < NODE_HANDSHAKES_MAX
    }

    /// Opens a lane's connection, where it needs one.
    pub(super) fn open_connection(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lane(id) else { return };
        if self.is_closed || lane.connection.is_some() || !lane.needs_connection() {
            return;
        }
        let (node, may_open_at) = (lane.node, lane.may_open_at());
        let Some((login, token)) = self.login(now) else { return };
        if now < may_open_at || !self.may_shake_hands(node) {
            return;
        }
        if let Some(connection) = self.new_connection(id, node, login, token, now)
            && let Some(lane) = self.lane_mut(id)
        {
            lane.connection = Some(connection);
        }
    }

    /// Opens a connection that is to take over from the lane's live one.
    pub(super) fn open_successor(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lane(id) else { return };
        if self.is_closed || lane.successor.is_some() || lane.retired.is_some() || now < lane.retry_at {
            return;
        }
        let node = lane.node;
        if !self.may_shake_hands(node) {
            return;
        }
        let Some((login, token)) = self.login(now) else { return };
        if let Some(connection) = self.new_connection(id, node, login, token, now)
            && let Some(lane) = self.lane_mut(id)
        {
            lane.successor = Some(connection);
        }
    }

    fn new_connection(
        &mut self,
        lane: LaneId,
        node: NodeId,
        login: Login,
        token: Option<ConnectionToken>,
        now: Instant,
    ) -> Option<Connection> {
        let target = self.node(node).or(self.nodes.first())?.target().clone();
        let session = match self.tls_session(&target) {
            Ok(session) => session,
            Err(text) => {
                let Client { lanes, rng, .. } = self;
                let lane = lanes::get(lanes, lane)?;
                lane.handle_lost(Trouble { code: ErrorCode::Tls, text }, false, now, rng);
                return None;
            }
        };
        self.latest_conn += 1;
        let conn = ConnId(self.latest_conn);
        self.conns.push((conn, lane));
        let handshake = Handshake::new(login, &self.config.client_name, self.config.database);
        let timeouts = &self.config.timeouts;
        let patience = Patience {
            connect: timeouts.connect,
            login: timeouts.login,
            idle: timeouts.idle,
            keep_alive: timeouts.keep_alive,
            alignment: timeouts.alignment,
            silence: timeouts.silence,
        };
        self.outputs.push_back(Output::Connect { conn, host: target.host.to_string(), port: target.port });
        let setup = Setup {
            id: conn,
            dialled: (target.host, target.port),
            session,
            handshake,
            token,
            decode_limits: self.config.limits.decode,
            sealed_ahead_max: self.config.limits.sealed_ahead_max,
            patience,
        };
        Some(Connection::new(setup, now))
    }

    fn tls_session(&self, target: &Target) -> Result<Option<crate::tls::TlsSession>, String> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let session = match target.server_name {
            ServerNameFrom::Configured => tls.connect(),
            ServerNameFrom::Host => tls.connect_as(&target.host),
        };
        session.map(Some).map_err(|error| error.to_string())
    }

    /// The server accepted the token of this generation: where it is the latest, no other is needed for now.
    pub(super) fn handle_accepted(&mut self, generation: u64) {
        self.tokens.handle_accepted(generation);
        if generation >= self.tokens.generation() {
            self.is_token_requested = false;
        }
    }

    pub(super) fn handle_reauthenticated(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        generation: u64,
        now: Instant,
    ) {
        self.handle_accepted(generation);
        self.reauth_count += 1;
        self.last_error = None;
        if let Some(lane) = self.lane_mut(lane) {
            lane.handle_reauthenticated();
        }
        self.outputs.push_back(Output::Notice(Notice::ReAuthenticated { conn, generation }));
        self.offer_token(lane, now);
    }

    pub(super) fn handle_reauth_refused(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        generation: u64,
        refusal: LoginRefusal,
        now: Instant,
    ) {
        let (_, refusal) = self.diagnose(refusal, Some(generation));
        self.last_error = Some(refusal.text.clone());
        self.outputs.push_back(Output::Notice(Notice::ReAuthRefused { conn, refusal }));
        if generation >= self.tokens.generation() {
            let Client { lanes, rng, .. } = self;
            if let Some(lane) = lanes::get(lanes, lane) {
                lane.handle_reauth_refused(now, rng);
            }
            self.need_token(generation);
        } else {
            self.offer_token(lane, now);
        }
    }

    pub(super) fn handle_login_refused(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        refusal: LoginRefusal,
        now: Instant,
    ) {
        let used =
            self.connection_mut(conn).and_then(|connection| connection.token()).map(|token| token.generation);
        let (code, refusal) = self.diagnose(refusal, used);
        let trouble = Trouble { code, text: refusal.text.clone() };
        self.last_error = Some(refusal.text.clone());
        self.outputs.push_back(Output::Notice(Notice::LoginRefused { conn, refusal }));
        // Another server has accepted it: this one will, or will not, but the token is not to blame.
        let is_good_elsewhere = used.is_some_and(|used| self.is_used_elsewhere(used));
        self.lose_connection(conn, trouble, true, now);
        match used {
            Some(_) if is_good_elsewhere => {}
            Some(generation) if self.tokens.handle_refused(generation) => {
                if self.tokens.is_refused() {
                    self.need_token(generation);
                } else if let Some(lane) = self.lane_mut(lane) {
                    lane.forget_wait(now);
                }
            }
            Some(_) | None => self.give_up_login(lane),
        }
    }

    fn is_used_elsewhere(&self, generation: u64) -> bool {
        self.lanes.iter().filter(|lane| lane.is_ready()).any(|lane| {
            let token = lane.connection.as_ref().and_then(Connection::token);
            token.is_some_and(|token| token.generation == generation)
        })
    }

    /// There is nothing else to log in with: those who wait are told. The next command tries again.
    pub(super) fn give_up_login(&mut self, id: LaneId) {
        self.tokens.forgive();
        self.is_token_requested = false;
        let Some(lane) = self.lane_mut(id) else { return };
        // Who listens has nothing to submit that would open another connection.
        lane.is_wanted &= matches!(lane.kind, LaneKind::Subscriber | LaneKind::Monitor);
        let (code, text) = match &lane.trouble {
            Some(trouble) if trouble.code.is_about_login() => (trouble.code, trouble.text.clone()),
            _ => (ErrorCode::LoginRefused, "the server refused the login".to_owned()),
        };
        self.fail_queue(id, code, &text);
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
}
