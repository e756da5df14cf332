//! Start and end: what the emulator says when it cannot start, and that nothing of it stays when it ends.

mod rig;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rig::{Emulator, within};
use serde_json::json;

/// Whether a process runs; one that only waits to be collected does not.
fn runs(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

fn server_pid(emulator: &Emulator) -> u64 {
    let pid = emulator.stats()["servers"][0]["pid"].as_u64().expect("a process id");
    assert!(runs(pid));
    pid
}

fn signal(emulator: &Emulator, name: &str) {
    let command = format!("kill -{name} {}", emulator.child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
}

#[test]
fn the_end_of_standard_input_is_the_end() {
    let mut emulator = Emulator::start();
    let pid = server_pid(&emulator);
    let ca_file = emulator.text("ca_file").to_owned();
    drop(emulator.child.stdin.take());
    assert!(emulator.child.wait().expect("it ends").success());
    assert!(!runs(pid));
    assert!(!Path::new(&ca_file).exists(), "the private directory is gone");
}

#[test]
fn signals_end_it_and_its_server() {
    for name in ["TERM", "INT"] {
        let mut emulator = Emulator::start();
        let pid = server_pid(&emulator);
        signal(&emulator, name);
        assert!(emulator.child.wait().expect("it ends").success(), "{name}");
        assert!(!runs(pid), "{name}");
    }
}

#[test]
fn all_servers_of_a_cluster_end_with_it() {
    let mut emulator = Emulator::with(&["--profile", "amr-oss", "--shards", "2"]);
    let stats = emulator.stats();
    let pids: Vec<u64> =
        stats["servers"].as_array().expect("a list").iter().filter_map(|one| one["pid"].as_u64()).collect();
    assert!(pids.len() == 4 && pids.iter().all(|pid| runs(*pid)), "a primary and a replica for each shard");
    signal(&emulator, "TERM");
    assert!(emulator.child.wait().expect("it ends").success());
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[test]
fn the_nodes_of_a_cluster_may_have_ports_in_a_row() {
    let is_free = |port: &u16| (0..4).all(|more| TcpListener::bind(("127.0.0.1", port + more)).is_ok());
    let first = (23_000..32_000).step_by(4).find(is_free).expect("four free ports");
    let emulator = Emulator::with(&["--profile", "amr-oss", "--node-port", &first.to_string()]);
    assert_eq!([0, 1, 2].map(|node| emulator.node_port(node)), [first + 2, first + 1, first]);
    emulator.strike(&json!({ "kind": "retire-node", "node": 2 }));
    assert_eq!(emulator.node_port(2), first + 3);
}

#[cfg(target_os = "linux")]
#[test]
fn the_server_does_not_outlive_a_killed_emulator() {
    let mut emulator = Emulator::start();
    let pid = server_pid(&emulator);
    emulator.child.kill().expect("killed");
    emulator.child.wait().expect("it ends");
    assert!(within(Duration::from_secs(2), || !runs(pid)));
    // Killed, it could not remove its directory.
    if let Some(directory) = Path::new(emulator.text("ca_file")).parent() {
        std::fs::remove_dir_all(directory).expect("removed");
    }
}

#[test]
fn it_ends_when_its_server_ends() {
    let mut emulator = Emulator::start();
    let pid = server_pid(&emulator);
    assert!(
        Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status().expect("a shell").success()
    );
    // Not `wait`, which closes the standard input first: that is an end of another kind.
    assert!(within(Duration::from_secs(10), || emulator
        .child
        .try_wait()
        .is_ok_and(|status| status.is_some())));
    assert_eq!(emulator.child.wait().expect("it has ended").code(), Some(1));
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = command.output().expect("it starts");
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).expect("text"))
}

fn emulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_respass-emulator"))
}

#[test]
fn a_missing_redis_server_is_named_with_its_package() {
    let (code, message) = refused(emulator().args(["--port", "0"]).env("PATH", "/nowhere"));
    assert_eq!(code, Some(1));
    assert!(message.contains("Debian package: redis-server"), "{message}");
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let (code, message) = refused(emulator().args(["--profile", "nonsense"]));
    assert_eq!(code, Some(2));
    assert!(message.contains("nonsense") && message.contains("amr-nocluster"), "{message}");
    for arguments in [
        &["--shards", "3"][..],
        &["--profile", "amr-oss", "--shards", "0"],
        &["--profile", "acr-cluster", "--shards", "11"],
        &["--profile", "amr-enterprise", "--shards", "1"],
        &["--access-keys", "perhaps"],
        &["--cluster-refusal", "x"],
        &["--select", "x"],
        &["--token-ttl", "0"],
        &["--token-cache", "warm"],
        &["--port", "x"],
        &["--what"],
    ] {
        assert_eq!(refused(emulator().args(arguments)).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = Emulator::start();
    let port = taken.ready["port"].to_string();
    let (code, message) = refused(emulator().args(["--port", &port]));
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}
