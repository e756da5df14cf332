//! Subscriptions: what is asked for stands, over both protocols, over outages and moves; gaps are announced.

use respass::{ChannelKind, Config, ConnId, Notice, SubscriberId};
use respass_tests::conversation::{Conversation, HELLO_OK, NO_SETINFO};
use respass_tests::conversation_nodes::{PORTS, key, slot, three_shards, topology};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const CHANNEL: ChannelKind = ChannelKind::Channel;

/// The latest connection that was asked for, made and logged in.
fn answered(talk: &mut Conversation) -> ConnId {
    for _ in 0..1000 {
        if let Some(opened) = talk.opened.iter().rfind(|opened| !opened.is_connected) {
            let conn = opened.conn;
            talk.establish(conn);
            talk.sent_on(conn);
            talk.receive_on(conn, &format!("{HELLO_OK}{NO_SETINFO}"));
            return conn;
        }
        talk.advance(SECOND / 50);
    }
    panic!("no connection was asked for")
}

fn push(words: &[&str]) -> String {
    let parts: Vec<String> = words
        .iter()
        .map(|word| match word.parse::<i64>() {
            Ok(number) => format!(":{number}\r\n"),
            Err(_) => format!("${}\r\n{word}\r\n", word.len()),
        })
        .collect();
    format!(">{}\r\n{}", parts.len(), parts.concat())
}

/// A client with a subscriber to the channel `news`.
fn subscribed() -> (Conversation, SubscriberId, ConnId) {
    let mut talk = Conversation::ready();
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, CHANNEL, "news");
    let conn = answered(&mut talk);
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE news"]);
    talk.receive_on(conn, &push(&["subscribe", "news", "1"]));
    assert_eq!(talk.take_messages(), ["subscribed news 1"]);
    (talk, subscriber, conn)
}

#[test]
fn a_subscriber_has_a_connection_of_its_own_and_gets_messages() {
    let (mut talk, _, conn) = subscribed();
    talk.receive_on(conn, &(push(&["message", "news", "one"]) + &push(&["message", "news", "two"])));
    assert_eq!(talk.take_messages(), ["message news one", "message news two"]);
    assert_eq!(talk.opened.len(), 2);
}

#[test]
fn patterns_tell_the_pattern_and_the_channel() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.subscribe(subscriber, ChannelKind::Pattern, "n*");
    assert_eq!(talk.sent_on(conn), ["PSUBSCRIBE n*"]);
    talk.receive_on(conn, &push(&["psubscribe", "n*", "2"]));
    talk.receive_on(conn, &push(&["pmessage", "n*", "news", "one"]));
    assert_eq!(talk.take_messages(), ["patternsubscribed n* 2", "patternmessage n* news one"]);
}

#[test]
fn messages_that_come_in_pieces_come_whole() {
    let (mut talk, _, conn) = subscribed();
    for byte in push(&["message", "news", "one"]).chars() {
        assert_eq!(talk.take_messages(), [""; 0]);
        talk.receive_on(conn, &byte.to_string());
    }
    assert_eq!(talk.take_messages(), ["message news one"]);
}

#[test]
fn an_end_is_confirmed_and_stays() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.unsubscribe(subscriber, CHANNEL, "news");
    assert_eq!(talk.sent_on(conn), ["UNSUBSCRIBE news"]);
    talk.receive_on(conn, &push(&["message", "news", "late"]));
    talk.receive_on(conn, &push(&["unsubscribe", "news", "0"]));
    let messages = talk.take_messages();
    assert_eq!(messages.last().map(String::as_str), Some("unsubscribed news"));
    talk.lose(conn);
    talk.advance_slowly(3 * SECOND);
    let resubscribed = talk.opened.iter().map(|opened| opened.conn).collect::<Vec<_>>();
    for conn in resubscribed {
        assert!(!talk.sent_on(conn).iter().any(|command| command.starts_with("SUBSCRIBE")));
    }
}

