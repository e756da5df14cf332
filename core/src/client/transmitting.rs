//! Bytes to write, and memory that comes back.

use super::{Client, ReplyBatch, lanes};
use crate::connection::{ConnId, Connection, Queue};
use crate::time::Now;

impl Client {
    /// The socket took `len` bytes of `transmit`.
    pub fn handle_transmitted(&mut self, conn: ConnId, len: usize, now: Now) {
        let now = self.observe(now);
        let Some(id) = self.lane_of(conn) else { return };
        if let Some(lane) = self.lane_mut(id)
            && let Some(connection) = lane.connection_of(conn)
        {
            connection.handle_transmitted(len);
            self.update_signal(conn);
        }
        self.settle_lane(id, now);
    }

    /// Bytes to write. The prefix stays the same until it is reported by `handle_transmitted`; further bytes may
    /// follow then. What was shown here counts as handed over.
    pub fn transmit(&mut self, conn: ConnId, now: Now) -> &[u8] {
        self.seal(conn, now);
        match self.connection_mut(conn) {
            Some(connection) => {
                if connection.unsent().is_empty() {
                    connection.is_transmit_signalled = false;
                }
                connection.unsent()
            }
            None => &[],
        }
    }

    /// Bytes to write, for hosts that write asynchronously: they count as transmitted. Call until it is empty.
    pub fn take_transmit(&mut self, conn: ConnId, now: Now) -> Vec<u8> {
        self.exchange_transmit(conn, Vec::new(), now)
    }

    /// The same for hosts that give back the buffer of the last bytes, for the memory in it.
    pub fn exchange_transmit(&mut self, conn: ConnId, spare: Vec<u8>, now: Now) -> Vec<u8> {
        self.seal(conn, now);
        let Some(connection) = self.connection_mut(conn) else { return Vec::new() };
        let bytes = connection.take_unsent(spare);
        self.update_signal(conn);
        bytes
    }

    /// Whether there is something to transmit that was not taken: [`Output::Transmit`](super::Output) comes only once
    /// for it.
    pub fn has_transmit(&self, conn: ConnId) -> bool {
        self.connection(conn).is_some_and(|connection| connection.is_transmit_signalled)
    }

    /// Whether the server has nothing to answer: bytes that come now are its own idea, or the connection's end. A
    /// driver that does not read all the time does well to look for them before it writes.
    pub fn is_idle(&self, conn: ConnId) -> bool {
        self.connection(conn).is_none_or(Connection::is_idle)
    }

    /// Takes back a batch that was read, for the memory in it. That of a large reply is kept for another like it, but
    /// not for long.
    pub fn recycle(&mut self, mut batch: ReplyBatch) {
        if batch.bytes.capacity() > SPARE_LEN_MAX
            && let Some(connection) = self.lanes.first_mut().and_then(|lane| lane.connection.as_mut())
        {
            return connection.donate(batch.bytes);
        }
        if batch.bytes.capacity() <= SPARE_LEN_MAX && batch.nodes.capacity() <= SPARE_NODES_MAX {
            batch.answers.clear();
            self.spare = batch;
        }
    }

    fn connection(&self, conn: ConnId) -> Option<&Connection> {
        let lane = self.lane(self.lane_of(conn)?)?;
        lane.connections().find(|connection| connection.id() == conn)
    }

    /// Nothing is left to take: more is to be said of again.
    fn update_signal(&mut self, conn: ConnId) {
        let Some(lane) = self.lane_of(conn) else { return };
        let Some(lane) = self.lane_mut(lane) else { return };
        match lane.sender(conn) {
            Some((connection, queue)) => {
                if connection.unsent().is_empty() && !connection.wants_seal(queue) {
                    connection.is_transmit_signalled = false;
                }
            }
            // A successor sends no commands of callers.
            None => {
                let is_done = |own: &&mut Connection| {
                    own.unsent().is_empty() && !own.wants_seal(&Queue::default())
                };
                if let Some(connection) = lane.connection_of(conn).filter(is_done) {
                    connection.is_transmit_signalled = false;
                }
            }
        }
    }

    fn seal(&mut self, conn: ConnId, now: Now) {
        let now = self.observe(now);
        let Some(id) = self.lane_of(conn) else { return };
        let Client { lanes, events, rng, tokens: _, .. } = self;
        let Some(lane) = lanes::get(lanes, id) else { return };
        match lane.sender(conn) {
            Some((connection, queue)) => connection.seal(queue, now, rng, events),
            // A successor subscribes before it takes over.
            None => {
                let Some(connection) = lane.connection_of(conn) else { return };
                connection.seal(&mut Queue::default(), now, rng, events);
            }
        }
        if !self.events.is_empty() {
            self.act_on_events(id, conn, now);
            self.settle(now);
        }
        let is_token_awaited = self.is_token_awaited();
        if let Some(lane) = self.lane_mut(id) {
            lane.update_clock(is_token_awaited, now);
        }
    }
}

/// A larger spare does for a large reply only.
const SPARE_LEN_MAX: usize = 4 << 20;
const SPARE_NODES_MAX: usize = 1 << 18;
