//! A replica becomes the primary of its shard.
//!
//! On Azure Managed Redis the node of the shard goes away and comes back with the new primary behind it. On
//! Azure Cache for Redis two nodes swap roles, and the old primary may go away for a while.

use std::sync::Arc;
use std::time::Duration;

use super::{Operations, wait_for};
use crate::backend::Control;
use crate::census::Cause;
use crate::front::live::Strike;

impl Operations {
    /// Ends when the roles have changed. The node is back after `time` at the earliest.
    pub(super) async fn fail_over(
        self: &Arc<Operations>,
        shard: usize,
        time: Duration,
        lossy: bool,
    ) -> Result<(), String> {
        let turn = self.turn.lock().await;
        let (cluster, live) = (&self.front.cluster, &self.front.live);
        let old = cluster.primary(shard);
        let cut = self.is_managed() || !time.is_zero();
        let ticket = cut.then(|| self.front.doors.shut(cluster.door(old)));
        if cut {
            live.strike_server(old, Strike::Close(Cause::Failover));
        }
        let outcome = self.change_roles(shard, lossy).await;
        if self.is_managed() {
            // Those that came through the configured endpoint in the meantime.
            live.strike_server(old, Strike::Close(Cause::Failover));
        }
        drop(turn);
        if let Some(ticket) = ticket {
            self.open_later(ticket, time);
        }
        outcome
    }

    /// Makes the replica of a shard its primary: with all that the old one has, or at once.
    async fn change_roles(&self, shard: usize, lossy: bool) -> Result<(), String> {
        let cluster = &self.front.cluster;
        let old = cluster.primary(shard);
        let new = old ^ 1;
        let (from, to) = (cluster.control(old), cluster.control(new));
        if !lossy {
            hand_over(from, to).await?;
        }
        // A takeover needs no votes, of which there is only one in a while for each shard.
        to.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await?;
        let (id, _) = cluster.name(new);
        for server in 0..cluster.server_count() {
            let control = cluster.control(server);
            wait_for("the servers do not agree on the failover", || knows_primary(control, id)).await?;
        }
        let (own_id, _) = cluster.name(old);
        wait_for("the old primary stays one", || knows_replica(from, own_id)).await?;
        cluster.set_primary(shard, new);
        from.ask(&["CLIENT", "UNPAUSE"]).await.map(drop)
    }
}

/// Writes wait, until the replica has all of them that there were.
async fn hand_over(from: &Control, to: &Control) -> Result<(), String> {
    wait_for("the replica does not synchronize", || is_synchronized(to)).await?;
    from.ask(&["CLIENT", "PAUSE", "10000", "WRITE"]).await?;
    let wanted = offset(from, "master_repl_offset:").await?;
    wait_for("the replica does not catch up", || has_all(to, wanted)).await
}

async fn is_synchronized(control: &Control) -> Result<bool, String> {
    Ok(control.text(&["INFO", "replication"]).await?.contains("master_link_status:up"))
}

async fn has_all(control: &Control, wanted: u64) -> Result<bool, String> {
    Ok(offset(control, "slave_repl_offset:").await? >= wanted)
}

async fn offset(control: &Control, key: &str) -> Result<u64, String> {
    let info = control.text(&["INFO", "replication"]).await?;
    let value = info.lines().find_map(|line| line.strip_prefix(key)).and_then(|value| value.parse().ok());
    value.ok_or_else(|| format!("redis-server does not tell {key}"))
}

async fn knows_primary(control: &Control, id: &str) -> Result<bool, String> {
    let nodes = control.text(&["CLUSTER", "NODES"]).await?;
    let line = nodes.lines().find(|line| line.starts_with(id));
    Ok(line.is_some_and(|line| has_flag(line, "master") && line.contains(" connected ")))
}

async fn knows_replica(control: &Control, id: &str) -> Result<bool, String> {
    let nodes = control.text(&["CLUSTER", "NODES"]).await?;
    Ok(nodes.lines().find(|line| line.starts_with(id)).is_some_and(|line| has_flag(line, "slave")))
}

fn has_flag(line: &str, flag: &str) -> bool {
    line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|one| one == flag))
}
