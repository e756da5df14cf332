//! Azure Cache for Redis tells of maintenance on a channel of its own: before a node goes, commands stop being sent to
//! it, and go where its slots are afterwards. So none is cut off in mid-flight.

use super::{Client, Instant, LaneId, LaneKind, Node, Notice, Output};
use crate::cluster::{Maintenance, MaintenanceKind, is_azure_cache, parse_maintenance};
use crate::config::MaintenanceEvents;
use crate::connection::{ChannelKind, ConnId, Question, Wish};
use crate::resp::Reply;
use std::time::Duration;

/// The channel. (Documented in the repository Azure/AzureCacheForRedis.)
const CHANNEL: &[u8] = b"AzureRedisEvents";

/// A node that is about to go goes within this time, or stays.
const HOLD: Duration = Duration::from_secs(5);

impl Client {
    /// A main connection is ready: it listens for what the service tells. Best effort: who may not subscribe goes
    /// without. In RESP2 a connection that is subscribed carries no commands.
    pub(super) fn listen_for_maintenance(&mut self, conn: ConnId) {
        let is_wanted = match self.config.maintenance_events {
            MaintenanceEvents::Detect => is_azure_cache(&self.config.host),
            MaintenanceEvents::Always => true,
            MaintenanceEvents::Never => false,
        };
        if let Some(connection) = self.connection_mut(conn).filter(|own| is_wanted && !own.is_resp2()) {
            connection.wish(Wish {
                kind: ChannelKind::Channel,
                channel: CHANNEL.to_vec(),
                is_subscribe: true,
                is_told: false,
            });
        }
    }

    /// A message came over a main connection.
    pub(super) fn handle_main_message(&mut self, frame: &Reply<'_>, now: Instant) {
        let mut parts = frame.elements();
        let (Some(word), Some(channel), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        if !word.is_text(b"message") || !channel.is_text(CHANNEL) {
            return;
        }
        // Every main connection brings the same.
        if self.latest_maintenance == body.as_bytes() {
            return;
        }
        let Some(event) = parse_maintenance(body.as_bytes()) else { return };
        self.latest_maintenance = body.as_bytes().to_vec();
        let text = format!("{:?} at {}", event.kind, event.start_time);
        self.outputs.push_back(Output::Notice(Notice::Maintenance { text }));
        match event.kind {
            MaintenanceKind::Scheduled => {}
            MaintenanceKind::Starting => self.want_map(),
            MaintenanceKind::Start => self.hold_node(&event, now),
            MaintenanceKind::FailoverComplete | MaintenanceKind::Ended | MaintenanceKind::ScaleComplete => {
                self.lanes.iter_mut().for_each(|lane| lane.held_until = None);
                self.want_map();
            }
        }
    }

    fn want_map(&mut self) {
        if self.cluster.is_cluster {
            self.want_topology(Question::Slots);
        }
    }

    /// A node is about to go: nothing more is sent to it.
    fn hold_node(&mut self, event: &Maintenance<'_>, now: Instant) {
        if event.is_replica {
            return;
        }
        let port = if self.tls.is_some() { event.ssl_port } else { event.plain_port };
        let at_port = |node: &&Node| node.is_listed && Some(node.endpoint.port) == port;
        let is_told = |node: &&Node| *node.endpoint.host == *event.host;
        let node = match self.nodes.iter().filter(at_port).count() {
            0 | 1 => self.nodes.iter().find(at_port),
            _ => self.nodes.iter().filter(at_port).find(is_told),
        };
        let lane = match node {
            Some(node) => node.main,
            None if !self.cluster.is_cluster => LaneId(0),
            None => return,
        };
        let node = self.lane(lane).map(|lane| lane.node);
        for lane in self.lanes.iter_mut().filter(|lane| Some(lane.node) == node) {
            if matches!(lane.kind, LaneKind::Main | LaneKind::Blocking | LaneKind::Session) {
                lane.held_until = Some(now + HOLD);
                lane.update_hold(now);
            }
        }
    }
}
