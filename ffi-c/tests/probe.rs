//! A C program drives the library: against a real server, and, where RESPASS_EMULATOR names its program, over TLS
//! with a token.

mod native;

use native::{free_port, run, start_emulator, start_server};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

fn probe() -> &'static PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| native::program("examples/probe.c"))
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
    let Some(emulator) = start_emulator() else { return };
    let line = run(Command::new(probe())
        .args([&emulator.host, &emulator.port, "0.3", &emulator.ca_file])
        .env("RESPASS_TOKEN", emulator.token()));
    check(&line);
}
