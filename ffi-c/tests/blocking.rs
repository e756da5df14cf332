//! A C program uses the blocking surface.

mod native;

use native::{free_port, run, start_emulator, start_server};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| native::program("tests/programs/blocking.c"))
}

fn check(case: &str) {
    let (_server, port) = start_server();
    run(Command::new(program()).args([case, "127.0.0.1", &port.to_string()]));
}

#[test]
fn commands_have_replies_and_errors_have_codes() {
    check("commands");
}

#[test]
fn nested_and_large_replies_are_walked() {
    check("replies");
}

#[test]
fn appended_commands_are_answered_in_order_whatever_comes_between() {
    check("pipelines");
}

#[test]
fn transactions_run_whole_or_not_at_all() {
    check("transactions");
}

#[test]
fn lost_connections_and_timeouts_leave_a_client_in_order() {
    check("connections");
}

#[test]
fn a_second_thread_and_a_child_of_fork_are_turned_away() {
    check("threads");
}

fn check_lanes(case: &str) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| native::program("tests/programs/lanes.c"));
    let (_server, port) = start_server();
    run(Command::new(program).args([case, "127.0.0.1", &port.to_string()]));
}

#[test]
fn a_command_that_waits_holds_up_no_other_and_is_answered_in_its_place() {
    check_lanes("blocking");
}

#[test]
fn a_session_watches_and_says_when_it_lost_sight() {
    check_lanes("watch");
}

#[test]
fn messages_of_every_kind_of_channel_come_in_order() {
    check_lanes("messages");
}

#[test]
fn a_lost_subscription_says_that_there_is_a_gap_and_goes_on() {
    check_lanes("lost");
}

#[test]
fn a_monitor_sees_what_others_do() {
    check_lanes("monitor");
}

#[test]
fn each_connection_tells_what_it_is_for() {
    check_lanes("connections");
}

#[test]
fn maintenance_is_told_of_where_that_is_asked_for() {
    check_lanes("maintenance");
}

#[test]
fn opening_tells_that_nobody_answers() {
    run(Command::new(program()).args(["nobody", "127.0.0.1", &free_port().to_string()]));
}

#[test]
fn tokens_come_from_a_callback_at_once_or_later_from_another_thread() {
    let Some(emulator) = start_emulator() else { return };
    run(Command::new(program())
        .args(["login", &emulator.host, &emulator.port, &emulator.ca_file])
        .env("RESPASS_TOKEN", emulator.token()));
}
