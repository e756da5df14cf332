//! What becomes of commands and messages where lanes end, wait, or pass from one connection to another.

use respass::{ChannelKind, Command, Config, ConnId, MaintenanceEvents};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use respass_tests::conversation_nodes::{PORTS, key, slot};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The connection that was asked for last, logged in.
fn latest(talk: &mut Conversation) -> ConnId {
    let conn = talk.opened.iter().rfind(|opened| !opened.is_connected).expect("a connection").conn;
    talk.establish(conn);
    talk.sent_on(conn);
    talk.receive_on(conn, &format!("{HELLO_OK}{NO_SETINFO}"));
    conn
}

/// Answers probes for so many seconds, in which nothing else is sent.
fn idle(talk: &mut Conversation, seconds: u64) {
    for _ in 0..seconds {
        talk.advance(SECOND);
        for opened in talk.opened.clone() {
            for command in talk.sent_on(opened.conn) {
                let nonce = command.strip_prefix("PING ").expect("probes alone").to_owned();
                talk.receive_on(opened.conn, &format!("$16\r\n{nonce}\r\n"));
            }
        }
    }
}

#[test]
fn a_value_that_looks_like_a_message_is_a_reply_also_where_the_connection_is_subscribed() {
    let mut config = Config::new("localhost", 6379);
    config.maintenance_events = MaintenanceEvents::Always;
    let mut talk = Conversation::ready_with(config);
    let conn = talk.conn.expect("a connection");
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE AzureRedisEvents"]);
    talk.receive_on(conn, ">3\r\n$9\r\nsubscribe\r\n$16\r\nAzureRedisEvents\r\n:1\r\n");
    let list = talk.submit("LRANGE l 0 -1");
    let value = talk.submit("GET secret");
    talk.sent_on(conn);
    talk.receive_on(conn, "*1\r\n$7\r\nmessage\r\n$6\r\nSECRET\r\n");
    assert_eq!((talk.reply(list), talk.reply(value)), ("[message]", "SECRET"));
}

#[test]
fn a_session_that_is_closed_tells_those_who_wait_in_it() {
    let mut config = Config::new("localhost", 6379);
    config.limits.own_connections_max = 1;
    let mut talk = Conversation::ready_with(config);
    talk.submit("BLPOP list 0");
    latest(&mut talk);
    let session = talk.open_session();
    let waits_for_a_permit = talk.submit_in(session, "WATCH k");
    talk.close_session(session);
    assert!(talk.outcome(waits_for_a_permit).is_some());

    let mut talk = Conversation::ready();
    let session = talk.open_session();
    let waits_for_a_login = talk.submit_in(session, "GET k");
    talk.close_session(session);
    assert!(talk.outcome(waits_for_a_login).is_some());
}

#[test]
fn a_watch_that_has_not_left_survives_a_connection_that_was_refused() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    let watch = talk.submit_in(session, "WATCH k");
    let conn = talk.opened.iter().rfind(|opened| !opened.is_connected).expect("a connection").conn;
    talk.refuse(conn);
    assert_eq!(talk.outcome(watch), None);
    talk.advance(SECOND / 10);
    let conn = latest(&mut talk);
    assert_eq!(talk.sent_on(conn), ["WATCH k"]);
}

#[test]
fn a_session_whose_transaction_has_ended_watches_nothing() {
    let mut talk = Conversation::ready();
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let conn = latest(&mut talk);
    talk.sent_on(conn);
    talk.receive_on(conn, "+OK\r\n");
    talk.submit_transaction_in(session, &["SET k v"]).expect("accepted");
    talk.sent_on(conn);
    talk.receive_on(conn, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    talk.lose(conn);
    let get = talk.submit_in(session, "GET k");
    talk.advance(SECOND / 10);
    let next = talk.opened.iter().rfind(|opened| !opened.is_connected).expect("a connection").conn;
    talk.refuse(next);
    assert_eq!(talk.outcome(get), None);
}

#[test]
fn a_session_that_is_sent_elsewhere_makes_the_client_look_at_the_map() {
    let mut talk = Conversation::with_three_shards();
    let watched = key(0, 0);
    let session = talk.open_session();
    let watch = talk.submit_in(session, &format!("WATCH {watched}"));
    let conn = talk.node(PORTS[0]);
    talk.sent_on(conn);
    talk.receive_on(conn, &format!("-MOVED {} 203.0.113.7:8502\r\n", slot(&watched)));
    assert!(talk.outcome(watch).is_some());
    let mut asked = false;
    for _ in 0..20 {
        talk.advance(SECOND / 10);
        for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
            asked |= talk.sent_on(opened.conn).iter().any(|command| command == "CLUSTER SLOTS");
        }
    }
    assert!(asked, "nobody looked at the map within two seconds");
}

