//! A slot moves to another shard.
//!
//! On Azure Cache for Redis as on any open-source cluster: key by key, with ASK and TRYAGAIN in between. On
//! Azure Managed Redis all at once; nobody has seen an ASK there.

use std::sync::Arc;
use std::time::Duration;

use redis_protocol::resp2::types::OwnedFrame;

use super::Operations;
use crate::backend::Control;
use crate::cluster::SLOT_COUNT;

impl Operations {
    /// Ends when the move has begun, or when it is over if it is all at once.
    pub(super) async fn migrate(
        self: &Arc<Operations>,
        slot: u16,
        to: usize,
        time: Duration,
    ) -> Result<(), String> {
        if usize::from(slot) >= SLOT_COUNT || to >= self.front.cluster.shard_count() {
            return Err("slot is 0 to 16383, and to is the number of a shard".to_owned());
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let Some(migration) = self.plan(slot, to).await? else { return Ok(()) };
        if self.is_managed() {
            self.front.cluster.hold(true);
            let outcome = migration.run_at_once().await;
            self.front.cluster.hold(false);
            return outcome;
        }
        migration.open().await?;
        self.go_on(async move {
            let _turn = turn;
            migration.move_keys(time).await?;
            migration.close().await
        });
        Ok(())
    }

    /// Who has the slot and who gets it; nothing if that is one and the same.
    async fn plan(&self, slot: u16, to: usize) -> Result<Option<Migration>, String> {
        let cluster = &self.front.cluster;
        let target = cluster.primary(to);
        let mut others = Vec::new();
        let mut source = None;
        for server in (0..cluster.shard_count()).map(|shard| cluster.primary(shard)) {
            let nodes = cluster.control(server).text(&["CLUSTER", "NODES"]).await?;
            match owns(&nodes, slot) {
                true => source = Some(server),
                false if server != target => others.push(cluster.control(server).clone()),
                false => (),
            }
        }
        let source = source.ok_or_else(|| format!("nobody has slot {slot}"))?;
        let end = |server| {
            let (id, port) = cluster.name(server);
            End { control: cluster.control(server).clone(), id: id.to_owned(), port: port.to_string() }
        };
        let (source_end, target_end) = (end(source), end(target));
        let migration = Migration { slot: slot.to_string(), source: source_end, target: target_end, others };
        Ok((source != target).then_some(migration))
    }
}

/// Whether the server that says this of the nodes has the slot itself.
fn owns(nodes: &str, slot: u16) -> bool {
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
    own.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok();
        number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&slot))
    })
}

struct Migration {
    slot: String,
    source: End,
    target: End,
    /// The other primaries.
    others: Vec<Control>,
}

struct End {
    control: Control,
    id: String,
    port: String,
}

impl Migration {
    async fn set_slot(&self, control: &Control, state: &str, id: &str) -> Result<(), String> {
        control.ask(&["CLUSTER", "SETSLOT", &self.slot, state, id]).await.map(drop)
    }

    async fn open(&self) -> Result<(), String> {
        self.set_slot(&self.target.control, "IMPORTING", &self.source.id).await?;
        self.set_slot(&self.source.control, "MIGRATING", &self.target.id).await
    }

    /// The keys there are, one after the other, spread over the time.
    async fn move_keys(&self, time: Duration) -> Result<(), String> {
        let control = &self.source.control;
        let keys = keys(control.ask(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100000"]).await?);
        let pause = time / u32::try_from(keys.len() + 1).unwrap_or(u32::MAX);
        for key in keys {
            tokio::time::sleep(pause).await;
            let (user, password) = self.target.control.credentials();
            let words =
                ["MIGRATE", "127.0.0.1", &self.target.port, "", "0", "5000", "AUTH2", user, password, "KEYS"];
            let mut command: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            command.push(&key);
            control.ask_bytes(&command).await?;
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The new owner first, so that there always is one.
    async fn close(&self) -> Result<(), String> {
        for control in [&self.target.control, &self.source.control].into_iter().chain(&self.others) {
            self.set_slot(control, "NODE", &self.target.id).await?;
        }
        Ok(())
    }

    /// In one script, so that no command of the old owner comes in between.
    async fn run_at_once(&self) -> Result<(), String> {
        self.set_slot(&self.target.control, "IMPORTING", &self.source.id).await?;
        let (user, password) = self.target.control.credentials();
        let (slot, id, port) = (&self.slot, &self.target.id, &self.target.port);
        self.source.control.ask(&["EVAL", MOVE, "0", slot, id, port, user, password]).await?;
        self.close().await
    }
}

const MOVE: &str = "
local slot, id, port, user, password = unpack(ARGV)
redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', id)
while true do
  local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)
  if #keys == 0 then break end
  redis.call('MIGRATE', '127.0.0.1', port, '', 0, 5000, 'AUTH2', user, password, 'KEYS', unpack(keys))
end
return redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', id)
";

fn keys(reply: OwnedFrame) -> Vec<Vec<u8>> {
    let OwnedFrame::Array(keys) = reply else { return Vec::new() };
    let bytes = |key| if let OwnedFrame::BulkString(key) = key { Some(key) } else { None };
    keys.into_iter().filter_map(bytes).collect()
}
