//! Make before break: a second connection logs in and takes over, then the first one ends.

use respass::{ConnId, LaneKind, Notice};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Logs in on a connection.
fn answer_login(talk: &mut Conversation, conn: ConnId) {
    talk.establish(conn);
    let sent = talk.sent_on(conn);
    assert!(sent[0].starts_with("HELLO 3 AUTH "), "{sent:?}");
    talk.receive_on(conn, &format!("{HELLO_OK}{NO_SETINFO}"));
}

/// A client with a token of an hour, and its main connection.
fn ready() -> (Conversation, ConnId) {
    let mut talk = Conversation::new(Conversation::with_tokens());
    talk.client.connect(talk.now());
    talk.pump();
    talk.give_token(1, 3600);
    let conn = talk.opened[0].conn;
    answer_login(&mut talk, conn);
    (talk, conn)
}

/// Lets time pass until the source is asked; probes are answered.
fn until_asked(talk: &mut Conversation) {
    while talk.fetches == 0 {
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
fn a_login_that_is_stuck_behind_a_slow_command_moves_to_another_connection() {
    let (mut talk, old) = ready();
    until_asked(&mut talk);
    let words: [&[u8]; 2] = [b"DEBUG", b"SLEEP"];
    talk.client.submit(respass::Command::new(&words).timeout(3600 * SECOND), talk.now()).expect("accepted");
    talk.pump();
    talk.sent_on(old);
    talk.give_token(2, 3600);
    let mut next = None;
    for _ in 0..3600 {
        talk.advance(SECOND);
        talk.sent_on(old);
        next = talk.opened.iter().find(|opened| !opened.is_connected).map(|opened| opened.conn);
        if next.is_some() || talk.closed.contains(&old) {
            break;
        }
    }
    let next = next.expect("a second connection");
    assert!(!talk.closed.contains(&old), "the first one ends after the second is there");
    answer_login(&mut talk, next);
    let id = talk.submit("GET k");
    // New work waits a second at most for what is in flight on the first one.
    let sent = talk.sent_within(next, 2 * SECOND);
    assert_eq!(sent, ["GET k"]);
    talk.receive_on(next, "$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
}

#[test]
fn every_connection_is_listed_with_its_lane_and_the_end_of_its_token() {
    let (mut talk, main) = ready();
    talk.submit("BLPOP list 0");
    let blocking = talk.opened.last().expect("asked for").conn;
    assert_ne!(blocking, main);
    answer_login(&mut talk, blocking);
    let session = talk.open_session();
    talk.submit_in(session, "WATCH k");
    let own = talk.opened.last().expect("asked for").conn;
    answer_login(&mut talk, own);
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, respass::ChannelKind::Channel, "news");
    let status = talk.client.auth_status();
    let lanes: Vec<LaneKind> = status.connections.iter().map(|status| status.lane).collect();
    for lane in [LaneKind::Main, LaneKind::Blocking, LaneKind::Session, LaneKind::Subscriber] {
        assert!(lanes.contains(&lane), "{lane:?} of {lanes:?}");
    }
    for connection in &status.connections {
        assert_eq!((connection.host.as_str(), connection.port), ("localhost", 6379));
        assert!(!connection.is_ready || connection.expires_on.is_some(), "{connection:?}");
        assert_eq!(connection.is_ready, connection.lane != LaneKind::Subscriber);
    }
}

#[test]
fn every_idle_connection_presents_the_newer_token() {
    let (mut talk, main) = ready();
    talk.submit("BLPOP list 0.1");
    let blocking = talk.opened.last().expect("asked for").conn;
    answer_login(&mut talk, blocking);
    talk.sent_on(blocking);
    talk.advance(SECOND / 5);
    talk.receive_on(blocking, "_\r\n");
    until_asked(&mut talk);
    talk.give_token(2, 3600);
    let mut presented = Vec::new();
    for _ in 0..600 {
        talk.advance(SECOND);
        for opened in talk.opened.clone() {
            for command in talk.sent_on(opened.conn) {
                match command.strip_prefix("PING ") {
                    Some(nonce) => talk.receive_on(opened.conn, &format!("$16\r\n{nonce}\r\n")),
                    None => {
                        assert!(command.starts_with("AUTH "), "{command}");
                        presented.push(opened.conn);
                        talk.receive_on(opened.conn, "+OK\r\n");
                    }
                }
            }
        }
    }
    let closed = talk.closed.contains(&blocking);
    assert!(presented.contains(&main), "{presented:?}");
    assert!(closed || presented.contains(&blocking), "{presented:?}: an idle connection was left behind");
}

#[test]
fn a_blocking_command_that_may_outlast_the_token_does_not_hold_up_the_newer_one() {
    let (mut talk, _) = ready();
    talk.submit("BLPOP list 0");
    let blocking = talk.opened.last().expect("asked for").conn;
    answer_login(&mut talk, blocking);
    assert_eq!(talk.sent_on(blocking), ["BLPOP list 30.000"]);
    until_asked_but(&mut talk, blocking);
    talk.give_token(2, 3600);
    for _ in 0..3700 {
        talk.advance(SECOND);
        for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
            for command in talk.sent_on(opened.conn) {
                assert!(opened.conn != blocking, "{command} behind a blocking command");
                let reply = match command.strip_prefix("PING ") {
                    Some(nonce) => format!("$16\r\n{nonce}\r\n"),
                    None => "+OK\r\n".to_owned(),
                };
                talk.receive_on(opened.conn, &reply);
            }
        }
        if talk.fetches > 0 {
            talk.give_token(3, 3600);
        }
    }
}

#[test]
fn a_wait_that_cannot_be_split_ends_before_the_token_of_the_next_login_does() {
    let (mut talk, _) = ready();
    talk.submit("XREAD BLOCK 0 STREAMS s $");
    let own = talk.opened.last().expect("asked for").conn;
    answer_login(&mut talk, own);
    let sent = talk.sent_on(own);
    let millis = sent.first().and_then(|command| command.split(' ').nth(2)?.parse::<u64>().ok());
    // Thirty seconds before its end a connection stops sending, and ends when nothing is in flight.
    let range = 3_500_000..=3_570_000;
    assert!(millis.is_some_and(|millis| range.contains(&millis)), "{sent:?}");
}

fn until_asked_but(talk: &mut Conversation, silent: ConnId) {
    while talk.fetches == 0 {
        talk.advance(SECOND);
        for opened in talk.opened.clone().into_iter().filter(|opened| opened.conn != silent) {
            for command in talk.sent_on(opened.conn) {
                let nonce = command.strip_prefix("PING ").expect("probes alone").to_owned();
                talk.receive_on(opened.conn, &format!("$16\r\n{nonce}\r\n"));
            }
        }
    }
    assert_eq!(talk.sent_on(silent), [""; 0]);
}

fn event(kind: &str) -> String {
    let text = format!(
        "NotificationType|{kind}|StartTimeInUTC|2021-03-02T23:26:57|IsReplica|False|IPAddress||\
         SSLPort|15001|NonSSLPort|6379"
    );
    format!(">3\r\n$7\r\nmessage\r\n$16\r\nAzureRedisEvents\r\n${}\r\n{text}\r\n", text.len())
}

/// A client of Azure Cache for Redis, and the connection over which it is told of maintenance.
fn of_azure_cache() -> (Conversation, ConnId) {
    let mut config = Conversation::with_password("u", "p");
    config.host = "name.redis.cache.windows.net".to_owned();
    let mut talk = Conversation::new(config);
    talk.client.connect(talk.now());
    talk.pump();
    let conn = talk.opened[0].conn;
    answer_login(&mut talk, conn);
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE AzureRedisEvents"]);
    talk.receive_on(conn, ">3\r\n$9\r\nsubscribe\r\n$16\r\nAzureRedisEvents\r\n:1\r\n");
    (talk, conn)
}

#[test]
fn before_a_node_goes_nothing_more_is_sent_to_it_and_afterwards_it_is() {
    let (mut talk, conn) = of_azure_cache();
    talk.receive_on(conn, &event("NodeMaintenanceStart"));
    assert!(talk.notices.iter().any(|notice| matches!(notice, Notice::Maintenance { .. })));
    let id = talk.submit("GET k");
    talk.advance_slowly(3 * SECOND);
    assert_eq!(talk.sent_on(conn), [""; 0], "the node is about to go");
    assert_eq!(talk.outcome(id), None);
    talk.receive_on(conn, &event("NodeMaintenanceFailoverComplete"));
    assert_eq!(talk.sent_on(conn), ["GET k"]);
    talk.receive_on(conn, "$1\r\nv\r\n");
    assert_eq!(talk.reply(id), "v");
    assert_eq!(talk.take_messages(), [""; 0], "nobody subscribed to it");
}

#[test]
fn maintenance_that_does_not_come_holds_commands_for_a_few_seconds_alone() {
    let (mut talk, conn) = of_azure_cache();
    talk.receive_on(conn, &event("NodeMaintenanceStart"));
    let id = talk.submit("GET k");
    assert_eq!(talk.sent_within(conn, 6 * SECOND), ["GET k"]);
    assert_eq!(talk.outcome(id), None, "the wait is not the command's");
}
