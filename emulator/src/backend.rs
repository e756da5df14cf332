//! The redis-server processes behind the front.
//!
//! Each listens on a unix socket in a directory of its own, keeps no data on disk, and knows one user for each
//! object id with an assignment, all with one password that only the emulator knows. Its default user is off
//! (or has that password too), so that everything before a login is answered by redis itself. It loses the
//! commands that the emulated Redis does not have.
//!
//! - `servers`: all of them, from start to end.
//! - `formation`: how they become a cluster.
//! - `control`: the emulator's own way to a server.

pub(crate) mod control;
mod formation;
mod servers;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use self::control::CONTROL_USER;
pub(crate) use self::control::Control;
pub(crate) use self::formation::SLOT_COUNT;
use self::formation::Seat;
pub(crate) use self::servers::Servers;
use crate::dialect::Dialect;

/// One redis-server; it ends when this is dropped.
struct Backend {
    child: Child,
    pid: u32,
    control: Control,
    log: PathBuf,
}

impl Backend {
    /// Starts a server that keeps its files in `directory`, in a cluster if it has a seat there.
    fn spawn(
        directory: &Path,
        dialect: Dialect,
        password: &str,
        seat: Option<&Seat>,
    ) -> Result<Backend, String> {
        let (socket, log, config) =
            (directory.join("redis.sock"), directory.join("redis.log"), directory.join("redis.conf"));
        let mut lines = configuration(directory, &socket, &log, dialect, password);
        lines.extend(seat.map_or(vec!["port 0".to_owned()], |seat| seat.configuration(password)));
        std::fs::write(&config, lines.join("\n") + "\n")
            .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
        let child = spawn(&config)?;
        let pid = child.id().ok_or("redis-server ended at once")?;
        Ok(Backend { child, pid, control: Control::new(socket, password), log })
    }

    /// Completes, with the reason, when the server ends by itself.
    async fn ended(&mut self) -> String {
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("redis-server ended ({status}); the end of its log:\n{}", self.log_tail())
    }

    async fn wait_until_listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while UnixStream::connect(self.control.socket()).await.is_err() {
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

fn configuration(
    directory: &Path,
    socket: &Path,
    log: &Path,
    dialect: Dialect,
    password: &str,
) -> Vec<String> {
    let mut lines = vec![
        format!("unixsocket \"{}\"", socket.display()),
        "unixsocketperm 700".to_owned(),
        format!("dir \"{}\"", directory.display()),
        format!("logfile \"{}\"", log.display()),
        "loglevel notice".to_owned(),
        "daemonize no".to_owned(),
        "save \"\"".to_owned(),
        "appendonly no".to_owned(),
        format!("databases {}", dialect.database_count()),
        "user default off".to_owned(),
        format!("user {CONTROL_USER} on >{password} +@all ~* &*"),
    ];
    lines.extend(dialect.missing_commands().map(|command| format!("rename-command {command} \"\"")));
    lines
}
