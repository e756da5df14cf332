//! respass on smol: `cargo run -p respass-futures --example smol`. What it reads from the environment is in
//! `workload` and `app_service`.

mod app_service;
mod workload;

use app_service::AppService;
use respass_futures::{Connector, Error, Redis, TokenFailure, Tokens};
use smol::net::TcpStream;
use std::future::Future;
use std::io;
use std::time::Duration;

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

fn main() -> Result<(), Error> {
    let identity = AppService::from_env();
    let tokens = Tokens::new(move || {
        let identity = identity.clone();
        async move {
            let stream = TcpStream::connect(&*identity.authority).await;
            identity.token(stream.map_err(|error| TokenFailure::transient(error.to_string()))?).await
        }
    });
    smol::block_on(async {
        let redis = Redis::connect_with_tokens(workload::config_from_env(), &tokens, Smol).await?;
        workload::run(redis, workload::duration_from_env()).await
    })
}
