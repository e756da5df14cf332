//! Many clients, one model server, a byte network and two clocks, in one thread and from one seed.
//!
//! The clients are the real core. Everything else is a model: [`server`] executes commands and keeps a ledger of what
//! ran, [`credential`] gives tokens the way SDKs and platforms do, [`world`] carries bytes with delays, splits and
//! cuts and moves time, [`client`] is the driver of one client. The checks see both sides: what a client was told and
//! what the server did.

pub mod client;
pub mod credential;
pub mod server;
pub mod world;

pub use client::{ClientSpec, Workload};
pub use credential::{Credential, Supply};
pub use world::{Faults, Report, World};

/// Microseconds in a second.
pub const SECOND: u64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: u64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: u64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: u64 = 24 * HOUR;

/// The true wall time at the simulation's start, in microseconds since 1970.
pub const EPOCH: u64 = 1_800_000_000 * SECOND;
