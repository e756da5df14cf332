//! The emulator's own way to a server.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Gives orders to one server. Each has a connection of its own: they are rare.
#[derive(Clone)]
pub(crate) struct Control {
    socket: PathBuf,
    password: String,
}

/// No object id, so no client can have it for a user name.
pub(super) const CONTROL_USER: &str = "emulator.control";

impl Control {
    pub(super) fn new(socket: PathBuf, password: &str) -> Control {
        Control { socket, password: password.to_owned() }
    }

    /// Where the server listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// User and password for what a server has another one do.
    pub(crate) fn credentials(&self) -> (&'static str, &str) {
        (CONTROL_USER, &self.password)
    }

    /// Makes a user with exactly these ACL rules, or changes it in place.
    pub(crate) async fn set_user(&self, user: &str, rules: &[String]) -> Result<(), String> {
        let password = format!(">{}", self.password);
        let mut command = vec!["ACL", "SETUSER", user, "reset", "on", &password];
        command.extend(rules.iter().map(String::as_str));
        self.ask(&command).await.map(drop)
    }

    /// Deletes a user if there is one; the server closes its connections.
    pub(crate) async fn delete_user(&self, user: &str) -> Result<(), String> {
        self.ask(&["ACL", "DELUSER", user]).await.map(drop)
    }

    /// The reply to a command that brings a text; lossy, and empty for any other kind of reply.
    pub(crate) async fn text(&self, command: &[&str]) -> Result<String, String> {
        Ok(match self.ask(command).await? {
            OwnedFrame::BulkString(text) | OwnedFrame::SimpleString(text) => {
                String::from_utf8_lossy(&text).into_owned()
            }
            _ => String::new(),
        })
    }

    /// The reply to a command, unless it is an error.
    pub(crate) async fn ask(&self, command: &[&str]) -> Result<OwnedFrame, String> {
        self.ask_bytes(&command.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
    }

    /// The same for a command that need not be text.
    pub(crate) async fn ask_bytes(&self, command: &[&[u8]]) -> Result<OwnedFrame, String> {
        let failed = |error: std::io::Error| format!("redis-server cannot be reached: {error}");
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        let login = encode(&[b"AUTH", CONTROL_USER.as_bytes(), self.password.as_bytes()]);
        let orders = [login, encode(command)].concat();
        stream.write_all(&orders).await.map_err(failed)?;
        let mut received = Vec::new();
        let mut last = OwnedFrame::Null;
        for _ in 0..2 {
            last = match read_reply(&mut stream, &mut received).await.map_err(failed)? {
                OwnedFrame::Error(error) => return Err(error.to_string()),
                reply => reply,
            }
        }
        Ok(last)
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

fn encode(command: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
