//! Replies and outcomes: each command has exactly one, and it is its own.

use respass::{Command, Config, ErrorCode, Limits, Outcome};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

#[test]
fn replies_are_paired_in_order_whatever_the_chunks() {
    let stream = "$1\r\na\r\n:2\r\n-ERR no\r\n*2\r\n$1\r\nx\r\n_\r\n";
    for split in 0..stream.len() {
        let mut talk = Conversation::ready();
        let ids: Vec<_> = ["GET a", "INCR b", "NOPE", "MGET x y"].map(|line| talk.submit(line)).into();
        talk.sent();
        talk.receive(&stream[..split]);
        talk.receive(&stream[split..]);
        let replies: Vec<_> = ids.iter().map(|id| talk.reply(*id).to_owned()).collect();
        assert_eq!(replies, ["a", "2", "ERR no", "[x nil]"], "split at {split}");
    }
}

#[test]
fn commands_of_one_turn_leave_in_one_write() {
    let mut talk = Conversation::ready();
    for key in 0..100 {
        talk.submit(&format!("GET {key}"));
    }
    let conn = talk.conn.expect("a connection");
    let now = talk.now();
    let first = talk.client.take_transmit(conn, now);
    assert_eq!(first.windows(3).filter(|window| window == b"GET").count(), 100);
}

#[test]
fn a_buffer_given_back_is_filled_again_and_nothing_of_its_old_bytes_leaves() {
    let mut talk = Conversation::ready();
    let conn = talk.conn.expect("a connection");
    let now = talk.now();
    let spare = b"what left long ago".repeat(1000);
    let place = spare.as_ptr();
    talk.submit("GET a");
    assert!(talk.client.exchange_transmit(conn, spare, now).ends_with(b"GET\r\n$1\r\na\r\n"));
    talk.submit("GET b");
    let bytes = talk.client.exchange_transmit(conn, Vec::new(), now);
    assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"[..], place));
    assert!(!talk.client.has_transmit(conn));
}

