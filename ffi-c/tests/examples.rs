//! The examples, as their readers would run them: against Azure's emulator, over TLS, with tokens of a managed identity
//! that end and are renewed meanwhile.

mod native;

use native::{program_with, run, start_emulator_with};
use std::process::Command;

fn check(name: &str, libraries: &[&str]) {
    let Some(emulator) = start_emulator_with(&["--token-ttl", "4"]) else { return };
    let program = program_with(&format!("examples/{name}.c"), libraries);
    let printed = run(emulator.identify(&mut Command::new(program)).args([
        &emulator.host,
        &emulator.port,
        &emulator.ca_file,
        "5",
    ]));
    let last = printed.lines().last().expect("a summary");
    let words: Vec<&str> = last.split([' ', ',']).collect();
    assert_eq!(words[..3], ["counted", "to", "25"], "{printed}");
    assert!(words.last().is_some_and(|renewals| renewals.parse::<u32>().is_ok_and(|n| n > 0)), "{printed}");
}

/// Messages come ten times a second, none is missed, and the tokens end meanwhile.
fn check_subscriptions(name: &str, libraries: &[&str]) {
    let Some(emulator) = start_emulator_with(&["--token-ttl", "8"]) else { return };
    let program = program_with(&format!("examples/{name}.c"), libraries);
    let printed = run(emulator.identify(&mut Command::new(program)).args([
        &emulator.host,
        &emulator.port,
        &emulator.ca_file,
        "15",
    ]));
    let last = printed.lines().last().expect("a summary");
    assert!(last.starts_with("heard 150 of 150, gaps: 0, renewals: "), "{printed}");
}

#[test]
fn subscriptions_in_a_loop_around_poll_outlast_their_tokens() {
    check_subscriptions("subscribe_poll", &[]);
}

#[test]
fn subscriptions_in_a_libuv_loop_outlast_their_tokens() {
    check_subscriptions("subscribe_uv", &["-luv"]);
}

#[test]
fn blocking_calls_outlast_their_tokens() {
    check("blocking", &[]);
}

#[test]
fn a_loop_around_poll_outlasts_its_tokens() {
    check("poll", &[]);
}

#[test]
fn a_libuv_loop_outlasts_its_tokens() {
    check("uv", &["-luv"]);
}
