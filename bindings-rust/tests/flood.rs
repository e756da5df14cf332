//! A server that is faster than its client: there is always more to read.

mod rig;

use futures_lite::{AsyncRead, AsyncWrite};
use respass_futures::{Connector, ErrorCode, Redis};
use rig::{Executor, Server};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

on_each_executor! {
    time_passes_while_bytes_pour_in
}

/// A socket that has pushes without end as long as the flag is up.
struct Flooded<S> {
    socket: S,
    is_flooded: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Flooded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.is_flooded.load(Ordering::Relaxed) {
            return Pin::new(&mut self.socket).poll_read(context, into);
        }
        const PUSH: &[u8] = b">1\r\n+0123456789012345678901\r\n";
        let len = into.len() / PUSH.len() * PUSH.len();
        into.chunks_exact_mut(PUSH.len()).for_each(|place| place.copy_from_slice(PUSH));
        Poll::Ready(Ok(len))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flooded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}

struct Flooding<E> {
    executor: E,
    is_flooded: Arc<AtomicBool>,
}

impl<E: Executor> Connector for Flooding<E> {
    type Stream = Flooded<E::Stream>;

    async fn connect(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        let socket = self.executor.connect(host, port).await?;
        Ok(Flooded { socket, is_flooded: Arc::clone(&self.is_flooded) })
    }

    async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(driver);
    }
}

async fn time_passes_while_bytes_pour_in(executor: impl Executor) {
    let server = Server::start();
    let is_flooded = Arc::new(AtomicBool::new(false));
    let connector = Flooding { executor, is_flooded: Arc::clone(&is_flooded) };
    let redis = Redis::connect(server.config(), connector).await.unwrap();
    is_flooded.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let reply = redis.command_within(Duration::from_millis(300), &["PING"]).await;
    assert_eq!(reply.unwrap_err().code(), ErrorCode::Timeout);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    is_flooded.store(false, Ordering::Relaxed);
    redis.close().await;
}
