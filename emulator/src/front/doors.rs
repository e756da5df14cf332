//! Where clients come in: at the configured endpoint, and at each node of a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Front;
use super::ending::sleep_until;
use crate::cluster::Door;

/// The listeners.
pub(crate) struct Doors {
    entries: Mutex<BTreeMap<Door, Entry>>,
    /// Those that take connections and do nothing with them until then, or without an end.
    silent: watch::Sender<BTreeMap<Door, Option<Instant>>>,
    /// What [`Front::serve`] takes.
    unserved: Mutex<Vec<(Door, Orders)>>,
}

struct Entry {
    port: u16,
    is_open: bool,
    /// How often it was shut.
    shut_count: u64,
    orders: UnboundedSender<Option<TcpListener>>,
}

/// Each brings a listener in place of the one there is, or takes it away.
type Orders = UnboundedReceiver<Option<TcpListener>>;

/// Who has shut a door may open it again, if nobody else has shut it since.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    door: Door,
    shut_count: u64,
}

impl Doors {
    pub(crate) fn new(listeners: Vec<(Door, u16, TcpListener)>) -> Doors {
        let (mut entries, mut unserved) = (BTreeMap::new(), Vec::new());
        for (door, port, listener) in listeners {
            let (orders, receiver) = unbounded_channel();
            let _ = orders.send(Some(listener));
            entries.insert(door, Entry { port, is_open: true, shut_count: 0, orders });
            unserved.push((door, receiver));
        }
        let silent = watch::Sender::new(BTreeMap::new());
        Doors { entries: Mutex::new(entries), silent, unserved: Mutex::new(unserved) }
    }

    pub(crate) fn contain(&self, door: Door) -> bool {
        self.entries().contains_key(&door)
    }

    pub(crate) fn port(&self, door: Door) -> u16 {
        self.entries().get(&door).map_or(0, |entry| entry.port)
    }

    pub(super) fn is_open(&self, door: Door) -> bool {
        self.entries().get(&door).is_some_and(|entry| entry.is_open)
    }

    /// Refuses new connections.
    pub(crate) fn shut(&self, door: Door) -> Ticket {
        let mut entries = self.entries();
        let shut_count = entries.get_mut(&door).map_or(0, |entry| {
            entry.is_open = false;
            entry.shut_count += 1;
            let _ = entry.orders.send(None);
            entry.shut_count
        });
        Ticket { door, shut_count }
    }

    /// Takes connections again, at the same port.
    pub(crate) async fn open(&self, ticket: Ticket) {
        let deadline = Instant::now() + REOPEN_MAX;
        loop {
            let port = match self.entries().get(&ticket.door) {
                Some(entry) if !entry.is_open && entry.shut_count == ticket.shut_count => entry.port,
                _ => return,
            };
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => return self.replace(ticket.door, port, listener),
                // Some connection of this machine may have got it for its own end.
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return eprintln!("respass-emulator: port {port} is lost: {error}"),
            }
        }
    }

    /// Opens every door that is shut.
    pub(crate) async fn open_all(&self) {
        let shut: Vec<Ticket> = (self.entries().iter())
            .filter(|(_, entry)| !entry.is_open)
            .map(|(door, entry)| Ticket { door: *door, shut_count: entry.shut_count })
            .collect();
        for ticket in shut {
            self.open(ticket).await;
        }
    }

    /// Closes a port for good and goes on at another (0 picks one), which is the answer.
    pub(crate) async fn move_to(&self, door: Door, port: u16) -> Result<u16, String> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        self.replace(door, port, listener);
        Ok(port)
    }

    fn replace(&self, door: Door, port: u16, listener: TcpListener) {
        if let Some(entry) = self.entries().get_mut(&door) {
            (entry.port, entry.is_open) = (port, true);
            let _ = entry.orders.send(Some(listener));
        }
    }

    /// New connections get no answer, for so long or until [`Doors::speak`].
    pub(crate) fn silence(&self, door: Door, time: Option<Duration>) {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        self.silent.send_modify(|silent| {
            silent.insert(door, until);
        });
    }

    /// Ends all silence.
    pub(crate) fn speak(&self) {
        self.silent.send_modify(BTreeMap::clear);
    }

    pub(super) async fn wait_while_silent(&self, door: Door) {
        let mut silent = self.silent.subscribe();
        while let Some(until) = { silent.borrow_and_update().get(&door).copied() } {
            tokio::select! {
                () = sleep_until(until) => return,
                _ = silent.changed() => (),
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Door, Entry>> {
        self.entries.lock().expect("nothing panics with this lock held")
    }
}

const REOPEN_MAX: Duration = Duration::from_secs(5);

impl Front {
    /// Accepts connections for ever.
    pub(crate) async fn serve(self: &Arc<Front>) {
        let unserved = std::mem::take(&mut *self.doors.unserved.lock().expect("nothing panics here"));
        for (door, orders) in unserved {
            tokio::spawn(Arc::clone(self).keep(door, orders));
        }
        std::future::pending().await
    }

    async fn keep(self: Arc<Front>, door: Door, mut orders: Orders) {
        let mut listener = None;
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => listener = order,
                    None => return,
                },
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).take(door, stream))),
                    Err(error) => {
                        eprintln!("respass-emulator: cannot accept a connection: {error}");
                        // Out of file descriptors, most likely: give connections time to end.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
