//! One connection's socket: from the wish to connect to the last byte.

use crate::bell::{Bell, DriverWaker};
use crate::shared::{Shared, TurnBuffers};
use futures_lite::{AsyncRead, AsyncWrite};
use respass::{ConnId, DisconnectCause};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// See the module's description.
pub(crate) struct Link<S> {
    conn: ConnId,
    socket: Socket<S>,
    /// Bytes that the socket has not taken yet, from `written` on.
    unsent: Vec<u8>,
    written: usize,
    /// The core may have more to write.
    wants_write: bool,
    needs_flush: bool,
    /// The socket is not connected or has nothing to read, and will ring when that changes.
    is_dry: bool,
    /// The socket takes no more, and will ring when it does.
    is_full: bool,
    /// The socket failed to write, and is read to its end.
    has_failed: bool,
    bell: Arc<Bell>,
    /// The bell as sockets know it.
    waker: Waker,
}

type Connecting<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

enum Socket<S> {
    Connecting(Connecting<S>),
    Open(S),
    /// The core is done with it; what `unsent` holds may still go.
    Ending(S),
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(crate) fn new(conn: ConnId, connecting: Connecting<S>, driver: &DriverWaker) -> Link<S> {
        let socket = Socket::Connecting(connecting);
        let bell = Bell::new(driver);
        Link {
            conn,
            socket,
            unsent: Vec::new(),
            written: 0,
            wants_write: false,
            needs_flush: false,
            is_dry: false,
            is_full: false,
            has_failed: false,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.socket, Socket::Over)
    }

    /// The driver was woken, maybe by the socket.
    pub(crate) fn begin_turn(&mut self) {
        if self.bell.take() {
            self.is_dry = false;
            self.is_full = false;
        }
    }

    pub(crate) fn want_write(&mut self) {
        self.wants_write = true;
    }

    /// The core has forgotten the connection. Behind bytes that left in part nothing can follow.
    pub(crate) fn end(&mut self, last_bytes: Vec<u8>) {
        let is_clean = self.unsent.is_empty();
        self.socket = match std::mem::replace(&mut self.socket, Socket::Over) {
            Socket::Open(stream) if is_clean => Socket::Ending(stream),
            _ => Socket::Over,
        };
        self.unsent = last_bytes;
        self.written = 0;
    }

    /// One step: connects, reads once, writes once. Whether anything moved.
    pub(crate) fn poll(&mut self, shared: &Shared, buffers: &mut TurnBuffers, received: &mut [u8]) -> bool {
        let waker = self.waker.clone();
        let context = &mut Context::from_waker(&waker);
        match &mut self.socket {
            Socket::Connecting(_) if self.is_dry => return false,
            Socket::Connecting(connecting) => match connecting.as_mut().poll(context) {
                Poll::Pending => {
                    self.is_dry = true;
                    return false;
                }
                Poll::Ready(Ok(stream)) => {
                    self.socket = Socket::Open(stream);
                    shared.run(buffers, |client, now| client.handle_connected(self.conn, now));
                }
                Poll::Ready(Err(error)) => {
                    self.lose(DisconnectCause::ConnectFailed(error.to_string()), shared, buffers);
                }
            },
            Socket::Open(_) => {
                let has_read = self.read(shared, buffers, received, context);
                return self.write(shared, buffers, context) || has_read;
            }
            Socket::Ending(stream) => {
                // What the socket takes at once, and no more: nothing waits for this connection.
                let _ = Pin::new(&mut *stream).poll_write(context, &self.unsent);
                let _ = Pin::new(stream).poll_close(context);
                self.socket = Socket::Over;
            }
            Socket::Over => return false,
        }
        true
    }

    fn read(
        &mut self,
        shared: &Shared,
        buffers: &mut TurnBuffers,
        received: &mut [u8],
        context: &mut Context<'_>,
    ) -> bool {
        let Socket::Open(stream) = &mut self.socket else { return false };
        if self.is_dry {
            return false;
        }
        match Pin::new(stream).poll_read(context, received) {
            Poll::Pending => {
                self.is_dry = true;
                return false;
            }
            Poll::Ready(Err(error)) if is_passing(&error) => {}
            Poll::Ready(Err(error)) => {
                self.lose(DisconnectCause::Broken(error.to_string()), shared, buffers);
            }
            Poll::Ready(Ok(0)) => self.lose(DisconnectCause::Closed, shared, buffers),
            Poll::Ready(Ok(len)) => {
                let bytes = received.get(..len).unwrap_or_default();
                shared.receive(buffers, self.conn, bytes);
            }
        }
        true
    }

    fn write(&mut self, shared: &Shared, buffers: &mut TurnBuffers, context: &mut Context<'_>) -> bool {
        if self.written == self.unsent.len() && self.wants_write {
            self.refill(shared, buffers);
        }
        let Socket::Open(stream) = &mut self.socket else { return false };
        let rest = self.unsent.get(self.written..).unwrap_or_default();
        if rest.is_empty() {
            if self.needs_flush && !self.is_full {
                self.is_full = Pin::new(stream).poll_flush(context).is_pending();
                self.needs_flush = self.is_full;
            }
            return false;
        }
        if self.is_full {
            return false;
        }
        match Pin::new(stream).poll_write(context, rest) {
            Poll::Pending => {
                self.is_full = true;
                return false;
            }
            Poll::Ready(Err(error)) if is_passing(&error) => {}
            Poll::Ready(Ok(len)) if len > 0 => {
                self.written += len;
                self.needs_flush = true;
            }
            // What the server said before it closed may still be there to read, and tells more.
            Poll::Ready(_) if !self.is_dry || !self.has_failed => {
                self.is_dry &= self.has_failed;
                self.has_failed = true;
            }
            Poll::Ready(taken) => {
                let why = taken.map_or_else(|error| error.to_string(), |_| "it takes no bytes".to_owned());
                self.lose(DisconnectCause::Broken(why), shared, buffers);
            }
        }
        true
    }

    /// Takes what the core has to write. It counts as transmitted, for the buffer is the socket's from now
    /// on.
    fn refill(&mut self, shared: &Shared, buffers: &mut TurnBuffers) {
        let Link { conn, unsent, wants_write, .. } = self;
        self.written = 0;
        shared.run(buffers, |client, now| {
            *unsent = client.exchange_transmit(*conn, std::mem::take(unsent), now);
            *wants_write = client.has_transmit(*conn);
        });
    }

    fn lose(&mut self, cause: DisconnectCause, shared: &Shared, buffers: &mut TurnBuffers) {
        self.socket = Socket::Over;
        shared.run(buffers, |client, now| client.handle_disconnected(self.conn, cause, now));
    }
}

/// Not an end: the socket only wants to be asked again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}
