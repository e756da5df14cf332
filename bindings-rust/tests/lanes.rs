//! Connections for one purpose: blocking commands, sessions, subscriptions and MONITOR, on each executor.

mod rig;

use futures_lite::{Stream, StreamExt, future};
use respass_futures::{
    Connector, ErrorCode, FetchedToken, LaneKind, Message, MessageKind, Outcome, Redis, Secret, Subscriber,
    Tokens,
};
use rig::{Emulator, Executor, Server};
use serde_json::json;
use std::time::{Duration, Instant};

on_each_executor! {
    blocking_commands_hold_up_nobody
    a_blocking_commands_own_timeout_is_the_one_that_counts
    a_pool_that_is_full_makes_wait
    a_watched_key_that_was_written_to_stops_a_transaction
    a_watch_ends_with_its_connection
    a_session_that_is_dropped_leaves_no_watch_and_no_state
    messages_come_in_order_and_subscriptions_can_be_changed_at_any_time
    patterns_and_sharded_channels_bring_messages
    a_subscriber_that_lost_its_connection_says_so_and_goes_on
    a_subscriber_that_is_dropped_closes_its_connection
    a_flood_of_messages_starves_no_command
    monitor_shows_what_others_do
    streams_end_with_the_client
    every_lane_outlives_its_tokens
}

async fn number(redis: &Redis, arguments: &[&str]) -> i64 {
    redis.command(arguments).await.expect("a reply").to().expect("a number")
}

/// Until the condition holds, for a few seconds at most.
async fn until<F: Future<Output = bool>>(executor: impl Connector, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(8);
    while !condition().await {
        assert!(Instant::now() < end, "it does not come to pass");
        executor.sleep(Duration::from_millis(5)).await;
    }
}

async fn clients(redis: &Redis) -> usize {
    let list: String = redis.command(&["CLIENT", "LIST"]).await.expect("a reply").to().expect("text");
    list.lines().count()
}

async fn blocking_commands_hold_up_nobody(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let keys: Vec<String> = (0..20).map(|number| format!("list:{number}")).collect();
    let waiting: Vec<_> = keys.iter().map(|key| redis.command(&["BLPOP", key, "0"])).collect();
    for count in 1..=100 {
        assert_eq!(number(&redis, &["INCR", "n"]).await, count);
    }
    for key in keys.iter().rev() {
        redis.command(&["RPUSH", key, key]).await.expect("a reply");
    }
    for (key, reply) in keys.iter().zip(waiting) {
        let pair: Vec<String> = reply.await.expect("a reply").to().expect("key and value");
        assert_eq!(pair, [key.clone(), key.clone()]);
    }
    let lanes = redis.auth_status().connections;
    assert_eq!(lanes.iter().filter(|one| one.lane == LaneKind::Main).count(), 1, "{lanes:?}");
    assert!(lanes.iter().all(|one| one.port == server.port), "{lanes:?}");
}

