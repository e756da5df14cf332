//! Commands, pipelines and transactions on a real server, on each executor.

mod rig;

use respass_futures::{ErrorCode, Kind, Outcome, Redis};
use rig::{Executor, Server};
use std::collections::HashMap;
use std::time::Duration;

on_each_executor! {
    replies_become_what_was_asked_for
    a_pipeline_has_a_result_for_each_command
    a_pipeline_that_cannot_be_sent_is_refused_as_a_whole
    a_transaction_runs_as_one
    a_transaction_that_the_server_refuses_runs_nothing
    errors_of_the_server_have_a_code
    a_hundred_tasks_share_one_client
    large_values_pass_in_both_directions
    a_dropped_future_cancels_its_command
    a_reply_that_does_not_come_in_time_is_an_error
}

async fn replies_become_what_was_asked_for(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    assert_eq!(redis.command(&["SET", "k", "v"]).await.unwrap().to::<String>().unwrap(), "OK");
    let reply = redis.command(&["GET", "k"]).await.unwrap();
    assert_eq!((reply.kind(), reply.as_bytes()), (Kind::BulkString, &b"v"[..]));
    assert_eq!(Vec::<u8>::try_from(reply).unwrap(), b"v");
    let none: Option<String> = redis.command(&["GET", "none"]).await.unwrap().to().unwrap();
    assert_eq!(none, None);
    assert_eq!(redis.command(&["INCRBY", "n", "41"]).await.unwrap().to::<i64>().unwrap(), 41);
    assert_eq!(redis.command(&["GET", "n"]).await.unwrap().to::<u64>().unwrap(), 41, "a number in text");
    assert_eq!(redis.command(&["INCRBYFLOAT", "f", "1.5"]).await.unwrap().to::<f64>().unwrap(), 1.5);
    assert!(redis.command(&["EXISTS", "k"]).await.unwrap().to::<bool>().unwrap());
    let items: Vec<&[u8]> = vec![b"RPUSH", b"l", b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"\0\r\n\xff"];
    assert_eq!(redis.command(&items).await.unwrap().to::<i64>().unwrap(), 8);
    let list = redis.command(&["LRANGE", "l", "0", "-1"]).await.unwrap();
    assert_eq!(list.elements().count(), 8);
    assert_eq!(list.to::<Vec<Vec<u8>>>().unwrap().last().unwrap(), b"\0\r\n\xff");
    redis.command(&["HSET", "h", "a", "1", "b", "2"]).await.unwrap();
    let map: HashMap<String, i64> = redis.command(&["HGETALL", "h"]).await.unwrap().to().unwrap();
    assert_eq!(map, HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    let error = list.to::<i64>().unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::UnexpectedReply, None));
    assert_eq!(error.to_string(), "the reply is of kind Array, not an integer of 64 bits");
}

async fn a_pipeline_has_a_result_for_each_command(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut pipeline = redis.pipeline();
    pipeline.command(&["SET", "k", "1"]).command(&["LPOP", "k"]).command(&["INCR", "k"]);
    let replies = pipeline.execute().await.unwrap();
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[1].as_ref().unwrap_err().code(), ErrorCode::WrongType);
    assert_eq!(replies[2].as_ref().unwrap().to::<i64>().unwrap(), 2);
    // It is empty again, and has a use.
    assert_eq!(pipeline.execute().await.unwrap().len(), 0);
    for number in 0..3000 {
        pipeline.command(&["ECHO", &number.to_string()]);
    }
    let echoes = pipeline.execute().await.unwrap();
    for (number, echo) in echoes.into_iter().enumerate() {
        assert_eq!(echo.unwrap().to::<u64>().unwrap(), number as u64);
    }
}

async fn a_pipeline_that_cannot_be_sent_is_refused_as_a_whole(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut pipeline = redis.pipeline();
    let error = pipeline.command(&["SET", "k", "1"]).command(&["WATCH", "k"]).execute().await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::NeedsOwnConnection, Some(Outcome::NotSent)));
    assert!(redis.command(&["GET", "k"]).await.unwrap().is_null());
    let nothing: [&str; 0] = [];
    assert_eq!(redis.command(&nothing).await.unwrap_err().code(), ErrorCode::InvalidCommand);
}

async fn a_transaction_runs_as_one(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut transaction = redis.transaction();
    transaction.command(&["SET", "k", "v"]).command(&["INCR", "k"]).command(&["HSET", "h", "f", "1"]);
    let replies = transaction.command(&["HGETALL", "h"]).command(&["GET", "k"]).execute().await.unwrap();
    assert_eq!(replies.len(), 5);
    // What fails while it runs does not undo the rest: that is how Redis has it.
    assert_eq!(replies[1].as_ref().unwrap_err().outcome(), Some(Outcome::Refused));
    let map: HashMap<String, String> = replies[3].as_ref().unwrap().to().unwrap();
    assert_eq!(map["f"], "1");
    assert_eq!(replies[4].as_ref().unwrap().as_bytes(), b"v");
}

