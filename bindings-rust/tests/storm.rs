//! Everything at once: tasks that submit, drop and share, while connections are killed. Nobody hangs, nobody
//! gets another's reply.

mod rig;

use futures_lite::future;
use respass_futures::{CommandFuture, ErrorCode, Outcome, Redis};
use rig::{Executor, Server};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

on_each_executor! {
    replies_find_their_commands_while_connections_are_killed
    a_waker_may_hold_a_future_of_the_same_client
    clients_come_and_go_without_leaving_anything
}

/// A small generator: the same steps in each run.
struct Steps(u64);

impl Steps {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

async fn step(
    redis: &Redis,
    executor: impl Executor,
    steps: &mut Steps,
) -> Result<(), respass_futures::Error> {
    let text = steps.next(1 << 30).to_string();
    match steps.next(5) {
        0 => drop(redis.command(&["ECHO", "dropped at once"])),
        1 => {
            let abandoned = async { redis.command(&["ECHO", "dropped later"]).await.map(drop) };
            future::or(abandoned, async {
                executor.sleep(Duration::from_micros(steps.next(300))).await;
                Ok(())
            })
            .await?;
        }
        2 => {
            let mut pipeline = redis.pipeline();
            for number in 0..steps.next(50) {
                pipeline.command(&["ECHO", &format!("{text}-{number}")]);
            }
            for (number, reply) in pipeline.execute().await?.into_iter().enumerate() {
                assert_eq!(reply?.as_bytes(), format!("{text}-{number}").as_bytes());
            }
        }
        3 => {
            let mut transaction = redis.transaction();
            let replies = transaction.command(&["ECHO", &text]).command(&["PING"]).execute().await?;
            assert_eq!(replies[0].as_ref().expect("a reply").as_bytes(), text.as_bytes());
        }
        _ => assert_eq!(redis.command(&["ECHO", &text]).await?.as_bytes(), text.as_bytes()),
    }
    Ok(())
}

async fn replies_find_their_commands_while_connections_are_killed(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    let witness = server.connect(executor).await;
    let end = Instant::now() + Duration::from_millis(1500);
    let task = |number: u64| {
        let redis = redis.clone();
        async move {
            let (mut steps, mut good, mut lost) = (Steps(number), 0, 0);
            while Instant::now() < end {
                match step(&redis, executor, &mut steps).await {
                    Ok(()) => good += 1,
                    Err(error) => {
                        assert_eq!(error.code(), ErrorCode::ConnectionLost, "{error}");
                        assert_ne!(error.outcome(), Some(Outcome::Refused));
                        lost += 1;
                    }
                }
            }
            (good, lost)
        }
    };
    let killer = async {
        while Instant::now() < end {
            executor.sleep(Duration::from_millis(100)).await;
            witness.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.expect("a reply");
        }
    };
    let work = executor.run_all((0..20).map(task).collect());
    let (counts, ()) = future::zip(work, killer).await;
    let (good, lost) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(good > 1000 && lost > 0, "{good} steps passed, {lost} lost their connection");
    redis.command(&["PING"]).await.expect("the client goes on");
}

/// A task as simple executors have it: whoever drops its last waker drops its futures.
struct Task {
    _future: Mutex<CommandFuture>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

async fn a_waker_may_hold_a_future_of_the_same_client(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    redis.command(&["CLIENT", "PAUSE", "150", "ALL"]).await.expect("a reply");
    let mut futures: Vec<_> = (0..4).map(|_| redis.command(&["PING"])).collect();
    for future in &mut futures {
        let task = Task { _future: Mutex::new(redis.command(&["PING"])) };
        let waker = Waker::from(Arc::new(task));
        assert!(std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // The wakers go in each of the ways there are: replaced, cancelled, woken.
    let mut futures = futures.into_iter();
    for future in futures.by_ref().take(2) {
        future.await.expect("a reply");
    }
    drop(futures.next());
    redis.command(&["PING"]).await.expect("a reply");
    drop(futures);
    redis.close().await;
}

async fn clients_come_and_go_without_leaving_anything(executor: impl Executor) {
    let server = Server::start();
    let witness = server.connect(executor).await;
    let task = |number: usize| {
        let config = server.config();
        async move {
            let redis = Redis::connect(config, executor).await.expect("a connection");
            let clones = vec![redis.clone(); 5];
            let work = clones.iter().map(|redis| redis.command(&["INCR", "n"])).collect::<Vec<_>>();
            match number % 3 {
                0 => redis.close().await,
                1 => drop((redis, clones)),
                _ => {
                    for reply in work {
                        reply.await.expect("a reply");
                    }
                }
            }
        }
    };
    executor.run_all((0..60).map(task).collect()).await;
    loop {
        let list = witness.command(&["CLIENT", "LIST"]).await.expect("a reply");
        if list.to::<String>().expect("text").lines().count() == 1 {
            break;
        }
        executor.sleep(Duration::from_millis(5)).await;
    }
}
