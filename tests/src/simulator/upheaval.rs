//! What happens to a cluster: failover, retirement, migration, lies, and everybody cut off at once.

use super::SECOND;
use super::cluster::{Cluster, Migration, Shape};
use super::event::Event;
use super::lies::{MAP_LIES, Mood, REDIRECT_LIES, Temper};
use super::server::Health;
use super::world::World;

/// One of them.
#[derive(Clone, Debug)]
pub enum Upheaval {
    /// Every connection breaks: keys were disabled, or the front was replaced.
    CutAll,
    /// A node answers something else than the truth.
    Mood(usize, Temper, u64),
    /// Some of a shard's slots begin to move to another, for so long.
    Migrate {
        /// From which shard.
        from: u8,
        /// To which.
        to: u8,
        /// How long it takes, in microseconds.
        duration: u64,
    },
    /// Their last key has moved.
    SettleMigration {
        /// The first and the last slot.
        slots: (u16, u16),
    },
    /// A shard's primary fails this way; another takes over after so long.
    Fail {
        /// The shard.
        shard: u8,
        /// What becomes of the primary.
        health: Health,
        /// When the other takes over, in microseconds.
        promote_after: u64,
    },
    /// Another node becomes the shard's primary.
    Promote(u8),
    /// A node comes back, as a replica where there are any.
    Recover(usize),
    /// A new node takes a shard over, and the old one's port closes for good some time later.
    Retire(u8),
    /// A node is gone for good.
    Close(usize),
    /// Logins take so long, for a while.
    SlowLogins(u64),
    /// So many logins are refused.
    RefusedLogins(u32),
}

impl World {
    /// Something of everything, drawn at random; and the next one later.
    pub(super) fn draw_upheaval(&mut self) {
        if self.faults.upheaval_after == 0 {
            return;
        }
        let upheaval = self.random_upheaval();
        self.strike(upheaval);
        let at = self.now + self.rng.u64(0..2 * self.faults.upheaval_after);
        self.schedule(0, at, Event::DrawUpheaval);
    }

    /// From now on, upheavals come as `faults` says.
    pub fn start_upheavals(&mut self) {
        self.schedule(0, self.now, Event::DrawUpheaval);
    }

    fn random_upheaval(&mut self) -> Upheaval {
        let Some(cluster) = &self.server.cluster else {
            return match self.rng.u8(0..3) {
                0 => Upheaval::CutAll,
                1 => Upheaval::SlowLogins(self.rng.u64(0..9 * SECOND)),
                _ => Upheaval::RefusedLogins(self.rng.u32(1..3)),
            };
        };
        let rng = &mut self.rng;
        let shards = cluster.truth.primaries.len();
        let shard = rng.usize(0..shards);
        let other = (shard + 1 + rng.usize(0..shards.max(2) - 1)) % shards;
        let node = cluster.truth.primaries[shard];
        let (shard, other) = (shard as u8, other as u8);
        match rng.u8(0..20) {
            0..2 => Upheaval::CutAll,
            2..8 if shard != other => {
                Upheaval::Migrate { from: shard, to: other, duration: rng.u64(1..20 * SECOND) }
            }
            8..11 => {
                let health = [Health::Refusing, Health::Silent, Health::ReadOnly][rng.usize(0..3)];
                Upheaval::Fail { shard, health, promote_after: rng.u64(0..8 * SECOND) }
            }
            11..13 => Upheaval::Retire(shard),
            13..15 => {
                let lie = REDIRECT_LIES[rng.usize(0..REDIRECT_LIES.len())];
                Upheaval::Mood(node, Temper::Redirects(lie), rng.u64(0..2 * SECOND))
            }
            15..17 => {
                let lie = MAP_LIES[rng.usize(0..MAP_LIES.len())];
                Upheaval::Mood(node, Temper::Maps(lie), rng.u64(0..5 * SECOND))
            }
            17 => Upheaval::SlowLogins(rng.u64(0..9 * SECOND)),
            18 => Upheaval::RefusedLogins(rng.u32(1..3)),
            _ => {
                let tempers = [Temper::Loading, Temper::ClusterDown, Temper::MasterDown, Temper::TryAgain];
                Upheaval::Mood(node, tempers[rng.usize(0..4)], rng.u64(0..3 * SECOND))
            }
        }
    }