#[test]
fn after_an_outage_subscriptions_stand_again_and_the_gap_comes_before_the_next_message() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.subscribe(subscriber, ChannelKind::Pattern, "n*");
    talk.sent_on(conn);
    talk.receive_on(conn, &push(&["psubscribe", "n*", "2"]));
    talk.take_messages();
    talk.lose(conn);
    let next = answered(&mut talk);
    let mut sent = talk.sent_on(next);
    sent.sort();
    assert_eq!(sent, ["PSUBSCRIBE n*", "SUBSCRIBE news"]);
    talk.receive_on(next, &(push(&["subscribe", "news", "1"]) + &push(&["psubscribe", "n*", "2"])));
    talk.receive_on(next, &push(&["message", "news", "two"]));
    assert_eq!(talk.take_messages(), ["gap", "message news two"], "and no confirmation twice");
    assert!(talk.notices.contains(&Notice::Gap { subscriber }), "{:?}", talk.notices);
}

#[test]
fn a_second_failed_reconnect_changes_nothing() {
    let (mut talk, _, conn) = subscribed();
    talk.lose(conn);
    for _ in 0..3 {
        let next = answered(&mut talk);
        talk.sent_on(next);
        talk.lose(next);
    }
    let next = answered(&mut talk);
    assert_eq!(talk.sent_on(next), ["SUBSCRIBE news"]);
    talk.receive_on(next, &(push(&["subscribe", "news", "1"]) + &push(&["message", "news", "two"])));
    let messages = talk.take_messages();
    assert!(messages.len() >= 2 && messages[..messages.len() - 1].iter().all(|line| line == "gap"));
    assert_eq!(messages.last().map(String::as_str), Some("message news two"));
}

#[test]
fn what_ends_during_an_outage_is_not_brought_back() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.subscribe(subscriber, CHANNEL, "other");
    talk.sent_on(conn);
    talk.receive_on(conn, &push(&["subscribe", "other", "2"]));
    talk.lose(conn);
    talk.unsubscribe(subscriber, CHANNEL, "news");
    let next = answered(&mut talk);
    assert_eq!(talk.sent_on(next), ["SUBSCRIBE other"]);
    talk.receive_on(next, &push(&["subscribe", "other", "1"]));
    let messages = talk.take_messages();
    assert!(messages.iter().any(|line| line.starts_with("unsubscribed news")), "{messages:?}");
}

#[test]
fn an_end_that_the_connection_does_not_live_to_confirm_is_told_all_the_same() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.unsubscribe(subscriber, CHANNEL, "news");
    assert_eq!(talk.sent_on(conn), ["UNSUBSCRIBE news"]);
    talk.lose(conn);
    assert_eq!(talk.take_messages(), ["unsubscribed news"]);
}

#[test]
fn a_subscriber_whose_login_is_refused_goes_on_trying() {
    let mut talk = Conversation::new(Conversation::with_password("u", "wrong"));
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, CHANNEL, "news");
    for _ in 0..3 {
        talk.advance_slowly(11 * SECOND);
        let conn = talk.opened.last().expect("another attempt").conn;
        talk.establish(conn);
        talk.sent_on(conn);
        talk.receive_on(conn, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
        assert!(talk.closed.contains(&conn));
    }
    let conn = {
        talk.advance_slowly(11 * SECOND);
        answered(&mut talk)
    };
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE news"]);
}

#[test]
fn what_is_asked_for_during_an_outage_stands_after_it() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.lose(conn);
    talk.subscribe(subscriber, CHANNEL, "other");
    let next = answered(&mut talk);
    let sent = talk.sent_on(next).join(" ");
    assert!(sent.contains("news") && sent.contains("other"), "{sent}");
    talk.receive_on(next, &(push(&["subscribe", "news", "1"]) + &push(&["subscribe", "other", "2"])));
    let messages = talk.take_messages();
    assert!(messages.contains(&"subscribed other 2".to_owned()), "{messages:?}");
    assert!(!messages.contains(&"subscribed news 1".to_owned()), "{messages:?}");
}

#[test]
fn a_refused_subscription_is_told_and_dropped() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.subscribe(subscriber, CHANNEL, "secret");
    talk.sent_on(conn);
    talk.receive_on(conn, "-NOPERM no permissions to access a channel\r\n");
    let messages = talk.take_messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("refused secret NOPERM"), "{messages:?}");
    talk.receive_on(conn, &push(&["message", "news", "one"]));
    assert_eq!(talk.take_messages(), ["message news one"]);
    talk.lose(conn);
    let next = answered(&mut talk);
    assert_eq!(talk.sent_on(next), ["SUBSCRIBE news"]);
}

