//! Many clients, model servers, a byte network and two clocks, in one thread and from one seed.
//!
//! The clients are the real core. Everything else is a model: [`server`] executes commands and keeps a ledger of what
//! ran ([`commands`], [`channels`], [`ledger`]), [`cluster`] knows who serves what and who believes what about it,
//! [`lies`] what a broken or hostile node says, [`credential`] gives tokens the way SDKs and platforms do, [`world`]
//! carries bytes with delays, splits and cuts and moves time, [`client`] is the driver of one client. The checks see
//! both sides: what a client was told and what the servers did.

pub mod channels;
pub mod client;
pub mod cluster;
mod commands;
pub mod credential;
pub mod errand;
mod event;
pub mod ledger;
pub mod lies;
pub mod listener;
pub mod report;
pub mod server;
pub mod slots;
pub mod upheaval;
pub mod wire;
pub mod workload;
pub mod world;

pub use client::{ClientSpec, Workload};
pub use credential::{Credential, Supply};
pub use report::Report;
pub use world::{Faults, World};

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
