//! All redis-servers behind the front: one, or a cluster with two for each shard.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use super::formation::{self, Seat};
use super::{Backend, Control};
use crate::dialect::Dialect;
use crate::random;

/// They end when this is dropped.
pub(crate) struct Servers {
    backends: Vec<Backend>,
    /// Their places in the cluster; empty for a single server.
    pub(crate) seats: Vec<Seat>,
    /// The password of all users.
    pub(crate) password: String,
}

impl Servers {
    /// Starts the servers and waits until they serve. Of a cluster, server `2 n` is the primary of shard `n`
    /// and server `2 n + 1` its replica.
    pub(crate) async fn start(directory: &Path, dialect: Dialect, shards: usize) -> Result<Servers, String> {
        let mut attempt = 1;
        loop {
            let seats = if dialect.clustered { formation::seats(shards)? } else { Vec::new() };
            match Servers::start_with(directory, dialect, seats).await {
                // A port may have been taken since it was found to be free.
                Err(_) if dialect.clustered && attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_with(directory: &Path, dialect: Dialect, seats: Vec<Seat>) -> Result<Servers, String> {
        let password = random::secret();
        let mut backends = Vec::new();
        for number in 0..seats.len().max(1) {
            let own = directory.join(format!("server-{number}"));
            std::fs::create_dir_all(&own)
                .map_err(|error| format!("cannot make {}: {error}", own.display()))?;
            let seat = seats.get(number);
            if seat.is_some() {
                formation::write(&own, &seats, number)?;
            }
            backends.push(Backend::spawn(&own, dialect, &password, seat)?);
        }
        for backend in &mut backends {
            backend.wait_until_listening().await?;
        }
        let servers = Servers { backends, seats, password };
        formation::complete(&servers.controls(), &servers.seats).await?;
        Ok(servers)
    }

    /// The way to each server.
    pub(crate) fn controls(&self) -> Vec<Control> {
        self.backends.iter().map(|backend| backend.control.clone()).collect()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.backends.iter().map(|backend| backend.pid).collect()
    }

    /// Completes, with the reason, when one of them ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        let mut waits: Vec<_> = self.backends.iter_mut().map(|backend| Box::pin(backend.ended())).collect();
        poll_fn(|context| {
            let reasons = waits.iter_mut().map(|wait| pin!(wait).poll(context));
            reasons.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    /// Ends the servers and waits for their end, so that they are gone when the emulator is.
    pub(crate) async fn stop(&mut self) {
        for backend in &mut self.backends {
            // It fails only for a server that has already ended.
            let _ = backend.child.start_kill();
        }
        for backend in &mut self.backends {
            let _ = backend.child.wait().await;
        }
    }
}

const START_ATTEMPTS: u32 = 3;