#[test]
fn a_subscriber_that_ends_closes_its_connection_and_hears_no_more() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.client.close_subscriber(subscriber, talk.now());
    talk.pump();
    assert!(talk.closed.contains(&conn));
    talk.receive_on(conn, &push(&["message", "news", "late"]));
    assert_eq!(talk.take_messages(), [""; 0]);
    talk.advance_slowly(3 * SECOND);
    assert!(talk.opened.iter().all(|opened| opened.is_connected), "{:?}", talk.opened);
}

#[test]
fn a_peer_that_answers_no_subscription_is_given_up() {
    let (mut talk, subscriber, conn) = subscribed();
    talk.advance_slowly(10 * SECOND);
    talk.subscribe(subscriber, CHANNEL, "other");
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE other"]);
    talk.advance_slowly(14 * SECOND);
    assert!(!talk.closed.contains(&conn));
    talk.advance_slowly(2 * SECOND);
    assert!(talk.closed.contains(&conn));
    let next = answered(&mut talk);
    assert_eq!(talk.sent_on(next).len(), 2, "both are subscribed to again");
}

#[test]
fn subscribers_do_not_hear_each_other() {
    let (mut talk, first, conn) = subscribed();
    let second = talk.open_subscriber();
    talk.subscribe(second, CHANNEL, "news");
    let other = answered(&mut talk);
    assert_ne!(conn, other);
    talk.sent_on(other);
    talk.receive_on(other, &push(&["subscribe", "news", "1"]));
    talk.take_messages();
    talk.receive_on(other, &push(&["message", "news", "one"]));
    assert_eq!(talk.messages, [(second, "message news one".to_owned())]);
    talk.messages.clear();
    talk.receive_on(conn, &push(&["message", "news", "one"]));
    assert_eq!(talk.messages, [(first, "message news one".to_owned())]);
}

#[test]
fn pushes_that_nobody_knows_are_left_out() {
    let (mut talk, _, conn) = subscribed();
    talk.receive_on(conn, ">2\r\n$7\r\nunheard\r\n$2\r\nof\r\n>1\r\n$7\r\nmessage\r\n");
    talk.receive_on(conn, &push(&["message", "news", "one"]));
    assert_eq!(talk.take_messages(), ["message news one"]);
    assert!(!talk.closed.contains(&conn));
}

/// A client that speaks RESP2, with a subscriber to `news`.
fn subscribed_in_resp2(config: Config) -> (Conversation, SubscriberId, ConnId) {
    let mut talk = Conversation::new(config);
    talk.client.connect(talk.now());
    talk.pump();
    let main = talk.opened[0].conn;
    set_up_resp2(&mut talk, main);
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, CHANNEL, "news");
    let conn = talk.opened.iter().rfind(|opened| !opened.is_connected).expect("asked for").conn;
    set_up_resp2(&mut talk, conn);
    assert_eq!(talk.sent_on(conn), ["SUBSCRIBE news"]);
    talk.receive_on(conn, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    assert_eq!(talk.take_messages(), ["subscribed news 1"]);
    (talk, subscriber, conn)
}

/// A connection to a server that knows no HELLO.
fn set_up_resp2(talk: &mut Conversation, conn: ConnId) {
    talk.establish(conn);
    for _ in 0..10 {
        let sent = talk.sent_on(conn);
        if sent.is_empty() || sent[0].starts_with("SUBSCRIBE") {
            assert!(sent.is_empty(), "{sent:?} before the set-up is done");
            return;
        }
        for command in sent {
            let name = command.split(' ').next().expect("a name");
            talk.receive_on(
                conn,
                match name {
                    "HELLO" => "-ERR unknown command 'HELLO'\r\n",
                    "PING" => "+PONG\r\n",
                    "AUTH" => "+OK\r\n",
                    _ => "-ERR unknown\r\n",
                },
            );
        }
        if talk.opened.iter().any(|opened| opened.conn == conn)
            && talk
                .client
                .auth_status()
                .connections
                .iter()
                .any(|status| status.conn == conn && status.is_ready)
        {
            return;
        }
    }
    panic!("no end to the set-up");
}

