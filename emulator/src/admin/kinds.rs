//! The faults that can be asked for: one table, from which refusals, `GET /fault` and the action itself come.
//!
//! - `cluster`: the switches for nodes, roles, slots and redirects.

mod cluster;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Admin;
use crate::census::Cause;
use crate::cluster::Door;
use crate::fault::{
    AUTH_FAIL_AFTER, ExpiryClose, ExpiryMode, HelloShape, IdentityBody, IdentityStatus, IdentityToken, Reach,
    Text, Throttle, Tls, Uses,
};
use crate::front::live::{Live, Spoil, Strike};
use crate::identity;
use crate::operations::Operation;
use crate::token::Order;

/// The body of `POST /fault`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultOrder {
    pub(super) kind: String,
    seconds: Option<f64>,
    /// Seconds.
    fail_after: Option<f64>,
    count: Option<u64>,
    mode: Option<String>,
    oid: Option<String>,
    /// Where it strikes: the number of a node as in `/stats`, or `"seed"`.
    node: Option<Door>,
    shard: Option<usize>,
    slot: Option<u16>,
    /// A shard.
    to: Option<usize>,
    /// Seconds.
    stale_seconds: Option<f64>,
    /// ASK instead of MOVED.
    #[serde(default)]
    ask: bool,
    host: Option<String>,
    port: Option<u16>,
    /// An error, without its minus sign.
    text: Option<String>,
    status: Option<u16>,
    /// Value of Retry-After, in seconds.
    retry_after: Option<u64>,
    body: Option<IdentityBody>,
    /// Number of an AADSTS error.
    code: Option<u32>,
    /// Seconds.
    expires_off_by: Option<i64>,
    /// What the other keys of an `identity-token` order say.
    #[serde(skip)]
    token: Order,
}

#[derive(Serialize)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Keys beside `kind`; those in brackets may be left out.
    needs: &'static str,
    does: &'static str,
    #[serde(skip)]
    pub(super) switch: fn(&Admin, &FaultOrder) -> Result<Change, String>,
}

/// What is left to do with the access to the cache.
pub(super) enum Change {
    None,
    Revoke(String),
    DisableKeys,
    Restore,
    Operate(Operation),
}

const fn kind(
    name: &'static str,
    needs: &'static str,
    does: &'static str,
    switch: fn(&Admin, &FaultOrder) -> Result<Change, String>,
) -> Kind {
    Kind { name, needs, does, switch }
}

pub(super) const KINDS: [Kind; 39] = [
    kind("close-all", "", "closes every connection", close_all),
    kind(
        "auth-delay",
        "seconds [fail_after]",
        "a login takes so long; it fails after fail_after (10)",
        auth_delay,
    ),
    kind("auth-fail", "[count]", "logins are refused, whatever their token is worth", auth_fail),
    kind("revoke-assignment", "[oid]", "no logins of the identity, and the end of those there are", revoke),
    kind("disable-keys", "", "no logins with the access key, and the end of every connection", disable_keys),
    kind(
        "half-open",
        "[node] [count] [seconds]",
        "connections are neither read nor written; with a node, new ones there are not either",
        half_open,
    ),
    kind(
        "expiry-close",
        "mode [seconds]",
        "how, and how long after it, expiry closes a connection",
        expiry_close,
    ),
    kind("resp3-off", "", "HELLO 3 is answered with NOPROTO", resp3_off),
    kind(
        "hello-broken",
        "mode [count]",
        "HELLO 3 is answered with no map, or with one that is short",
        hello_broken,
    ),
    kind("idle-cut", "seconds", "a connection is closed when it was silent for so long", idle_cut),
    kind("throttle", "count", "so many new connections a second, the rest is closed before TLS", throttle),
    kind("accept-close", "[count]", "new connections are closed before TLS", accept_close),
    kind("slow-accept", "seconds", "new connections wait before TLS", slow_accept),
    kind("slow-reply", "seconds", "each write of replies waits", slow_reply),
    kind("unsolicited-reply", "[node] [count]", "connections get a reply to nothing", unsolicited_reply),
    kind("garbage", "[node] [count]", "connections get bytes that are no reply", garbage),
    kind(
        "truncate-reply",
        "[node] [count]",
        "the next reply of connections breaks off, and they end",
        truncate_reply,
    ),
    kind("duplicate-reply", "[node] [count]", "connections get the next reply twice", duplicate_reply),
    kind("swallow-reply", "[node] [count]", "connections do not get the next reply", swallow_reply),
    kind(
        "error-reply",
        "text [node] [count] [seconds]",
        "commands are not run and get this error",
        error_reply,
    ),
    kind("readonly", STRIKES, "writes are not run and get READONLY", cluster::readonly),
    kind("clusterdown", STRIKES, "commands with keys are not run and get CLUSTERDOWN", cluster::clusterdown),
    kind("loading", STRIKES, "commands with keys are not run and get LOADING", cluster::loading),
    kind("masterdown", STRIKES, "commands with keys are not run and get MASTERDOWN", cluster::masterdown),
    kind("tryagain", STRIKES, "commands with several keys are not run and get TRYAGAIN", cluster::tryagain),
    kind(
        "moved-storm",
        "[mode] [ask] [host] [port] [node] [count] [seconds]",
        "commands with keys are not run and get MOVED (or ASK): loop (default), self, empty, ?, port0, \
         unreachable, other-slot, foreign",
        cluster::moved_storm,
    ),
    kind(
        "close-node",
        "node [seconds]",
        "closes the connections of a node, and refuses new ones for so long",
        cluster::close_node,
    ),
    kind(
        "retire-node",
        "node [stale_seconds] [seconds]",
        "the port of a node closes for good, another takes its place, and the topology lists the old one for \
         so long; the seed is back after seconds (1)",
        cluster::retire_node,
    ),
    kind(
        "failover",
        "shard [seconds] [mode]",
        "a replica becomes the primary, with all data (planned, the default) or at once (takeover); the node \
         refuses connections for so long",
        cluster::failover,
    ),
    kind(
        "migrate-slot",
        "slot to [seconds]",
        "a slot moves to a shard: in so long with ASK and TRYAGAIN, on AMR at once",
        cluster::migrate_slot,
    ),
    kind(
        "maintenance",
        "[node] [seconds]",
        "a node of ACR has maintenance in so long (6), with messages on AzureRedisEvents",
        cluster::maintenance,
    ),
    kind("azure-event", "text", "this message is published on AzureRedisEvents", cluster::azure_event),
    kind("tls12", "mode", "new connections get TLS 1.3 alone (off) or 1.2 alone (only)", tls12),
    kind(
        "identity-status",
        "status [retry_after] [count]",
        "the identity endpoint answers so",
        identity_status,
    ),
    kind("identity-delay", "seconds", "the identity endpoint takes so long", identity_delay),
    kind(
        "identity-token",
        "[expires_off_by] [count]",
        "the identity endpoints give out tokens with the overrides of POST /token",
        identity_token,
    ),
    kind("identity-body", "body [count]", "the answer of the identity endpoints is spoiled", identity_body),
    kind("identity-error", "code [count]", "Entra refuses with this AADSTS error", identity_error),
    kind("clear", "", "ends all faults; what was revoked or disabled is back", clear),
];

