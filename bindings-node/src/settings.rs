//! Options as a JavaScript object.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use respass::{AddressMap, ClusterMode, Config, Credential, MaintenanceEvents, Secret, TlsConfig};
use std::sync::Arc;
use std::time::Duration;

/// What a core is made of. The core's `Config` has the meanings and defaults.
#[napi(object, object_to_js = false)]
pub struct Settings {
    /// Name or address of the server.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS, where given.
    pub tls: Option<TlsSettings>,
    /// Login with a password, or user name of a token login.
    pub username: Option<String>,
    /// Login with a password.
    pub password: Option<String>,
    /// Login with tokens.
    pub token: Option<bool>,
    /// Lets a token travel without TLS, to a loopback host only.
    pub allow_plaintext_token: Option<bool>,
    /// Shown in CLIENT LIST.
    pub client_name: Option<String>,
    /// Selected after login.
    pub database: Option<u32>,
    /// How long a reply may take.
    pub command_timeout_ms: Option<u32>,
    /// How long TCP may take to connect.
    pub connect_timeout_ms: Option<u32>,
    /// How long commands wait for a token.
    pub token_timeout_ms: Option<u32>,
    /// The server must be a cluster.
    pub cluster: Option<bool>,
    /// `azure`, `advertised`, `table` or `driver`; else as the core finds best.
    pub address_map: Option<String>,
    /// Of `advertised`.
    pub allowed_hosts: Option<Vec<String>>,
    /// Of `table`.
    pub addresses: Option<Vec<MappedAddress>>,
    /// Connections for blocking commands and sessions together.
    pub own_connections_max: Option<u32>,
    /// Whether to listen for the maintenance of Azure Cache for Redis; else at its host names.
    pub maintenance_events: Option<bool>,
}

/// An advertised address, and where it is.
#[napi(object, object_to_js = false)]
pub struct MappedAddress {
    /// Advertised name or address.
    pub from_host: String,
    /// Advertised port.
    pub from_port: u16,
    /// Name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
}

/// Whom to trust, and what to show.
#[napi(object, object_to_js = false)]
pub struct TlsSettings {
    /// Certificate authorities in PEM, instead of the built-in ones.
    pub ca: Option<Uint8Array>,
    /// Certificate authorities in PEM, beside the built-in ones.
    pub extra_ca: Option<Uint8Array>,
    /// Certificate chain and private key in PEM.
    pub cert: Option<Uint8Array>,
    /// See `cert`.
    pub key: Option<Uint8Array>,
    /// The name to verify instead of the host's.
    pub servername: Option<String>,
}

impl Settings {
    pub(crate) fn into_config(mut self) -> Config {
        let address_map = self.address_map();
        let mut config = Config::new(self.host, self.port);
        config.address_map = address_map;
        config.cluster = if self.cluster == Some(true) { ClusterMode::Require } else { ClusterMode::Detect };
        let own_max = config.limits.own_connections_max;
        config.limits.own_connections_max = self.own_connections_max.map_or(own_max, |max| max as usize);
        config.maintenance_events = match self.maintenance_events {
            None => MaintenanceEvents::Detect,
            Some(true) => MaintenanceEvents::Always,
            Some(false) => MaintenanceEvents::Never,
        };
        config.tls = self.tls.map(TlsSettings::into_config);
        config.credential = match (self.token, self.username, self.password) {
            (Some(true), username, _) => Credential::Token { username },
            (_, None, None) => Credential::None,
            (_, username, password) => Credential::Password {
                username: username.unwrap_or_default(),
                password: Arc::new(Secret::new(password.unwrap_or_default().into_bytes())),
            },
        };
        config.allow_plaintext_token = self.allow_plaintext_token.unwrap_or(false);
        config.client_name = self.client_name.unwrap_or_default();
        config.database = self.database.unwrap_or(0);
        let duration = |ms: u32| Duration::from_millis(ms.into());
        let timeouts = &mut config.timeouts;
        timeouts.command = self.command_timeout_ms.map_or(timeouts.command, duration);
        timeouts.connect = self.connect_timeout_ms.map_or(timeouts.connect, duration);
        timeouts.token = self.token_timeout_ms.map_or(timeouts.token, duration);
        config
    }

    fn address_map(&mut self) -> AddressMap {
        match self.address_map.as_deref() {
            Some("azure") => AddressMap::Azure,
            Some("advertised") => {
                AddressMap::Advertised { allowed_hosts: self.allowed_hosts.take().unwrap_or_default() }
            }
            Some("table") => {
                let addresses = self.addresses.take().unwrap_or_default().into_iter();
                AddressMap::Table(
                    addresses
                        .map(|address| ((address.from_host, address.from_port), (address.host, address.port)))
                        .collect(),
                )
            }
            Some("driver") => AddressMap::Driver,
            _ => AddressMap::Auto,
        }
    }
}

impl TlsSettings {
    fn into_config(self) -> TlsConfig {
        TlsConfig {
            builtin_roots: self.ca.is_none(),
            ca_pem: self.ca.iter().chain(&self.extra_ca).map(|pem| pem.to_vec()).collect(),
            client_pem: self
                .cert
                .zip(self.key)
                .map(|(cert, key)| (cert.to_vec(), Arc::new(Secret::new(key.to_vec())))),
            server_name: self.servername,
        }
    }
}
