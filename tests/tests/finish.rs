//! Closing in good order: what was submitted is still answered, and nothing more is taken.

use respass::{Command, ErrorCode, Outcome};
use respass_tests::conversation::Conversation;
use std::time::Duration;

fn finish(talk: &mut Conversation) {
    talk.client.finish(talk.now());
    talk.pump();
}

#[test]
fn commands_that_wait_are_answered_before_the_connection_is_closed() {
    let mut talk = Conversation::ready();
    let sent = talk.submit("GET a");
    talk.sent();
    let queued = talk.submit("GET b");
    finish(&mut talk);
    assert!(!talk.client.is_closed() && talk.closed.is_empty());
    assert_eq!(talk.sent_commands(), ["GET b"]);
    talk.receive("$1\r\na\r\n");
    assert!(!talk.client.is_closed());
    talk.receive("$1\r\nb\r\n");
    assert_eq!((talk.reply(sent), talk.reply(queued)), ("a", "b"));
    assert!(talk.client.is_closed());
    assert_eq!(talk.closed.len(), 1);
    assert_eq!(talk.client.poll_timeout(talk.now()), None);
}

#[test]
fn nothing_is_accepted_any_more() {
    let mut talk = Conversation::ready();
    talk.submit("GET a");
    finish(&mut talk);
    let arguments: [&[u8]; 1] = [b"PING"];
    let refused =
        talk.client.submit(Command::new(&arguments), talk.now()).expect_err("the client is closing");
    assert_eq!(refused.code, ErrorCode::Closed);
}

#[test]
fn a_client_that_nobody_waits_for_is_closed_at_once() {
    let mut talk = Conversation::ready();
    finish(&mut talk);
    assert!(talk.client.is_closed());
    assert_eq!(talk.closed.len(), 1);
}

#[test]
fn a_command_that_is_given_up_does_not_hold_up_the_end() {
    let mut talk = Conversation::ready();
    let given_up = talk.submit("GET a");
    talk.sent();
    finish(&mut talk);
    talk.client.cancel(given_up);
    talk.pump();
    assert_eq!(talk.failure(given_up).code, ErrorCode::Cancelled);
    assert!(talk.client.is_closed());
}

#[test]
fn an_answer_that_never_comes_holds_up_the_end_until_its_deadline() {
    let mut talk = Conversation::ready();
    let silent = talk.submit("GET a");
    talk.sent();
    finish(&mut talk);
    talk.advance(Duration::from_secs(5));
    assert_eq!(talk.failure(silent).outcome, Outcome::Indeterminate);
    assert!(talk.client.is_closed());
}
