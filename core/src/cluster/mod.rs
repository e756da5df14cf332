//! What a server says of its cluster, and what to believe of it: nodes, slots, redirects, maintenance.

mod address_map;
mod maintenance;
mod redirect;
mod slot_map;
mod topology;

pub(crate) use address_map::{
    AddressMapRules, MapMode, ServerNameFrom, Target, Targets, is_azure_cache, map,
};
pub(crate) use maintenance::{Maintenance, MaintenanceKind, parse_maintenance};
pub(crate) use redirect::{RedirectKind, parse_redirect};
pub(crate) use slot_map::SlotMap;
pub(crate) use topology::{Endpoint, Migration, Shard, Topology, parse_nodes, parse_shards, parse_slots};

/// The longest name of the domain name system.
const HOST_LEN_MAX: usize = 253;

/// What may be looked up or connected to: a name, or an address of either kind. `?`, which servers say where they do
/// not know, is none.
fn checked_host(bytes: &[u8]) -> Option<&str> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(byte);
    let is_host = (1..=HOST_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(is_allowed);
    std::str::from_utf8(bytes).ok().filter(|_| is_host)
}

/// A decimal number that is nothing else: no sign, no blank.
fn decimal(digits: &[u8]) -> Option<u16> {
    let is_decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_decimal)?.parse().ok()
}
