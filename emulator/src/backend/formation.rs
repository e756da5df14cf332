//! How redis-servers become a cluster.
//!
//! Each starts with the whole cluster in its file of nodes, so nobody has to meet anybody. A primary that
//! starts as one refuses commands for two seconds, as Redis has it; so the file makes the later replica of
//! each shard its primary, and the other takes over at once.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::control::{CONTROL_USER, Control};
use crate::random;

/// The place of a server in the cluster.
#[derive(Clone)]
pub(crate) struct Seat {
    /// The node id: 40 hexadecimal digits.
    pub(crate) id: String,
    /// Where the other servers reach it; clients never do.
    pub(crate) port: u16,
    /// Where it talks about the cluster.
    bus_port: u16,
}

impl Seat {
    pub(super) fn configuration(&self, password: &str) -> Vec<String> {
        vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {}", self.port),
            "cluster-enabled yes".to_owned(),
            format!("cluster-config-file {FILE}"),
            format!("cluster-port {}", self.bus_port),
            "cluster-announce-ip 127.0.0.1".to_owned(),
            format!("cluster-node-timeout {}", FORMATION_TIMEOUT.as_millis()),
            // Roles change only when a fault wants it.
            "cluster-replica-no-failover yes".to_owned(),
            "cluster-allow-replica-migration no".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
            format!("masteruser {CONTROL_USER}"),
            format!("masterauth {password}"),
        ]
    }
}

const FILE: &str = "nodes.conf";

/// The slots of a shard.
fn slots(shard: usize, shards: usize) -> (usize, usize) {
    let begin = |shard: usize| shard * SLOT_COUNT / shards;
    (begin(shard), begin(shard + 1) - 1)
}

pub(crate) const SLOT_COUNT: usize = 16_384;

/// A seat for each server, two for each shard, with ports that are free.
pub(super) fn seats(shards: usize) -> Result<Vec<Seat>, String> {
    // Kept until all are found, so that no port is found twice.
    let mut held = Vec::new();
    let mut seats = Vec::new();
    for _ in 0..2 * shards {
        let (port, bus_port) = (free_port(&mut held)?, free_port(&mut held)?);
        let id: String = (random::secret() + &random::secret()).chars().take(NODE_ID_LEN).collect();
        seats.push(Seat { id, port, bus_port });
    }
    Ok(seats)
}

const NODE_ID_LEN: usize = 40;

/// A free port outside of the range that connections take theirs from.
fn free_port(held: &mut Vec<TcpListener>) -> Result<u16, String> {
    for _ in 0..PORT_ATTEMPTS {
        let port = 10_240 + u16::from_le_bytes(random::bytes()) % 22_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            return Ok(port);
        }
    }
    Err("there is no free port for redis-server".to_owned())
}

const PORT_ATTEMPTS: u32 = 100;

/// Writes the file of nodes of one server into its directory.
pub(super) fn write(directory: &Path, seats: &[Seat], own: usize) -> Result<(), String> {
    let shards = seats.len() / 2;
    let mut text = String::new();
    for (number, seat) in seats.iter().enumerate() {
        let Seat { id, port, bus_port } = seat;
        let myself = if number == own { "myself," } else { "" };
        let (first, last) = slots(number / 2, shards);
        let epoch = number / 2 + 1;
        let rest = match number % 2 {
            0 => format!("slave {} 0 0 {epoch} connected", seats[number + 1].id),
            _ => format!("master - 0 0 {epoch} connected {first}-{last}"),
        };
        text += &format!("{id} 127.0.0.1:{port}@{bus_port} {myself}{rest}\n");
    }
    text += &format!("vars currentEpoch {shards} lastVoteEpoch 0\n");
    let file = directory.join(FILE);
    std::fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Lets the primaries take over, and waits until every server knows it and serves.
pub(super) async fn complete(controls: &[Control], seats: &[Seat]) -> Result<(), String> {
    if seats.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + FORMATION_MAX;
    for control in controls.iter().step_by(2) {
        // Who takes over before it serves does not serve for two seconds either.
        wait_until(deadline, async || serves(control).await).await?;
        control.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await?;
    }
    wait_until_complete(controls, seats, deadline).await?;
    let timeout = TIMEOUT.as_millis().to_string();
    for control in controls {
        control.ask(&["CONFIG", "SET", "cluster-node-timeout", &timeout]).await?;
    }
    // With the short timeout a busy machine may have taken a server for dead.
    wait_until_complete(controls, seats, deadline).await
}

async fn wait_until_complete(controls: &[Control], seats: &[Seat], deadline: Instant) -> Result<(), String> {
    for control in controls {
        wait_until(deadline, async || is_complete(control, seats).await).await?;
    }
    Ok(())
}

/// The node timeout at the start. Servers that hear nothing from each other for half of it ask; so news spread.
const FORMATION_TIMEOUT: Duration = Duration::from_millis(400);

/// The node timeout of the cluster when it is there: no server is taken for dead, however busy the machine is.
const TIMEOUT: Duration = Duration::from_secs(15);

const FORMATION_MAX: Duration = Duration::from_secs(30);

async fn wait_until(
    deadline: Instant,
    condition: impl AsyncFn() -> Result<bool, String>,
) -> Result<(), String> {
    while !condition().await? {
        if Instant::now() > deadline {
            return Err(format!("the cluster does not form within {FORMATION_MAX:?}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn serves(control: &Control) -> Result<bool, String> {
    Ok(control.text(&["CLUSTER", "INFO"]).await?.contains("cluster_state:ok"))
}

async fn is_complete(control: &Control, seats: &[Seat]) -> Result<bool, String> {
    if !serves(control).await? {
        return Ok(false);
    }
    let nodes = control.text(&["CLUSTER", "NODES"]).await?;
    Ok(seats.iter().enumerate().all(|(number, seat)| {
        let role = if number % 2 == 0 { "master" } else { "slave" };
        nodes.lines().find(|line| line.starts_with(&seat.id)).is_some_and(|line| {
            let flags: Vec<&str> = line.split(' ').nth(2).unwrap_or_default().split(',').collect();
            let is_linked = flags.contains(&"myself") || line.contains(" connected");
            is_linked && flags.contains(&role) && !flags.iter().any(|flag| flag.starts_with("fail"))
        })
    }))
}
