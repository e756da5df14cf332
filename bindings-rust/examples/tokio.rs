//! respass on tokio: `cargo run -p respass-futures --example tokio`. What it reads from the environment is in `workload`
//! and `app_service`.

mod app_service;
mod workload;

use app_service::AppService;
use respass_futures::{Connector, Error, Redis, TokenFailure, Tokens};
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
        let redis = Redis::connect_with_tokens(workload::config_from_env(), &tokens, Tokio).await?;
        workload::run(redis, workload::duration_from_env()).await
    })
}
