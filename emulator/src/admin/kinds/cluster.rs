//! Faults of a cluster: nodes, roles, slots, redirects, and errors in place of commands.

use std::time::Duration;

use tokio::time::Instant;

use super::{Admin, Change, FaultOrder, NO_NODE, seconds};
use crate::cluster::Door;
use crate::fault::{Injection, Reach, Redirect, Target, Text};
use crate::operations::Operation;

/// Commands get an error for as long and as often as the order says.
pub(super) fn inject(admin: &Admin, order: &FaultOrder, text: Text, reach: Reach) -> Result<Change, String> {
    let (door, uses) = (order.door(admin)?, order.uses());
    let until = seconds(order.seconds)?.and_then(|time| Instant::now().checked_add(time));
    admin.faults.cache().injection = Some(Injection { text, reach, door, uses, until });
    Ok(Change::None)
}

fn line(admin: &Admin, order: &FaultOrder, text: &str, reach: Reach) -> Result<Change, String> {
    inject(admin, order, Text::Line(text.to_owned()), reach)
}

pub(super) fn readonly(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    line(admin, order, "READONLY You can't write against a read only replica.", Reach::Writes)
}

pub(super) fn clusterdown(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    line(admin, order, "CLUSTERDOWN The cluster is down", Reach::Keyed)
}

pub(super) fn loading(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    line(admin, order, "LOADING Redis is loading the dataset in memory", Reach::Keyed)
}

pub(super) fn masterdown(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let text = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    line(admin, order, text, Reach::Keyed)
}

pub(super) fn tryagain(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    line(admin, order, "TRYAGAIN Multiple keys request during rehashing of slot", Reach::ManyKeys)
}

pub(super) fn moved_storm(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let targets = [
        ("loop", Target::Loop),
        ("self", Target::Itself),
        ("empty", Target::EmptyHost),
        ("?", Target::UnknownHost),
        ("port0", Target::PortZero),
        ("unreachable", Target::Unreachable),
        ("other-slot", Target::OtherSlot),
        ("foreign", Target::Foreign),
    ];
    let target = if order.mode.is_some() { order.mode(&targets)? } else { Target::Loop };
    let redirect = Redirect { ask: order.ask, target, host: order.host.clone(), port: order.port };
    if redirect.host.as_ref().is_some_and(|host| host.contains(char::is_whitespace)) {
        return Err("host is one word".to_owned());
    }
    inject(admin, order, Text::Redirect(redirect), Reach::Keyed)
}

fn node(admin: &Admin, order: &FaultOrder) -> Result<Door, String> {
    order.door(admin)?.ok_or_else(|| NO_NODE.to_owned())
}

pub(super) fn close_node(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let (door, time) = (node(admin, order)?, seconds(order.seconds)?);
    Ok(Change::Operate(Operation::CloseNode { door, time }))
}

pub(super) fn retire_node(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let stale = seconds(order.stale_seconds)?.unwrap_or_default();
    Ok(Change::Operate(match node(admin, order)? {
        Door::Node(node) => Operation::RetireNode { node, stale },
        // Applications know its port, so it comes back there.
        door @ Door::Seed => {
            let time = seconds(order.seconds)?.unwrap_or(SEED_BACK_AFTER);
            Operation::CloseNode { door, time: Some(time) }
        }
    }))
}

const SEED_BACK_AFTER: Duration = Duration::from_secs(1);

pub(super) fn failover(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let modes = [("planned", false), ("takeover", true)];
    let lossy = order.mode.is_some() && order.mode(&modes)?;
    let shards = if has_nodes(admin) { admin.operations.front.cluster.shard_count() } else { 0 };
    let shard = order.shard.filter(|shard| *shard < shards).ok_or("shard is the number of one")?;
    let time = seconds(order.seconds)?.unwrap_or_default();
    Ok(Change::Operate(Operation::Failover { shard, time, lossy }))
}

pub(super) fn migrate_slot(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let (Some(slot), Some(to), true) = (order.slot, order.to, has_nodes(admin)) else {
        return Err("slot and to (a shard) are missing, or there is no cluster".to_owned());
    };
    let time = seconds(order.seconds)?.unwrap_or_default();
    Ok(Change::Operate(Operation::MigrateSlot { slot, to, time }))
}

pub(super) fn maintenance(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let node = match order.door(admin)? {
        Some(Door::Node(node)) => node,
        Some(Door::Seed) | None => 0,
    };
    let time = seconds(order.seconds)?.unwrap_or(MAINTENANCE);
    Ok(Change::Operate(Operation::Maintenance { node, time }))
}

const MAINTENANCE: Duration = Duration::from_secs(6);

pub(super) fn azure_event(_: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let text = order.text.clone().ok_or("text is the message")?;
    Ok(Change::Operate(Operation::Publish(text)))
}

fn has_nodes(admin: &Admin) -> bool {
    admin.operations.front.doors.contain(Door::Node(0))
}