#[test]
fn in_resp2_messages_are_the_same() {
    let (mut talk, _, conn) = subscribed_in_resp2(Config::new("localhost", 6379));
    talk.receive_on(conn, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n");
    assert_eq!(talk.take_messages(), ["message news one"]);
}

#[test]
fn in_resp2_an_idle_subscriber_is_probed_in_the_way_that_is_allowed_there() {
    let (mut talk, _, conn) = subscribed_in_resp2(Config::new("localhost", 6379));
    let sent = talk.sent_within(conn, 31 * SECOND);
    let nonce = sent.first().and_then(|sent| sent.strip_prefix("PING ")).expect("a probe").to_owned();
    talk.receive_on(conn, &format!("*2\r\n$4\r\npong\r\n$16\r\n{nonce}\r\n"));
    talk.receive_on(conn, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n");
    assert_eq!(talk.take_messages(), ["message news one"]);
    assert!(!talk.closed.contains(&conn));
}

#[test]
fn in_resp3_a_subscriber_presents_its_newer_token_in_place() {
    let mut talk = Conversation::new(Conversation::with_tokens());
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, CHANNEL, "news");
    talk.give_token(1, 3600);
    let conn = answered(&mut talk);
    talk.sent_on(conn);
    talk.receive_on(conn, &push(&["subscribe", "news", "1"]));
    talk.take_messages();
    while talk.fetches == 0 {
        talk.advance(10 * SECOND);
        answer_probes(&mut talk);
    }
    talk.give_token(2, 3600);
    let mut reauthenticated = false;
    for _ in 0..70 {
        talk.advance(SECOND);
        for command in talk.sent_on(conn) {
            reauthenticated |= command.starts_with("AUTH ");
            let reply = match command.strip_prefix("PING ") {
                Some(nonce) => format!("${}\r\n{nonce}\r\n", nonce.len()),
                None => "+OK\r\n".to_owned(),
            };
            talk.receive_on(conn, &reply);
        }
    }
    assert!(reauthenticated);
    talk.receive_on(conn, &push(&["message", "news", "one"]));
    assert_eq!(talk.take_messages(), ["message news one"], "no gap");
}

fn answer_probes(talk: &mut Conversation) {
    for opened in talk.opened.clone().into_iter().filter(|opened| opened.is_connected) {
        for command in talk.sent_on(opened.conn) {
            if let Some(nonce) = command.strip_prefix("PING ") {
                talk.receive_on(opened.conn, &format!("${}\r\n{nonce}\r\n", nonce.len()));
            }
        }
    }
}

/// A subscriber of RESP2 whose token is about to end: its connection, and the one that is to take over.
fn two_connections_in_resp2() -> (Conversation, ConnId, ConnId) {
    let mut talk = Conversation::new(Conversation::with_tokens());
    let subscriber = talk.open_subscriber();
    talk.subscribe(subscriber, CHANNEL, "news");
    talk.give_token(1, 3600);
    let conn = talk.opened.last().expect("asked for").conn;
    set_up_resp2(&mut talk, conn);
    talk.sent_on(conn);
    talk.receive_on(conn, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    talk.take_messages();
    let mut given = false;
    let mut next = None;
    for _ in 0..3600 {
        talk.advance(SECOND);
        if talk.fetches > 0 && !given {
            talk.give_token(2, 3600);
            given = true;
        }
        for command in talk.sent_on(conn) {
            let nonce = command.strip_prefix("PING ").unwrap_or_else(|| panic!("{command}")).to_owned();
            talk.receive_on(conn, &format!("*2\r\n$4\r\npong\r\n$16\r\n{nonce}\r\n"));
        }
        next = talk.opened.iter().find(|opened| !opened.is_connected).map(|opened| opened.conn);
        if next.is_some() {
            break;
        }
    }
    let next = next.expect("a second connection");
    assert!(!talk.closed.contains(&conn), "the first is still there");
    set_up_resp2(&mut talk, next);
    (talk, conn, next)
}

const PONG: &str = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";

#[test]
fn in_resp2_a_second_connection_takes_over_before_the_token_ends_and_no_message_is_lost() {
    let (mut talk, conn, next) = two_connections_in_resp2();
    assert_eq!(talk.sent_on(next), ["SUBSCRIBE news"]);
    talk.receive_on(conn, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n");
    talk.receive_on(next, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    talk.receive_on(next, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n");
    // The answer to the marker tells that the first connection has brought everything.
    assert_eq!(talk.sent_on(conn), ["PING"]);
    talk.receive_on(conn, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n");
    talk.receive_on(conn, PONG);
    // And that to another one, that the second has brought all of it as well.
    assert_eq!(talk.sent_on(next), ["PING"]);
    talk.receive_on(next, PONG);
    assert_eq!(talk.take_messages(), ["message news one", "message news two"], "no gap, nothing twice");
    talk.advance_slowly(2 * SECOND);
    assert!(talk.closed.contains(&conn), "the first is closed in the end");
    talk.receive_on(next, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nthree\r\n");
    assert_eq!(talk.take_messages(), ["message news three"]);
}

#[test]
fn a_connection_that_takes_over_and_lags_behind_brings_nothing_twice() {
    let (mut talk, conn, next) = two_connections_in_resp2();
    let message = |text: &str| format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\n{text}\r\n");
    talk.sent_on(next);
    talk.receive_on(next, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    talk.receive_on(next, &message("a"));
    // The first has brought more by the time that it answers the marker.
    for text in ["x", "a", "b", "c"] {
        talk.receive_on(conn, &message(text));
    }
    talk.sent_on(conn);
    talk.receive_on(conn, PONG);
    talk.receive_on(conn, &message("d"));
    for text in ["b", "c", "d"] {
        talk.receive_on(next, &message(text));
    }
    talk.sent_on(next);
    talk.receive_on(next, PONG);
    talk.receive_on(conn, &message("e"));
    talk.receive_on(next, &message("e"));
    let told: Vec<String> = ["x", "a", "b", "c", "d", "e"].map(|text| format!("message news {text}")).into();
    assert_eq!(talk.take_messages(), told);
}

#[test]
fn a_sharded_channel_is_subscribed_to_on_the_node_of_its_slot() {
    let mut talk = Conversation::with_three_shards();
    let subscriber = talk.open_subscriber();
    let channel = key(1, 0);
    talk.subscribe(subscriber, ChannelKind::Shard, &channel);
    let conn = talk.node(PORTS[1]);
    assert_eq!(talk.sent_on(conn), [format!("SSUBSCRIBE {channel}")]);
    talk.receive_on(conn, &push(&["ssubscribe", &channel, "1"]));
    talk.receive_on(conn, &push(&["smessage", &channel, "one"]));
    let expected = [format!("shardsubscribed {channel} 1"), format!("shardmessage {channel} one")];
    assert_eq!(talk.take_messages(), expected);
}

#[test]
fn a_sharded_channel_follows_its_slot() {
    let mut talk = Conversation::with_three_shards();
    let subscriber = talk.open_subscriber();
    let channel = key(1, 0);
    talk.subscribe(subscriber, ChannelKind::Shard, &channel);
    let conn = talk.node(PORTS[1]);
    talk.sent_on(conn);
    talk.receive_on(conn, &push(&["ssubscribe", &channel, "1"]));
    talk.take_messages();
    talk.receive_on(conn, &push(&["sunsubscribe", &channel, "0"]));
    let moved = topology(&[(0, 5460, PORTS[0]), (5461, 16_383, PORTS[2])]);
    assert!(talk.tell_topology_within(&moved, 2 * SECOND), "no question for the map");
    let next = talk.node_within(PORTS[2], SECOND);
    assert_eq!(talk.sent_within(next, SECOND), [format!("SSUBSCRIBE {channel}")]);
    talk.receive_on(next, &push(&["ssubscribe", &channel, "1"]));
    talk.receive_on(next, &push(&["smessage", &channel, "two"]));
    assert_eq!(talk.take_messages(), ["gap".to_owned(), format!("shardmessage {channel} two")]);
}

#[test]
fn a_sharded_subscription_that_is_refused_for_now_is_asked_for_again() {
    for text in ["CLUSTERDOWN The cluster is down", "TRYAGAIN x", "LOADING x", "MASTERDOWN x"] {
        let mut talk = Conversation::with_three_shards();
        let subscriber = talk.open_subscriber();
        let channel = key(1, 0);
        talk.subscribe(subscriber, ChannelKind::Shard, &channel);
        let conn = talk.node(PORTS[1]);
        talk.sent_on(conn);
        talk.receive_on(conn, &format!("-{text}\r\n"));
        let mut again = Vec::new();
        for _ in 0..200 {
            again.extend(talk.attend(&three_shards()).0);
            talk.advance(SECOND / 100);
        }
        assert_eq!(again, [(conn, format!("SSUBSCRIBE {channel}"))], "{text}");
        assert_eq!(talk.take_messages(), [""; 0]);
    }
}

#[test]
fn a_sharded_subscription_is_asked_for_again_until_it_stands() {
    let mut talk = Conversation::with_three_shards();
    let subscriber = talk.open_subscriber();
    let channel = key(1, 0);
    talk.subscribe(subscriber, ChannelKind::Shard, &channel);
    let conn = talk.node(PORTS[1]);
    talk.sent_on(conn);
    for map in [three_shards(), "-ERR busy\r\n".to_owned(), three_shards()] {
        talk.receive_on(conn, "-CLUSTERDOWN The cluster is down\r\n");
        let mut again = Vec::new();
        for _ in 0..800 {
            again.extend(talk.attend(&map).0);
            if !again.is_empty() {
                break;
            }
            talk.advance(SECOND / 100);
        }
        assert_eq!(again, [(conn, format!("SSUBSCRIBE {channel}"))], "{map}");
    }
    talk.receive_on(conn, &push(&["ssubscribe", &channel, "1"]));
    assert_eq!(talk.take_messages(), [format!("shardsubscribed {channel} 1")]);
}

#[test]
fn a_subscription_that_is_refused_for_now_is_asked_for_again() {
    for (kind, command) in [(CHANNEL, "SUBSCRIBE"), (ChannelKind::Pattern, "PSUBSCRIBE")] {
        let (mut talk, subscriber, conn) = subscribed();
        let others: Vec<ConnId> = talk.opened.iter().map(|opened| opened.conn).collect();
        talk.subscribe(subscriber, kind, "later");
        assert_eq!(talk.sent_on(conn), [format!("{command} later")]);
        talk.receive_on(conn, "-LOADING Redis is loading the dataset in memory\r\n");
        assert_eq!(talk.sent_on(conn), [""; 0], "without a wait");
        let mut again = Vec::new();
        for _ in 0..100 {
            for &other in &others {
                for sent in talk.sent_on(other) {
                    match sent.as_str() {
                        "CLUSTER SLOTS" => talk.receive_on(other, "-ERR no cluster\r\n"),
                        _ => again.push(sent),
                    }
                }
            }
            talk.advance(SECOND / 100);
        }
        assert_eq!(again, [format!("{command} later")]);
        assert_eq!(talk.take_messages(), [""; 0]);
        talk.receive_on(conn, &push(&[&command.to_lowercase(), "later", "2"]));
        assert_eq!(talk.take_messages().len(), 1);
    }
}

#[test]
fn a_sharded_subscription_that_is_redirected_goes_where_the_map_says() {
    let mut talk = Conversation::with_three_shards();
    let subscriber = talk.open_subscriber();
    let channel = key(1, 0);
    talk.subscribe(subscriber, ChannelKind::Shard, &channel);
    let conn = talk.node(PORTS[1]);
    talk.sent_on(conn);
    talk.receive_on(conn, &format!("-MOVED {} 203.0.113.7:8503\r\n", slot(&channel)));
    let moved = topology(&[(0, 5460, PORTS[0]), (5461, 16_383, PORTS[2])]);
    talk.tell_topology_within(&moved, 2 * SECOND);
    let next = talk.node_within(PORTS[2], SECOND);
    assert_eq!(talk.sent_within(next, SECOND), [format!("SSUBSCRIBE {channel}")]);
    assert!(!talk.take_messages().iter().any(|line| line.starts_with("refused")));
}

#[test]
fn a_monitor_gets_each_line_of_the_server() {
    let mut talk = Conversation::ready();
    talk.client.open_monitor(talk.now()).expect("a monitor");
    talk.pump();
    let conn = answered(&mut talk);
    assert_eq!(talk.sent_on(conn), ["MONITOR"]);
    talk.receive_on(conn, "+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n");
    assert_eq!(
        talk.take_messages(),
        ["subscribed", "monitor 1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\""]
    );
}
