//! A client from its first connection to its end, through outages, on each executor.

mod rig;

use futures_lite::{Stream, StreamExt, future};
use respass_futures::{Config, Connector, Credential, ErrorCode, NoticeKind, Outcome, Redis, Secret};
use rig::{Executor, Server, impatient};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

on_each_executor! {
    nobody_there_is_an_error_that_says_so
    a_wrong_password_is_an_error_that_says_so
    a_client_outlives_its_server
    closing_fails_what_has_no_reply_and_returns
    the_last_handle_closes_the_connection
    a_driver_that_is_dropped_leaves_nobody_waiting
    commands_of_one_turn_leave_in_one_write
    an_idle_client_does_nothing
    a_driver_is_polled_for_what_happens_and_for_nothing_else
    notices_tell_what_happens_and_end_with_the_client
}

async fn nobody_there_is_an_error_that_says_so(executor: impl Executor) {
    // Nobody listens at so low a port.
    let port = 1;
    let config = impatient(Config::new("127.0.0.1", port));
    let error = Redis::connect(config, executor).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::Unreachable, Some(Outcome::NotSent)));
    assert!(error.to_string().contains("refused"), "{error}");
    let config = impatient(Config::new("no-such-host.invalid", port));
    let error = Redis::connect(config, executor).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unreachable);
    let error = Redis::connect(Config::new("", port), executor).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
}

async fn a_wrong_password_is_an_error_that_says_so(executor: impl Executor) {
    let server = Server::start();
    let mut config = server.config();
    let password = Arc::new(Secret::new(b"correct-horse".to_vec()));
    config.credential = Credential::Password { username: "nobody".to_owned(), password };
    let error = Redis::connect(config, executor).await.unwrap_err();
    assert!((400..500).contains(&(error.code() as u16)) || error.code() == ErrorCode::WrongPass, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("correct-horse"));
    let mut config = server.config();
    config.credential = Credential::Token { username: None };
    config.allow_plaintext_token = true;
    let error = Redis::connect(config, executor).await.unwrap_err();
    assert!(error.text().contains("connect_with_tokens"), "{error}");
}

async fn a_client_outlives_its_server(executor: impl Executor) {
    let server = Server::start();
    let port = server.port;
    let redis = Redis::connect(impatient(server.config()), executor).await.unwrap();
    drop(server);
    let error = loop {
        if let Err(error) = redis.command(&["PING"]).await {
            break error;
        }
    };
    assert!(matches!(error.code(), ErrorCode::ConnectionLost | ErrorCode::Unreachable), "{error:?}");
    // One that waits when the server comes back is answered.
    let waiting = redis.command_within(Duration::from_secs(10), &["INCR", "n"]);
    let _server = Server::start_at(port);
    assert_eq!(waiting.await.unwrap().to::<i64>().unwrap(), 1);
    assert!(redis.auth_status().is_ready);
}

async fn closing_fails_what_has_no_reply_and_returns(executor: impl Executor) {
    let server = Server::start();
    let redis = server.connect(executor).await;
    redis.command(&["CLIENT", "PAUSE", "2000", "ALL"]).await.unwrap();
    let command = redis.command(&["GET", "k"]);
    let pipeline = redis.pipeline().command(&["GET", "k"]).command(&["GET", "k"]).execute();
    executor.sleep(Duration::from_millis(20)).await;
    let latest = redis.command(&["GET", "k"]);
    let start = Instant::now();
    redis.close().await;
    assert!(start.elapsed() < Duration::from_secs(1), "it waits for no reply");
    assert_eq!(command.await.unwrap_err().outcome(), Some(Outcome::Indeterminate));
    for reply in pipeline.await.unwrap() {
        assert_eq!(reply.unwrap_err().code(), ErrorCode::Closed);
    }
    assert_eq!(latest.await.unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(redis.clone().command(&["GET", "k"]).await.unwrap_err().code(), ErrorCode::Closed);
    redis.close().await;
}

/// How many clients the server has, besides the one that asks.
async fn others(redis: &Redis) -> usize {
    let list: String = redis.command(&["CLIENT", "LIST"]).await.unwrap().to().unwrap();
    list.lines().count() - 1
}

async fn the_last_handle_closes_the_connection(executor: impl Executor) {
    let server = Server::start();
    let witness = server.connect(executor).await;
    let redis = server.connect(executor).await;
    assert_eq!(others(&witness).await, 1);
    let clone = redis.clone();
    let future = redis.command(&["ECHO", "a"]);
    drop((redis, clone));
    assert_eq!(future.await.unwrap().as_bytes(), b"a", "a future keeps the client");
    while others(&witness).await > 0 {
        executor.sleep(Duration::from_millis(5)).await;
    }
}

/// An executor that ends: what it was given to run is dropped.
#[derive(Clone)]
struct Ending<E> {
    executor: E,
    driver: Arc<Mutex<Option<::smol::Task<()>>>>,
    own: Arc<::smol::Executor<'static>>,
}

impl<E: Executor> Connector for Ending<E> {
    type Stream = E::Stream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<E::Stream> {
        self.executor.connect(host, port).await
    }

    async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        *self.driver.lock().unwrap() = Some(self.own.spawn(driver));
    }
}

