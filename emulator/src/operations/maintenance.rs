//! Maintenance of a node of Azure Cache for Redis: what is announced on the channel, and what happens.
//!
//! The order is that of a maintenance that was seen on Azure, where it took an hour and a quarter.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::Operations;
use crate::census::Cause;
use crate::cluster::Door;
use crate::front::live::Strike;

const CHANNEL: &str = "AzureRedisEvents";

impl Operations {
    /// Begins the maintenance of a node.
    pub(super) fn maintain(self: &Arc<Operations>, node: usize, time: Duration) -> Result<(), String> {
        self.check_events()?;
        let operations = Arc::clone(self);
        self.go_on(async move { operations.run_maintenance(node, time).await });
        Ok(())
    }

    pub(super) async fn publish(&self, text: &str) -> Result<(), String> {
        self.check_events()?;
        // On any server: those of a cluster tell each other.
        let control = self.front.cluster.control(0);
        control.ask(&["PUBLISH", CHANNEL, text]).await.map(drop)
    }

    fn check_events(&self) -> Result<(), String> {
        let refusal = || format!("Azure Managed Redis publishes nothing on {CHANNEL}");
        if self.is_managed() { Err(refusal()) } else { Ok(()) }
    }

    async fn run_maintenance(self: &Arc<Operations>, node: usize, time: Duration) -> Result<(), String> {
        let (cluster, doors) = (&self.front.cluster, &self.front.doors);
        let door = cluster.door(node);
        let is_primary = cluster.primary(node / 2) == node;
        let start = OffsetDateTime::now_utc() + time / 2;
        let port = doors.port(door);
        let tell = |kind: &str| {
            let text = message(kind, start, !is_primary, port);
            async move { self.publish(&text).await }
        };
        tell("NodeMaintenanceScheduled").await?;
        self.wait(time / 4).await;
        tell("NodeMaintenanceStarting").await?;
        self.wait(time / 4).await;
        tell("NodeMaintenanceStart").await?;
        self.wait(time / 20).await;
        let ticket = doors.shut(door);
        self.front.live.strike(None, Some(door), Strike::Close(Cause::NodeClosed));
        if is_primary && door != Door::Seed {
            self.fail_over(node / 2, Duration::ZERO, false).await?;
        }
        self.wait(time / 5).await;
        doors.open(ticket).await;
        tell("NodeMaintenanceFailoverComplete").await?;
        self.wait(time / 4).await;
        tell("NodeMaintenanceEnded").await
    }
}

/// An event in Azure's form: keys and values with bars between them.
fn message(kind: &str, start: OffsetDateTime, is_replica: bool, port: u16) -> String {
    let (year, month, day) = (start.year(), u8::from(start.month()), start.day());
    let (hour, minute, second) = (start.hour(), start.minute(), start.second());
    let start = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let is_replica = if is_replica { "True" } else { "False" };
    let plain_port = port.saturating_sub(PORT_DISTANCE);
    format!(
        "NotificationType|{kind}|StartTimeInUTC|{start}|IsReplica|{is_replica}|IPAddress||\
         SSLPort|{port}|NonSSLPort|{plain_port}"
    )
}

/// From a node's port without TLS to the one with it.
const PORT_DISTANCE: u16 = 2_000;
