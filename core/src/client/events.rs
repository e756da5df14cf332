//! What the client does about what its connections report.

use super::lane::Role;
use super::{
    Client, ConnId, Connection, Credential, ErrorCode, Event, Instant, LaneId, LaneKind, NodeId, Notice,
    Outcome, Output, Phase, ReplyBatch, SEED, Stage, Trouble, lanes,
};
use crate::connection::SlotReply;
use crate::resp::Reply;

impl Client {
    /// Takes those events that refer to the tape of a read: replies that the client looks at before anybody else does,
    /// and what answers no command.
    pub(super) fn inspect(&mut self, lane: LaneId, conn: ConnId, batch: &mut ReplyBatch, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        let mut messages = Vec::new();
        for event in events.extract_if(.., |event| event.needs_tape()) {
            match event {
                Event::Inspected(reply) => self.inspect_reply(lane, conn, reply, batch, now),
                Event::TransactionRefused { reply, step, text, has_run } => {
                    self.handle_transaction_refused(lane, conn, reply, (step, &text, has_run), now);
                }
                Event::Topology { question, node } => {
                    let reply = Reply::at(&batch.nodes, &batch.bytes, node);
                    self.handle_topology(lane, question, &reply, now);
                }
                Event::Pushed { node } => messages.push((None, node)),
                Event::WishAnswered { wish, node } => messages.push((Some(wish), node)),
                _ => {}
            }
        }
        self.events = events;
        // Those that were looked at are told in their turn.
        batch.answers.sort_by_key(|answer| answer.node);
        if !messages.is_empty() {
            self.handle_messages(lane, conn, messages, batch, now);
        }
    }

    fn inspect_reply(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        reply: SlotReply,
        batch: &mut ReplyBatch,
        now: Instant,
    ) {
        let value = Reply::at(&batch.nodes, &batch.bytes, reply.node);
        if self.is_sent_again(lane, conn, &reply, &value, now) {
            return;
        }
        if reply.id.is_part() {
            return self.handle_part(reply.id, &value);
        }
        if self.ends_blocking(lane, &reply, &value, now) {
            batch.answers.push(super::Answer { command: reply.id, node: reply.node });
        }
    }

    fn handle_transaction_refused(
        &mut self,
        lane: LaneId,
        conn: ConnId,
        reply: SlotReply,
        (step, text, has_run): (u32, &[u8], bool),
        now: Instant,
    ) {
        if !has_run && self.is_transaction_sent_again(lane, conn, &reply, text, now) {
            return;
        }
        let text = String::from_utf8_lossy(text);
        let text = match step {
            0 => format!("the transaction was refused: {text}"),
            _ => format!("command {step} of the transaction: {text}"),
        };
        let outcome = if has_run { Outcome::Indeterminate } else { Outcome::Refused };
        self.fail(reply.id, ErrorCode::ExecAbort, outcome, &text);
    }

