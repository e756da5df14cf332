//! What a client needs of the executor it runs on.

use futures_lite::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io;
use std::time::Duration;

/// Sockets, sleeps and tasks of one executor: three functions of one or two lines each. `examples/smol.rs`
/// and `examples/tokio.rs` have them for two executors.
pub trait Connector: Send + Sync + 'static {
    /// A connected TCP stream. TLS is the client's own business.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects to a name or an address; a name must be looked up afresh each time, for servers move. Set
    /// `TCP_NODELAY`: the client writes whole batches. Several connections may be asked for at a time. How long
    /// this may take is not for here to decide: the client drops the future when it gives up.
    ///
    /// With [`AddressMap::Driver`](crate::AddressMap::Driver), this is where an advertised address becomes
    /// another.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Waits, at least so long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Starts the task that reads, writes and renews the login for one client. It ends when the client is
    /// closed or its last handle dropped. A task that is dropped before (its executor ends) closes the
    /// client.
    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static);
}
