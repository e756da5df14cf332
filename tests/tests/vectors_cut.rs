//! Every conversation vector again, with its bytes cut up: however they arrive, and wherever a connection ends, each
//! command gets exactly one answer.

use respass_tests::tree;
use respass_tests::vector::Player;
use respass_tests::vector_script::{events, names};
use std::path::PathBuf;

fn root() -> PathBuf {
    tree::root().join("tests/vectors")
}

/// Every vector that has a client, as its events.
fn vectors() -> Vec<(String, Vec<String>)> {
    let all = names(&root()).into_iter().map(|name| (name.clone(), events(&root(), &name)));
    all.filter(|(_, events)| events.iter().any(|event| event.starts_with("recv "))).collect()
}

fn outcomes_of(events: &[String], receive: impl Fn(&mut Player, &str)) -> String {
    let mut player = Player::default();
    for event in events {
        if event.starts_with("recv ") { receive(&mut player, event) } else { player.step(event) }
    }
    player.take_outcomes()
}

#[test]
fn bytes_that_come_one_by_one_lead_to_the_same_outcomes() {
    for (name, events) in vectors() {
        let whole = outcomes_of(&events, |player, recv| {
            let (conn, bytes) = player.bytes_of(recv);
            player.receive(conn, &bytes);
        });
        let single = outcomes_of(&events, |player, recv| {
            let (conn, bytes) = player.bytes_of(recv);
            bytes.iter().for_each(|byte| player.receive(conn, &[*byte]));
        });
        assert_eq!(whole, single, "{name}");
    }
}

/// Where to cut so many bytes: everywhere, and in long values now and then.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).filter(move |at| *at < 300 || len - at < 30 || at % 9973 == 0)
}

#[test]
fn a_connection_that_ends_after_any_byte_leaves_each_command_with_one_outcome() {
    let mut runs = 0;
    for (name, events) in vectors() {
        for (index, recv) in events.iter().enumerate().filter(|(_, event)| event.starts_with("recv ")) {
            let mut player = Player::default();
            events.iter().take(index).for_each(|event| player.step(event));
            let len = player.bytes_of(recv).1.len();
            for at in cuts(len) {
                runs += 1;
                check_cut(&name, &events, index, at);
            }
        }
    }
    assert!(runs > 10_000, "{runs} places to cut at are too few: the search is broken");
}

/// Plays a vector in which the connection ends `at` bytes into the bytes of event `index`, and then the rest of it.
fn check_cut(name: &str, events: &[String], index: usize, at: usize) {
    let mut player = Player::default();
    for (number, event) in events.iter().enumerate() {
        if number == index {
            let (conn, bytes) = player.bytes_of(event);
            player.receive(conn, &bytes[..at]);
            player.step(&format!("closed {}", conn.as_u64()));
        } else {
            player.step(event);
        }
    }
    player.step("close");
    let outcomes = player.take_outcomes();
    let calls = events.iter().filter(|event| event.starts_with("call ") || event.starts_with("multi "));
    for label in calls.filter_map(|call| call.split(' ').nth(1)) {
        let count = outcomes.lines().filter(|line| line.split_whitespace().nth(1) == Some(label)).count();
        assert_eq!(count, 1, "{name}: command {label}, cut at byte {at} of event {index}\n{outcomes}");
    }
}
