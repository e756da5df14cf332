//! Random lives of clients and networks: nothing is lost, doubled or delivered to the wrong caller.

use respass_tests::simulator::{
    ClientSpec, Credential, DAY, Faults, HOUR, MINUTE, Report, SECOND, Supply, World,
};

/// One simulated fleet, from its seed alone.
fn run(seed: u64) -> Report {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(seed);
    world.faults = Faults { split_one_in: rng.u64(1..6), cut_after: rng.u64(20..600) * SECOND };
    world.server.is_hello_unknown = rng.u8(0..4) == 0;
    world.server.auth_delay = if rng.u8(0..3) == 0 { rng.u64(0..9) * SECOND } else { 0 };
    for index in 0..rng.usize(1..4) {
        let life = rng.u64(20..3600) * SECOND;
        let supply = match rng.u8(0..3) {
            0 => Supply::Fresh,
            1 => Supply::CachedUntil((life / 2).min(5 * MINUTE)),
            _ => Supply::WhenDead,
        };
        let mut credential = Credential::new(&format!("oid-{index}"), supply, life);
        credential.latency = rng.u64(1..3_000_000);
        for _ in 0..rng.usize(0..4) {
            let at = rng.u64(0..HOUR);
            credential.outages.push((at, at + rng.u64(0..10 * MINUTE)));
        }
        let mut spec = ClientSpec::new(credential);
        spec.workload.interval = rng.u64(1..60) * SECOND / 10;
        spec.workload.cancel_one_in = rng.u64(0..10);
        spec.starts_at = rng.u64(0..MINUTE);
        world.add(spec);
    }
    world.run_for(HOUR);
    // Healing: the faults end, and everybody must be served again.
    world.faults = Faults::default();
    world.server.auth_delay = 0;
    world.run_for(10 * MINUTE);
    for client in &mut world.clients {
        client.failures.clear();
    }
    for index in 0..world.clients.len() {
        world.submit(index, 3, false);
    }
    world.run_for(2 * MINUTE);
    for client in &world.clients {
        assert!(client.failures.is_empty(), "after the faults ended: {:?}", client.failures);
    }
    world.finish()
}

#[test]
fn random_fleets_keep_every_promise() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seeds, from) = (number("SEEDS", 40), number("FROM", 1));
    let mut total = Report::default();
    for seed in from..from + seeds {
        // Shown where it fails.
        println!("seed {seed}: replay with make simulate SEEDS=1 FROM={seed}");
        let report = run(seed);
        total.replied += report.replied;
        total.indeterminate += report.indeterminate;
        total.not_sent += report.not_sent;
        total.reauths += report.reauths;
        total.cuts += report.cuts;
        total.splits += report.splits;
        total.lived += report.lived;
    }
    println!(
        "{} commands answered, {} not sent, {} indeterminate",
        total.replied, total.not_sent, total.indeterminate
    );
    println!(
        "simulated {seeds} seeds, {:.4} connection-years, {} re-authentications, {} faults, 0 violations",
        total.lived as f64 / (365 * DAY) as f64,
        total.reauths,
        total.cuts + total.splits
    );
    assert!(
        total.cuts > seeds && total.reauths > seeds && total.indeterminate > 0,
        "the faults did not happen"
    );
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    for seed in [3, 14, 15] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(3).trace, run(4).trace);
}