    /// It happens, now.
    pub fn strike(&mut self, upheaval: Upheaval) {
        self.upheavals += 1;
        if self.is_told {
            println!("{:.6} {upheaval:?}", self.now as f64 / 1e6);
        }
        match upheaval {
            Upheaval::CutAll => self.cut_all(),
            Upheaval::Mood(node, temper, duration) => {
                let mood = Mood { temper, until: self.now + duration };
                self.server.moods.insert(node, mood);
            }
            Upheaval::SlowLogins(duration) => self.server.auth_delay = duration,
            Upheaval::RefusedLogins(count) => self.server.auth_failures += count,
            Upheaval::Migrate { from, to, duration } => self.migrate(from, to, duration),
            Upheaval::SettleMigration { slots } => self.settle_migration(slots),
            Upheaval::Fail { shard, health, promote_after } => self.fail(shard, health, promote_after),
            Upheaval::Promote(shard) => self.promote(shard),
            Upheaval::Recover(node) => {
                self.server.health.remove(&node);
            }
            Upheaval::Retire(shard) => self.retire(shard),
            Upheaval::Close(node) => {
                self.server.health.insert(node, Health::Refusing);
                self.sever(node, true);
                self.reseed();
            }
        }
        // What the servers said on this occasion.
        for index in 0..self.clients.len() {
            if self.now >= self.clients[index].suspended_until {
                self.settle(index);
            }
        }
    }

    /// Ends all that goes on: nobody lies, every slot is where it belongs, everybody knows it.
    pub fn heal(&mut self) {
        self.faults = Default::default();
        self.server.auth_delay = 0;
        self.server.auth_failures = 0;
        self.server.moods.clear();
        let Some(cluster) = &mut self.server.cluster else { return };
        cluster.stale.iter_mut().for_each(|stale| *stale = None);
        let pending: Vec<_> = cluster.migrations.iter().map(|migration| migration.slots).collect();
        pending.into_iter().for_each(|slots| self.settle_migration(slots));
        let shards = self.cluster().truth.primaries.len();
        for shard in 0..shards {
            let primary = self.cluster().truth.primaries[shard];
            if self.server.health(primary) != Health::Up {
                self.promote(shard as u8);
            }
        }
        // Promotions keep views stale.
        self.cluster().stale.iter_mut().for_each(|stale| *stale = None);
        self.reseed();
        (0..self.clients.len()).for_each(|index| self.settle(index));
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.server.cluster.as_mut().expect("a cluster")
    }

    fn cut_all(&mut self) {
        let nodes = self.server.cluster.as_ref().map_or(1, Cluster::nodes);
        (0..nodes).for_each(|node| self.sever(node, true));
    }

    fn migrate(&mut self, from: u8, to: u8, duration: u64) {
        let (now, share) = (self.now, self.rng.u16(1..3000));
        let cluster = self.cluster();
        let Some(first) = cluster.truth.shard_of.iter().position(|shard| *shard == from) else { return };
        let own = cluster.truth.shard_of[first..]
            .iter()
            .take(usize::from(share))
            .take_while(|shard| **shard == from);
        let slots = (first as u16, (first + own.count() - 1) as u16);
        // One at a time, as the tools of a cluster do it.
        if !cluster.migrations.is_empty() {
            return;
        }
        let during = if cluster.shape == Shape::Managed { (now, now + 1) } else { (now, now + duration) };
        cluster.migrations.push(Migration { slots, from, to, during });
        self.schedule(0, during.1, Event::Upheaval(Upheaval::SettleMigration { slots }));
        if self.cluster().shape == Shape::Managed {
            // Nobody says ASK there: slots change hands at once.
            self.settle_migration(slots);
        }
    }

