//! Where clients come in: at the configured endpoint, and at each node of a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Front;
use crate::cluster::Door;

/// The listeners.
pub(crate) struct Doors {
    doors: BTreeMap<Door, UnboundedSender<Option<TcpListener>>>,
    /// What [`Front::serve`] takes.
    unserved: Mutex<Vec<(Door, Orders)>>,
}

/// Each brings a listener in place of the one there is, or takes it away.
type Orders = UnboundedReceiver<Option<TcpListener>>;

impl Doors {
    pub(crate) fn new(listeners: Vec<(Door, TcpListener)>) -> Doors {
        let (mut doors, mut unserved) = (BTreeMap::new(), Vec::new());
        for (door, listener) in listeners {
            let (orders, receiver) = unbounded_channel();
            let _ = orders.send(Some(listener));
            doors.insert(door, orders);
            unserved.push((door, receiver));
        }
        Doors { doors, unserved: Mutex::new(unserved) }
    }
}

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
