//! The sockets of a blocking client. Each is looked up, dialled and connected by itself: none holds up another.

use crate::socket::{Dial, Dialled, LookUp, Socket, addresses_of, look_up, wait};
use respass_core::ConnId;
use rustix::event::{PollFd, PollFlags};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Few: they are looked for one by one.
#[derive(Default)]
pub(crate) struct Links(Vec<Link>);

struct Link {
    conn: ConnId,
    /// Host and port, for errors.
    place: String,
    stage: Stage,
}

enum Stage {
    LookUp(LookUp),
    Dial(Dial),
    Connected(Connected),
}

pub(crate) struct Connected {
    pub(crate) socket: Socket,
    /// The socket took less than there is.
    pub(crate) is_full: bool,
}

/// What became of a connection.
pub(crate) enum Step {
    /// Nothing that anybody need know.
    None,
    Connected,
    /// It is forgotten; the text says why.
    Failed(String),
    Readable,
}

impl Links {
    pub(crate) fn connect(&mut self, conn: ConnId, host: &str, port: u16) -> Step {
        let place = format!("{host}:{port}");
        if let Some(address) = addresses_of(host, port) {
            return self.dial(conn, place, address);
        }
        // Looked up by the caller's own thread where that holds up nobody.
        let found = if self.0.is_empty() { Ok(look_up(host, port)) } else { Err(LookUp::start(host, port)) };
        match found {
            Ok(Ok(addresses)) => self.dial(conn, place, addresses),
            Err(Ok(asked)) => {
                self.0.push(Link { conn, place, stage: Stage::LookUp(asked) });
                Step::None
            }
            Ok(Err(error)) | Err(Err(error)) => Step::Failed(format!("{place}: {error}")),
        }
    }

    fn dial(&mut self, conn: ConnId, place: String, addresses: Vec<SocketAddr>) -> Step {
        self.enter(conn, place, Dial::start(addresses))
    }

    fn enter(&mut self, conn: ConnId, place: String, dialled: Dialled) -> Step {
        let (stage, step) = match dialled {
            Dialled::Not(error) => return Step::Failed(format!("{place}: {error}")),
            Dialled::NotYet(dial) => (Stage::Dial(dial), Step::None),
            Dialled::Connected(socket) => {
                (Stage::Connected(Connected { socket, is_full: false }), Step::Connected)
            }
        };
        self.0.push(Link { conn, place, stage });
        step
    }

    /// The next step of a connection that `wait` named.
    pub(crate) fn step(&mut self, conn: ConnId) -> Step {
        match self.find(conn).map(|link| &link.stage) {
            None => return Step::None,
            Some(Stage::Connected(_)) => return Step::Readable,
            Some(Stage::LookUp(_) | Stage::Dial(_)) => {}
        }
        match self.take(conn) {
            Some(Link { place, stage: Stage::LookUp(asked), .. }) => match asked.answer() {
                Ok(addresses) => self.dial(conn, place, addresses),
                Err(error) => Step::Failed(format!("{place}: {error}")),
            },
            Some(Link { place, stage: Stage::Dial(dial), .. }) => self.enter(conn, place, dial.go_on()),
            Some(Link { stage: Stage::Connected(_), .. }) | None => Step::None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The only connection, where to read from it is all that there is to wait for.
    pub(crate) fn only(&self) -> Option<ConnId> {
        match &self.0[..] {
            [Link { conn, stage: Stage::Connected(Connected { is_full: false, .. }), .. }] => Some(*conn),
            _ => None,
        }
    }

    /// The connection at this index, where its socket took less than there is.
    pub(crate) fn full_at(&self, index: usize) -> Option<ConnId> {
        match self.0.get(index)? {
            Link { conn, stage: Stage::Connected(Connected { is_full: true, .. }), .. } => Some(*conn),
            _ => None,
        }
    }

    pub(crate) fn connected(&mut self, conn: ConnId) -> Option<&mut Connected> {
        match &mut self.0.iter_mut().find(|link| link.conn == conn)?.stage {
            Stage::Connected(connected) => Some(connected),
            Stage::LookUp(_) | Stage::Dial(_) => None,
        }
    }

    fn find(&self, conn: ConnId) -> Option<&Link> {
        self.0.iter().find(|link| link.conn == conn)
    }

    fn take(&mut self, conn: ConnId) -> Option<Link> {
        let index = self.0.iter().position(|link| link.conn == conn)?;
        Some(self.0.swap_remove(index))
    }

    /// Forgets the connection, with a last word where it has one.
    pub(crate) fn close(&mut self, conn: ConnId, last_bytes: &[u8]) {
        let link = self.take(conn);
        if let Some(Link { stage: Stage::Connected(Connected { socket, .. }), .. }) = link
            && !last_bytes.is_empty()
        {
            // The best that can be done; the socket may be gone.
            let _ = socket.write(last_bytes);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Waits for any of them, or the bell; which of them have something.
    pub(crate) fn wait(&self, bell: Option<BorrowedFd<'_>>, delay: Duration) -> Vec<ConnId> {
        let mut asked: Vec<PollFd<'_>> = Vec::with_capacity(self.0.len() + 1);
        asked.extend(self.0.iter().map(Link::poll_fd));
        asked.extend(bell.map(|bell| PollFd::from_borrowed_fd(bell, PollFlags::IN)));
        wait(&mut asked, delay);
        let answered = self.0.iter().zip(&asked).filter(|(_, fd)| !fd.revents().is_empty());
        answered.map(|(link, _)| link.conn).collect()
    }
}

impl Link {
    fn poll_fd(&self) -> PollFd<'_> {
        match &self.stage {
            Stage::LookUp(asked) => PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN),
            Stage::Dial(dial) => PollFd::from_borrowed_fd(dial.as_fd(), PollFlags::OUT),
            Stage::Connected(Connected { socket, is_full }) => {
                let flags = if *is_full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                PollFd::from_borrowed_fd(socket.as_fd(), flags)
            }
        }
    }
}
