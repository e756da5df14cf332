//! A configuration, grown by setters.

use crate::ResultCode;
use crate::credential::Tokens;
use crate::error::{ErrorReport, told};
use crate::handle::{self, Failure, place};
use crate::input::{AddressMap, Cluster, MaintenanceEvents, Timer};
use crate::output::Slice;
use respass_core::{ClusterMode, Credential, ErrorCode, Secret, Timeouts, TlsConfig};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// How to reach a server and who to be there.
pub struct Config {
    _opaque: [u8; 0],
}

object!(Config, Box<State>, 2);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: respass_core::Config,
    /// Where the tokens of a blocking client come from.
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl State {
    /// The core's configuration, with the authorities that the environment names where no others were given.
    pub(crate) fn with_authorities(&self) -> Result<respass_core::Config, Failure> {
        let mut config = self.core.clone();
        let named = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
        if let (Some(tls), Some(file)) = (config.tls.as_mut().filter(|tls| tls.builtin_roots), named) {
            let pem = std::fs::read(&file).map_err(|error| {
                let text = format!("SSL_CERT_FILE: {}: {error}", file.to_string_lossy());
                Failure::new(ErrorCode::InvalidConfig as ResultCode, text)
            })?;
            tls.builtin_roots = false;
            tls.ca_pem.push(pem);
        }
        Ok(config)
    }
}

/// A configuration without TLS and without login. Free it with `respass_config_free`, at any time after
/// `respass_core_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_new(
    host: *const c_char,
    host_len: usize,
    port: u16,
    config: Option<&mut MaybeUninit<*mut Config>>,
) -> ResultCode {
    enter!({
        let place = place(config)?;
        let value = respass_core::Config::new(text!(host, host_len)?, port);
        place.write(handle::insert::<Config>(Box::new(State { core: value, tokens: None })));
    })
}

/// A configuration from a URL: `redis://` or, with TLS, `rediss://`, then `[[user]:password@]host[:port][/database]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_from_url(
    url: *const c_char,
    url_len: usize,
    config: Option<&mut MaybeUninit<*mut Config>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::make(|| {
            let place = place(config)?;
            let value = respass_core::Config::from_url(text!(url, url_len)?)
                .map_err(|error| Failure::new(ErrorCode::InvalidConfig as ResultCode, error.text))?;
            place.write(handle::insert::<Config>(Box::new(State { core: value, tokens: None })));
            Ok(())
        }),
    )
}

/// Releases the configuration.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_free(config: *mut Config) {
    handle::free(config);
}

/// Why the latest call on this configuration failed: borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_error_text(
    config: *const Config,
    text: Option<&mut MaybeUninit<Slice>>,
) -> ResultCode {
    handle::code(handle::failure_text(config, |latest| {
        place(text)?.write(Slice::of(latest.as_bytes()));
        Ok(())
    }))
}

/// TLS, with the public certificate authorities that are built in, verified by the host's name. `respass_open` trusts
/// those in the file that the environment variable SSL_CERT_FILE names instead, where it is set.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_tls(config: *mut Config) -> ResultCode {
    enter!(mut config => {
        config.core.tls.get_or_insert_default();
    })
}

/// TLS, trusting these certificate authorities (PEM) and no others. Repeated calls add up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_add_ca(
    config: *mut Config,
    pem: *const c_char,
    pem_len: usize,
) -> ResultCode {
    enter!(mut config => {
        let pem = bytes!(pem, pem_len)?.to_vec();
        let tls = config.core.tls.get_or_insert_default();
        tls.builtin_roots = false;
        tls.ca_pem.push(pem);
    })
}

/// TLS, with this certificate chain and private key (PEM) for a server that asks for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_set_client_certificate(
    config: *mut Config,
    chain_pem: *const c_char,
    chain_len: usize,
    key_pem: *const c_char,
    key_len: usize,
) -> ResultCode {
    enter!(mut config => {
        let key = Arc::new(Secret::new(bytes!(key_pem, key_len)?.to_vec()));
        let pair = (bytes!(chain_pem, chain_len)?.to_vec(), key);
        config.core.tls.get_or_insert_with(TlsConfig::default).client_pem = Some(pair);
    })
}

/// TLS, verified by this name instead of the host's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_set_server_name(
    config: *mut Config,
    name: *const c_char,
    name_len: usize,
) -> ResultCode {
    enter!(mut config => {
        let name = text!(name, name_len)?.to_owned();
        config.core.tls.get_or_insert_default().server_name = Some(name);
    })
}

/// Login with a fixed password; an empty user name stands for the default user.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_set_password(
    config: *mut Config,
    username: *const c_char,
    username_len: usize,
    password: *const c_char,
    password_len: usize,
) -> ResultCode {
    enter!(mut config => {
        let username = text!(username, username_len)?.to_owned();
        let password = Arc::new(Secret::new(bytes!(password, password_len)?.to_vec()));
        config.core.credential = Credential::Password { username, password };
    })
}

/// Login with tokens from a `respass_source`. An empty user name stands for the token's own object id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_set_token(
    config: *mut Config,
    username: *const c_char,
    username_len: usize,
) -> ResultCode {
    enter!(mut config => {
        let username = Some(text!(username, username_len)?.to_owned()).filter(|name| !name.is_empty());
        config.core.credential = Credential::Token { username };
    })
}

/// Lets a token travel without TLS, to a loopback host only. For tests.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_allow_plaintext_token(config: *mut Config) -> ResultCode {
    enter!(mut config => {
        config.core.allow_plaintext_token = true;
    })
}

