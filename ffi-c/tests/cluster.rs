//! C programs against a cluster of three shards, as Azure offers it: over TLS, with tokens.

mod native;

use native::{Emulator, program, program_with, run, start_emulator_with};
use std::process::Command;

fn start_cluster(options: &[&str]) -> Option<Emulator> {
    start_emulator_with(&[&["--profile", "amr-oss"], options].concat())
}

fn check_lanes(emulator: &Emulator, case: &str) -> String {
    let program = program("tests/programs/lanes.c");
    run(Command::new(program)
        .args([case, &emulator.host, &emulator.port, &emulator.ca_file])
        .env("RESPASS_TOKEN", emulator.token()))
}

#[test]
fn blocking_calls_reach_every_shard_and_are_answered_in_order() {
    let Some(emulator) = start_cluster(&[]) else { return };
    assert_eq!(check_lanes(&emulator, "shards"), "3 connections\n");
    check_lanes(&emulator, "blocking");
    check_lanes(&emulator, "messages");
}

#[test]
fn a_load_over_all_shards_is_answered_truly_while_tokens_end() {
    let Some(emulator) = start_cluster(&["--token-ttl", "8"]) else { return };
    let program = program_with("tests/programs/ledger.c", &["-luv"]);
    for name in ["poll", "uv"] {
        let printed = run(emulator.identify(&mut Command::new(&program)).args([
            name,
            &emulator.host,
            &emulator.port,
            &emulator.ca_file,
            "10",
        ]));
        let last = printed.lines().last().expect("a summary");
        assert!(last.contains(r#""not_sent": 0, "indeterminate": 0, "refused": 0"#), "{name}: {printed}");
        assert!(last.ends_with(r#""wrong": 0}"#) && printed.contains("presented token"), "{name}: {printed}");
    }
}

#[test]
fn the_examples_work_there_too() {
    let Some(emulator) = start_cluster(&["--token-ttl", "8"]) else { return };
    std::thread::scope(|scope| {
        for (name, last) in [
            ("blocking", "counted to 50, "),
            ("poll", "counted to 50, "),
            ("uv", "counted to 50, "),
            ("subscribe_poll", "heard 100 of 100, gaps: 0, "),
            ("subscribe_uv", "heard 100 of 100, gaps: 0, "),
        ] {
            let emulator = &emulator;
            let program = program_with(&format!("examples/{name}.c"), &["-luv"]);
            scope.spawn(move || {
                let printed = run(emulator.identify(&mut Command::new(program)).args([
                    &emulator.host,
                    &emulator.port,
                    &emulator.ca_file,
                    "10",
                ]));
                assert!(
                    printed.lines().last().is_some_and(|line| line.starts_with(last)),
                    "{name}: {printed}"
                );
            });
        }
    });
}
