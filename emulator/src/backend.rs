//! The redis-server process behind the front.
//!
//! It listens on a unix socket in the private directory, keeps nothing on disk, and knows one user for each
//! object id with an assignment, all with one password that only the emulator knows. Its default user is off
//! (or has that password too), so that everything before a login is answered by redis itself. It loses the
//! commands that the emulated Redis does not have.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::dialect::Dialect;
use crate::random;

/// One redis-server; it ends when this is dropped.
pub(crate) struct Backend {
    pub(crate) dialect: Dialect,
    child: Child,
    pid: u32,
    pub(crate) socket: PathBuf,
    /// The password of all users.
    pub(crate) password: String,
    log: PathBuf,
}

impl Backend {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(directory: &Path, dialect: Dialect) -> Result<Backend, String> {
        let password = random::secret();
        let (socket, log, config) =
            (directory.join("redis.sock"), directory.join("redis.log"), directory.join("redis.conf"));
        std::fs::write(&config, configuration(directory, &socket, &log, dialect, &password))
            .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
        let child = spawn(&config)?;
        let pid = child.id().ok_or("redis-server ended at once")?;
        let mut backend = Backend { dialect, child, pid, socket, password, log };
        backend.wait_until_listening().await?;
        Ok(backend)
    }

    /// Changes the server's users.
    pub(crate) fn control(&self) -> Control {
        Control { socket: self.socket.clone(), password: self.password.clone() }
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

fn configuration(directory: &Path, socket: &Path, log: &Path, dialect: Dialect, password: &str) -> String {
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
        format!("databases {}", dialect.database_count()),
        "user default off".to_owned(),
        format!("user {CONTROL_USER} on >{password} +acl"),
    ];
    lines.extend(dialect.missing_commands().iter().map(|command| format!("rename-command {command} \"\"")));
    lines.join("\n") + "\n"
}

/// The emulator's own way to the server. Each order has a connection of its own: they are rare.
pub(crate) struct Control {
    socket: PathBuf,
    password: String,
}

/// No object id, so no client can have it for a user name.
const CONTROL_USER: &str = "emulator.control";

impl Control {
    /// Makes a user with exactly these ACL rules, or changes it in place.
    pub(crate) async fn set_user(&self, user: &str, rules: &[String]) -> Result<(), String> {
        let password = format!(">{}", self.password);
        let mut command = vec!["ACL", "SETUSER", user, "reset", "on", &password];
        command.extend(rules.iter().map(String::as_str));
        self.order(&command).await
    }

    /// Deletes a user if there is one; the server closes its connections.
    pub(crate) async fn delete_user(&self, user: &str) -> Result<(), String> {
        self.order(&["ACL", "DELUSER", user]).await
    }

    async fn order(&self, command: &[&str]) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("redis-server cannot be reached: {error}");
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        let login = encode(&["AUTH", CONTROL_USER, &self.password]);
        let orders = [login, encode(command)].concat();
        stream.write_all(orders.as_bytes()).await.map_err(failed)?;
        let mut received = Vec::new();
        for _ in 0..2 {
            match read_reply(&mut stream, &mut received).await.map_err(failed)? {
                OwnedFrame::Error(error) => return Err(error),
                _ => continue,
            }
        }
        Ok(())
    }
}

async fn read_reply(stream: &mut UnixStream, received: &mut Vec<u8>) -> std::io::Result<OwnedFrame> {
    loop {
        if let Some((frame, len)) = decode(received).map_err(|_| ErrorKind::InvalidData)? {
            received.drain(..len);
            return Ok(frame);
        }
        if stream.read_buf(received).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn encode(command: &[&str]) -> String {
    let arguments = command.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", command.len(), arguments.collect::<String>())
}