impl FaultOrder {
    pub(super) fn read(body: &[u8]) -> Result<FaultOrder, String> {
        let read = || {
            let mut order: Map<String, Value> = serde_json::from_slice(body)?;
            let mut overrides = Map::new();
            if order.get("kind").is_some_and(|kind| kind == "identity-token") {
                let own = ["kind", "count", "expires_off_by"];
                let own = own.iter().filter_map(|key| order.remove_entry(*key)).collect();
                overrides = std::mem::replace(&mut order, own);
            }
            let token = serde_json::from_value(Value::Object(overrides))?;
            Ok(FaultOrder { token, ..serde_json::from_value(Value::Object(order))? })
        };
        read().map_err(|error: serde_json::Error| error.to_string())
    }

    fn time(&self) -> Result<Duration, String> {
        seconds(self.seconds)?.ok_or_else(|| MISSING_SECONDS.to_owned())
    }

    /// The node that the order names, which there has to be.
    fn door(&self, admin: &Admin) -> Result<Option<Door>, String> {
        match self.node {
            Some(door) if !admin.operations.front.doors.contain(door) => Err(NO_NODE.to_owned()),
            door => Ok(door),
        }
    }

    fn uses(&self) -> Uses {
        Uses::new(self.count)
    }

    fn mode<T: Copy>(&self, modes: &[(&str, T)]) -> Result<T, String> {
        let found = modes.iter().find(|(name, _)| self.mode.as_deref() == Some(name));
        found.map(|(_, mode)| *mode).ok_or_else(|| {
            let names: Vec<&str> = modes.iter().map(|(name, _)| *name).collect();
            format!("mode is one of {}", names.join(", "))
        })
    }
}

/// What limits an injected error.
const STRIKES: &str = "[node] [count] [seconds]";

const NO_NODE: &str = "node is the number of a node in /stats, or \"seed\"";

const MISSING_SECONDS: &str = "seconds (a number from 0 on) is missing";

fn seconds(number: Option<f64>) -> Result<Option<Duration>, String> {
    number
        .map(|number| Duration::try_from_secs_f64(number).map_err(|_| MISSING_SECONDS.to_owned()))
        .transpose()
}

fn live(admin: &Admin) -> &Live {
    &admin.operations.front.live
}

fn close_all(admin: &Admin, _: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(None, None, Strike::Close(Cause::CloseAll));
    Ok(Change::None)
}

fn auth_delay(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let (delay, fail_after) = (order.time()?, seconds(order.fail_after)?);
    let mut faults = admin.faults.cache();
    faults.auth_delay = delay;
    faults.auth_fail_after = fail_after.unwrap_or(AUTH_FAIL_AFTER);
    Ok(Change::None)
}

