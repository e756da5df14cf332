//! What the tests of C programs share: the library, a compiler, servers.
#![allow(dead_code, reason = "each test uses a part of it")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A process of ours that does not outlive its test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the libraries, which tests of their own accord do not; returns the files.
pub(crate) fn libraries() -> &'static [PathBuf] {
    static LIBRARIES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let cargo = ["build", "--package", "respass-ffi", "--message-format", "json"];
        let mut build = Command::new(env!("CARGO"));
        build.args(cargo).current_dir(root());
        forget_cargo(&mut build);
        let messages = run(&mut build);
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|message| message["filenames"].as_array().cloned())
            .flatten()
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .collect()
    })
}

/// What cargo tells its tests would make it build everything again, here and at the next test.
pub(crate) fn forget_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// The library of that name.
pub(crate) fn library(name: &str) -> &'static Path {
    libraries().iter().rfind(|file| file.ends_with(name)).expect("cargo builds it")
}

/// Compiles one C file of ours, without a warning, with the static library; returns the program.
pub(crate) fn program(source: &str) -> PathBuf {
    program_with(source, &[])
}

/// As `program`, with further libraries.
pub(crate) fn program_with(source: &str, libraries: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.replace(['/', '.'], "-"));
    run(Command::new("cc")
        .args(["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg("-I")
        .arg(root().join("adapters"))
        .arg(root().join(source))
        .arg(library("librespass.a"))
        .args(libraries)
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program));
    program
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

pub(crate) fn start_server() -> (Process, u16) {
    let port = free_port();
    (start_server_at(port), port)
}

pub(crate) fn start_server_at(port: u16) -> Process {
    let child = Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--enable-debug-command",
            "local",
            "--port",
            &port.to_string(),
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let server = Process(child);
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "redis-server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// An emulator of Azure, where RESPASS_EMULATOR names its program.
pub(crate) struct Emulator {
    pub(crate) host: String,
    pub(crate) port: String,
    pub(crate) ca_file: String,
    pub(crate) identity_endpoint: String,
    pub(crate) identity_header: String,
    admin: String,
    _process: Lifeline,
}

/// `None` says why on standard error.
pub(crate) fn start_emulator() -> Option<Emulator> {
    start_emulator_with(&[])
}

/// As `start_emulator`, with options of its own.
pub(crate) fn start_emulator_with(options: &[&str]) -> Option<Emulator> {
    let Some(program) = std::env::var_os("RESPASS_EMULATOR") else {
        eprintln!("skipped: RESPASS_EMULATOR does not name the emulator's program");
        return None;
    };
    // Its standard input is the lifeline: it ends when this test does.
    let mut child = Command::new(program)
        .args(["--port", "0", "--stdin-lifeline"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the emulator starts");
    let stdout = child.stdout.take().expect("piped");
    let process = Lifeline(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("the ready line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    let text = |name: &str| ready[name].as_str().expect(name).to_owned();
    Some(Emulator {
        host: text("host"),
        port: ready["port"].to_string(),
        ca_file: text("ca_file"),
        identity_endpoint: text("identity_endpoint"),
        identity_header: text("identity_header"),
        admin: text("admin"),
        _process: process,
    })
}

impl Emulator {
    pub(crate) fn token(&self) -> String {
        fetch_token(&self.admin)
    }

    /// As a process that has a managed identity here.
    pub(crate) fn identify<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("IDENTITY_ENDPOINT", &self.identity_endpoint)
            .env("IDENTITY_HEADER", &self.identity_header)
    }
}

/// Ends the emulator by its lifeline, so that it ends its own servers.
struct Lifeline(Child);

impl Drop for Lifeline {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It may have ended by itself.
        let _ = self.0.wait();
    }
}

fn fetch_token(admin: &str) -> String {
    let address = admin.strip_prefix("http://").expect("http").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("the admin endpoint");
    let request = "POST /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("received");
    let body = &response[response.find('{').expect("JSON")..=response.rfind('}').expect("JSON")];
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["access_token"].as_str().expect("access_token").to_owned()
}
