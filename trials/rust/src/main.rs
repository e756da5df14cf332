//! The trial's load in Rust, on smol. What it does is told by the environment; the steps are those of steps.py.

#[path = "../../../bindings-rust/examples/app_service/mod.rs"]
mod app_service;
mod records;
mod steps;

use app_service::AppService;
use futures_lite::{StreamExt, future};
use records::{Recorder, now, outcome, plain};
use respass_futures::{
    AddressMap, Config, Connector, Credential, Error, MessageKind, Redis, Secret, TlsConfig, TokenFailure,
    Tokens,
};
use serde_json::{Value, json};
use smol::net::TcpStream;
use std::env::var;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steps::{Step, Worker, strings};

const WORKERS: u64 = 3;
const PAUSE: Duration = Duration::from_millis(20);
const BEAT: Duration = Duration::from_millis(50);
const PATIENCE_SECONDS: &str = "2";

/// smol's sockets, timers and tasks.
struct Smol;

impl Connector for Smol {
    type Stream = TcpStream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
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

/// One client, and what its tasks share.
#[derive(Clone)]
struct Client {
    name: String,
    redis: Redis,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn record(
        &self,
        (op, id, key): (&str, &str, &str),
        wants: &Value,
        act: impl Future<Output = Result<Value, Error>>,
    ) -> &'static str {
        let began = now();
        let result = act.await;
        let outcome = outcome(&result);
        let error = result.as_ref().err().map(|error| format!("{:?}: {error}", error.code()));
        self.recorder.write(&json!({
            "client": self.name, "op": op, "id": id, "key": key, "began": began, "ended": now(),
            "outcome": outcome, "reply": result.ok(), "wants": wants, "error": error,
        }));
        outcome
    }

    async fn call(&self, arguments: &[String]) -> Result<Value, Error> {
        self.redis.command(arguments).await.map(|reply| plain(&reply))
    }

    async fn run(&self, step: &Step) -> Result<Value, Error> {
        if step.op != "multi" {
            return self.call(&step.commands[0]).await;
        }
        let mut transaction = self.redis.transaction();
        for command in &step.commands {
            transaction.command(command);
        }
        let replies = transaction.execute().await?;
        replies.iter().map(|reply| reply.as_ref().map(plain).map_err(Clone::clone)).collect()
    }

    async fn work(self, number: u64) {
        let mut worker = Worker::new(&self.name, number);
        while self.goes_on() {
            smol::Timer::after(PAUSE).await;
            let step = worker.next();
            let about = (step.op, &*step.id, &*step.commands[0][1]);
            let outcome = self.record(about, &step.wants, self.run(&step)).await;
            worker.learn(&step, outcome);
        }
    }

    async fn push(self) {
        let key = format!("queue:{}", self.name);
        for number in (1_u64..).take_while(|_| self.goes_on()) {
            smol::Timer::after(BEAT).await;
            let id = format!("{}.{number}", self.name);
            let command = strings(&["RPUSH", &key, &id]);
            self.record(("push", &id, &key), &Value::Null, self.call(&command)).await;
        }
    }

    async fn pop(self) {
        let key = format!("queue:{}", self.name);
        let command = strings(&["BLPOP", &key, PATIENCE_SECONDS]);
        for number in (1_u64..).take_while(|_| self.goes_on()) {
            self.record(("pop", &number.to_string(), &key), &Value::Null, self.call(&command)).await;
        }
    }

    async fn publish(self, name: &'static str, channel: String) {
        for number in (1_u64..).take_while(|_| self.goes_on()) {
            smol::Timer::after(BEAT).await;
            let id = number.to_string();
            let command = strings(&[name, &channel, &id]);
            self.record(("publish", &id, &channel), &Value::Null, self.call(&command)).await;
        }
    }