#[test]
fn a_cancelled_commands_reply_is_dropped_and_the_next_one_is_right() {
    let mut talk = Conversation::ready();
    let (first, second) = (talk.submit("GET a"), talk.submit("GET b"));
    talk.sent();
    talk.client.cancel(first);
    talk.client.cancel(first);
    talk.pump();
    assert_eq!(talk.failure(first).code, ErrorCode::Cancelled);
    assert_eq!(talk.failure(first).outcome, Outcome::Indeterminate);
    talk.receive("$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(talk.reply(second), "b");
}

#[test]
fn a_command_cancelled_before_it_left_is_not_sent() {
    let mut talk = Conversation::ready();
    let (first, second) = (talk.submit("GET a"), talk.submit("GET b"));
    talk.client.cancel(first);
    talk.pump();
    assert_eq!(talk.failure(first).outcome, Outcome::NotSent);
    assert_eq!(talk.sent_commands(), ["GET b"]);
    talk.receive("$1\r\nb\r\n");
    assert_eq!(talk.reply(second), "b");
}

#[test]
fn a_late_reply_is_dropped_and_the_next_one_is_right() {
    let mut talk = Conversation::ready();
    let first = talk.submit("GET a");
    talk.sent();
    talk.advance(Duration::from_secs(5));
    assert_eq!(talk.failure(first).code, ErrorCode::Timeout);
    let second = talk.submit("GET b");
    let sent = talk.sent_commands();
    let nonce = sent[0].strip_prefix("PING ").expect("a probe follows the late command").to_owned();
    talk.receive(&format!("$1\r\na\r\n${}\r\n{nonce}\r\n$1\r\nb\r\n", nonce.len()));
    assert_eq!(talk.reply(second), "b");
}

#[test]
fn a_commands_own_timeout_counts() {
    let mut talk = Conversation::ready();
    let slow = talk.submit("GET slow");
    let arguments: [&[u8]; 2] = [b"GET", b"fast"];
    let command = Command::new(&arguments).timeout(Duration::from_secs(1));
    let fast = talk.client.submit(command, talk.now()).expect("accepted");
    talk.sent();
    talk.advance(Duration::from_millis(1001));
    assert_eq!(talk.failure(fast).code, ErrorCode::Timeout);
    assert_eq!(talk.outcome(slow), None);
}

#[test]
fn when_the_connection_is_lost_what_left_is_indeterminate_and_the_rest_goes_out_on_the_next() {
    let mut talk = Conversation::ready();
    let left = talk.submit("INCR a");
    talk.sent();
    let kept = talk.submit("INCR b");
    talk.disconnect();
    assert_eq!(talk.failure(left).outcome, Outcome::Indeterminate);
    assert_eq!(talk.failure(left).code, ErrorCode::ConnectionLost);
    assert_eq!(talk.outcome(kept), None);
    talk.advance(Duration::from_millis(60));
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    assert_eq!(talk.sent_commands(), ["INCR b"]);
    talk.receive(":1\r\n");
    assert_eq!(talk.reply(kept), "1");
}

#[test]
fn a_command_that_left_in_part_goes_out_whole_on_the_next_connection() {
    let mut talk = Conversation::ready();
    let value = "x".repeat(100_000);
    let id = talk.submit(&format!("SET k {value}"));
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let part = talk.client.take_transmit(conn, now);
    assert_eq!(part.len(), 64 << 10, "no more is sealed ahead");
    talk.disconnect();
    assert_eq!(talk.outcome(id), None);
    talk.advance(Duration::from_millis(60));
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    assert_eq!(talk.sent_commands(), [format!("SET k {value}")]);
}

#[test]
fn transmit_is_a_level_with_a_stable_prefix() {
    let mut talk = Conversation::ready();
    talk.submit("GET a");
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let before = talk.client.transmit(conn, now).to_vec();
    talk.submit("GET b");
    let after = talk.client.transmit(conn, now).to_vec();
    assert!(after.starts_with(&before) && after.len() == 2 * before.len());
    talk.client.handle_transmitted(conn, 5, now);
    assert_eq!(talk.client.transmit(conn, now), &after[5..]);
}

#[test]
fn doubt_about_alignment_closes_the_connection_and_a_fresh_one_serves() {
    for hostile in [
        "$1\r\na\r\n+surplus\r\n",
        "$1\r\naXX",
        "*2\r\n>1\r\n+x\r\n$1\r\na\r\n",
        "*2147483647\r\n",
        "$-2\r\n",
        "?\r\n",
        "+a\nb\r\n",
    ] {
        let mut talk = Conversation::ready();
        let first = talk.submit("GET a");
        talk.sent();
        talk.receive(hostile);
        assert!(talk.outcome(first).is_some(), "{hostile:?}");
        assert_eq!(talk.closed.len(), 1, "{hostile:?}");
        let second = talk.submit("GET b");
        talk.advance(Duration::from_millis(60));
        talk.connect();
        talk.sent();
        talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
        talk.sent();
        talk.receive("$1\r\nb\r\n");
        assert_eq!(talk.reply(second), "b", "{hostile:?}");
    }
}

#[test]
fn frames_behind_a_framing_error_answer_nobody() {
    let mut talk = Conversation::ready();
    let (first, second) = (talk.submit("GET a"), talk.submit("GET b"));
    talk.sent();
    talk.receive("$1\r\na\r\n$1\r\nbXX+c\r\n");
    assert_eq!(talk.reply(first), "a");
    assert_eq!(talk.failure(second).code, ErrorCode::Protocol);
    assert_eq!(talk.failure(second).outcome, Outcome::Indeterminate);
}

#[test]
fn an_unasked_push_takes_nobodys_reply() {
    let mut talk = Conversation::ready();
    let id = talk.submit("GET a");
    talk.sent();
    talk.receive(">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n$1\r\na\r\n");
    assert_eq!(talk.reply(id), "a");
}

#[test]
fn a_transaction_is_one_unit_with_execs_reply() {
    let mut talk = Conversation::ready();
    let before = talk.submit("GET a");
    let unit = talk.submit_transaction(&["INCR h", "GET h"]);
    let after = talk.submit("GET b");
    assert_eq!(talk.sent_commands(), ["GET a", "MULTI", "INCR h", "GET h", "EXEC", "GET b"]);
    talk.receive("_\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n$1\r\nb\r\n");
    assert_eq!((talk.reply(before), talk.reply(unit), talk.reply(after)), ("nil", "[1 1]", "b"));
}

#[test]
fn a_transactions_steps_are_answered_while_its_end_is_still_on_its_way() {
    let mut talk = Conversation::ready();
    let value = "x".repeat(300_000);
    let unit = talk.submit_transaction(&["INCR h", &format!("SET k {value}"), "GET h"]);
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let first = talk.client.take_transmit(conn, now);
    assert!(first.starts_with(b"*1\r\n$5\r\nMULTI\r\n") && first.len() < value.len());
    talk.receive("+OK\r\n+QUEUED\r\n");
    assert!(talk.closed.is_empty());
    assert!(talk.sent().ends_with("EXEC\r\n"));
    talk.receive("+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n+OK\r\n$1\r\n1\r\n");
    assert_eq!(talk.reply(unit), "[1 OK 1]");
}

#[test]
fn a_transaction_cut_in_the_middle_goes_out_whole_on_the_next_connection() {
    let mut talk = Conversation::ready();
    let value = "x".repeat(300_000);
    let unit = talk.submit_transaction(&[&format!("SET k {value}")]);
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    talk.client.take_transmit(conn, now);
    talk.receive("+OK\r\n");
    talk.disconnect();
    assert_eq!(talk.outcome(unit), None);
    talk.advance(Duration::from_millis(60));
    talk.connect();
    talk.sent();
    talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
    let again = talk.sent();
    assert!(again.starts_with("*1\r\n$5\r\nMULTI\r\n") && again.ends_with("EXEC\r\n"));
    talk.receive("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(talk.reply(unit), "[OK]");
}

#[test]
fn a_command_refused_inside_a_transaction_is_named_and_nothing_ran() {
    let mut talk = Conversation::ready();
    let unit = talk.submit_transaction(&["INCR h", "NOPE x"]);
    let after = talk.submit("GET b");
    talk.sent();
    talk.receive(
        "+OK\r\n+QUEUED\r\n-ERR unknown command 'NOPE'\r\n-EXECABORT Transaction discarded\r\n$1\r\nb\r\n",
    );
    let error = talk.failure(unit);
    assert_eq!((error.code, error.outcome), (ErrorCode::ExecAbort, Outcome::Refused));
    assert!(error.text.contains("command 2") && error.text.contains("unknown command 'NOPE'"), "{error}");
    assert_eq!(talk.reply(after), "b");
    let next = talk.submit_transaction(&["GET b"]);
    talk.sent();
    talk.receive("+OK\r\n+QUEUED\r\n*1\r\n$1\r\nb\r\n");
    assert_eq!(talk.reply(next), "[b]");
}

#[test]
fn where_multi_is_refused_and_commands_ran_the_outcome_says_so() {
    let mut talk = Conversation::ready();
    let unit = talk.submit_transaction(&["INCR h"]);
    talk.sent();
    talk.receive("-NOPERM no permissions to run 'multi'\r\n:1\r\n-ERR EXEC without MULTI\r\n");
    let error = talk.failure(unit);
    assert_eq!(error.outcome, Outcome::Indeterminate);
    assert!(error.text.contains("NOPERM"), "{error}");
}

#[test]
fn a_cancelled_transaction_leaves_nothing_to_the_next() {
    let mut talk = Conversation::ready();
    let first = talk.submit_transaction(&["NOPE", "GET a"]);
    talk.sent();
    talk.client.cancel(first);
    let second = talk.submit_transaction(&["GET b", "NOPE2"]);
    talk.sent();
    talk.receive("+OK\r\n-ERR unknown command 'NOPE'\r\n+QUEUED\r\n-EXECABORT x\r\n");
    talk.receive("+OK\r\n+QUEUED\r\n-ERR unknown command 'NOPE2'\r\n-EXECABORT x\r\n");
    let error = talk.failure(second);
    assert!(error.text.contains("command 2") && error.text.contains("NOPE2"), "{error}");
}

#[test]
fn nothing_of_our_own_comes_into_the_middle_of_a_command() {
    let mut talk = Conversation::ready();
    talk.advance_slowly(Duration::from_secs(29));
    let value = "x".repeat(300_000);
    talk.submit(&format!("SET k {value}"));
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let mut all = talk.client.take_transmit(conn, now);
    talk.advance_slowly(Duration::from_secs(3));
    all.extend(talk.sent().into_bytes());
    assert!(all.ends_with(b"x\r\n"));
    assert_eq!(memory_find(&all, b"PING"), None);
}

fn memory_find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

#[test]
fn a_peer_that_takes_no_more_of_a_command_is_given_up() {
    let mut talk = Conversation::ready();
    talk.submit(&format!("SET k {}", "x".repeat(300_000)));
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    talk.client.take_transmit(conn, now);
    talk.advance_slowly(Duration::from_millis(15_100));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_silent_peer_is_noticed_also_when_every_caller_gave_up_early() {
    let mut talk = Conversation::ready();
    for _ in 0..15 {
        let id = talk.submit("GET a");
        talk.sent();
        talk.advance_slowly(Duration::from_secs(1));
        talk.client.cancel(id);
        talk.pump();
    }
    talk.advance_slowly(Duration::from_millis(200));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn idle_time_is_no_evidence_against_a_peer() {
    let mut talk = Conversation::ready();
    talk.advance_slowly(Duration::from_secs(25));
    let id = talk.submit("GET a");
    talk.sent();
    talk.advance_slowly(Duration::from_millis(5_100));
    assert_eq!(talk.failure(id).code, ErrorCode::Timeout);
    assert!(talk.closed.is_empty(), "it was given five seconds only");
}

#[test]
fn commands_that_nobody_waits_for_any_more_leave_room_for_others() {
    let limits = Limits { queued_bytes_max: 1000, ..Limits::default() };
    let mut talk = Conversation::new(Config { limits, ..Config::new("localhost", 6379) });
    for _ in 0..50 {
        let id = talk.submit(&format!("SET k {}", "x".repeat(500)));
        talk.client.cancel(id);
        talk.pump();
    }
    talk.submit("GET k");
}

#[test]
fn what_the_socket_took_is_not_kept_while_more_is_written() {
    let mut talk = Conversation::ready();
    talk.submit(&format!("SET k {}", "x".repeat(3_000_000)));
    let (conn, now) = (talk.conn.expect("a connection"), talk.now());
    let mut left = 3_000_000;
    while left > 100_000 {
        let unsent = talk.client.transmit(conn, now).len();
        assert!(unsent <= 64 << 10);
        talk.client.handle_transmitted(conn, unsent - 1, now);
        left -= unsent - 1;
    }
}

#[test]
fn a_server_that_closes_right_after_login_is_met_with_growing_waits() {
    let mut talk = Conversation::ready();
    talk.disconnect();
    let mut reconnects = 0;
    for _ in 0..600 {
        if talk.conn.is_some() {
            talk.connect();
            talk.sent();
            talk.receive(&format!("{HELLO_OK}{NO_SETINFO}"));
            talk.disconnect();
            reconnects += 1;
        }
        talk.advance(Duration::from_millis(100));
    }
    assert!(reconnects < 40, "{reconnects} logins in a minute");
}

#[test]
fn an_idle_connection_is_probed_and_a_silent_peer_noticed_within_35_seconds() {
    let mut talk = Conversation::ready();
    talk.advance_slowly(Duration::from_millis(30_100));
    let sent = talk.sent_commands();
    assert!(sent.len() == 1 && sent[0].starts_with("PING "), "{sent:?}");
    talk.advance_slowly(Duration::from_millis(4_800));
    assert!(talk.closed.is_empty());
    talk.advance_slowly(Duration::from_millis(200));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_probe_that_comes_back_with_another_text_closes_the_connection() {
    let mut talk = Conversation::ready();
    talk.advance_slowly(Duration::from_millis(30_100));
    let ping = talk.sent_commands().remove(0);
    let nonce = ping.strip_prefix("PING ").expect("a nonce").to_owned();
    talk.receive(&format!("${}\r\n{nonce}\r\n", nonce.len()));
    assert!(talk.closed.is_empty());
    talk.advance_slowly(Duration::from_millis(30_100));
    talk.sent();
    talk.receive("+PONG\r\n");
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_silent_peer_with_commands_in_flight_is_noticed_within_15_seconds() {
    let mut talk = Conversation::ready();
    talk.submit("GET a");
    talk.sent();
    talk.advance_slowly(Duration::from_millis(14_900));
    assert!(talk.closed.is_empty());
    talk.advance_slowly(Duration::from_millis(200));
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_full_queue_refuses_at_once_and_an_empty_one_takes_a_large_command() {
    let limits = Limits { queued_bytes_max: 1000, ..Limits::default() };
    let mut talk = Conversation::ready_with(Config { limits, ..Config::new("localhost", 6379) });
    let large = talk.submit(&format!("SET k {}", "x".repeat(5000)));
    let arguments: [&[u8]; 2] = [b"GET", b"k"];
    let refused = talk.client.submit(Command::new(&arguments), talk.now()).expect_err("full");
    assert_eq!(refused.code, ErrorCode::QueueFull);
    talk.sent();
    assert_eq!(
        talk.client.submit(Command::new(&arguments), talk.now()).expect_err("in flight").code,
        ErrorCode::QueueFull
    );
    talk.receive("+OK\r\n");
    assert_eq!(talk.reply(large), "OK");
    let (bytes, lengths) = (b"GETk".repeat(100), [2, 3, 1].repeat(100));
    let refused =
        talk.client.submit_batch(&bytes, &lengths, talk.now()).expect_err("a batch is no single command");
    assert_eq!(refused.code, ErrorCode::QueueFull);
    talk.submit("GET k");
}

#[test]
fn commands_that_are_malformed_or_not_ours_to_send_are_refused_with_nothing_queued() {
    let mut talk = Conversation::ready();
    let now = talk.now();
    let refusal = |talk: &mut Conversation, words: &[&str]| {
        let arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        talk.client.submit(Command::new(&arguments), now).expect_err("refused")
    };
    assert_eq!(refusal(&mut talk, &[]).code, ErrorCode::InvalidCommand);
    assert_eq!(refusal(&mut talk, &["WATCH", "k"]).code, ErrorCode::NeedsOwnConnection);
    assert_eq!(refusal(&mut talk, &["client", "Reply", "OFF"]).code, ErrorCode::OwnedByClient);
    assert!(refusal(&mut talk, &["subscribe", "c"]).text.contains("SUBSCRIBE"));
    let batch = talk.client.submit_batch(b"GETaWATCHk", &[2, 3, 1, 2, 5, 1], now);
    assert_eq!(batch.expect_err("all or nothing").code, ErrorCode::NeedsOwnConnection);
    assert_eq!(talk.sent(), "");
}

#[test]
fn a_batch_has_consecutive_ids() {
    let mut talk = Conversation::ready();
    let ids = talk.client.submit_batch(b"GETaGETb", &[2, 3, 1, 2, 3, 1], talk.now()).expect("accepted");
    assert_eq!(talk.sent_commands(), ["GET a", "GET b"]);
    talk.receive("+1\r\n+2\r\n");
    let replies: Vec<_> = ids.iter().map(|id| talk.reply(id).to_owned()).collect();
    assert_eq!(replies, ["1", "2"]);
}

#[test]
fn commands_of_several_callers_are_refused_one_by_one() {
    let mut talk = Conversation::ready();
    let now = talk.now();
    let ids =
        talk.client.submit_each(b"GETaWATCHkGETb", &[2, 3, 1, 2, 5, 1, 2, 3, 1], now).expect("well-formed");
    talk.pump();
    let ids: Vec<_> = ids.iter().collect();
    assert_eq!(talk.sent_commands(), ["GET a", "GET b"]);
    assert_eq!(talk.failure(ids[1]).code, ErrorCode::NeedsOwnConnection);
    assert_eq!(talk.failure(ids[1]).outcome, Outcome::NotSent);
    talk.receive("+1\r\n+2\r\n");
    assert_eq!((talk.reply(ids[0]), talk.reply(ids[2])), ("1", "2"));
    assert_eq!(
        talk.client.submit_each(b"GET", &[2, 3], now).expect_err("malformed").code,
        ErrorCode::InvalidCommand
    );
}

#[test]
fn after_close_everything_is_answered_and_nothing_follows() {
    let mut talk = Conversation::ready();
    let left = talk.submit("GET a");
    talk.sent();
    let queued = talk.submit("GET b");
    let now = talk.now();
    talk.client.close(now);
    talk.pump();
    assert_eq!(
        (talk.failure(left).code, talk.failure(left).outcome),
        (ErrorCode::Closed, Outcome::Indeterminate)
    );
    assert_eq!(talk.failure(queued).outcome, Outcome::NotSent);
    assert_eq!(talk.closed.len(), 1);
    let arguments: [&[u8]; 1] = [b"PING"];
    assert_eq!(
        talk.client.submit(Command::new(&arguments), now).expect_err("closed").code,
        ErrorCode::Closed
    );
    talk.client.close(now);
    talk.advance(Duration::from_secs(100));
    assert!(talk.client.poll_output().is_none() && talk.client.poll_timeout(now).is_none());
}

#[test]
fn facts_about_unknown_connections_and_early_timeouts_change_nothing() {
    let mut talk = Conversation::ready();
    let id = talk.submit("GET a");
    let now = talk.now();
    let stranger = respass::ConnId::from_u64(99);
    talk.client.handle_received(stranger, b"+forged\r\n", now);
    talk.client.handle_disconnected(stranger, respass::DisconnectCause::Closed, now);
    talk.client.handle_connected(stranger, now);
    for _ in 0..10 {
        talk.client.handle_timeout(now);
    }
    talk.pump();
    assert_eq!(talk.outcome(id), None);
    assert!(talk.closed.is_empty());
    assert!(talk.client.poll_timeout(now).is_some_and(|wakeup| wakeup.at > now.monotonic));
}
