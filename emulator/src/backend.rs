//! The redis-server process behind the front.
//!
//! It listens on a unix socket in the private directory, keeps nothing on disk, and knows one user for each
//! object id with an assignment, with a password that only the front knows. Its default user is off, so that
//! everything before a login is answered by redis itself. It loses the commands that Azure Managed Redis does
//! not have.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::random;

/// One redis-server; it ends when this is dropped.
pub(crate) struct Backend {
    child: Child,
    pid: u32,
    pub(crate) socket: PathBuf,
    /// The password of the user that stands for the object id.
    pub(crate) password: String,
    log: PathBuf,
}

impl Backend {
    /// Starts a server for one assigned `oid` and waits until it listens.
    pub(crate) async fn start(directory: &Path, oid: &str) -> Result<Backend, String> {
        let password = random::secret();
        let (socket, log, config) =
            (directory.join("redis.sock"), directory.join("redis.log"), directory.join("redis.conf"));
        std::fs::write(&config, configuration(directory, &socket, &log, oid, &password))
            .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
        let child = spawn(&config)?;
        let pid = child.id().ok_or("redis-server ended at once")?;
        let mut backend = Backend { child, pid, socket, password, log };
        backend.wait_until_listening().await?;
        Ok(backend)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Completes, with the reason, when the server ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("redis-server ended ({status}); the end of its log:\n{}", self.log_tail())
    }

    /// Ends the server and waits for its end, so that it is gone when the emulator is.
    pub(crate) async fn stop(&mut self) {
        // It fails only for a server that has already ended.
        let _ = self.child.kill().await;
    }

    async fn wait_until_listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while UnixStream::connect(&self.socket).await.is_err() {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return Err(self.ended().await);
            }
            if Instant::now() > deadline {
                return Err(format!("redis-server does not listen after {START_MAX:?}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

const START_MAX: Duration = Duration::from_secs(10);

/// Starts redis-server so that the kernel ends it when the emulator is gone, even by SIGKILL. setpriv
/// (util-linux) asks the kernel for that and becomes redis-server, so the process id stays. Where there is no
/// setpriv the server still ends whenever the emulator ends in an orderly way.
fn spawn(config: &Path) -> Result<Child, String> {
    if !on_path("redis-server") {
        return Err("redis-server is not installed (Debian package: redis-server)".to_owned());
    }
    let mut command = if on_path("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]);
        command
    } else {
        Command::new("redis-server")
    };
    command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "redis-server is not installed (Debian package: redis-server)".to_owned(),
        _ => format!("cannot start redis-server: {error}"),
    })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn configuration(directory: &Path, socket: &Path, log: &Path, oid: &str, password: &str) -> String {
    let mut lines = vec![
        "port 0".to_owned(),
        format!("unixsocket \"{}\"", socket.display()),
        "unixsocketperm 700".to_owned(),
        format!("dir \"{}\"", directory.display()),
        format!("logfile \"{}\"", log.display()),
        "loglevel notice".to_owned(),
        "daemonize no".to_owned(),
        "save \"\"".to_owned(),
        "appendonly no".to_owned(),
        // Azure Managed Redis has database 0 only.
        "databases 1".to_owned(),
        "user default off".to_owned(),
        format!("user {oid} on >{password} ~* &* +@all {}", REFUSED_SUBCOMMANDS.join(" ")),
    ];
    lines.extend(REFUSED_COMMANDS.iter().map(|command| format!("rename-command {command} \"\"")));
    lines.join("\n") + "\n"
}

/// Commands that Redis Software or Azure Managed Redis refuse as unknown; renaming to nothing gives the very
/// text, `ERR unknown command 'READONLY', with args beginning with: `. MONITOR is on the list because the
/// front cannot tell its stream from replies.
const REFUSED_COMMANDS: &[&str] = &[
    "asking",
    "bgrewriteaof",
    "bgsave",
    "debug",
    "failover",
    "lastsave",
    "latency",
    "migrate",
    "monitor",
    "move",
    "psync",
    "readonly",
    "readwrite",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "shutdown",
    "slaveof",
    "swapdb",
    "sync",
];

/// The same for subcommands, which can only be refused by right. CLIENT REPLY is on the list because a
/// command without a reply cannot be counted.
const REFUSED_SUBCOMMANDS: &[&str] = &[
    "-acl|setuser",
    "-acl|deluser",
    "-acl|genpass",
    "-acl|load",
    "-acl|save",
    "-acl|log",
    "-client|reply",
    "-client|pause",
    "-client|unpause",
    "-client|no-evict",
    "-client|getredir",
    "-config|resetstat",
    "-config|rewrite",
    "-memory|doctor",
    "-memory|stats",
    "-memory|purge",
    "-memory|malloc-stats",
    "-script|debug",
];
