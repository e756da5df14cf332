//! One TCP connection, as the blocking driver wants it: dialled beside others, reads that end, writes that do not
//! wait, and never a SIGPIPE.

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt,
};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::vec::IntoIter;

/// Reads wait no longer, so that timers are looked at.
const PATIENCE_MAX_MS: u64 = 1024;

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
    fn prepared(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nonblocking(false)?;
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
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Waits until one of them is ready.
pub(crate) fn wait(asked: &mut [PollFd<'_>], delay: Duration) {
    let timeout = Timespec::try_from(delay).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    // A signal ends the wait early, which does no harm.
    let _ = poll(asked, Some(&timeout));
}

/// Of a host that is an address and needs no look-up.
pub(crate) fn addresses_of(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    Some(vec![SocketAddr::new(host.parse::<IpAddr>().ok()?, port)])
}

/// Waits for as long as the system takes.
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// A look-up by a thread that ends with it.
pub(crate) struct LookUp {
    addresses: Receiver<io::Result<Vec<SocketAddr>>>,
    /// Readable when the answer is here.
    end: UnixStream,
}

impl LookUp {
    pub(crate) fn start(host: &str, port: u16) -> io::Result<LookUp> {
        let host = host.to_owned();
        let (end, mut rope) = UnixStream::pair()?;
        let (tell, addresses) = channel();
        std::thread::Builder::new().name("respass-look-up".to_owned()).spawn(move || {
            // Nobody may want to know any more.
            let _ = tell.send(look_up(&host, port));
            let _ = rope.write(&[1]);
        })?;
        Ok(LookUp { addresses, end })
    }

    pub(crate) fn answer(self) -> io::Result<Vec<SocketAddr>> {
        self.addresses
            .try_recv()
            .unwrap_or_else(|_| Err(io::Error::other("the look-up ended without an answer")))
    }
}

impl AsFd for LookUp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// A socket that is on its way to one of several addresses.
pub(crate) struct Dial {
    socket: OwnedFd,
    /// To be tried if this one fails.
    others: IntoIter<SocketAddr>,
}

/// How dialling stands.
pub(crate) enum Dialled {
    Connected(Socket),
    /// When the socket is writable, `go_on` tells more.
    NotYet(Dial),
    Not(io::Error),
}

impl Dial {
    pub(crate) fn start(addresses: Vec<SocketAddr>) -> Dialled {
        Dial::next(addresses.into_iter(), io::Error::other("the name has no address"))
    }

    pub(crate) fn go_on(self) -> Dialled {
        match sockopt::socket_error(&self.socket).and_then(|error| error) {
            Ok(()) => Dial::end(self.socket, self.others),
            Err(error) => Dial::next(self.others, error.into()),
        }
    }

    fn next(mut others: IntoIter<SocketAddr>, mut latest: io::Error) -> Dialled {
        while let Some(address) = others.next() {
            match dial(address) {
                Ok((socket, true)) => return Dial::end(socket, others),
                Ok((socket, false)) => return Dialled::NotYet(Dial { socket, others }),
                Err(error) => latest = error,
            }
        }
        Dialled::Not(latest)
    }

    fn end(socket: OwnedFd, others: IntoIter<SocketAddr>) -> Dialled {
        match Socket::prepared(socket.into()) {
            Ok(socket) => Dialled::Connected(socket),
            Err(error) => Dial::next(others, error),
        }
    }
}

impl AsFd for Dial {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket, and whether it is connected already.
fn dial(address: SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    #[cfg(not(target_vendor = "apple"))]
    let flags = SocketFlags::CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let flags = SocketFlags::empty();
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    #[cfg(target_vendor = "apple")]
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok((socket, false)),
        Err(error) => Err(error.into()),
    }
}
