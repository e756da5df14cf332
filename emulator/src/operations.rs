//! What faults do to a cluster that takes its time: nodes go and come back, roles change, slots move.
//!
//! - `failover`: a replica becomes the primary of its shard.
//! - `migration`: a slot moves to another shard.
//! - `maintenance`: what Azure Cache for Redis announces, and does.

mod failover;
mod maintenance;
mod migration;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::census::Cause;
use crate::cluster::Door;
use crate::dialect::{Dialect, Product};
use crate::front::live::Strike;
use crate::front::{Front, Ticket};

pub(crate) struct Operations {
    pub(crate) front: Arc<Front>,
    dialect: Dialect,
    /// Roles and slots change one after the other.
    turn: Arc<Mutex<()>>,
    running: AtomicUsize,
    recovery: Notify,
}

pub(crate) enum Operation {
    /// Connections are cut, and new ones refused for so long.
    CloseNode {
        door: Door,
        time: Option<Duration>,
    },
    /// The node goes for good, and another one is in its place; the topology knows only after so long.
    RetireNode {
        node: usize,
        stale: Duration,
    },
    Failover {
        shard: usize,
        time: Duration,
        lossy: bool,
    },
    /// To a shard, in so long.
    MigrateSlot {
        slot: u16,
        to: usize,
        time: Duration,
    },
    /// Of a node, in so long.
    Maintenance {
        node: usize,
        time: Duration,
    },
    /// A message on the channel of maintenance events.
    Publish(String),
    /// All doors are open, and nobody is silent.
    Recover,
}

impl Operations {
    pub(crate) fn new(front: &Arc<Front>, dialect: Dialect) -> Arc<Operations> {
        Arc::new(Operations {
            front: Arc::clone(front),
            dialect,
            turn: Arc::default(),
            running: AtomicUsize::new(0),
            recovery: Notify::new(),
        })
    }

    /// How many have begun and not ended.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Begins an operation; what takes time goes on behind it. It goes on too if whoever asked is gone.
    pub(crate) async fn begin(self: &Arc<Operations>, operation: Operation) -> Result<(), String> {
        let operations = Arc::clone(self);
        let task = tokio::spawn(async move { operations.perform(operation).await });
        task.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn perform(self: &Arc<Operations>, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::CloseNode { door, time } => self.close_node(door, time),
            Operation::RetireNode { node, stale } => return self.retire_node(node, stale).await,
            Operation::Failover { shard, time, lossy } => return self.fail_over(shard, time, lossy).await,
            Operation::MigrateSlot { slot, to, time } => return self.migrate(slot, to, time).await,
            Operation::Maintenance { node, time } => return self.maintain(node, time),
            Operation::Publish(text) => return self.publish(&text).await,
            Operation::Recover => {
                self.recovery.notify_waiters();
                self.front.doors.speak();
                self.front.doors.open_all().await;
            }
        }
        Ok(())
    }

    fn go_on(self: &Arc<Operations>, rest: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let operations = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(message) = rest.await {
                eprintln!("respass-emulator: {message}");
            }
            operations.running.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn close_node(self: &Arc<Operations>, door: Door, time: Option<Duration>) {
        if let Some(time) = time {
            self.open_later(self.front.doors.shut(door), time);
        }
        self.front.live.strike(None, Some(door), Strike::Close(Cause::NodeClosed));
    }

    async fn retire_node(self: &Arc<Operations>, node: usize, stale: Duration) -> Result<(), String> {
        let Front { doors, cluster, live, .. } = &*self.front;
        let port = doors.move_to(Door::Node(node), cluster.new_port()).await?;
        cluster.replace(node, port);
        live.strike(None, Some(Door::Node(node)), Strike::Close(Cause::NodeClosed));
        if stale.is_zero() {
            cluster.list(node);
            return Ok(());
        }
        let operations = Arc::clone(self);
        self.go_on(async move {
            operations.wait(stale).await;
            operations.front.cluster.list(node);
            Ok(())
        });
        Ok(())
    }

    fn open_later(self: &Arc<Operations>, ticket: Ticket, time: Duration) {
        let operations = Arc::clone(self);
        self.go_on(async move {
            operations.wait(time).await;
            operations.front.doors.open(ticket).await;
            Ok(())
        });
    }

    /// Waits for so long, or until all is to be well again.
    async fn wait(&self, time: Duration) {
        // Which of the two it was makes no difference.
        let _ = tokio::time::timeout(time, self.recovery.notified()).await;
    }

    fn is_managed(&self) -> bool {
        self.dialect.product == Product::Managed
    }
}

/// Waits until it is so; the error names what did not happen.
async fn wait_for<F>(what: &str, condition: impl Fn() -> F) -> Result<(), String>
where
    F: Future<Output = Result<bool, String>>,
{
    let wait = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    tokio::time::timeout(WAIT_MAX, wait).await.unwrap_or_else(|_| Err(format!("{what} within {WAIT_MAX:?}")))
}

const WAIT_MAX: Duration = Duration::from_secs(10);