/// The name shown in the server's CLIENT LIST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_set_client_name(
    config: *mut Config,
    name: *const c_char,
    name_len: usize,
) -> ResultCode {
    enter!(mut config => {
        config.core.client_name = text!(name, name_len)?.to_owned();
    })
}

/// The database that is selected after login.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_database(config: *mut Config, database: u32) -> ResultCode {
    enter!(mut config => {
        config.core.database = database;
    })
}

/// Bytes of commands that may be queued and in flight; 64 MiB by default.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_queued_bytes_max(
    config: *mut Config,
    queued_bytes_max: usize,
) -> ResultCode {
    enter!(mut config => {
        config.core.limits.queued_bytes_max = queued_bytes_max;
    })
}

/// Connections for blocking commands and sessions together; 64 by default. Who finds none free waits.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_own_connections_max(
    config: *mut Config,
    own_connections_max: usize,
) -> ResultCode {
    enter!(mut config => {
        config.core.limits.own_connections_max = own_connections_max;
    })
}

/// Whether the server must be a node of a cluster; `cluster` is a `RESPASS_CLUSTER_…`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_cluster(config: *mut Config, cluster: u32) -> ResultCode {
    enter!(mut config => {
        config.core.cluster = match cluster {
            cluster if cluster == Cluster::Detect as u32 => ClusterMode::Detect,
            cluster if cluster == Cluster::Require as u32 => ClusterMode::Require,
            _ => return Err(Failure::argument("there is no such cluster mode")),
        };
    })
}

/// Whether to listen on the channel on which Azure Cache for Redis tells of its maintenance; `maintenance_events` is a
/// `RESPASS_MAINTENANCE_EVENTS_…`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_maintenance_events(
    config: *mut Config,
    maintenance_events: u32,
) -> ResultCode {
    use respass_core::MaintenanceEvents as Core;
    enter!(mut config => {
        config.core.maintenance_events = match maintenance_events {
            events if events == MaintenanceEvents::Detect as u32 => Core::Detect,
            events if events == MaintenanceEvents::Always as u32 => Core::Always,
            events if events == MaintenanceEvents::Never as u32 => Core::Never,
            _ => return Err(Failure::argument("there is no such choice of maintenance events")),
        };
    })
}

/// Where the nodes of a cluster are, which advertise addresses of their own; `address_map` is a
/// `RESPASS_ADDRESS_MAP_…`. Hosts and addresses that were given before are forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_address_map(config: *mut Config, address_map: u32) -> ResultCode {
    use respass_core::AddressMap as Core;
    enter!(mut config => {
        config.core.address_map = match address_map {
            map if map == AddressMap::Auto as u32 => Core::Auto,
            map if map == AddressMap::Azure as u32 => Core::Azure,
            map if map == AddressMap::Advertised as u32 => Core::Advertised { allowed_hosts: Vec::new() },
            map if map == AddressMap::Table as u32 => Core::Table(Vec::new()),
            map if map == AddressMap::Driver as u32 => Core::Driver,
            _ => return Err(Failure::argument("there is no such address map")),
        };
    })
}

/// RESPASS_ADDRESS_MAP_ADVERTISED, and nodes at this host get commands and logins, too: a name, an address, or
/// `*.example.com` for every name below it. Repeated calls add up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_allow_host(
    config: *mut Config,
    host: *const c_char,
    host_len: usize,
) -> ResultCode {
    use respass_core::AddressMap as Core;
    enter!(mut config => {
        let host = text!(host, host_len)?.to_owned();
        match &mut config.core.address_map {
            Core::Advertised { allowed_hosts } => allowed_hosts.push(host),
            map => *map = Core::Advertised { allowed_hosts: vec![host] },
        }
    })
}

/// RESPASS_ADDRESS_MAP_TABLE, and the node that advertises `host` and `port` is at `to_host` and `to_port`. Repeated
/// calls add up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_config_map_address(
    config: *mut Config,
    host: *const c_char,
    host_len: usize,
    port: u16,
    to_host: *const c_char,
    to_host_len: usize,
    to_port: u16,
) -> ResultCode {
    use respass_core::AddressMap as Core;
    enter!(mut config => {
        let from = (text!(host, host_len)?.to_owned(), port);
        let to = (text!(to_host, to_host_len)?.to_owned(), to_port);
        match &mut config.core.address_map {
            Core::Table(rows) => rows.push((from, to)),
            map => *map = Core::Table(vec![(from, to)]),
        }
    })
}

/// How long to wait for what; `timer` is a `RESPASS_TIMER_…`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_config_set_timeout(config: *mut Config, timer: u32, timeout_us: u64) -> ResultCode {
    enter!(mut config => {
        *timeout_of(&mut config.core.timeouts, timer)? = Duration::from_micros(timeout_us);
    })
}

fn timeout_of(timeouts: &mut Timeouts, timer: u32) -> Result<&mut Duration, Failure> {
    let places = [
        (Timer::Command, &mut timeouts.command),
        (Timer::Connect, &mut timeouts.connect),
        (Timer::Login, &mut timeouts.login),
        (Timer::Token, &mut timeouts.token),
        (Timer::Idle, &mut timeouts.idle),
        (Timer::KeepAlive, &mut timeouts.keep_alive),
        (Timer::Silence, &mut timeouts.silence),
        (Timer::ReconnectMax, &mut timeouts.reconnect_max),
        (Timer::Topology, &mut timeouts.topology),
    ];
    let place = places.into_iter().find(|(kind, _)| *kind as u32 == timer);
    place.map(|(_, place)| place).ok_or_else(|| Failure::argument("there is no such timer"))
}
