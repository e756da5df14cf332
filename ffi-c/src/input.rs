//! What callers hand in, beside handles and bytes.

use respass_core::{Instant, UnixTime};

/// Both clocks, read at the same moment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Microseconds of a clock that never goes back, from any start: CLOCK_MONOTONIC.
    pub monotonic_us: u64,
    /// Microseconds since 1970: CLOCK_REALTIME. Compared with token claims and certificates only.
    pub unix_us: u64,
}

impl From<Now> for respass_core::Now {
    fn from(now: Now) -> respass_core::Now {
        respass_core::Now {
            monotonic: Instant::from_micros(now.monotonic_us),
            unix: UnixTime::from_micros(now.unix_us),
        }
    }
}

/// Why there is no socket any more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection was made; the text says why.
    ConnectFailed = 1,
    /// The peer closed it in an orderly way.
    Closed = 2,
    /// It broke; the text says how.
    Broken = 3,
}

/// What a time limit is for. The core's `Timeouts` says more, and the defaults.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A reply. Time spent connecting, logging in or waiting for a re-authentication is not counted.
    Command = 1,
    /// TCP to connect.
    Connect = 2,
    /// TLS and login together.
    Login = 3,
    /// The first or the next token, while commands wait for it.
    Token = 4,
    /// Silence after which an idle connection is probed.
    Idle = 5,
    /// The answer to that probe.
    KeepAlive = 6,
    /// Silence after which a connection with an overdue command counts as dead.
    Silence = 7,
    /// The longest wait between two attempts to connect.
    ReconnectMax = 8,
    /// Between two looks at a cluster's map that nothing else called for.
    Topology = 9,
}

/// Whether the server is taken for a node of a cluster.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// As the server says. The default.
    Detect = 1,
    /// It must be: a server that knows of no cluster is an error.
    Require = 2,
}

/// Where to listen for what Azure Cache for Redis tells of its maintenance.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaintenanceEvents {
    /// At its host names. The default.
    Detect = 1,
    /// Everywhere.
    Always = 2,
    /// Nowhere.
    Never = 3,
}

/// How the addresses that the nodes of a cluster advertise become addresses to connect to.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMap {
    /// As AZURE for hosts of Azure, and wherever all nodes share one host and differ in port; else as ADVERTISED. The
    /// default.
    Auto = 1,
    /// The configured host with the advertised port. Certificates are verified by the configured name.
    Azure = 2,
    /// The advertised address, verified by the advertised host: the configured one, and those of
    /// `respass_config_allow_host`.
    Advertised = 3,
    /// As `respass_config_map_address` says. Other addresses are not connected to.
    Table = 4,
    /// What RESPASS_OUTPUT_KIND_CONNECT names is what was advertised, and the program knows where that is. Not for
    /// `respass_open`.
    Driver = 5,
}

const _: () = assert!(size_of::<Now>() == 16);