    /// Drains the connection's events.
    pub(super) fn act_on_events(&mut self, lane: LaneId, conn: ConnId, now: Instant) {
        if self.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.act_on_event(event, lane, conn, now);
        }
        events.clear();
        self.events = events;
    }

    fn act_on_event(&mut self, event: Event, lane: LaneId, conn: ConnId, now: Instant) {
        // What a connection that has ended thinks of a token, the next login tells.
        let Some(stage) = self.connection_mut(conn).map(|connection| Stage::of(connection)) else { return };
        match event {
            Event::Ready => self.handle_ready(lane, conn, now),
            Event::LoginRefused(refusal) => self.handle_login_refused(lane, conn, refusal, now),
            Event::LoginLost if matches!(self.config.credential, Credential::None) => {}
            Event::LoginLost => {
                let text = "the server no longer knew of the login (NOAUTH)".to_owned();
                self.lose_connection(conn, Trouble { code: ErrorCode::ConnectionLost, text }, true, now);
            }
            Event::ReAuthenticated { generation } => self.handle_reauthenticated(lane, conn, generation, now),
            Event::ReAuthRefused { generation, refusal } => {
                self.handle_reauth_refused(lane, conn, generation, refusal, now);
            }
            Event::Broken(breakage) => {
                self.lose_connection(conn, Trouble::of_breakage(breakage, stage), true, now);
            }
            Event::Marked => self.handle_marked(lane, conn, now),
            // Taken care of while the tape was there.
            Event::Inspected(_)
            | Event::TransactionRefused { .. }
            | Event::Topology { .. }
            | Event::Pushed { .. }
            | Event::WishAnswered { .. } => {}
        }
    }

    fn handle_ready(&mut self, id: LaneId, conn: ConnId, now: Instant) {
        let is_kept = self.is_lane_kept(id);
        let Some(lane) = self.lane_mut(id) else { return };
        // A subscriber's successor has to subscribe first.
        let takes_over = lane.role_of(conn) == Some(Role::Successor) && lane.kind != LaneKind::Subscriber;
        lane.handle_ready(now);
        lane.is_wanted = is_kept;
        let kind = lane.kind;
        if takes_over {
            self.hand_over(id, now);
        }
        self.last_error = None;
        self.outputs.push_back(Output::Notice(Notice::Ready { conn }));
        let Some(connection) = self.connection_mut(conn) else { return };
        let used = connection.token().map(|token| token.generation);
        let is_cluster_node = connection.is_cluster_node();
        if let Some(generation) = used {
            self.handle_accepted(generation);
        }
        if self.tokens.current().is_some_and(|token| token.is_doubtful && Some(token.generation) == used) {
            self.outputs.push_back(Output::Notice(Notice::ClockIsWrong { conn }));
        }
        self.offer_token(id, now);
        self.prove_mapping(id);
        match kind {
            LaneKind::Main => {
                self.look_for_cluster(id, is_cluster_node, now);
                self.listen_for_maintenance(conn);
            }
            LaneKind::Subscriber => self.resubscribe(id, conn, now),
            LaneKind::Monitor => {
                if let Some(connection) = self.connection_mut(conn) {
                    connection.monitor();
                }
            }
            LaneKind::Session => {
                self.look_for_cluster(id, is_cluster_node, now);
                self.handle_session_ready(id, conn);
            }
            LaneKind::Blocking => self.look_for_cluster(id, is_cluster_node, now),
        }
    }

    /// A node was reached where the mapping says: from now on one that cannot be reached is down, and not elsewhere.
    fn prove_mapping(&mut self, lane: LaneId) {
        let node = self.lane(lane).and_then(|lane| self.node(lane.node));
        if node.is_some_and(|node| node.id != SEED && !node.uses_fallback()) {
            self.cluster.is_mapping_proven = true;
        }
    }

    /// Whether a lane's connection is to be kept open, and opened again, although nothing waits for it.
    fn is_lane_kept(&self, lane: LaneId) -> bool {
        let Some(lane) = self.lane(lane) else { return false };
        match lane.kind {
            LaneKind::Main => {
                !self.cluster.is_cluster || self.node(lane.node).is_some_and(|node| node.is_listed)
            }
            LaneKind::Subscriber | LaneKind::Monitor => true,
            LaneKind::Blocking | LaneKind::Session => false,
        }
    }

    /// A lane is without its connection.
    pub(super) fn handle_lane_lost(&mut self, id: LaneId, node: NodeId, is_unreachable: bool, now: Instant) {
        let mut has_successor = false;
        if let Some(lane) = self.lane_mut(id) {
            lane.connection = lane.successor.take();
            has_successor = lane.connection.is_some();
            lane.update_hold(now);
        }
        if is_unreachable
            && !self.cluster.is_mapping_proven
            && let Some(node) = self.nodes.iter_mut().find(|own| own.id == node)
        {
            node.handle_unreachable();
        }
        self.handle_source_lost(id, now);
        match self.lane(id).map(|lane| lane.kind) {
            Some(LaneKind::Subscriber) => self.handle_subscriber_lost(id, has_successor, now),
            Some(LaneKind::Session) => self.handle_session_lost(id, !is_unreachable),
            Some(LaneKind::Main | LaneKind::Monitor | LaneKind::Blocking) | None => {}
        }
    }

    /// Brings everything in line after a fact was taken in.
    pub(super) fn settle(&mut self, now: Instant) {
        self.end_if_finished();
        self.refresh_topology(now);
        // Before the others: who has waited for a connection opens it now.
        self.end_idle_lanes(now);
        let mut index = 0;
        while let Some(id) = self.lanes.get(index).map(|lane| lane.id) {
            self.settle_lane(id, now);
            // The lane may have been taken away.
            index = self.lanes.partition_point(|lane| lane.id <= id);
        }
    }

    pub(super) fn settle_lane(&mut self, id: LaneId, now: Instant) {
        if self.is_finishing {
            self.end_if_finished();
        }
        let Client { lanes, outputs, cluster, .. } = self;
        let Some(lane) = lanes::get(lanes, id) else { return };
        if lane.calm().is_some() && (lane.is_wanted || !cluster.is_cluster) {
            if let Some(conn) = lane.signal_calm() {
                outputs.push_back(Output::Transmit { conn });
            }
            return lane.update_clock(false, now);
        }
        if let Some(connection) = &lane.connection {
            if connection.phase() == Phase::Draining {
                self.settle_draining(id, now);
            }
            self.settle_handover(id, now);
        }
        if self.lane(id).is_some_and(|lane| lane.connection.is_none()) {
            self.open_connection(id, now);
        }
        self.end_if_unlisted(id);
        let is_token_awaited = self.is_token_awaited();
        let Client { lanes, outputs, .. } = self;
        let Some(lane) = lanes::get(lanes, id) else { return };
        lane.update_hold(now);
        lane.signal_transmit(outputs);
        lane.update_clock(is_token_awaited, now);
    }

    /// The token of a connection is about to end.
    fn settle_draining(&mut self, id: LaneId, now: Instant) {
        // A newer one that is here already is presented first, and may do: a later turn would come too late.
        if let Some(lane) = self.lane_mut(id)
            && lane.reauth_at.take().is_some()
        {
            self.offer_token(id, now);
        }
        let generation = self.tokens.generation();
        let connection = self.lane(id).and_then(|lane| lane.connection.as_ref());
        let used = connection.and_then(Connection::token).map(|token| token.generation);
        let drained = connection.filter(|connection| connection.is_drained()).map(Connection::id);
        if used.is_some_and(|used| used >= generation) {
            self.need_token(generation);
        }
        if let Some(conn) = drained {
            self.drop_connection(conn, ErrorCode::ConnectionLost, "the token was about to end");
            let Some(lane) = self.lane_mut(id) else { return };
            lane.connection = lane.successor.take();
            lane.forget_wait(now);
            let (kind, has_successor) = (lane.kind, lane.connection.is_some());
            match kind {
                LaneKind::Session => self.handle_session_lost(id, true),
                LaneKind::Subscriber => self.handle_subscriber_lost(id, has_successor, now),
                LaneKind::Main | LaneKind::Blocking | LaneKind::Monitor => {}
            }
        }
    }

    /// One connection gives way to another: opens the other, and ends the one when its replies are here.
    fn settle_handover(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lane(id) else { return };
        let retired = lane.retired.as_ref().map(|retired| &retired.connection);
        if let Some(conn) = retired.filter(|connection| connection.is_done()).map(Connection::id) {
            self.drop_connection(conn, ErrorCode::ConnectionLost, "another connection has taken over");
        }
        let Some(lane) = self.lane(id) else { return };
        let is_due = lane.connection.as_ref().and_then(Connection::handover_at).is_some_and(|at| now >= at);
        if is_due && lane.successor.is_none() {
            return self.open_successor(id, now);
        }
        let is_ready = lane.successor.as_ref().is_some_and(|successor| successor.phase() == Phase::Ready);
        if is_ready && lane.kind != LaneKind::Subscriber {
            self.hand_over(id, now);
        }
    }

    /// The successor of a lane's connection takes over, as soon as that may be.
    fn hand_over(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lane_mut(id) else { return };
        if lane.hand_over(now) && lane.kind == LaneKind::Session {
            // What was watched, was watched on the connection before.
            self.handle_session_lost(id, true);
        }
    }

    /// A connection to a node that the cluster has no more is closed when nothing waits for it.
    fn end_if_unlisted(&mut self, id: LaneId) {
        if !self.cluster.is_cluster {
            return;
        }
        let Some(lane) = self.lane(id).filter(|lane| lane.kind == LaneKind::Main) else { return };
        let is_listed = self.node(lane.node).is_some_and(|node| node.is_listed);
        if is_listed || lane.is_wanted || lane.has_waiters() || self.cluster.asks(id) {
            return;
        }
        let node = lane.node;
        let has_other =
            self.lanes.iter().any(|own| own.kind == LaneKind::Main && own.id != id && own.is_ready());
        if node == SEED && !has_other {
            return;
        }
        self.drop_connections(id, ErrorCode::ConnectionLost, "the cluster has the node no more");
        if node != SEED && !self.lanes.iter().any(|lane| lane.node == node && lane.id != id) {
            self.remove_lane(id);
            self.nodes.retain(|own| own.id != node);
        }
    }
}

impl Event {
    fn needs_tape(&self) -> bool {
        matches!(
            self,
            Event::Inspected(_)
                | Event::TransactionRefused { .. }
                | Event::Topology { .. }
                | Event::Pushed { .. }
                | Event::WishAnswered { .. }
        )
    }
}
