//! Connections for one caller alone: blocking commands, sessions, and the pool that they come from.

use respass::{Command, CommandId, Config, ConnId, ErrorCode, Outcome, Output};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Where the next one goes that has waited for a connection: the one that is free, or a new one in its place.
fn freed(talk: &mut Conversation, conn: ConnId) -> ConnId {
    if talk.closed.contains(&conn) { own_connection(talk) } else { conn }
}

/// The latest connection, made and logged in.
fn own_connection(talk: &mut Conversation) -> ConnId {
    let opened = talk.opened.iter().rfind(|opened| !opened.is_connected).expect("a connection").conn;
    talk.establish(opened);
    talk.sent_on(opened);
    talk.receive_on(opened, &format!("{HELLO_OK}{NO_SETINFO}"));
    opened
}

fn with_pool_of(own_connections_max: usize) -> Conversation {
    let mut config = Config::new("localhost", 6379);
    config.limits.own_connections_max = own_connections_max;
    Conversation::ready_with(config)
}

fn submit(talk: &mut Conversation, line: &str, timeout: Duration) -> CommandId {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let id = talk.client.submit(Command::new(&words).timeout(timeout), talk.now()).expect("accepted");
    talk.pump();
    id
}

#[test]
fn a_blocking_command_goes_out_on_a_connection_of_its_own() {
    let mut talk = Conversation::ready();
    let main = talk.conn.expect("connected");
    let waiting = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    assert_ne!(other, main);
    assert_eq!(talk.sent_on(other), ["BLPOP list 30.000"]);
    let id = talk.submit("GET k");
    assert_eq!(talk.sent_on(main), ["GET k"]);
    talk.receive_on(main, "$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
    talk.receive_on(other, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(talk.reply(waiting), "[list x]");
}

#[test]
fn a_blocking_commands_own_time_replaces_the_commands() {
    let mut talk = Conversation::ready();
    let forever = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    let limited = talk.submit("BLPOP list 60");
    let third = own_connection(&mut talk);
    talk.sent_on(third);
    // What the server answers, and when: what is sent behind a wait is answered behind it.
    let first = talk.now().monotonic + 30 * SECOND;
    let mut replies = vec![(other, first, "_\r\n".to_owned()), (third, first, "_\r\n".to_owned())];
    for _ in 0..700 {
        talk.advance(SECOND / 10);
        let now = talk.now().monotonic;
        for (conn, _, reply) in replies.extract_if(.., |(_, at, _)| now >= *at).collect::<Vec<_>>() {
            talk.receive_on(conn, &reply);
        }
        for opened in talk.opened.clone() {
            let conn = opened.conn;
            for command in talk.sent_on(conn) {
                let before = replies.iter().filter(|reply| reply.0 == conn).map(|reply| reply.1).max();
                let turn = before.unwrap_or(now).max(now);
                if let Some(nonce) = command.strip_prefix("PING ") {
                    replies.push((conn, turn, format!("$16\r\n{nonce}\r\n")));
                } else {
                    let seconds = command.strip_prefix("BLPOP list ").expect("the next slice");
                    let wait = Duration::from_secs_f64(seconds.parse().expect("a time"));
                    replies.push((conn, turn + wait, "_\r\n".to_owned()));
                }
            }
        }
        if talk.now().monotonic.as_micros() < 58_000_000 {
            assert_eq!(talk.outcome(limited), None);
        }
    }
    assert_eq!(talk.outcome(forever), None);
    assert_eq!(talk.reply(limited), "nil");
}

#[test]
fn a_server_that_forgets_a_blocking_command_fails_it_in_the_end() {
    let mut talk = Conversation::ready();
    let id = talk.submit("BLPOP list 2");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.advance_slowly(30 * SECOND);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
}

#[test]
fn a_connection_of_the_pool_is_used_again() {
    let mut talk = Conversation::ready();
    for round in 0..3 {
        let id = talk.submit("BLPOP list 0");
        if round == 0 {
            own_connection(&mut talk);
        }
        let other = talk.opened.last().expect("connected").conn;
        assert_eq!(talk.sent_on(other), ["BLPOP list 30.000"]);
        talk.receive_on(other, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
        assert_eq!(talk.reply(id), "[list x]");
    }
    assert_eq!(talk.opened.len(), 2, "{:?}", talk.opened);
}

#[test]
fn who_finds_no_connection_free_waits_for_one() {
    let mut talk = with_pool_of(1);
    let first = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    let second = talk.submit("BLPOP other 0");
    assert_eq!(talk.sent_on(other), [""; 0], "not behind a blocking command");
    assert_eq!(talk.opened.len(), 2);
    talk.receive_on(other, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(talk.reply(first), "[list x]");
    let other = freed(&mut talk, other);
    assert_eq!(talk.sent_on(other), ["BLPOP other 30.000"]);
    talk.receive_on(other, "*2\r\n$5\r\nother\r\n$1\r\ny\r\n");
    assert_eq!(talk.reply(second), "[other y]");
}

#[test]
fn who_waits_too_long_for_a_connection_fails_unsent() {
    let mut talk = with_pool_of(1);
    talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    let session = talk.open_session();
    let watch = talk.submit_in(session, "WATCH k");
    talk.advance_slowly(6 * SECOND);
    assert_eq!(talk.failure(watch).outcome, Outcome::NotSent);
    assert_eq!(talk.failure(watch).code, ErrorCode::Timeout);
}

#[test]
fn a_blocking_command_that_is_cancelled_takes_its_connection_along() {
    let mut talk = Conversation::ready();
    let id = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.client.cancel(id);
    talk.pump();
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
    assert!(talk.closed.contains(&other), "an element would be taken for nobody");
}

#[test]
fn its_connection_ends_before_anything_else_happens() {
    let mut talk = Conversation::ready();
    let id = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.client.cancel(id);
    let told: Vec<Output> = std::iter::from_fn(|| talk.client.poll_output()).collect();
    let is_ended = |output: &Output| matches!(output, Output::Disconnect { conn, .. } if *conn == other);
    assert!(told.iter().any(is_ended), "{told:?}");
}

#[test]
fn a_blocking_command_whose_connection_is_lost_may_have_run() {
    let mut talk = Conversation::ready();
    let id = talk.submit("BLPOP list 0");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.lose(other);
    assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
    talk.advance_slowly(5 * SECOND);
    let pending: Vec<_> = talk.opened.iter().filter(|opened| !opened.is_connected).collect();
    assert!(pending.is_empty(), "nobody needs a connection: {pending:?}");
}

#[test]
fn one_that_has_not_left_goes_out_on_the_next_connection() {
    let mut talk = Conversation::ready();
    let id = talk.submit("BLPOP list 0");
    let opened = talk.opened.last().expect("asked for").conn;
    talk.refuse(opened);
    for _ in 0..100 {
        if talk.opened.iter().any(|opened| !opened.is_connected) {
            break;
        }
        talk.advance(SECOND / 50);
    }
    let other = own_connection(&mut talk);
    assert_eq!(talk.sent_on(other), ["BLPOP list 30.000"]);
    assert_eq!(talk.outcome(id), None);
}

#[test]
fn commands_that_the_client_keeps_to_itself_are_refused_as_before() {
    let mut talk = Conversation::ready();
    for line in ["AUTH x", "MULTI", "RESET", "HELLO 2", "CLIENT REPLY OFF", "ASKING"] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let error = talk.client.submit(Command::new(&words), talk.now()).expect_err(line);
        assert_eq!(error.code, ErrorCode::OwnedByClient, "{line}");
    }
    for line in ["WATCH k", "UNWATCH", "SUBSCRIBE a", "MONITOR"] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let error = talk.client.submit(Command::new(&words), talk.now()).expect_err(line);
        assert_eq!(error.code, ErrorCode::NeedsOwnConnection, "{line}");
    }
}

#[test]
fn a_session_watches_and_writes_on_one_connection() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    let watch = talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    assert_eq!(talk.sent_on(other), ["WATCH k"]);
    talk.receive_on(other, "+OK\r\n");
    assert_eq!(talk.reply(watch), "OK");
    let get = talk.submit_in(session, "GET k");
    assert_eq!(talk.sent_on(other), ["GET k"]);
    talk.receive_on(other, "$1\r\n1\r\n");
    assert_eq!(talk.reply(get), "1");
    let set = talk.submit_transaction_in(session, &["SET k 2"]).expect("accepted");
    assert_eq!(talk.sent_on(other), ["MULTI", "SET k 2", "EXEC"]);
    talk.receive_on(other, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(talk.reply(set), "[OK]");
}

#[test]
fn a_watched_key_that_was_written_to_answers_the_transaction_with_a_null() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.receive_on(other, "+OK\r\n");
    let set = talk.submit_transaction_in(session, &["SET k 2"]).expect("accepted");
    talk.sent_on(other);
    talk.receive_on(other, "+OK\r\n+QUEUED\r\n_\r\n");
    assert_eq!(talk.reply(set), "nil");
}

/// Whether a transaction was refused or failed because the watch is gone, unsent.
fn is_watch_lost(talk: &Conversation, result: Result<CommandId, respass::SubmitError>) -> bool {
    match result {
        Err(error) => error.code == ErrorCode::WatchLost,
        Ok(id) => {
            let error = talk.failure(id);
            error.code == ErrorCode::WatchLost && error.outcome == Outcome::NotSent
        }
    }
}

#[test]
fn a_transaction_whose_watch_was_lost_with_its_connection_is_not_sent() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.receive_on(other, "+OK\r\n");
    talk.lose(other);
    let result = talk.submit_transaction_in(session, &["SET k 2"]);
    talk.advance_slowly(SECOND);
    assert!(is_watch_lost(&talk, result));
    // Having been told, the session may begin anew.
    let watch = talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    assert_eq!(talk.sent_on(other), ["WATCH k"]);
    talk.receive_on(other, "+OK\r\n");
    assert_eq!(talk.reply(watch), "OK");
    let set = talk.submit_transaction_in(session, &["SET k 2"]).expect("accepted");
    assert_eq!(talk.sent_on(other), ["MULTI", "SET k 2", "EXEC"]);
    talk.receive_on(other, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(talk.reply(set), "[OK]");
}

#[test]
fn a_watch_in_flight_when_the_connection_is_lost_counts_as_lost() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.lose(other);
    let result = talk.submit_transaction_in(session, &["SET k 2"]);
    talk.advance_slowly(SECOND);
    assert!(is_watch_lost(&talk, result));
}

