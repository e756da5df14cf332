//! One TCP connection, as the blocking driver wants it: connected by a deadline, reads that end, writes that do not
//! wait, and never a SIGPIPE.

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Reads wait no longer, so that timers are looked at.
const PATIENCE_MAX_MS: u64 = 1024;
/// An address is given so much time at least.
const CONNECT_MIN: Duration = Duration::from_millis(50);

pub(crate) struct Socket {
    stream: TcpStream,
    /// How long a read waits now.
    patience_ms: u64,
}

/// What a read or a write came to.
pub(crate) enum Progress {
    Bytes(usize),
    /// Not now, or a signal came.
    Nothing,
    Closed,
    Broken(String),
}

impl Socket {
    /// Tries each address of the host, all within the timeout. Looking up the name is the system's, and not counted.
    pub(crate) fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<Socket> {
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let end = Instant::now() + timeout;
        let mut latest = None;
        for address in addresses {
            let left = end.saturating_duration_since(Instant::now()).max(CONNECT_MIN);
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Socket::prepared(stream),
                Err(error) => latest = Some(error),
            }
        }
        Err(latest.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    fn prepared(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        {
            sockopt::set_tcp_keepidle(&stream, Duration::from_secs(30))?;
            sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(5))?;
            sockopt::set_tcp_keepcnt(&stream, 3)?;
        }
        Ok(Socket { stream, patience_ms: 0 })
    }

    /// Writes what the socket takes at once.
    pub(crate) fn write(&self, bytes: &[u8]) -> Progress {
        match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(len) => Progress::Bytes(len),
            Err(Errno::AGAIN | Errno::INTR) => Progress::Nothing,
            Err(error) => Progress::Broken(io::Error::from(error).to_string()),
        }
    }

    /// Waits for bytes, about as long as said and never much longer.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, delay: Duration) -> Progress {
        // Powers of two: a wait that shrinks from command to command costs no system call each time.
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).clamp(1, PATIENCE_MAX_MS);
        let patience_ms = 1 << delay_ms.ilog2();
        if patience_ms != self.patience_ms {
            let patience = Some(Duration::from_millis(patience_ms));
            if let Err(error) = self.stream.set_read_timeout(patience) {
                return Progress::Broken(error.to_string());
            }
            self.patience_ms = patience_ms;
        }
        self.receive(buffer, RecvFlags::empty())
    }

    /// Reads what is here.
    pub(crate) fn read_now(&self, buffer: &mut Vec<u8>) -> Progress {
        self.receive(buffer, RecvFlags::DONTWAIT)
    }

    /// Appends as much as there is room for.
    fn receive(&self, buffer: &mut Vec<u8>, flags: RecvFlags) -> Progress {
        match recv(&self.stream, spare_capacity(buffer), flags) {
            Ok((0, _)) => Progress::Closed,
            Ok((len, _)) => Progress::Bytes(len),
            Err(Errno::AGAIN | Errno::INTR) => Progress::Nothing,
            Err(error) => Progress::Broken(io::Error::from(error).to_string()),
        }
    }

    pub(crate) fn poll_fd(&self, wants_write: bool) -> PollFd<'_> {
        let flags = if wants_write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        PollFd::new(&self.stream, flags)
    }
}

/// Waits for the socket (to read, and to write where it is full) or the bell; whether the socket has something.
pub(crate) fn wait(socket: Option<(&Socket, bool)>, bell: Option<BorrowedFd<'_>>, delay: Duration) -> bool {
    let mut asked = Vec::with_capacity(2);
    if let Some((socket, is_full)) = socket {
        asked.push(socket.poll_fd(is_full));
    }
    if let Some(bell) = bell {
        asked.push(PollFd::from_borrowed_fd(bell, PollFlags::IN));
    }
    let timeout = Timespec::try_from(delay).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    // A signal ends the wait early, which does no harm.
    let _ = poll(&mut asked, Some(&timeout));
    socket.is_some() && asked.first().is_some_and(|socket| !socket.revents().is_empty())
}
