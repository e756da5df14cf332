//! The C programs under valgrind: no error, and nothing lost.

mod native;

use native::{Emulator, program, program_with, run, start_emulator, start_emulator_with, start_server};
use std::path::Path;
use std::process::Command;

/// How many cores are made and freed; the whole number takes a minute, for which `make valgrind` has time.
const CYCLES_ENV: &str = "RESPASS_VALGRIND_CYCLES";
const CYCLES: &str = "5000";

fn memcheck() -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full"])
        .arg("--errors-for-leak-kinds=definite,indirect")
        // Of large values, one MiB says as much.
        .env("RESPASS_TEST_SMALL", "1");
    command
}

fn valgrind(program: &Path) -> Command {
    let mut command = memcheck();
    command.arg(program);
    command
}

/// With TLS, which memcheck does not follow all the way.
fn valgrind_tls(program: &Path, emulator: &Emulator) -> Command {
    let mut command = memcheck();
    command
        .arg(format!("--suppressions={}", native::root().join("tests/valgrind.supp").display()))
        .arg(program)
        .env("RESPASS_TOKEN", emulator.token());
    command
}

#[test]
fn cores_that_are_made_used_and_freed() {
    let cores = program("tests/programs/cores.c");
    let cycles = std::env::var(CYCLES_ENV);
    run(valgrind(&cores).arg("replies"));
    run(valgrind(&cores).args(["threads", "20"]));
    run(valgrind(&cores).args(["cycles", cycles.as_deref().unwrap_or(CYCLES)]));
}

#[test]
fn blocking_calls() {
    let blocking = program("tests/programs/blocking.c");
    for case in ["commands", "replies", "pipelines", "transactions", "connections"] {
        let (_server, port) = start_server();
        run(valgrind(&blocking).args([case, "127.0.0.1", &port.to_string()]));
    }
    let lanes = program("tests/programs/lanes.c");
    for case in ["blocking", "watch", "messages", "lost", "monitor", "connections"] {
        let (_server, port) = start_server();
        run(valgrind(&lanes).args([case, "127.0.0.1", &port.to_string()]));
    }
    let Some(emulator) = start_emulator() else { return };
    let place = [&emulator.host, &emulator.port, &emulator.ca_file];
    run(valgrind_tls(&blocking, &emulator).arg("login").args(place));
}

#[test]
fn drivers() {
    let drivers = program_with("tests/programs/drivers.c", &["-luv"]);
    let cases =
        "binary,large,kinds,errors,pipelines,transactions,timeouts,cancel,callbacks,close,early-close";
    let subscribers = program_with("tests/programs/subscribers.c", &["-luv"]);
    let (_server, port) = start_server();
    let emulator = start_emulator();
    for name in ["poll", "uv"] {
        run(valgrind(&drivers).args([name, cases, "127.0.0.1", &port.to_string()]));
        let cases = "messages,lost,close-inside,blocking,watch,monitor";
        run(valgrind(&subscribers).args([name, cases, "127.0.0.1", &port.to_string()]));
        let Some(emulator) = &emulator else { continue };
        let place = [&emulator.host, &emulator.port, &emulator.ca_file];
        run(valgrind_tls(&drivers, emulator).args([name, "tokens"]).args(place));
    }
}

/// Connections that are made beside others, with look-ups by threads; they come and go on three shards.
#[test]
fn clusters() {
    let lanes = program("tests/programs/lanes.c");
    let ledger = program_with("tests/programs/ledger.c", &["-luv"]);
    let (_server, port) = start_server();
    run(valgrind(&lanes).args(["shards", "127.0.0.1", &port.to_string()]));
    let Some(emulator) = start_emulator_with(&["--profile", "amr-oss"]) else { return };
    let place = [&emulator.host, &emulator.port, &emulator.ca_file];
    // What the assembly decrypts of a long reply counts as uninitialised, too.
    let tls = "--undef-value-errors=no";
    let token = emulator.token();
    run(memcheck().arg(tls).arg(&lanes).arg("shards").args(place).env("RESPASS_TOKEN", token));
    for name in ["poll", "uv"] {
        let mut command = memcheck();
        let command = emulator.identify(command.arg(tls).arg(&ledger).arg(name).args(place));
        run(command.args(["5", "20", "20"]));
    }
}

/// Every conversation of the vectors in one process.
#[test]
#[ignore = "takes a minute, for which `make valgrind` has time"]
fn conversations() {
    let folder = native::root().join("../tests/vectors");
    let vectors = program("tests/vectors.c");
    let names = vector_names(&folder, &folder);
    assert!(names.len() > 100, "{names:?}");
    run(valgrind(&vectors).arg(&folder).args(&names));
}

/// The names of all vectors below a folder, as seen from `root`.
fn vector_names(folder: &Path, root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names.extend(vector_names(&path, root));
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            names.push(path.with_extension("").strip_prefix(root).expect("below").display().to_string());
        }
    }
    names
}
