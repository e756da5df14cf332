//! Executors, servers and bounded waits for the tests.

// Each test binary uses a part of this.
#![allow(dead_code, unreachable_pub)]

use futures_lite::future::{self, Boxed};
use respass_futures::{Config, Connector, Redis, Timeouts};
use serde_json::Value;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No test takes longer.
const TEST_TIME_MAX: Duration = Duration::from_secs(25);

/// A connector that can also run a test.
pub trait Executor: Connector + Copy {
    fn new() -> Self;

    fn block_on(test: Boxed<()>);

    /// Runs the test to its end, or to the end of our patience.
    fn run<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Self) -> T) {
        let executor = Self::new();
        let test = test(executor);
        Self::block_on(Box::pin(async move {
            let patience = async {
                executor.sleep(TEST_TIME_MAX).await;
                panic!("the test hangs");
            };
            future::or(test, patience).await;
        }));
    }

    /// Runs them at once, as tasks; what they return, in order.
    async fn run_all<T: Send + 'static>(
        self,
        tasks: Vec<impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let mut results = Vec::new();
        for task in tasks {
            let (sender, receiver) = smol::channel::bounded(1);
            // Nobody listens any more where the test has failed.
            self.spawn(async move { drop(sender.send(task.await).await) });
            results.push(receiver);
        }
        let mut values = Vec::new();
        for result in results {
            values.push(result.recv().await.expect("the task comes to its end"));
        }
        values
    }
}

#[derive(Clone, Copy)]
pub struct Smol;

impl Connector for Smol {
    type Stream = smol::net::TcpStream;

    async fn connect(&self, host: &str, port: u16) -> std::io::Result<Self::Stream> {
        let stream = smol::net::TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn sleep(&self, duration: Duration) {
        smol::Timer::after(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(driver).detach();
    }
}

impl Executor for Smol {
    fn new() -> Smol {
        Smol
    }

    fn block_on(test: Boxed<()>) {
        smol::block_on(test);
    }
}

/// tokio with so many threads; 0: the one that runs the test.
#[derive(Clone, Copy)]
pub struct Tokio<const THREADS: usize>;

impl<const THREADS: usize> Connector for Tokio<THREADS> {
    type Stream = tokio_util::compat::Compat<tokio::net::TcpStream>;

    async fn connect(&self, host: &str, port: u16) -> std::io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(tokio_util::compat::TokioAsyncReadCompatExt::compat(stream))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(driver);
    }
}

/// One of each kind that the tests use.
impl<const THREADS: usize> Executor for Tokio<THREADS> {
    fn new() -> Self {
        Tokio
    }

    fn block_on(test: Boxed<()>) {
        let mut builder = match THREADS {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(THREADS.max(1)).enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::spawn(test).await.expect("the test passes") });
    }
}

/// Each test on each executor.
#[macro_export]
macro_rules! on_each_executor {
    ($($name:ident)*) => {
        mod smol {
            $(#[test] fn $name() { <$crate::rig::Smol as $crate::rig::Executor>::run(super::$name) })*
        }
        mod tokio_one_thread {
            $(#[test] fn $name() { <$crate::rig::Tokio<0> as $crate::rig::Executor>::run(super::$name) })*
        }
        mod tokio_two_threads {
            $(#[test] fn $name() { <$crate::rig::Tokio<2> as $crate::rig::Executor>::run(super::$name) })*
        }
    };
}

/// A redis-server of the test's own.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        drop(listener);
        Server::start_at(port)
    }

    pub fn start_at(port: u16) -> Server {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Server { child, port };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    pub fn config(&self) -> Config {
        Config::new("127.0.0.1", self.port)
    }

    pub async fn connect<E: Executor>(&self, executor: E) -> Redis {
        Redis::connect(self.config(), executor).await.expect("a server that listens")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration whose commands do not wait long.
pub fn impatient(config: Config) -> Config {
    let timeouts = Timeouts {
        command: Duration::from_millis(300),
        connect: Duration::from_millis(300),
        reconnect_max: Duration::from_millis(50),
        ..config.timeouts
    };
    Config { timeouts, ..config }
}

/// A running emulator; it ends when this is dropped.
pub struct Emulator {
    child: Child,
    ready: Value,
}

impl Emulator {
    /// `None` where nobody said which program it is.
    pub fn start(arguments: &[&str]) -> Option<Emulator> {
        let Some(program) = std::env::var_os("RESPASS_EMULATOR") else {
            eprintln!("skipped: RESPASS_EMULATOR does not name the emulator's program");
            return None;
        };
        // Its standard input is the lifeline: it ends when this test does.
        let mut child = Command::new(program)
            .args(["--port", "0", "--stdin-lifeline"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the ready line");
        let ready = serde_json::from_str(&line).expect("JSON");
        Some(Emulator { child, ready })
    }

    pub fn text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is a string")).to_owned()
    }

    pub fn port(&self) -> u16 {
        u16::try_from(self.ready["port"].as_u64().expect("a port")).expect("a port")
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new(self.text("host"), self.port());
        let ca = std::fs::read(self.text("ca_file")).expect("a certificate");
        config.tls = Some(respass_futures::TlsConfig { ca_pem: vec![ca], ..Default::default() });
        config
    }

    /// Posts to the admin endpoint; its answer.
    pub fn post(admin: &str, path: &str, order: &Value) -> Value {
        let address = admin.strip_prefix("http://").expect("http").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).expect("the admin endpoint");
        let order = order.to_string();
        let head = format!("POST /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{order}", order.len()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("received");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(" 200 "), "{order}: {answer}");
        serde_json::from_str(body).unwrap_or_default()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have ended by itself.
        let _ = self.child.wait();
    }
}