#[test]
fn a_node_that_does_not_answer_keeps_nobody_else_from_being_connected_to() {
    let mut talk = Conversation::with_three_shards();
    for _ in 0..8 {
        talk.submit(&format!("BLPOP {} 0", key(0, 0)));
    }
    talk.submit(&format!("GET {}", key(1, 0)));
    assert!(talk.has_opened(PORTS[1]));
}

#[test]
fn a_connection_in_the_middle_of_a_command_is_not_taken_over_from() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    talk.client.connect(talk.now());
    talk.pump();
    talk.give_token(1, 3600);
    let old = latest(&mut talk);
    idle(&mut talk, 3540);
    let value = vec![b'v'; 300_000];
    let words: [&[u8]; 3] = [b"SET", b"k", &value];
    talk.client.submit(Command::new(&words).timeout(60 * SECOND), talk.now()).expect("accepted");
    talk.pump();
    let take_a_little = |talk: &mut Conversation| {
        let now = talk.now();
        talk.client.transmit(old, now);
        talk.client.handle_transmitted(old, 1000, now);
        talk.pump();
    };
    take_a_little(&mut talk);
    talk.give_token(2, 3600);
    while talk.opened.len() < 2 {
        talk.advance(SECOND / 4);
        take_a_little(&mut talk);
        assert!(talk.now().monotonic.as_micros() < 3_600_000_000, "nobody is to take over");
    }
    let next = latest(&mut talk);
    for _ in 0..10 {
        let now = talk.now();
        assert_eq!(talk.client.take_transmit(next, now), b"", "the middle of a value went out");
        talk.advance(SECOND / 4);
        take_a_little(&mut talk);
    }
}

/// Logs a connection in at a server that knows no HELLO.
fn log_in_without_hello(talk: &mut Conversation, conn: ConnId) {
    talk.establish(conn);
    let is_ready = |talk: &Conversation| {
        let status = talk.client.auth_status();
        status.connections.iter().any(|status| status.conn == conn && status.is_ready)
    };
    while !is_ready(talk) {
        let sent = talk.sent_on(conn);
        assert!(!sent.is_empty(), "the set-up came to no end");
        for command in sent {
            let reply = match command.split(' ').next() {
                Some("AUTH") => "+OK\r\n",
                Some("PING") => "+PONG\r\n",
                _ => "-ERR unknown command\r\n",
            };
            talk.receive_on(conn, reply);
        }
    }
}

#[test]
fn a_subscription_that_ends_while_another_connection_takes_over_leaves_a_gap_or_nothing_out() {
    let subscribed = |channel: &str, count| {
        format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:{count}\r\n", channel.len())
    };
    let mut talk = Conversation::new(Conversation::with_tokens());
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, ChannelKind::Channel, "news");
    talk.subscribe(subscriber, ChannelKind::Channel, "other");
    talk.give_token(1, 3600);
    let old = talk.opened.last().expect("asked for").conn;
    log_in_without_hello(&mut talk, old);
    talk.sent_on(old);
    talk.receive_on(old, &(subscribed("news", 1) + &subscribed("other", 2)));
    talk.take_messages();
    for _ in 0..3566 {
        talk.advance(SECOND);
        for command in talk.sent_on(old) {
            let nonce = command.strip_prefix("PING ").expect("probes alone").to_owned();
            talk.receive_on(old, &format!("*2\r\n$4\r\npong\r\n$16\r\n{nonce}\r\n"));
        }
    }
    talk.give_token(2, 3600);
    talk.advance(SECOND / 10);
    let next = talk.opened.iter().find(|opened| !opened.is_connected).expect("one that takes over").conn;
    log_in_without_hello(&mut talk, next);
    talk.sent_on(next);
    talk.receive_on(next, &subscribed("news", 1));
    talk.receive_on(next, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n");
    for _ in 0..5 {
        talk.advance(SECOND);
        talk.sent_on(old);
    }
    talk.receive_on(next, &subscribed("other", 2));
    talk.receive_on(next, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nthree\r\n");
    let told = talk.take_messages();
    let is_told = |what: &str| told.iter().any(|line| line.contains(what));
    assert!(is_told("three") && (is_told("two") || is_told("gap")), "{told:?}");
}
