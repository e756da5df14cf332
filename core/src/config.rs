//! Everything that can be set, with its default and the reason for it.

use crate::error::ConfigError;
use crate::resp::DecodeLimits;
use crate::secret::Secret;
use crate::tls::TlsConfig;
use std::sync::Arc;
use std::time::Duration;

mod url;

/// How a client reaches its server and who it is there.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name or address of the server. With TLS, also the name that its certificate must show.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `None`: no TLS.
    pub tls: Option<TlsConfig>,
    /// Who logs in.
    pub credential: Credential,
    /// Shown in the server's `CLIENT LIST`; none where empty.
    pub client_name: String,
    /// Selected after login where it is not 0.
    pub database: u32,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much to hold of what.
    pub limits: Limits,
    /// Whether a token may travel without TLS, to a loopback host only. For tests.
    pub allow_plaintext_token: bool,
    /// Whether to look for a cluster.
    pub cluster: ClusterMode,
    /// Where the nodes of a cluster are, which advertise addresses of their own.
    pub address_map: AddressMap,
    /// Whether to listen for what the service tells of its maintenance.
    pub maintenance_events: MaintenanceEvents,
}

/// Whether to listen on the channel on which Azure Cache for Redis tells of maintenance (`AzureRedisEvents`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaintenanceEvents {
    /// At hosts of Azure Cache for Redis.
    #[default]
    Detect,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// Whether the server is taken for a node of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterMode {
    /// As the server says.
    #[default]
    Detect,
    /// It must be: a server that knows of no cluster is an error.
    Require,
}

/// How the addresses that nodes advertise become addresses to connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressMap {
    /// `Azure` for hosts of Azure, and wherever all nodes share one host and differ in port; else `Advertised`.
    #[default]
    Auto,
    /// The configured host with the advertised port; where nodes share a port, or cannot be reached so, the advertised
    /// address. Certificates are verified by the configured name.
    Azure,
    /// The advertised address, verified by the advertised host. Tokens go to these hosts only: names, addresses, or
    /// `*.example.com` for every name below it.
    Advertised {
        /// Beside the configured host.
        allowed_hosts: Vec<String>,
    },
    /// Advertised address and where it is. Others are not connected to. Certificates are verified by the configured
    /// name.
    Table(Vec<((String, u16), (String, u16))>),
    /// The driver maps what [`Output::Connect`](crate::Output::Connect) names. Certificates are verified by the
    /// configured name.
    Driver,
}

impl Config {
    /// A client without TLS and without login.
    pub fn new(host: impl Into<String>, port: u16) -> Config {
        Config {
            host: host.into(),
            port,
            tls: None,
            credential: Credential::None,
            client_name: String::new(),
            database: 0,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            allow_plaintext_token: false,
            cluster: ClusterMode::default(),
            address_map: AddressMap::default(),
            maintenance_events: MaintenanceEvents::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let complain = |text: &str| Err(ConfigError { text: text.to_owned() });
        if self.host.is_empty()
            || self.host.len() > 253
            || self.host.contains(|c: char| c.is_control() || c == ' ')
        {
            return complain("the host is not a name or an address");
        }
        if self.port == 0 {
            return complain("the port must not be 0");
        }
        if self.client_name.contains(|c: char| !c.is_ascii_graphic()) {
            return complain("a client name holds printable ASCII without blanks only");
        }
        if self.limits.sealed_ahead_max == 0 {
            return complain("sealed_ahead_max must not be 0: nothing would ever be sent");
        }
        if self.limits.own_connections_max == 0 {
            return complain("own_connections_max must not be 0: blocking commands would wait for ever");
        }
        if self.limits.handshakes_max == 0 {
            return complain("handshakes_max must not be 0: nothing would ever be connected");
        }
        match &self.credential {
            Credential::Token { .. } if self.tls.is_none() && !self.may_send_token_in_plaintext() => {
                complain(
                    "a token is a bearer secret and needs TLS \
                 (without it, only with allow_plaintext_token to a loopback host)",
                )
            }
            Credential::Password { username, .. } if username.contains(char::is_control) => {
                complain("the user name holds control characters")
            }
            _ => Ok(()),
        }
    }

    fn may_send_token_in_plaintext(&self) -> bool {
        let is_loopback = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.allow_plaintext_token && is_loopback
    }
}

/// Who logs in, and with what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// No login.
    None,
    /// A fixed password.
    Password {
        /// Empty for the default user.
        username: String,
        /// The password.
        password: Arc<Secret>,
    },
    /// Tokens, from a [`TokenSource`](crate::TokenSource).
    Token {
        /// The user name; the token's `oid` claim where `None`.
        username: Option<String>,
    },
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a reply, unless the command says otherwise. Time spent connecting, logging in or waiting for a
    /// re-authentication is not counted.
    pub command: Duration,
    /// For TCP to connect.
    pub connect: Duration,
    /// For TLS and login together: Azure may take 10 s to validate a token.
    pub login: Duration,
    /// For the first or the next token, while commands wait for it. Longer than the largest early close of a
    /// connection (30 s), so that a source that renews at the last moment fails no command.
    pub token: Duration,
    /// Silence after which an idle connection is probed. Azure cuts idle connections after 10 minutes; a dead peer
    /// should be noticed much sooner.
    pub idle: Duration,
    /// For the answer to that probe.
    pub keep_alive: Duration,
    /// While replies come, a probe as often proves that they still belong to their commands.
    pub alignment: Duration,
    /// Silence after which a connection with an overdue command counts as dead.
    pub silence: Duration,
    /// Longest wait between two attempts to connect.
    pub reconnect_max: Duration,
    /// Between two looks at a cluster's map that nothing else called for.
    pub topology: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            command: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            login: Duration::from_secs(15),
            token: Duration::from_secs(35),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            alignment: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            reconnect_max: Duration::from_secs(10),
            topology: Duration::from_secs(60),
        }
    }
}

/// How much to hold of what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What to believe of a server's claims.
    pub decode: DecodeLimits,
    /// Bytes of commands queued and in flight. An empty queue takes one command of any allowed size.
    pub queued_bytes_max: usize,
    /// Bytes of one command. Redis' own `proto-max-bulk-len` is 512 MiB.
    pub command_len_max: usize,
    /// Arguments of one command. Redis takes 1,048,576.
    pub arguments_max: usize,
    /// Bytes sealed before the socket took those before: what is not sealed can still be withdrawn, and gives way to
    /// a re-authentication.
    pub sealed_ahead_max: usize,
    /// Connections for blocking commands, sessions and monitors together. Who finds none free waits.
    pub own_connections_max: usize,
    /// Connections that connect and log in at the same time.
    pub handshakes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            decode: DecodeLimits::default(),
            queued_bytes_max: 64 << 20,
            command_len_max: 512 << 20,
            arguments_max: 1 << 20,
            sealed_ahead_max: 64 << 10,
            own_connections_max: 64,
            handshakes_max: 8,
        }
    }
}
