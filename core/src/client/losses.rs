//! What becomes of commands whose connection is lost, whose time is up, or whom nobody waits for any more.

use super::lane::Retired;
use super::{
    Client, CommandError, CommandId, ConnId, Connection, ErrorCode, Instant, Lane, LaneId, LaneKind, Notice,
    Outcome, Output, Removed, Role, Trouble, lanes, outcome_of,
};
use crate::connection::Queue;
use crate::rng::Rng;

impl Client {
    /// Gives up on a command: its reply, if one comes, is dropped. Does nothing where it has ended already.
    pub fn cancel(&mut self, id: CommandId) {
        if let Some(outcome) = self.withdraw(id) {
            self.fail(id, ErrorCode::Cancelled, outcome, "cancelled");
            self.end_lanes_that_wait_for_nobody();
            self.end_if_finished();
        }
    }

    /// Takes a command back as far as that is possible; what became of it, `None` where it has ended.
    pub(super) fn withdraw(&mut self, id: CommandId) -> Option<Outcome> {
        if let Some(outcome) = self.withdraw_parts(id).or_else(|| self.withdraw_parked(id)) {
            return Some(outcome);
        }
        for index in 0..self.lanes.len() {
            let lane = self.lanes.get_mut(index)?;
            if let Some(removed) = lane.queue.remove(id) {
                self.end_blocking(id);
                return Some(outcome_of(removed));
            }
            if lane.connections_mut().any(|connection| connection.cancel(id)) {
                let own = (lane.kind == LaneKind::Blocking).then_some(lane.id);
                self.end_blocking(id);
                // Only the connection's end keeps the server from popping an element for nobody.
                if let Some(own) = own {
                    self.end_lane(own);
                }
                return Some(Outcome::Indeterminate);
            }
        }
        None
    }

    /// A connection is of no use any more. `by_us`: the driver still holds a socket.
    pub(super) fn lose_connection(&mut self, conn: ConnId, trouble: Trouble, by_us: bool, now: Instant) {
        let Some(id) = self.lane_of(conn) else { return };
        self.confirm_ends(id, conn);
        let Client { lanes, rng, .. } = self;
        let Some(lane) = lanes::get(lanes, id) else { return };
        let Some(ended) = lane.lose_connection(conn, &trouble, now, rng) else { return };
        let Ended { role, waiters, last_bytes, was_ready } = ended;
        let node = lane.node;
        self.forget_conn(conn);
        for command in waiters {
            self.fail(command, trouble.code, Outcome::Indeterminate, &trouble.text);
            self.end_blocking(command);
        }
        if by_us {
            self.outputs.push_back(Output::Disconnect { conn, last_bytes });
        }
        self.outputs.push_back(Output::Notice(Notice::ConnectionLost { conn, cause: trouble.text }));
        if role == Role::Live {
            self.handle_lane_lost(id, node, !was_ready, now);
        }
    }

    /// Ends a connection that nothing is wrong with.
    pub(super) fn drop_connection(&mut self, conn: ConnId, code: ErrorCode, text: &str) {
        let Some(id) = self.lane_of(conn) else { return };
        self.confirm_ends(id, conn);
        let Some(lane) = self.lane_mut(id) else { return };
        let Some(Ended { waiters, last_bytes, .. }) = lane.end_connection(conn) else { return };
        self.forget_conn(conn);
        for command in waiters {
            self.fail(command, code, Outcome::Indeterminate, text);
            self.end_blocking(command);
        }
        self.outputs.push_back(Output::Disconnect { conn, last_bytes });
    }

    /// Ends all connections of a lane.
    pub(super) fn drop_connections(&mut self, lane: LaneId, code: ErrorCode, text: &str) {
        while let Some(conn) = self.lane(lane).and_then(|lane| lane.connections().next().map(Connection::id))
        {
            self.drop_connection(conn, code, text);
        }
    }