    fn settle_migration(&mut self, slots: (u16, u16)) {
        let now = self.now;
        let lag = self.rng.u64(0..SECOND);
        let cluster = self.cluster();
        let Some(index) = cluster.migrations.iter().position(|migration| migration.slots == slots) else {
            return;
        };
        let migration = cluster.migrations[index].clone();
        let from = cluster.truth.primaries[usize::from(migration.from)];
        let to = cluster.truth.primaries[usize::from(migration.to)];
        cluster.keep_stale(now + lag, &[from, to]);
        let _ = cluster.settle_migration(index);
        self.server.hand_over(from, to, |slot| (slots.0..=slots.1).contains(&slot), now);
    }

    fn fail(&mut self, shard: u8, health: Health, promote_after: u64) {
        let primary = self.cluster().truth.primaries[usize::from(shard)];
        if self.server.health(primary) != Health::Up {
            return;
        }
        let now = self.now;
        self.server.health.insert(primary, health);
        match health {
            Health::ReadOnly => {
                self.server.demote(primary, now);
                let view = self.cluster().truth.clone();
                self.cluster().stale[primary] = Some((view, now + 5 * SECOND));
                let at = now + self.rng.u64(0..5 * SECOND);
                self.promote(shard);
                self.schedule(0, at, Event::Upheaval(Upheaval::Close(primary)));
            }
            _ => {
                self.sever(primary, health == Health::Refusing);
                self.schedule(0, now + promote_after, Event::Upheaval(Upheaval::Promote(shard)));
            }
        }
        self.reseed();
        let back = now + promote_after + self.rng.u64(5 * SECOND..30 * SECOND);
        self.schedule(0, back, Event::Upheaval(Upheaval::Recover(primary)));
    }

    /// Another node becomes the primary of a shard whose primary does not serve.
    fn promote(&mut self, shard: u8) {
        let (now, lag) = (self.now, self.rng.u64(0..2 * SECOND));
        let shard = usize::from(shard);
        let old = self.cluster().truth.primaries[shard];
        if self.server.health(old) == Health::Up {
            return;
        }
        let healthy = self.cluster().truth.replicas[shard]
            .clone()
            .into_iter()
            .find(|replica| self.server.health(*replica) == Health::Up);
        let cluster = self.cluster();
        let new = match healthy {
            Some(replica) => replica,
            None => cluster.add_node(),
        };
        cluster.keep_stale(now + lag, &[new, old]);
        cluster.truth.primaries[shard] = new;
        cluster.truth.replicas[shard].retain(|replica| *replica != new);
        if cluster.shape != Shape::Managed {
            cluster.truth.replicas[shard].push(old);
        }
        self.reseed();
    }

    fn retire(&mut self, shard: u8) {
        let (now, lag) = (self.now, self.rng.u64(0..3 * SECOND));
        let shard = usize::from(shard);
        let cluster = self.cluster();
        let old = cluster.truth.primaries[shard];
        let new = cluster.add_node();
        cluster.keep_stale(now + lag, &[old, new]);
        cluster.truth.primaries[shard] = new;
        let own: Vec<bool> =
            cluster.truth.shard_of.iter().map(|owner| usize::from(*owner) == shard).collect();
        self.server.hand_over(old, new, |slot| own[usize::from(slot)], now);
        let at = now + SECOND + self.rng.u64(0..4 * SECOND);
        self.schedule(0, at, Event::Upheaval(Upheaval::Close(old)));
    }

    /// The configured port leads to a primary that serves.
    fn reseed(&mut self) {
        let primaries = self.cluster().truth.primaries.clone();
        if let Some(node) = primaries.into_iter().find(|node| self.server.health(*node) == Health::Up) {
            self.server.seed_node = node;
        }
    }
}
