//! The two clients. Each hands out values as `Vec<u8>`.

use crate::Options;
use respass_futures::{Connector, Credential, Redis, Secret, TlsConfig};
use std::sync::Arc;
use std::time::Duration;

/// What is measured.
#[allow(async_fn_in_trait)]
pub trait Client: Clone + 'static {
    async fn open(options: &Options) -> Self;
    async fn get(&self, key: &str) -> Vec<u8>;
    async fn set(&self, key: &str, value: &[u8]);
    async fn pipe_get(&self, keys: &[String]) -> Vec<Vec<u8>>;
    async fn pipe_set(&self, keys: &[String], value: &[u8]) -> usize;
    async fn lrange(&self, key: &str) -> Vec<Vec<u8>>;
}

#[derive(Clone)]
pub struct Respass(Redis);

struct Tokio;

impl Connector for Tokio {
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

impl Client for Respass {
    async fn open(options: &Options) -> Respass {
        let mut config = respass_futures::Config::new("localhost", options.port);
        if let Some(ca) = &options.ca {
            let ca_pem = vec![std::fs::read(ca).expect("the authority")];
            config.tls = Some(TlsConfig { ca_pem, ..TlsConfig::default() });
            let password = Arc::new(Secret::new(options.password.clone().into_bytes()));
            config.credential = Credential::Password { username: options.user.clone(), password };
        }
        Respass(Redis::connect(config, Tokio).await.expect("a connection"))
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        self.0.command(&["GET", key]).await.expect("a reply").to().expect("a value")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        self.0.command(&[b"SET", key.as_bytes(), value]).await.expect("a reply");
    }

    async fn pipe_get(&self, keys: &[String]) -> Vec<Vec<u8>> {
        let mut pipeline = self.0.pipeline();
        for key in keys {
            pipeline.command(&["GET", key]);
        }
        let replies = pipeline.execute().await.expect("replies");
        replies.into_iter().map(|reply| reply.expect("a reply").to().expect("a value")).collect()
    }

    async fn pipe_set(&self, keys: &[String], value: &[u8]) -> usize {
        let mut pipeline = self.0.pipeline();
        for key in keys {
            pipeline.command(&[b"SET", key.as_bytes(), value]);
        }
        let replies = pipeline.execute().await.expect("replies");
        replies.iter().filter(|reply| reply.as_ref().expect("a reply").as_bytes() == b"OK").count()
    }

    async fn lrange(&self, key: &str) -> Vec<Vec<u8>> {
        self.0.command(&["LRANGE", key, "0", "-1"]).await.expect("a reply").to().expect("a list")
    }
}

#[derive(Clone)]
pub struct RedisRs(redis::aio::MultiplexedConnection);

impl Client for RedisRs {
    async fn open(options: &Options) -> RedisRs {
        let client = match &options.ca {
            Some(ca) => {
                // Whoever comes second finds it installed.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let url =
                    format!("rediss://{}:{}@localhost:{}/", options.user, options.password, options.port);
                let root_cert = Some(std::fs::read(ca).expect("the authority"));
                redis::Client::build_with_tls(url, redis::TlsCertificates { client_tls: None, root_cert })
            }
            None => redis::Client::open(format!("redis://localhost:{}/", options.port)),
        };
        // Its own limit of 500 ms is too short for large replies on a busy machine.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let connection =
            client.expect("a client").get_multiplexed_async_connection_with_config(&config).await;
        RedisRs(connection.expect("a connection"))
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        redis::cmd("GET").arg(key).query_async(&mut self.0.clone()).await.expect("a reply")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        redis::cmd("SET").arg(key).arg(value).query_async(&mut self.0.clone()).await.expect("a reply")
    }

    async fn pipe_get(&self, keys: &[String]) -> Vec<Vec<u8>> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.get(key);
        }
        pipeline.query_async(&mut self.0.clone()).await.expect("replies")
    }

    async fn pipe_set(&self, keys: &[String], value: &[u8]) -> usize {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.set(key, value);
        }
        let replies: Vec<String> = pipeline.query_async(&mut self.0.clone()).await.expect("replies");
        replies.iter().filter(|reply| *reply == "OK").count()
    }

    async fn lrange(&self, key: &str) -> Vec<Vec<u8>> {
        redis::cmd("LRANGE").arg(key).arg(0).arg(-1).query_async(&mut self.0.clone()).await.expect("a list")
    }
}
