//! Drivers that read into the client's own memory, and what happens to one that keeps it.

use respass::{ErrorCode, Outcome};
use respass_tests::conversation::Conversation;

/// Appends the bytes to the client's buffer, at most so many a read, as a socket would.
fn receive_in(talk: &mut Conversation, bytes: &[u8], read_len: usize) {
    let conn = talk.conn.expect("a connection");
    for read in bytes.chunks(read_len) {
        let mut buffer = talk.client.take_receive_buffer(conn, read_len);
        assert!(buffer.capacity() - buffer.len() >= read.len(), "there is room");
        buffer.extend_from_slice(read);
        talk.client.handle_received_in(conn, buffer, talk.now());
        talk.pump();
    }
}

#[test]
fn replies_are_the_same_whichever_way_their_bytes_come_in() {
    let replies = "$3\r\none\r\n*2\r\n:1\r\n$5\r\nthree\r\n-ERR no\r\n+OK\r\n%1\r\n+k\r\n#t\r\n".as_bytes();
    for read_len in 1..=replies.len() {
        let (mut by_copy, mut in_place) = (Conversation::ready(), Conversation::ready());
        for talk in [&mut by_copy, &mut in_place] {
            for word in ["a", "b", "c", "d", "e"] {
                talk.submit(&format!("GET {word}"));
            }
            talk.sent();
        }
        for read in replies.chunks(read_len) {
            by_copy.receive_bytes(read);
        }
        receive_in(&mut in_place, replies, read_len);
        assert_eq!(by_copy.outcomes, in_place.outcomes);
        assert_eq!(in_place.outcomes.len(), 5);
    }
}

#[test]
fn both_ways_may_take_turns() {
    let mut talk = Conversation::ready();
    let (first, second) = (talk.submit("GET a"), talk.submit("GET b"));
    talk.sent();
    talk.receive("$3\r\no");
    receive_in(&mut talk, b"ne\r\n$3\r", 2);
    talk.receive("\ntwo\r\n");
    assert_eq!((talk.reply(first), talk.reply(second)), ("one", "two"));
}

#[test]
fn a_buffer_that_comes_back_as_it_was_is_no_sign_of_life() {
    let mut talk = Conversation::ready();
    let id = talk.submit("GET a");
    talk.sent();
    let conn = talk.conn.expect("a connection");
    for _ in 0..200 {
        let buffer = talk.client.take_receive_buffer(conn, 100);
        talk.client.handle_received_in(conn, buffer, talk.now());
        talk.advance(std::time::Duration::from_millis(100));
    }
    assert_eq!(talk.failure(id).code, ErrorCode::Timeout);
    assert_eq!(talk.closed, [conn], "a silent peer counts as dead");
}

#[test]
fn a_driver_that_keeps_received_bytes_loses_the_connection_and_no_reply_is_shifted() {
    for gives_back_other in [true, false] {
        let mut talk = Conversation::ready();
        let id = talk.submit("GET a");
        talk.sent();
        talk.receive("$3\r\no");
        let conn = talk.conn.expect("a connection");
        let kept = talk.client.take_receive_buffer(conn, 100);
        if gives_back_other {
            talk.client.handle_received_in(conn, b"x".to_vec(), talk.now());
            talk.pump();
        } else {
            talk.receive("ne\r\n");
        }
        assert!(kept.starts_with(b"$3\r\no"));
        assert_eq!(talk.closed, [conn]);
        assert_eq!(talk.failure(id).code, ErrorCode::ConnectionLost);
        assert_eq!(talk.failure(id).outcome, Outcome::Indeterminate);
        assert!(talk.failure(id).text.contains("buffer"), "{}", talk.failure(id).text);
    }
}

#[test]
fn a_buffer_of_an_old_connection_is_nobodys() {
    let mut talk = Conversation::ready();
    let old = talk.conn.expect("a connection");
    let mut buffer = talk.client.take_receive_buffer(old, 100);
    talk.disconnect();
    let id = talk.submit("GET a");
    buffer.extend_from_slice(b"$5\r\nstale\r\n");
    talk.client.handle_received_in(old, buffer, talk.now());
    talk.pump();
    assert_eq!(talk.outcome(id), None);
    assert!(talk.client.take_receive_buffer(old, 100).capacity() >= 100);
}