async fn a_transaction_that_the_server_refuses_runs_nothing(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let mut transaction = redis.transaction();
    let error = transaction.command(&["SET", "k", "v"]).command(&["GET"]).execute().await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::ExecAbort, Some(Outcome::Refused)));
    assert!(error.text().contains("command 2"), "{error}");
    assert!(redis.command(&["GET", "k"]).await.unwrap().is_null());
}

async fn errors_of_the_server_have_a_code(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    redis.command(&["SET", "k", "v"]).await.unwrap();
    let error = redis.command(&["LPOP", "k"]).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::WrongType, Some(Outcome::Refused)));
    assert!(error.to_string().starts_with("WRONGTYPE"), "{error}");
    let error = redis.command(&["MONITOR"]).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::NeedsOwnConnection, Some(Outcome::NotSent)));
}

async fn a_hundred_tasks_share_one_client(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let task = |number: usize| {
        let redis = redis.clone();
        async move {
            let key = format!("task:{number}");
            for round in 0..50 {
                redis.command(&["SET", &key, &round.to_string()]).await.unwrap();
                let read: i64 = redis.command(&["GET", &key]).await.unwrap().to().unwrap();
                assert_eq!(read, round);
                redis.command(&["INCR", "all"]).await.unwrap();
            }
        }
    };
    executor.run_all((0..100).map(task).collect()).await;
    assert_eq!(redis.command(&["GET", "all"]).await.unwrap().to::<i64>().unwrap(), 5000);
    let clients: String = redis.command(&["INFO", "clients"]).await.unwrap().to().unwrap();
    assert!(clients.contains("connected_clients:1\r\n"), "{clients}");
}

async fn large_values_pass_in_both_directions(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let large: Vec<u8> = (0..8 << 20).map(|index: u32| (index % 251) as u8).collect();
    redis.command(&[b"SET".as_slice(), b"large", &large]).await.unwrap();
    // Small ones beside it, in one pipeline.
    let mut pipeline = redis.pipeline();
    pipeline.command(&["ECHO", "before"]).command(&["GET", "large"]).command(&["ECHO", "after"]);
    let replies = pipeline.execute().await.unwrap();
    assert_eq!(replies[0].as_ref().unwrap().as_bytes(), b"before");
    assert!(replies[1].as_ref().unwrap().as_bytes() == large);
    assert_eq!(replies[2].as_ref().unwrap().as_bytes(), b"after");
    let mut pipeline = redis.pipeline();
    for number in 0..20_000 {
        pipeline.command(&["RPUSH", "list", &number.to_string()]);
    }
    pipeline.execute().await.unwrap();
    let list: Vec<u64> = redis.command(&["LRANGE", "list", "0", "-1"]).await.unwrap().to().unwrap();
    assert!(list.into_iter().eq(0..20_000));
}

async fn a_dropped_future_cancels_its_command(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    // Some of these have left before they are dropped, and some have not; none disturbs the others' replies.
    for number in 0..200 {
        let dropped = redis.command(&["ECHO", "dropped"]);
        let pipeline = redis.pipeline().command(&["ECHO", "a"]).command(&["ECHO", "b"]).execute();
        if number % 2 == 0 {
            redis.command(&["PING"]).await.unwrap();
        }
        drop((dropped, pipeline));
        let echo: i64 = redis.command(&["ECHO", &number.to_string()]).await.unwrap().to().unwrap();
        assert_eq!(echo, number);
    }
    redis.command(&["CLIENT", "PAUSE", "300", "ALL"]).await.unwrap();
    futures_lite::future::or(
        async { drop(redis.command(&["INCR", "late"]).await) },
        executor.sleep(Duration::from_millis(150)),
    )
    .await;
    let late: i64 = redis.command(&["INCR", "late"]).await.unwrap().to().unwrap();
    assert_eq!(late, 2, "what had left runs all the same");
}

async fn a_reply_that_does_not_come_in_time_is_an_error(executor: impl Executor) {
    let server = Server::start();
    let redis: Redis = server.connect(executor).await;
    redis.command(&["CLIENT", "PAUSE", "400", "ALL"]).await.unwrap();
    let error = redis.command_within(Duration::from_millis(50), &["GET", "k"]).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::Timeout, Some(Outcome::Indeterminate)));
    assert_eq!(error.to_string(), "no reply came in time (it may have run)");
    assert!(redis.command(&["GET", "k"]).await.unwrap().is_null());
}