async fn a_blocking_commands_own_timeout_is_the_one_that_counts(executor: impl Executor) {
    let server = Server::start();
    let mut config = server.config();
    config.timeouts.command = Duration::from_millis(200);
    let redis = Redis::connect(config, executor).await.expect("a connection");
    let began = Instant::now();
    let reply = redis.command(&["BLPOP", "nothing", "1"]).await.expect("a null after a second");
    assert!(reply.is_null());
    assert!((900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

async fn a_pool_that_is_full_makes_wait(executor: impl Executor) {
    let server = Server::start();
    let mut config = server.config();
    config.limits.own_connections_max = 2;
    let redis = Redis::connect(config, executor).await.expect("a connection");
    let waiting: Vec<_> = (0..6).map(|_| redis.command(&["BLPOP", "list", "5"])).collect();
    for value in 0..6 {
        redis.command(&["RPUSH", "list", &value.to_string()]).await.expect("a reply");
        executor.sleep(Duration::from_millis(20)).await;
    }
    let mut values = Vec::new();
    for reply in waiting {
        let pair: Vec<String> = reply.await.expect("a reply").to().expect("key and value");
        values.extend(pair.into_iter().nth(1));
    }
    values.sort();
    assert_eq!(values, ["0", "1", "2", "3", "4", "5"]);
    assert!(clients(&redis).await <= 3);
}

async fn a_watched_key_that_was_written_to_stops_a_transaction(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let session = redis.session().expect("a session");
    session.command(&["WATCH", "k"]).await.expect("OK");
    let mut transaction = session.transaction();
    let replies = transaction.command(&["INCR", "k"]).execute().await.expect("nobody wrote");
    assert_eq!(replies.len(), 1);
    session.command(&["WATCH", "k"]).await.expect("OK");
    redis.command(&["SET", "k", "5"]).await.expect("OK");
    let error = transaction.command(&["INCR", "k"]).execute().await.expect_err("somebody wrote");
    assert_eq!((error.code(), error.outcome()), (ErrorCode::WatchLost, Some(Outcome::Refused)));
    assert_eq!(number(&redis, &["GET", "k"]).await, 5);
    // Outside a session, WATCH would watch for everybody.
    let error = redis.command(&["WATCH", "k"]).await.expect_err("refused");
    assert_eq!(error.code(), ErrorCode::NeedsOwnConnection);
}

async fn a_watch_ends_with_its_connection(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let session = redis.session().expect("a session");
    session.command(&["WATCH", "k"]).await.expect("OK");
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.expect("a count");
    executor.sleep(Duration::from_millis(50)).await;
    let error = session.transaction().command(&["INCR", "k"]).execute().await.expect_err("lost");
    assert_eq!((error.code(), error.outcome()), (ErrorCode::WatchLost, Some(Outcome::NotSent)));
    session.command(&["WATCH", "k"]).await.expect("the session goes on");
    session.transaction().command(&["INCR", "k"]).execute().await.expect("nobody wrote");
}

async fn a_session_that_is_dropped_leaves_no_watch_and_no_state(executor: impl Executor) {
    let server = Server::start();
    let mut config = server.config();
    config.limits.own_connections_max = 1;
    let redis = Redis::connect(config, executor).await.expect("a connection");
    for round in 0..5 {
        let session = redis.session().expect("a session");
        session.command(&["WATCH", "k"]).await.expect("OK");
        redis.command(&["SET", "k", &round.to_string()]).await.expect("OK");
        drop(session);
        let session = redis.session().expect("a session");
        let replies = session.transaction().command(&["GET", "k"]).execute().await.expect("no watch is left");
        assert_eq!(replies.len(), 1);
    }
}

async fn next(subscriber: &mut (impl Stream<Item = Message> + Unpin)) -> Message {
    subscriber.next().await.expect("the stream is open")
}

async fn subscribed(redis: &Redis, channels: &[&str]) -> Subscriber {
    let mut subscriber = redis.subscriber().expect("a subscriber");
    subscriber.subscribe(channels).expect("accepted");
    for _ in channels {
        assert_eq!(next(&mut subscriber).await.kind(), MessageKind::Subscribed);
    }
    subscriber
}

async fn messages_come_in_order_and_subscriptions_can_be_changed_at_any_time(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut subscriber = subscribed(&redis, &["news", "weather"]).await;
    for number in 0..500 {
        redis.command(&["PUBLISH", "news", &number.to_string()]).await.expect("a count");
    }
    for number in 0..500 {
        let message = next(&mut subscriber).await;
        assert_eq!((message.kind(), message.channel()), (MessageKind::Message, &b"news"[..]));
        assert_eq!(message.payload(), number.to_string().as_bytes());
    }
    subscriber.unsubscribe(&["news"]).expect("accepted");
    let message = next(&mut subscriber).await;
    assert_eq!((message.kind(), message.channel()), (MessageKind::Unsubscribed, &b"news"[..]));
    redis.command(&["PUBLISH", "news", "unheard"]).await.expect("a count");
    redis.command(&["PUBLISH", "weather", "sunny"]).await.expect("a count");
    assert_eq!(next(&mut subscriber).await.payload(), b"sunny");
    subscriber.unsubscribe::<&str>(&[]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.channel(), b"weather");
    subscriber.subscribe(&["again"]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::Subscribed);
}

async fn patterns_and_sharded_channels_bring_messages(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut subscriber = redis.subscriber().expect("a subscriber");
    subscriber.psubscribe(&["news.*"]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::PatternSubscribed);
    redis.command(&["PUBLISH", "news.local", "a"]).await.expect("a count");
    let message = next(&mut subscriber).await;
    assert_eq!((message.kind(), message.pattern()), (MessageKind::PatternMessage, &b"news.*"[..]));
    assert_eq!((message.channel(), message.payload()), (&b"news.local"[..], &b"a"[..]));
    subscriber.ssubscribe(&["shard"]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::ShardSubscribed);
    redis.command(&["SPUBLISH", "shard", "b"]).await.expect("a count");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::ShardMessage);
    subscriber.punsubscribe(&["news.*"]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::PatternUnsubscribed);
    subscriber.sunsubscribe(&["shard"]).expect("accepted");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::ShardUnsubscribed);
}

async fn a_subscriber_that_lost_its_connection_says_so_and_goes_on(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut subscriber = subscribed(&redis, &["news"]).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.expect("a count");
    until(executor, || async { number(&redis, &["PUBLISH", "news", "after"]).await == 1 }).await;
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::Gap);
    let message = next(&mut subscriber).await;
    assert_eq!((message.kind(), message.payload()), (MessageKind::Message, &b"after"[..]));
}

