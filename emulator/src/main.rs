//! Azure Managed Redis and Azure Cache for Redis with Microsoft Entra ID, on this machine.
//!
//! What it emulates, with a real `redis-server` behind it:
//!
//! - a cache that speaks TLS 1.2 and 1.3 only, whose certificate holds a DNS name and no address;
//! - logins with `AUTH <oid> <token>` and `HELLO 3 AUTH <oid> <token>`: signature, expiry, audience, tenant,
//!   object id and assignment of the token are checked, and every mistake has the one text that Azure has for
//!   all of them;
//! - token expiry: a connection is closed, without a word, when the token of its last good login expires;
//! - commands that Azure Managed Redis does not have (`READONLY`, `RESET`, `ROLE` and so on), and CROSSSLOT
//!   where a proxy spreads keys over shards (`amr-enterprise`);
//! - clusters with the topologies of Azure Managed Redis (`amr-oss`) and of Azure Cache for Redis
//!   (`acr-cluster`): two servers for each shard, a port for each node, all behind one host name, and an
//!   advertised address where nobody listens;
//! - Redis 6.0 as Azure Cache for Redis has it (`acr-single`, `acr-cluster`): its commands, error texts and ACL
//!   categories;
//! - access policies, changed at run time, and the access key;
//! - the managed-identity endpoints of App Service and of virtual machines (IMDS), with fresh tokens or the
//!   platform's token cache;
//! - Microsoft Entra ID's token endpoint for client secrets, certificates and federated (workload) identities;
//! - an admin endpoint with statistics, odd tokens and faults.
//!
//! What it does not emulate: the maintenance notices of Redis Enterprise, Azure's connection and size limits.
//! `CLIENT REPLY`, inline commands and subscribing inside MULTI are refused or unsupported, because the front
//! counts replies; verbatim strings in formats other than `txt` and `mkd` end the connection. Nobody measured
//! Azure's own delay between a token's expiry and the close; here it is none, unless a fault sets one. Nobody
//! has published how a proxy treats transactions over several slots; here it refuses the first command that
//! leaves the slot. COMMAND, the replies to INFO and HELLO inside MULTI, and scripts show the redis-server that
//! runs behind all this; so does the shape of replies that later versions changed. Rights on AMR are those of
//! that server's ACL categories. Scripts that ask for the topology see the servers; clients that ask for it
//! inside MULTI are refused.
//!
//! When it is ready it prints one JSON line that says where everything is. It ends on SIGTERM, on SIGINT, and
//! with `--stdin-lifeline` when its standard input closes; its servers end with it, however it ends (on
//! Linux).

#![forbid(unsafe_code)]

mod access;
mod admin;
mod backend;
mod census;
mod certificate;
mod cluster;
mod dialect;
mod fault;
mod front;
mod identity;
mod jwt;
mod operations;
mod options;
mod random;
mod redis_6_0;
mod token;

