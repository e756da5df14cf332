//! Ten thousand clients deployed within a minute: how many logins a second their server sees.

use respass_tests::simulator::{ClientSpec, Credential, HOUR, MINUTE, SECOND, Supply, World};
use std::collections::BTreeMap;
use std::time::Duration;

const CLIENTS: u64 = 10_000;
const DEPLOYED_WITHIN: u64 = MINUTE;

/// The most logins in one second, once the deployment's own wave has passed.
fn peak_after_deployment(supply: Supply, watched: u64) -> (u64, u64) {
    let mut world = World::new(42);
    let start = world.now;
    for index in 0..CLIENTS {
        let mut spec = ClientSpec::new(Credential::new(&format!("oid-{index}"), supply, HOUR));
        spec.workload.interval = 0;
        spec.starts_at = index * DEPLOYED_WITHIN / CLIENTS;
        // Logins are the subject; probes of idle connections would be most of the work.
        spec.configure = |config| config.timeouts.idle = Duration::from_secs(86_400);
        world.add(spec);
    }
    world.run_for(watched);
    let mut per_second = BTreeMap::<u64, u64>::new();
    let settled = start + DEPLOYED_WITHIN + 10 * SECOND;
    for at in world.server.ledger.logins.iter().filter(|at| **at > settled) {
        *per_second.entry(at / SECOND).or_default() += 1;
    }
    assert_eq!(world.server.ledger.lapses, 0);
    assert!(world.server.ledger.smallest_lead.is_some_and(|lead| lead >= 180 * SECOND));
    (per_second.values().copied().max().unwrap_or(0), world.server.ledger.reauths)
}

#[test]
fn fresh_hourly_tokens_are_spread_over_half_an_hour() {
    let (peak, reauths) = peak_after_deployment(Supply::Fresh, 3 * HOUR);
    println!("fresh tokens: at most {peak} logins in a second, {reauths} re-authentications");
    assert!(reauths >= 3 * CLIENTS, "{reauths}");
    assert!(peak <= 25, "{peak} logins in one second");
}

#[test]
fn a_caching_source_is_met_in_its_window_without_a_storm() {
    let (peak, reauths) = peak_after_deployment(Supply::CachedUntil(5 * MINUTE), 3 * HOUR);
    println!("cached tokens: at most {peak} logins in a second, {reauths} re-authentications");
    assert!(reauths >= 2 * CLIENTS, "{reauths}");
    assert!(peak <= 130, "{peak} logins in one second");
}