    async fn hear(self, is_sharded: bool) -> Result<(), Error> {
        let mut subscriber = self.redis.subscriber()?;
        subscriber.subscribe(&[format!("news:{}", self.name)])?;
        if is_sharded {
            subscriber.ssubscribe(&[format!("shard:{}", self.name)])?;
        }
        while self.goes_on() {
            let soon = async {
                smol::Timer::after(Duration::from_millis(500)).await;
                None
            };
            let Some(message) = future::or(subscriber.next(), soon).await else { continue };
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            match message.kind() {
                MessageKind::Gap => self.recorder.heard(&self.name, "", None),
                MessageKind::Message | MessageKind::ShardMessage => {
                    let (channel, payload) = (text(message.channel()), text(message.payload()));
                    self.recorder.heard(&self.name, &channel, Some(&payload));
                }
                kind => println!("{kind:?} {} {}", text(message.channel()), text(message.payload())),
            }
        }
        Ok(())
    }
}

fn config() -> Config {
    let port = var("TRIAL_PORT").expect("TRIAL_PORT").parse().expect("a port");
    let mut config = Config::new(var("TRIAL_HOST").expect("TRIAL_HOST"), port);
    if let Some(path) = var("TRIAL_CA").ok().filter(|path| !path.is_empty()) {
        let ca = std::fs::read(path).expect("TRIAL_CA names a readable file");
        config.tls = Some(TlsConfig { ca_pem: vec![ca], ..TlsConfig::default() });
    }
    if let Ok(password) = var("TRIAL_PASSWORD") {
        let password = Arc::new(Secret::new(password.into_bytes()));
        config.credential = Credential::Password { username: String::new(), password };
    }
    if let Ok(hosts) = var("TRIAL_ALLOWED_HOSTS") {
        let allowed_hosts = hosts.split(',').map(str::to_owned).collect();
        config.address_map = AddressMap::Advertised { allowed_hosts };
    }
    config
}

fn tokens() -> Tokens {
    let identity = AppService::from_env();
    Tokens::new(move || {
        let identity = identity.clone();
        async move {
            let stream = TcpStream::connect(&*identity.authority).await;
            identity.token(stream.map_err(|error| TokenFailure::transient(error.to_string()))?).await
        }
    })
}

async fn serve(client: Client) {
    let parts = var("TRIAL_PARTS").expect("TRIAL_PARTS");
    let has = |part: &str| parts.split(',').any(|one| one == part);
    let mut jobs: Vec<smol::Task<()>> =
        (0..WORKERS).map(|number| smol::spawn(client.clone().work(number))).collect();
    if has("blocking") {
        jobs.push(smol::spawn(client.clone().push()));
        jobs.push(smol::spawn(client.clone().pop()));
    }
    if has("pubsub") {
        jobs.push(smol::spawn(client.clone().publish("PUBLISH", format!("news:{}", client.name))));
        let hearer = client.clone();
        let is_sharded = has("shard");
        jobs.push(smol::spawn(async move { hearer.hear(is_sharded).await.expect("subscriptions") }));
    }
    if has("shard") {
        jobs.push(smol::spawn(client.clone().publish("SPUBLISH", format!("shard:{}", client.name))));
    }
    for job in jobs {
        job.await;
    }
    client.redis.close().await;
}

fn main() -> Result<(), Error> {
    let name = var("TRIAL_NAME").expect("TRIAL_NAME");
    let recorder =
        Arc::new(Recorder::new(&format!("{}/{name}.records", var("TRIAL_FOLDER").expect("TRIAL_FOLDER"))));
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        // The starter closes our standard input when it is time.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        ended.store(true, Ordering::Relaxed);
    });
    let tokens = var("IDENTITY_ENDPOINT").is_ok().then(tokens);
    smol::block_on(async {
        let count: usize = var("TRIAL_CLIENTS").map_or(2, |text| text.parse().expect("a number"));
        let mut clients = Vec::new();
        for number in 0..count {
            let redis = match &tokens {
                Some(tokens) => Redis::connect_with_tokens(config(), tokens, Smol).await?,
                None => Redis::connect(config(), Smol).await?,
            };
            let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&stop));
            let client = Client { name: format!("{name}-{number}"), redis, recorder, stop };
            let mut notices = client.redis.notices();
            smol::spawn(async move {
                while let Some(notice) = notices.next().await {
                    println!("{:.3} {notice}", now());
                }
            })
            .detach();
            clients.push(smol::spawn(serve(client)));
        }
        for client in clients {
            client.await;
        }
        recorder.flush();
        Ok(())
    })
}
