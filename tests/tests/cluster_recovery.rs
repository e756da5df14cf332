//! How soon a cluster serves everybody again, and what subscribers notice of hours of token life.

use respass_tests::simulator::cluster::{Cluster, Shape};
use respass_tests::simulator::server::Health;
use respass_tests::simulator::upheaval::Upheaval;
use respass_tests::simulator::{ClientSpec, Credential, HOUR, MINUTE, SECOND, Supply, World};

/// Three busy clients of a cluster of three shards, whose credentials answer at once.
fn busy_world(shape: Shape, seed: u64, life: u64) -> World {
    let mut world = World::new(seed);
    world.server.cluster = Some(Cluster::new(shape, 3));
    for index in 0..3 {
        let mut credential = Credential::new(&format!("oid-{index}"), Supply::Fresh, life);
        credential.latency = 1000;
        let mut spec = ClientSpec::new(credential);
        spec.workload.interval = SECOND / 50;
        spec.workload.is_varied = true;
        spec.listeners = 1;
        world.add(spec);
    }
    world
}

/// What one upheaval costs: nothing two seconds after it is over.
fn check_recovery(shape: Shape, seed: u64, upheaval: Upheaval) {
    let what = format!("{upheaval:?} of a {shape:?} cluster, seed {seed}");
    let mut world = busy_world(shape, seed, HOUR);
    world.run_for(10 * SECOND);
    world.strike(upheaval);
    world.run_for(SECOND);
    world.heal();
    world.run_for(2 * SECOND);
    for client in &mut world.clients {
        client.failures.clear();
    }
    for index in 0..world.clients.len() {
        world.submit_everywhere(index);
    }
    world.run_for(SECOND / 10);
    for (index, client) in world.clients.iter().enumerate() {
        assert!(client.failures.is_empty(), "{what}: client {index}: {:?}", client.failures);
        let (wait, who) = client.longest_wait(world.now);
        assert!(wait < SECOND / 10, "{what}: {who:?} of client {index} waits for {wait} us");
    }
    world.finish();
}

#[test]
fn two_seconds_after_the_last_fault_every_shard_serves_again() {
    for shape in [Shape::Managed, Shape::Cache] {
        for seed in 1..6 {
            check_recovery(shape, seed, Upheaval::CutAll);
            check_recovery(shape, seed, Upheaval::Retire(1));
            check_recovery(shape, seed, Upheaval::Migrate { from: 0, to: 2, duration: SECOND / 2 });
            for health in [Health::Refusing, Health::ReadOnly] {
                let promote_after = SECOND / 2;
                check_recovery(shape, seed, Upheaval::Fail { shard: 2, health, promote_after });
            }
        }
    }
}

/// An hour of subscriptions under tokens of ten minutes, with nothing wrong: the gaps that were told.
fn gaps_in_a_calm_hour(is_hello_unknown: bool, has_cluster: bool) -> u64 {
    let mut world = busy_world(Shape::Managed, 5, 10 * MINUTE);
    if !has_cluster {
        world.server.cluster = None;
    }
    world.server.is_hello_unknown = is_hello_unknown;
    for client in &mut world.clients {
        client.spec.workload.interval = SECOND / 2;
    }
    world.run_for(2 * MINUTE);
    // From here on, nobody changes what it is subscribed to.
    for client in &mut world.clients {
        client.is_quiet = true;
    }
    let told = |world: &World| {
        let listeners = world.clients.iter().flat_map(|client| &client.listeners);
        listeners.map(|listener| listener.gaps).sum::<u64>()
    };
    let before = told(&world);
    world.run_for(HOUR);
    let gaps = told(&world) - before;
    let report = world.finish();
    assert_eq!(report.lapses, 0, "{report:?}");
    assert!(report.heard > 2000 && report.reauths > 50, "{report:?}");
    assert_eq!(report.repeated, 0, "{report:?}");
    gaps
}

#[test]
fn subscribers_notice_nothing_of_tokens_that_end() {
    for has_cluster in [false, true] {
        assert_eq!(gaps_in_a_calm_hour(false, has_cluster), 0, "in RESP3, cluster: {has_cluster}");
        assert_eq!(gaps_in_a_calm_hour(true, has_cluster), 0, "in RESP2, cluster: {has_cluster}");
    }
}