    /// A command has no reply. Parts tell the command that they are parts of.
    pub(super) fn fail(&mut self, command: CommandId, code: ErrorCode, outcome: Outcome, text: &str) {
        let error = CommandError { code, outcome, text: text.to_owned() };
        if command.is_part() {
            self.fail_part(command, error);
        } else {
            self.outputs.push_back(Output::Failed { command, error });
        }
    }

    /// Tells every command of a lane that waits to be sent that it will not be.
    pub(super) fn fail_queue(&mut self, lane: LaneId, code: ErrorCode, text: &str) {
        let mut failed = Vec::new();
        if let Some(lane) = self.lane_mut(lane) {
            lane.queue.remove_all(|command, removed| failed.push((command, removed)));
        }
        for (command, removed) in failed {
            self.fail(command, code, outcome_of(removed), text);
            self.end_blocking(command);
        }
    }

    pub(super) fn fail_overdue(&mut self, now: Instant) {
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { break };
            let clock = lane.clock.read(now);
            let (mut queued, mut sent) = (Vec::new(), Vec::new());
            lane.queue.remove_overdue(clock, |command, removed| queued.push((command, removed)));
            for connection in lane.connections_mut() {
                connection.cancel_overdue(clock, |command| sent.push(command));
            }
            if queued.is_empty() && sent.is_empty() {
                continue;
            }
            let id = lane.id;
            let (code, text) = self.what_delays(id);
            for (command, removed) in queued {
                let text = match removed {
                    Removed::Untouched | Removed::RefusedBefore => text.as_str(),
                    Removed::PartlySealed => "timed out before all of it could be sent",
                };
                self.fail(command, code, outcome_of(removed), text);
                self.end_blocking(command);
            }
            for command in sent {
                self.fail(command, ErrorCode::Timeout, Outcome::Indeterminate, "no reply came in time");
                self.end_blocking(command);
            }
        }
        self.fail_overdue_parked(now);
    }

    /// What keeps commands from being sent says more than that time ran out.
    fn what_delays(&self, lane: LaneId) -> (ErrorCode, String) {
        let lane = self.lane(lane);
        let has_connection = lane.is_some_and(|lane| lane.connection.is_some());
        match lane.and_then(|lane| lane.trouble.as_ref()) {
            Some(trouble) => (trouble.code, format!("timed out; meanwhile: {}", trouble.text)),
            None if lane.is_some_and(|lane| !lane.has_permit) => {
                let text = "timed out; all connections for blocking commands and sessions were in use";
                (ErrorCode::Timeout, text.to_owned())
            }
            None if self.is_token_requested && !has_connection => {
                (ErrorCode::TokenUnavailable, "timed out; the credential has not answered".to_owned())
            }
            None => (ErrorCode::Timeout, "timed out before it could be sent".to_owned()),
        }
    }
}

/// A connection that was taken out of its lane.
struct Ended {
    role: Role,
    /// Those who cannot be told what became of their commands.
    waiters: Vec<CommandId>,
    last_bytes: Vec<u8>,
    was_ready: bool,
}

impl Lane {
    /// Ends one of its connections.
    fn end_connection(&mut self, conn: ConnId) -> Option<Ended> {
        let role = self.role_of(conn)?;
        let was_ready = self.connection_of(conn)?.was_ready();
        let (waiters, last_bytes) = match role {
            Role::Live => self.connection.take()?.end(&mut self.queue),
            Role::Successor => self.successor.take()?.end(&mut Queue::default()),
            Role::Retired => {
                let Retired { connection, mut queue, .. } = self.retired.take()?;
                connection.end(&mut queue)
            }
        };
        Some(Ended { role, waiters, last_bytes, was_ready })
    }

    /// The same for a connection that broke: sets when to open the next one.
    fn lose_connection(
        &mut self,
        conn: ConnId,
        trouble: &Trouble,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Ended> {
        let was_useful = self.connection_of(conn)?.was_useful();
        let ended = self.end_connection(conn)?;
        match ended.role {
            Role::Live => self.handle_lost(trouble.clone(), was_useful, now, rng),
            Role::Successor => self.handle_successor_lost(now, rng),
            Role::Retired => {}
        }
        Some(ended)
    }
}