async fn a_subscriber_that_is_dropped_closes_its_connection(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let subscriber = subscribed(&redis, &["news"]).await;
    let other = subscribed(&redis, &["news"]).await;
    assert_eq!(number(&redis, &["PUBLISH", "news", "a"]).await, 2);
    drop(subscriber);
    until(executor, || async { clients(&redis).await == 2 }).await;
    assert_eq!(number(&redis, &["PUBLISH", "news", "b"]).await, 1);
    drop(other);
}

async fn a_flood_of_messages_starves_no_command<E: Executor>(executor: E) {
    let server = Server::start();
    let (redis, publisher) = (server.connect(executor).await, server.connect(executor).await);
    let mut subscriber = subscribed(&redis, &["news"]).await;
    let end = Instant::now() + Duration::from_secs(2);
    let payload = "x".repeat(2000);
    let flood = async {
        while Instant::now() < end {
            let mut pipeline = publisher.pipeline();
            for _ in 0..200 {
                pipeline.command(&["PUBLISH", "news", &payload]);
            }
            pipeline.execute().await.expect("counts");
        }
    };
    let work = async {
        let mut slowest = Duration::ZERO;
        while Instant::now() < end {
            let began = Instant::now();
            redis.command(&["PING"]).await.expect("a reply");
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let ((), slowest) = future::zip(flood, work).await;
    assert!(slowest < Duration::from_secs(1), "a command took {slowest:?}");
    assert_eq!(next(&mut subscriber).await.kind(), MessageKind::Message);
}

async fn monitor_shows_what_others_do(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut monitor = redis.monitor().expect("a stream");
    let shown = async {
        loop {
            let message = next(&mut monitor).await;
            if message.kind() == MessageKind::Monitor && message.payload().ends_with(b"\"GET\" \"shown\"") {
                break;
            }
        }
    };
    let work = async {
        loop {
            redis.command(&["GET", "shown"]).await.expect("a reply");
            executor.sleep(Duration::from_millis(5)).await;
        }
    };
    future::or(shown, work).await;
    drop(monitor);
    until(executor, || async { clients(&redis).await == 1 }).await;
}

async fn streams_end_with_the_client(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut subscriber = subscribed(&redis, &["news"]).await;
    let mut monitor = redis.monitor().expect("a stream");
    let session = redis.session().expect("a session");
    redis.close().await;
    while let Some(message) = subscriber.next().await {
        assert_eq!(message.kind(), MessageKind::Gap);
    }
    while monitor.next().await.is_some() {}
    assert_eq!(session.command(&["GET", "k"]).await.expect_err("closed").code(), ErrorCode::Closed);
    assert_eq!(redis.subscriber().expect_err("closed").code(), ErrorCode::Closed);
    assert_eq!(redis.session().expect_err("closed").code(), ErrorCode::Closed);
}

async fn every_lane_outlives_its_tokens(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let admin = emulator.text("admin");
    let tokens = Tokens::new(move || {
        let admin = admin.clone();
        async move { Ok(::smol::unblock(move || fetch(&admin)).await) }
    });
    let redis = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.expect("a connection");
    let mut subscriber = subscribed(&redis, &["news"]).await;
    let session = redis.session().expect("a session");
    session.command(&["WATCH", "k"]).await.expect("OK");
    let waiting = redis.command(&["BLPOP", "list", "0"]);
    let end = Instant::now() + Duration::from_secs(9);
    let mut published = 0;
    while Instant::now() < end {
        redis.command(&["PUBLISH", "news", &published.to_string()]).await.expect("a count");
        assert_eq!(next(&mut subscriber).await.payload(), published.to_string().as_bytes(), "no gap");
        published += 1;
        executor.sleep(Duration::from_millis(20)).await;
    }
    session.transaction().command(&["INCR", "k"]).execute().await.expect("the watch stands");
    redis.command(&["RPUSH", "list", "a"]).await.expect("a count");
    let pair: Vec<String> = waiting.await.expect("a reply").to().expect("key and value");
    assert_eq!(pair, ["list", "a"]);
    let lanes = redis.auth_status().connections;
    let ready = |kind| lanes.iter().any(|one| one.lane == kind && one.is_ready && one.expires_at.is_some());
    assert!(ready(LaneKind::Main) && ready(LaneKind::Subscriber), "{lanes:?}");
}

/// A token of six seconds, straight from the emulator's admin endpoint.
fn fetch(admin: &str) -> FetchedToken {
    let answer = Emulator::post(admin, "token", &json!({ "ttl": 6 }));
    let text = answer["access_token"].as_str().expect("a token");
    FetchedToken::new(Secret::new(text.as_bytes().to_vec()))
}