use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::access::{Access, Identity};
use crate::backend::Servers;
use crate::census::Census;
use crate::cluster::{Cluster, Door};
use crate::dialect::Dialect;
use crate::fault::Faults;
use crate::front::{Doors, Front, Parts};
use crate::identity::{Endpoints, Workload};
use crate::jwt::SigningKey;
use crate::operations::Operations;
use crate::options::{Options, Request};
use crate::token::Tenant;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os()) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("respass-emulator: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    raise_open_files_limit();
    match tokio::runtime::Runtime::new().map_err(|error| error.to_string()).and_then(|runtime| {
        // Blocked here, and not on a worker: the servers are tied to the life of the thread that starts them.
        runtime.block_on(run(options))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("respass-emulator: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Every connection takes two descriptors, and the usual limit of 1,024 is too low for a storm of logins. The
/// server inherits it.
fn raise_open_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, the old limit serves for everything but storms.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The line that the starter reads.
#[derive(Serialize)]
struct Ready<'a> {
    profile: &'a str,
    host: &'a str,
    port: u16,
    url: String,
    ca_file: &'a Path,
    oid: &'a str,
    identities: &'a [Identity],
    access_key: Option<&'a str>,
    tenant_id: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    client_certificate_file: &'a Path,
    authority: &'a str,
    imds: String,
    identity_endpoint: String,
    identity_header: &'a str,
    identity_resource_id: String,
    federated_token_file: &'a Path,
    admin: String,
}

async fn run(options: Options) -> Result<(), String> {
    // First of all, so that a signal during the start also removes the directory and the servers.
    let mut end = pin!(end_of_life(options.stdin_lifeline)?);
    let directory =
        tempfile::Builder::new().prefix("respass-emulator-").tempdir().map_err(|error| error.to_string())?;
    let (tenant_key, workload_key) = generate_keys()?;
    let tenant = Arc::new(Tenant::new(options.token_ttl, tenant_key));
    let workload = Arc::new(Workload::new(workload_key, directory.path(), options.federated_ttl_s)?);
    let dialect = Dialect::new(options.profile, options.cluster_refusal, options.select);
    let mut servers = tokio::select! {
        servers = Servers::start(directory.path(), dialect, options.shards) => servers?,
        () = &mut end => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = serve(&options, dialect, directory.path(), &tenant, &workload, &mut servers) => outcome,
        () = &mut end => Ok(()),
    };
    servers.stop().await;
    outcome
}

/// The two RSA keys there have to be, side by side: this is most of the time that the start takes.
fn generate_keys() -> Result<(SigningKey, SigningKey), String> {
    std::thread::scope(|scope| {
        let other = scope.spawn(SigningKey::generate);
        let one = SigningKey::generate()?;
        Ok((one, other.join().map_err(|_| "cannot make a signing key".to_owned())??))
    })
}

async fn serve(
    options: &Options,
    dialect: Dialect,
    directory: &Path,
    tenant: &Arc<Tenant>,
    workload: &Arc<Workload>,
    servers: &mut Servers,
) -> Result<(), String> {
    let port = listen(options.port).await?;
    let nodes = listen_at_nodes(options, dialect).await?;
    let identity_port = listen(options.identity_port).await?;
    let authority_port = listen(0).await?;
    let admin_port = listen(0).await?;
    let chain = certificate::issue(HOST, directory)?;
    let census = Arc::new(Census::new(servers.pids()));
    let faults = Arc::new(Faults::default());
    let access = Access::start(dialect.product, servers.controls(), tenant, options.access_keys).await?;
    let access = Arc::new(access);
    let ports = nodes.iter().map(number).collect::<Result<Vec<u16>, String>>()?;
    let cluster = Arc::new(Cluster::new(dialect, servers, &ports, options.node_port > 0));
    let port_number = number(&port)?;
    let nodes = (0..).map(Door::Node).zip(ports).zip(nodes);
    let nodes = nodes.map(|((door, port), listener)| (door, port, listener));
    let doors = nodes.chain([(Door::Seed, port_number, port)]);
    let password = &servers.password;
    let parts = Parts {
        dialect,
        password,
        chain: &chain,
        cluster: &cluster,
        tenant,
        access: &access,
        census: &census,
        faults: &faults,
    };
    let front = Arc::new(Front::new(&parts, Doors::new(doors.collect()))?);
    let authority = format!("https://{HOST}:{}", number(&authority_port)?);
    let authority_tls = identity::tls::Listener::new(authority_port, &chain)?;
    let identity = Endpoints::new(tenant, workload, &census, &faults, options.token_cache, authority);

    let (identity_number, admin_number) = (number(&identity_port)?, number(&admin_port)?);
    let ready = Ready {
        profile: options.profile.name(),
        host: HOST,
        port: port_number,
        url: format!("rediss://{HOST}:{port_number}"),
        ca_file: &chain.ca_file,
        oid: &tenant.oid,
        identities: access.identities(),
        access_key: access.access_key(),
        tenant_id: &tenant.tenant_id,
        client_id: &tenant.client_id,
        client_secret: &workload.client_secret,
        client_certificate_file: &workload.certificate.file,
        authority: identity.authority(),
        imds: format!("http://127.0.0.1:{identity_number}"),
        identity_endpoint: format!("http://127.0.0.1:{identity_number}/msi/token"),
        identity_header: identity.header(),
        identity_resource_id: tenant.resource_id(),
        federated_token_file: &workload.federated_token_file,
        admin: format!("http://127.0.0.1:{admin_number}"),
    };
    let line = serde_json::to_string(&ready).map_err(|error| error.to_string())?;
    let operations = Operations::new(&front, dialect);
    let admin = admin::router(tenant, workload, &access, &census, &faults, &operations);
    // A starter that does not read the line may still use the emulator at its well-known port.
    let _ = writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush());

    tokio::select! {
        () = front.serve() => Err("the front stopped".to_owned()),
        message = serve_http(identity_port, identity.managed_identity()) => Err(message),
        message = serve_http(authority_tls, identity.entra()) => Err(message),
        message = workload.keep_federated_token() => Err(message),
        message = serve_http(admin_port, admin) => Err(message),
        message = servers.ended() => Err(message),
    }
}

/// Serves for ever, or says why not.
async fn serve_http<L>(listener: L, router: axum::Router) -> String
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let outcome = axum::serve(listener, router).await;
    format!("an HTTP endpoint stopped: {outcome:?}")
}

/// The only name in the certificate and in the URL.
const HOST: &str = "localhost";

async fn listen(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error} (port 0 picks a free one)"))
}

/// A listener for each node of a cluster.
async fn listen_at_nodes(options: &Options, dialect: Dialect) -> Result<Vec<TcpListener>, String> {
    let count = Cluster::node_count(dialect, options.shards);
    let mut listeners = Vec::new();
    for node in 0..count {
        let port = match options.node_port {
            0 => 0,
            first => Cluster::node_port(dialect, node, count, first),
        };
        listeners.push(listen(port).await?);
    }
    Ok(listeners)
}

fn number(listener: &TcpListener) -> Result<u16, String> {
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Completes when the emulator is asked to end.
fn end_of_life(stdin_lifeline: bool) -> Result<impl Future<Output = ()>, String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let (cut, lifeline) = tokio::sync::oneshot::channel::<()>();
    if stdin_lifeline {
        // A plain thread: the runtime would wait at its end for a read that never returns.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = cut.send(());
        });
    } else {
        // Kept for ever, so that only the lifeline can fire the receiver.
        std::mem::forget(cut);
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
            _ = lifeline => (),
        }
    })
}
