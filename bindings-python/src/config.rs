//! The options of a Python client become a `respass::Config`.

use crate::clock;
use crate::error;
use crate::reply::Text;
use pyo3::prelude::*;
use respass::{AddressMap, ClusterMode, Config, Credential, MaintenanceEvents, Secret, TlsConfig};
use std::sync::Arc;
use std::time::Duration;

/// What the attributes of `respass._config.Options` hold.
#[derive(FromPyObject)]
pub(crate) struct Options {
    host: String,
    port: u16,
    tls: bool,
    ca_pem: Option<Vec<u8>>,
    client_pem: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    has_credential: bool,
    client_name: String,
    db: u32,
    socket_timeout: Option<f64>,
    socket_connect_timeout: Option<f64>,
    allow_plaintext_token: bool,
    is_cluster: bool,
    address_map: String,
    address_table: Vec<(Address, Address)>,
    allowed_hosts: Vec<String>,
    max_own_connections: Option<usize>,
    maintenance_events: Option<bool>,
    decode_responses: bool,
    encoding: String,
    encoding_errors: String,
}

/// Host and port.
type Address = (String, u16);

impl Options {
    pub(crate) fn text(&self) -> PyResult<Text> {
        Text::new(self.decode_responses, &self.encoding, &self.encoding_errors)
    }

    pub(crate) fn config(self, py: Python<'_>) -> PyResult<Config> {
        let mut config = Config::new(self.host, self.port);
        config.tls = self.tls.then(|| TlsConfig {
            builtin_roots: self.ca_pem.is_none(),
            ca_pem: self.ca_pem.into_iter().collect(),
            client_pem: self.client_pem.map(|(chain, key)| (chain, Arc::new(Secret::new(key)))),
            server_name: self.server_name,
        });
        config.credential = match (self.has_credential, self.password) {
            (true, _) => Credential::Token { username: self.username },
            (false, Some(password)) => Credential::Password {
                username: self.username.unwrap_or_default(),
                password: Arc::new(Secret::new(password)),
            },
            (false, None) => Credential::None,
        };
        if self.is_cluster {
            config.cluster = ClusterMode::Require;
        }
        config.address_map = match self.address_map.as_str() {
            "azure" => AddressMap::Azure,
            "advertised" => AddressMap::Advertised { allowed_hosts: self.allowed_hosts },
            "table" => AddressMap::Table(self.address_table),
            "driver" => AddressMap::Driver,
            _ => AddressMap::Auto,
        };
        if let Some(max) = self.max_own_connections {
            config.limits.own_connections_max = max;
        }
        config.maintenance_events = match self.maintenance_events {
            None => MaintenanceEvents::Detect,
            Some(true) => MaintenanceEvents::Always,
            Some(false) => MaintenanceEvents::Never,
        };
        config.client_name = self.client_name;
        config.database = self.db;
        config.allow_plaintext_token = self.allow_plaintext_token;
        config.timeouts.command = timeout(py, self.socket_timeout, "socket_timeout")?;
        config.timeouts.connect = timeout(py, self.socket_connect_timeout, "socket_connect_timeout")?;
        Ok(config)
    }
}

/// `None` is redis-py's word for waiting without end.
fn timeout(py: Python<'_>, seconds: Option<f64>, name: &str) -> PyResult<Duration> {
    let Some(seconds) = seconds else { return Ok(ENDLESS) };
    clock::seconds(seconds)
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| error::config(py, &format!("{name} must be a positive number of seconds")))
}

/// Thirty years: no sum of it and a clock overflows.
const ENDLESS: Duration = Duration::from_secs(30 * 365 * 86_400);