#[test]
fn a_session_that_ends_gives_its_connection_back_without_its_watches() {
    let mut talk = with_pool_of(1);
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    talk.receive_on(other, "+OK\r\n");
    let waiting = talk.submit("BLPOP list 0");
    assert_eq!(talk.sent_on(other), [""; 0]);
    talk.close_session(session);
    let next = freed(&mut talk, other);
    let mut sent = talk.sent_on(next);
    if next == other {
        assert_eq!(sent.remove(0), "UNWATCH");
        talk.receive_on(next, "+OK\r\n");
    }
    sent.extend(talk.sent_on(next));
    assert_eq!(sent, ["BLPOP list 30.000"]);
    talk.receive_on(next, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(talk.reply(waiting), "[list x]");
}

#[test]
fn commands_of_a_session_that_ended_are_refused() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    talk.close_session(session);
    let error =
        talk.client.submit_in(session, Command::new(&[b"GET", b"k"]), talk.now()).expect_err("refused");
    assert_eq!(error.code, ErrorCode::Closed);
}

#[test]
fn everything_that_waits_on_connections_of_its_own_is_answered_at_the_close() {
    let mut talk = with_pool_of(1);
    let sent = submit(&mut talk, "BLPOP list 0", SECOND);
    let other = own_connection(&mut talk);
    talk.sent_on(other);
    let queued = talk.submit("BLPOP other 0");
    let session = talk.open_session();
    let watch = talk.submit_in(session, "WATCH k");
    talk.client.close(talk.now());
    talk.pump();
    assert_eq!(talk.failure(sent).outcome, Outcome::Indeterminate);
    assert_eq!(talk.failure(queued).outcome, Outcome::NotSent);
    assert_eq!(talk.failure(watch).outcome, Outcome::NotSent);
    assert!(talk.opened.is_empty(), "{:?}", talk.opened);
}

#[test]
fn block_is_found_wherever_it_stands() {
    let mut talk = Conversation::ready();
    talk.submit("XREADGROUP BLOCK 0 GROUP block c STREAMS s >");
    let conn = own_connection(&mut talk);
    assert_eq!(talk.sent_on(conn), ["XREADGROUP BLOCK 30000 GROUP block c STREAMS s >"]);
}

#[test]
fn a_monitor_takes_one_of_the_pools_connections() {
    let mut config = Config::new("localhost", 6379);
    config.limits.own_connections_max = 1;
    let mut talk = Conversation::ready_with(config);
    let opened = talk.opened.len();
    let monitor = talk.client.open_monitor(talk.now()).expect("accepted");
    talk.pump();
    let wait = talk.submit("BLPOP list 0");
    assert_eq!(talk.opened.len(), opened + 1, "a second connection for the pool of one");
    talk.client.close_subscriber(monitor, talk.now());
    talk.pump();
    let conn = own_connection(&mut talk);
    assert_eq!(talk.sent_on(conn), ["BLPOP list 30.000"]);
    assert_eq!(talk.outcome(wait), None);
}