fn auth_fail(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().auth_fail = order.uses();
    Ok(Change::None)
}

fn revoke(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let oid = order.oid.clone().unwrap_or_else(|| admin.tenant.oid.clone());
    live(admin).strike_user(&oid, Strike::Close(Cause::AssignmentRevoked));
    Ok(Change::Revoke(oid))
}

/// Where there is no access key, the connections end all the same.
fn disable_keys(_: &Admin, _: &FaultOrder) -> Result<Change, String> {
    Ok(Change::DisableKeys)
}

fn half_open(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let (door, time) = (order.door(admin)?, seconds(order.seconds)?);
    if let Some(door) = door {
        admin.operations.front.doors.silence(door, time);
    }
    live(admin).strike(order.count, door, Strike::Freeze(time));
    Ok(Change::None)
}

fn expiry_close(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let modes = [
        ("fin", ExpiryMode::Fin),
        ("rst", ExpiryMode::Reset),
        ("close_notify", ExpiryMode::CloseNotify),
        ("mid-reply", ExpiryMode::MidReply),
    ];
    let close = ExpiryClose { mode: order.mode(&modes)?, delay: seconds(order.seconds)?.unwrap_or_default() };
    admin.faults.cache().expiry_close = close;
    live(admin).strike(None, None, Strike::Recheck);
    Ok(Change::None)
}

fn resp3_off(admin: &Admin, _: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().resp3_off = true;
    Ok(Change::None)
}

fn hello_broken(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let shape = order.mode(&[("non-map", HelloShape::NonMap), ("short", HelloShape::Short)])?;
    admin.faults.cache().hello_broken = Some((shape, order.uses()));
    Ok(Change::None)
}

fn idle_cut(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().idle_cut = Some(order.time()?);
    live(admin).strike(None, None, Strike::Recheck);
    Ok(Change::None)
}

fn throttle(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let per_second = order.count.ok_or("count (of connections in a second) is missing")?;
    admin.faults.cache().throttle = Some(Throttle::new(per_second));
    Ok(Change::None)
}

fn accept_close(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().accept_close = order.uses();
    Ok(Change::None)
}

fn slow_accept(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().slow_accept = order.time()?;
    Ok(Change::None)
}

fn slow_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().slow_reply = order.time()?;
    Ok(Change::None)
}

fn unsolicited_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(order.count, order.door(admin)?, Strike::Inject(b"+UNSOLICITED\r\n"));
    Ok(Change::None)
}

fn garbage(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(order.count, order.door(admin)?, Strike::Inject(b"\0garbage\xff\r\n"));
    Ok(Change::None)
}

fn truncate_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(order.count, order.door(admin)?, Strike::Spoil(Spoil::Cut(Cause::Truncated)));
    Ok(Change::None)
}

fn duplicate_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(order.count, order.door(admin)?, Strike::Spoil(Spoil::Duplicate));
    Ok(Change::None)
}

fn swallow_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    live(admin).strike(order.count, order.door(admin)?, Strike::Spoil(Spoil::Swallow));
    Ok(Change::None)
}

fn error_reply(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let text = order.text.clone().filter(|text| !text.is_empty() && !text.contains(['\r', '\n']));
    let text = text.ok_or("text is an error in one line, such as LOADING Redis is loading")?;
    cluster::inject(admin, order, Text::Line(text), Reach::All)
}

fn tls12(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.cache().tls = order.mode(&[("off", Tls::Only13), ("only", Tls::Only12)])?;
    Ok(Change::None)
}

const IDENTITY_STATUSES: [u16; 5] = [404, 410, 429, 500, 503];

fn identity_status(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let Some(status) = order.status.filter(|status| IDENTITY_STATUSES.contains(status)) else {
        return Err("status is one of 404, 410, 429, 500, 503".to_owned());
    };
    let fault = IdentityStatus { status, retry_after_s: order.retry_after };
    admin.faults.set_identity_status(fault, order.uses());
    Ok(Change::None)
}

fn identity_delay(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    admin.faults.set_identity_delay(order.time()?);
    Ok(Change::None)
}

fn identity_token(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let expires_off_by_s = order.expires_off_by.unwrap_or_default();
    admin
        .faults
        .set_identity_token(IdentityToken { order: order.token.clone(), expires_off_by_s }, order.uses());
    Ok(Change::None)
}

fn identity_body(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let body = order.body.ok_or("body is one of no-token, malformed")?;
    admin.faults.set_identity_body(body, order.uses());
    Ok(Change::None)
}

fn identity_error(admin: &Admin, order: &FaultOrder) -> Result<Change, String> {
    let code = order.code.filter(|code| identity::knows_error(*code));
    let code = code.ok_or("code is the number of an AADSTS error that is emulated")?;
    admin.faults.set_identity_error(code, order.uses());
    Ok(Change::None)
}

fn clear(admin: &Admin, _: &FaultOrder) -> Result<Change, String> {
    admin.faults.clear();
    live(admin).strike(None, None, Strike::Thaw);
    Ok(Change::Restore)
}
