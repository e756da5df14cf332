//! A C program drives the library: against a real server, and, where RESPASS_EMULATOR names its program, over TLS
//! with a token.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A process of ours that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Builds the library (which tests of their own accord do not) and the program; returns the program.
fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cargo = ["build", "--package", "respass-ffi", "--message-format", "json"];
        let mut build = Command::new(env!("CARGO"));
        build.args(cargo).current_dir(root);
        // What cargo tells its tests would make it build everything again, here and at the next test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        let messages = run(&mut build);
        let library = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|message| message["filenames"].as_array().cloned())
            .flatten()
            .filter_map(|file| file.as_str().map(str::to_owned))
            .rfind(|file| file.ends_with("librespass.a"))
            .expect("cargo builds the static library");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe");
        run(Command::new("cc")
            .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
            .arg(root.join("include"))
            .arg(root.join("examples/probe.c"))
            .arg(library)
            .args(["-lpthread", "-ldl", "-lm", "-o"])
            .arg(&program));
        program
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

fn start_server() -> (Process, u16) {
    let port = free_port();
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let server = Process(child);
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "redis-server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, port)
}

fn check(line: &str) -> Value {
    let result: Value = serde_json::from_str(line).expect("one JSON line");
    assert!(result["ops_per_s"].as_f64().expect("a rate") > 0.0, "{line}");
    result
}

#[test]
fn a_c_program_pipelines_on_a_real_server() {
    let (_server, port) = start_server();
    check(&run(Command::new(probe()).args(["127.0.0.1", &port.to_string(), "0.3"])));
}

#[test]
fn a_c_program_is_told_why_nothing_can_be_sent() {
    let port = free_port().to_string();
    let output = Command::new(probe()).args(["127.0.0.1", &port, "0.1"]).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("nobody answers there"), "{stderr}");
}

#[test]
fn a_c_program_logs_in_with_a_token_over_tls() {
    let Some(program) = std::env::var_os("RESPASS_EMULATOR") else {
        eprintln!("skipped: RESPASS_EMULATOR does not name the emulator's program");
        return;
    };
    // Its standard input is the lifeline: it ends when this test does.
    let mut child = Command::new(program)
        .args(["--port", "0", "--stdin-lifeline"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the emulator starts");
    let stdout = child.stdout.take().expect("piped");
    let _emulator = Lifeline(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("the ready line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    let token = fetch_token(ready["admin"].as_str().expect("admin"));
    let line = run(Command::new(probe())
        .arg(ready["host"].as_str().expect("host"))
        .args([&ready["port"].to_string(), "0.3", ready["ca_file"].as_str().expect("ca_file")])
        .env("RESPASS_TOKEN", token));
    check(&line);
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
