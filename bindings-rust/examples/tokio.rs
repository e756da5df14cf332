//! respass on tokio: `cargo run -p respass-futures --example tokio`. What it reads from the environment is in
//! `workload` and `app_service`.

mod app_service;
mod workload;

use app_service::AppService;
use respass_futures::{Config, Connector, Error, Redis, TokenFailure, Tokens};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// tokio's sockets (through tokio-util's adapter), timers and tasks.
struct Tokio;

impl Connector for Tokio {
    type Stream = Compat<TcpStream>;

    async fn connect(&self, host: &str, port: u16) -> io::Result<Compat<TcpStream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(driver);
    }
}

/// Logs in with tokens, which are renewed before they end, whether commands run or not.
async fn greet(config: Config, tokens: &Tokens) -> Result<(), Error> {
    let redis = Redis::connect_with_tokens(config, tokens, Tokio).await?;
    redis.command(&["SET", "greeting", "hi", "EX", "60"]).await?;
    let greeting: Option<String> = redis.command(&["GET", "greeting"]).await?.to()?;
    println!("{greeting:?}"); // Some("hi")

    let mut transaction = redis.transaction(); // MULTI … EXEC
    transaction.command(&["INCR", "hits"]).command(&["EXPIRE", "hits", "3600"]);
    let hits: i64 = transaction.execute().await?.swap_remove(0)?.to()?;
    println!("{hits} hits, {:?}", redis.auth_status()); // oid, expires_at, refresh_at, state, …; never the token
    redis.close().await;
    Ok(())
}

fn main() -> Result<(), Error> {
    let identity = AppService::from_env();
    let tokens = Tokens::new(move || {
        let identity = identity.clone();
        async move {
            let stream = TcpStream::connect(&*identity.authority).await;
            identity.token(stream.map_err(|error| TokenFailure::transient(error.to_string()))?.compat()).await
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        greet(workload::config_from_env(), &tokens).await?;
        let redis = Redis::connect_with_tokens(workload::config_from_env(), &tokens, Tokio).await?;
        workload::run(redis, workload::duration_from_env()).await
    })
}
