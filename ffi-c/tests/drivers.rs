//! C programs over the drivers for event loops, and over cores without sockets.

mod native;

use native::{free_port, program, program_with, root, run, start_emulator, start_server, start_server_at};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

const LOOPS: [&str; 2] = ["poll", "uv"];

fn drivers() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_with("tests/programs/drivers.c", &["-luv"]))
}

fn cores() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("tests/programs/cores.c"))
}

fn check(cases: &str) {
    let (_server, port) = start_server();
    for name in LOOPS {
        run(Command::new(drivers()).args([name, cases, "127.0.0.1", &port.to_string()]));
    }
}

#[test]
fn cpp17_takes_the_drivers_without_a_warning() {
    for header in ["respass_poll.h", "respass_uv.h"] {
        run(Command::new("c++")
            .args(["-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-x", "c++"])
            .arg("-I")
            .arg(root().join("include"))
            .arg(root().join("adapters").join(header)));
    }
}

#[test]
fn replies_of_any_size_and_kind_come_whole() {
    check("binary,large,kinds,errors");
}

#[test]
fn many_commands_go_out_together_and_are_answered_in_order() {
    check("pipelines,transactions");
}

#[test]
fn commands_end_in_time_or_when_nobody_wants_them() {
    check("timeouts,cancel");
}

#[test]
fn a_command_has_its_time_from_when_it_is_submitted_though_the_loop_rested() {
    check("pause");
}

#[test]
fn submitting_before_each_turn_does_not_keep_replies_from_being_read() {
    check("steady");
}

#[test]
fn callbacks_may_submit_and_close_and_a_close_answers_all_that_wait() {
    check("callbacks,close,early-close");
}

fn check_subscribers(cases: &str) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| program_with("tests/programs/subscribers.c", &["-luv"]));
    let (_server, port) = start_server();
    for name in LOOPS {
        run(Command::new(program).args([name, cases, "127.0.0.1", &port.to_string()]));
    }
}

#[test]
fn subscribers_hear_what_is_theirs_until_they_are_closed() {
    check_subscribers("messages,monitor");
}

#[test]
fn a_subscriber_that_lost_its_connection_is_told_of_the_gap() {
    check_subscribers("lost");
}

#[test]
fn a_message_may_close_the_driver() {
    check_subscribers("close-inside");
}

#[test]
fn what_waits_or_watches_holds_up_nobody() {
    check_subscribers("blocking,watch");
}

#[test]
fn a_child_of_fork_is_turned_away_and_its_parent_goes_on() {
    let (_server, port) = start_server();
    run(Command::new(drivers()).args(["poll", "fork", "127.0.0.1", &port.to_string()]));
}

#[test]
fn a_server_that_nobody_can_reach_is_named() {
    let port = free_port().to_string();
    std::thread::scope(|scope| {
        for name in LOOPS {
            for (case, host) in [("nobody", "127.0.0.1"), ("unknown-host", "no-such-host.invalid")] {
                let port = &port;
                scope.spawn(move || run(Command::new(drivers()).args([name, case, host, port])));
            }
        }
    });
}

#[test]
fn a_server_that_starts_again_is_found() {
    for name in LOOPS {
        let (server, port) = start_server();
        let mut server = Some(server);
        let mut child = Command::new(drivers())
            .args([name, "restart", "127.0.0.1", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut replies = child.stdin.take().expect("piped");
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            server = None;
            if line.expect("text") == "start" {
                server = Some(start_server_at(port));
            }
            replies.write_all(b"done\n").expect("it reads");
        }
        assert!(child.wait().expect("it ends").success(), "over {name}");
        drop(server);
    }
}

/// Passes one connection on to the server; the other end of the channel may interfere with it.
fn start_relay(server: u16) -> (u16, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its number").port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(("127.0.0.1", server)).expect("the server");
        let copy = |stream: &TcpStream| stream.try_clone().expect("a copy");
        tell.send(copy(&client)).expect("the test waits");
        for (mut from, mut to) in [(copy(&client), copy(&server)), (server, client)] {
            // Ends with the connection.
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    (port, told)
}

#[test]
fn what_a_server_says_before_it_hangs_up_is_read_though_writing_fails_first() {
    let (_server, port) = start_server();
    for name in LOOPS {
        let (port, client) = start_relay(port);
        let mut child = Command::new(drivers())
            .args([name, "last-words", "127.0.0.1", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let mut client = client.recv().expect("it is connected");
        client.write_all(b"-ERR max number of clients reached\r\n").expect("written");
        client.shutdown(Shutdown::Both).expect("closed");
        child.stdin.take().expect("piped").write_all(b"done\n").expect("it reads");
        assert!(child.wait().expect("it ends").success(), "over {name}");
    }
}

#[test]
fn tokens_come_at_once_late_from_another_thread_or_not_at_all() {
    let Some(emulator) = start_emulator() else { return };
    for name in LOOPS {
        run(Command::new(drivers())
            .args([name, "tokens", &emulator.host, &emulator.port, &emulator.ca_file])
            .env("RESPASS_TOKEN", emulator.token()));
    }
}

#[test]
fn cores_take_every_kind_of_reply_in_both_protocols() {
    run(Command::new(cores()).arg("replies"));
}

#[test]
fn a_hundred_thousand_cores_leave_no_memory_behind() {
    run(Command::new(cores()).args(["cycles", "100000"]));
}

#[test]
fn eight_threads_use_a_core_each_and_one_at_a_time_the_same() {
    run(Command::new(cores()).args(["threads", "100"]));
}
