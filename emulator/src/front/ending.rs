//! The end of a connection: when it has come, for which reason, and how the client sees it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::live::{Strike, Strikes};
use crate::census::Cause;
use crate::fault::ExpiryMode;

#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) cause: Cause,
    manner: Manner,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    /// The end of TLS, then of TCP.
    CloseNotify,
    /// The end of TCP alone.
    Fin,
    Reset,
}

impl Ending {
    pub(super) fn orderly(cause: Cause) -> Ending {
        Ending { cause, manner: Manner::CloseNotify }
    }

    /// Without an end of TLS.
    pub(super) fn abrupt(cause: Cause) -> Ending {
        Ending { cause, manner: Manner::Fin }
    }

    pub(super) fn at_expiry(mode: ExpiryMode) -> Ending {
        let manner = match mode {
            ExpiryMode::CloseNotify => Manner::CloseNotify,
            ExpiryMode::Fin | ExpiryMode::MidReply => Manner::Fin,
            ExpiryMode::Reset => Manner::Reset,
        };
        Ending { cause: Cause::Expired, manner }
    }

    /// Closes the connection.
    pub(super) async fn close(self, mut client: TlsStream<TcpStream>) {
        match self.manner {
            Manner::CloseNotify => {
                let _ = tokio::time::timeout(CLOSE_MAX, client.shutdown()).await;
                linger(&mut client).await;
            }
            Manner::Fin => {
                let (mut tcp, _) = client.into_inner();
                let _ = tokio::time::timeout(CLOSE_MAX, tcp.shutdown()).await;
                linger(&mut tcp).await;
            }
            Manner::Reset => drop(client.get_ref().0.set_zero_linger()),
        }
    }
}

/// What the client still sends is read away, or TCP would turn the FIN into a reset that may overtake the
/// last replies.
async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(stream, &mut tokio::io::sink())).await;
}

const CLOSE_MAX: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_millis(200);

/// Waits while a connection is frozen; the answer is its end, if it ends in that time.
pub(super) async fn frozen(time: Option<Duration>, strikes: &mut Strikes) -> Option<Ending> {
    let end = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        tokio::select! {
            () = sleep_until(end) => return None,
            Some(strike) = strikes.recv() => match strike {
                Strike::Close(cause) => return Some(Ending::abrupt(cause)),
                Strike::Thaw => return None,
                _ => (),
            },
        }
    }
}

/// Sleeps until then, or for ever.
pub(super) async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