async fn a_driver_that_is_dropped_leaves_nobody_waiting(executor: impl Executor) {
    let server = Server::start();
    let own = Arc::new(::smol::Executor::new());
    let ending = Ending { executor, driver: Arc::default(), own: Arc::clone(&own) };
    let redis = own.run(Redis::connect(server.config(), ending.clone())).await.unwrap();
    let command = redis.command(&["GET", "k"]);
    drop(ending.driver.lock().unwrap().take());
    // The task is dropped where its executor runs.
    own.run(async {
        assert_eq!(command.await.unwrap_err().code(), ErrorCode::Closed);
        redis.close().await;
        assert_eq!(redis.command(&["GET", "k"]).await.unwrap_err().code(), ErrorCode::Closed);
    })
    .await;
}

/// A connector that counts what is done through it.
#[derive(Clone)]
struct Counting<E> {
    executor: E,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    writes: AtomicUsize,
    driver_polls: AtomicUsize,
}

struct CountingStream<S>(S, Arc<Counts>);

impl<S: futures_lite::AsyncRead + Unpin> futures_lite::AsyncRead for CountingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: futures_lite::AsyncWrite + Unpin> futures_lite::AsyncWrite for CountingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

impl<E: Executor> Connector for Counting<E> {
    type Stream = CountingStream<E::Stream>;

    async fn connect(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        Ok(CountingStream(self.executor.connect(host, port).await?, Arc::clone(&self.counts)))
    }

    async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        let (mut driver, counts) = (Box::pin(driver), Arc::clone(&self.counts));
        self.executor.spawn(std::future::poll_fn(move |context| {
            counts.driver_polls.fetch_add(1, Ordering::Relaxed);
            driver.as_mut().poll(context)
        }));
    }
}

async fn commands_of_one_turn_leave_in_one_write<E: Executor>(executor: E) {
    let server = Server::start();
    let counts = Arc::new(Counts::default());
    let counting = Counting { executor, counts: Arc::clone(&counts) };
    let redis = Redis::connect(server.config(), counting).await.unwrap();
    let before = counts.writes.load(Ordering::Relaxed);
    let futures: Vec<_> = (0..100).map(|number| redis.command(&["ECHO", &number.to_string()])).collect();
    for (number, future) in futures.into_iter().enumerate() {
        assert_eq!(future.await.unwrap().to::<u64>().unwrap(), number as u64);
    }
    // Where the driver has a thread of its own, it may be awake and take some of them earlier.
    let writes = counts.writes.load(Ordering::Relaxed) - before;
    assert!(writes <= 25, "{writes} writes for 100 commands");
    // Tasks that go on with one another's replies, too.
    let task = || {
        let redis = redis.clone();
        async move {
            for _ in 0..20 {
                redis.command(&["PING"]).await.unwrap();
            }
        }
    };
    let before = counts.writes.load(Ordering::Relaxed);
    executor.run_all((0..100).map(|_| task()).collect()).await;
    let writes = counts.writes.load(Ordering::Relaxed) - before;
    assert!(writes <= 1000, "{writes} writes for 2,000 commands of 100 tasks");
}

async fn an_idle_client_does_nothing(executor: impl Executor) {
    let server = Server::start();
    let counts = Arc::new(Counts::default());
    let counting = Counting { executor, counts: Arc::clone(&counts) };
    let redis = Redis::connect(server.config(), counting).await.unwrap();
    redis.command(&["PING"]).await.unwrap();
    let before = counts.driver_polls.load(Ordering::Relaxed);
    executor.sleep(Duration::from_millis(700)).await;
    let polls = counts.driver_polls.load(Ordering::Relaxed) - before;
    assert!(polls <= 3, "{polls} polls of an idle driver");
    redis.close().await;
}

async fn a_driver_is_polled_for_what_happens_and_for_nothing_else(executor: impl Executor) {
    let server = Server::start();
    let counts = Arc::new(Counts::default());
    let counting = Counting { executor, counts: Arc::clone(&counts) };
    let mut config = server.config();
    config.timeouts.idle = Duration::from_millis(50);
    let redis = Redis::connect(config, counting).await.unwrap();
    let witness = server.connect(executor).await;
    witness.command(&["CLIENT", "PAUSE", "400", "ALL"]).await.unwrap();
    // A command that is overdue, and then some ten keep-alive probes.
    let error = redis.command_within(Duration::from_millis(100), &["GET", "k"]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    executor.sleep(Duration::from_millis(800)).await;
    let polls = counts.driver_polls.load(Ordering::Relaxed);
    assert!((10..=100).contains(&polls), "{polls} polls");
}

async fn next_of(notices: &mut (impl Stream<Item = respass_futures::Notice> + Unpin)) -> Option<NoticeKind> {
    notices.next().await.map(|notice| notice.kind())
}

async fn notices_tell_what_happens_and_end_with_the_client(executor: impl Executor) {
    let server = Server::start();
    let port = server.port;
    let redis = Redis::connect(impatient(server.config()), executor).await.unwrap();
    let mut notices = redis.notices();
    assert!(future::poll_once(notices.next()).await.is_none());
    drop(server);
    assert_eq!(next_of(&mut notices).await, Some(NoticeKind::ConnectionLost));
    let _server = Server::start_at(port);
    while next_of(&mut notices).await.expect("it is open") != NoticeKind::Ready {}
    let mut late = redis.notices();
    redis.close().await;
    assert_eq!(next_of(&mut notices).await, None);
    assert_eq!(next_of(&mut late).await, None);
    assert_eq!(next_of(&mut redis.notices()).await, None);
}
