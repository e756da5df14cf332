//! Days of token life in virtual time: the promises of renewal, each against the way some source behaves.

use respass::{ErrorCode, TokenState};
use respass_tests::simulator::{ClientSpec, Credential, DAY, HOUR, MINUTE, SECOND, Supply, World};

fn world_with(spec: ClientSpec) -> World {
    let mut world = World::new(7);
    world.add(spec);
    world
}

fn spec(supply: Supply, life: u64) -> ClientSpec {
    let mut spec = ClientSpec::new(Credential::new("oid-1", supply, life));
    spec.workload.interval = 20 * SECOND;
    spec
}

/// The smallest life left at a re-authentication, in seconds.
fn smallest_lead(world: &World) -> u64 {
    world.server.ledger.smallest_lead.expect("a re-authentication") / SECOND
}

#[test]
fn seven_days_of_hourly_tokens_lose_nothing() {
    let mut world = world_with(spec(Supply::Fresh, HOUR));
    world.run_for(7 * DAY);
    assert!(world.clients[0].failures.is_empty(), "{:?}", world.clients[0].failures);
    assert!(smallest_lead(&world) >= 180);
    let report = world.finish();
    assert!((168..=340).contains(&report.reauths), "{report:?}");
    assert_eq!((report.lapses, report.not_sent, report.indeterminate), (0, 0, 0), "{report:?}");
}

#[test]
fn daily_tokens_are_renewed_once_a_day() {
    let mut world = world_with(spec(Supply::CachedUntil(5 * MINUTE), DAY));
    world.run_for(7 * DAY);
    assert!(smallest_lead(&world) >= 180);
    let questions = world.clients[0].spec.credential.questions;
    let report = world.finish();
    assert_eq!((report.lapses, report.not_sent, report.indeterminate), (0, 0, 0), "{report:?}");
    assert!((6..=8).contains(&report.reauths), "{report:?}");
    assert!(questions <= 4 * 8, "{questions} questions in a week");
}

#[test]
fn a_caching_source_is_asked_in_its_own_refetch_window() {
    let mut world = world_with(spec(Supply::CachedUntil(5 * MINUTE), HOUR));
    world.run_for(7 * DAY);
    assert!(smallest_lead(&world) >= 180);
    let questions = world.clients[0].spec.credential.questions;
    let report = world.finish();
    assert_eq!((report.lapses, report.not_sent, report.indeterminate), (0, 0, 0), "{report:?}");
    assert!(questions <= 3 * 24 * 8, "{questions} questions");
}

#[test]
fn outages_of_the_source_shorter_than_the_slack_cost_nothing() {
    for (life, seed) in [(HOUR, 1), (HOUR, 2), (DAY, 3), (DAY, 4)] {
        let mut spec = spec(Supply::Fresh, life);
        let mut rng = fastrand::Rng::with_seed(seed);
        // One outage a quarter of a life or so, each shorter than what lies between the first question and the lead.
        let mut at = life;
        while at < 7 * DAY {
            let outage = rng.u64(0..life / 8);
            spec.credential.outages.push((at, at + outage));
            at += outage + life / 4 + rng.u64(0..life);
        }
        let mut world = world_with(spec);
        world.run_for(7 * DAY);
        assert!(world.clients[0].failures.is_empty(), "{life} {seed}: {:?}", world.clients[0].failures);
        assert!(smallest_lead(&world) >= 180, "{life} {seed}: {}", smallest_lead(&world));
        assert_eq!(world.finish().lapses, 0);
    }
}

#[test]
fn an_outage_past_the_tokens_end_fails_commands_by_name_and_ends_with_it() {
    let mut spec = spec(Supply::Fresh, HOUR);
    spec.credential.outages.push((30 * MINUTE, 3 * HOUR));
    let mut world = world_with(spec);
    world.run_for(2 * HOUR);
    let failures = std::mem::take(&mut world.clients[0].failures);
    assert!(failures.iter().all(|(code, ..)| *code == ErrorCode::TokenUnavailable), "{failures:?}");
    assert!(!failures.is_empty());
    assert_eq!(world.server.ledger.lapses, 0, "the client closed in time, before the server did");
    world.run_for(2 * HOUR);
    assert!(world.clients[0].states.contains(&TokenState::Late));
    assert!(world.clients[0].states.contains(&TokenState::Expired));
    assert_eq!(world.clients[0].states.last(), Some(&TokenState::Fresh));
    world.clients[0].failures.clear();
    world.run_for(HOUR);
    assert!(world.clients[0].failures.is_empty());
    world.finish();
}

#[test]
fn a_source_that_renews_only_when_the_old_token_is_dead_fails_no_command() {
    for life in [20 * SECOND, MINUTE, 5 * MINUTE, HOUR, 24 * HOUR] {
        let mut spec = spec(Supply::WhenDead, life);
        spec.workload.interval = (life / 100).min(5 * SECOND);
        let mut world = world_with(spec);
        world.run_for(20 * life.min(6 * HOUR));
        assert!(world.clients[0].failures.is_empty(), "{life}: {:?}", world.clients[0].failures);
        let report = world.finish();
        assert_eq!((report.lapses, report.indeterminate), (0, 0), "{life}: {report:?}");
    }
}

#[test]
fn a_clock_a_day_ahead_or_behind_loses_nothing() {
    for skew in [DAY.cast_signed(), -DAY.cast_signed()] {
        for states_expires_in in [false, true] {
            let mut spec = spec(Supply::Fresh, HOUR);
            spec.skew = skew;
            spec.credential.states_expires_in = states_expires_in;
            let mut world = world_with(spec);
            world.run_for(2 * DAY);
            let client = &world.clients[0];
            assert!(client.failures.is_empty(), "{skew}: {:?}", client.failures);
            let report = world.finish();
            assert_eq!((report.lapses, report.indeterminate), (0, 0), "{skew}: {report:?}");
            // At worst a token counts for ten minutes.
            assert!(report.reauths < 2 * 24 * 12, "{skew}: {report:?}");
        }
    }
}

#[test]
fn after_a_suspend_of_three_hours_the_client_recovers_by_itself() {
    let mut world = world_with(spec(Supply::Fresh, HOUR));
    world.run_for(HOUR);
    world.suspend(0, 3 * HOUR);
    world.run_for(3 * HOUR + 10 * SECOND);
    world.clients[0].failures.clear();
    world.run_for(10 * MINUTE);
    assert!(world.clients[0].failures.is_empty(), "{:?}", world.clients[0].failures);
    let before = world.server.ledger.lapses;
    world.run_for(5 * HOUR);
    assert_eq!(world.server.ledger.lapses, before);
    world.finish();
}

#[test]
fn a_short_suspend_re_authenticates_at_once_and_closes_nothing() {
    let mut world = world_with(spec(Supply::Fresh, HOUR));
    world.run_for(10 * MINUTE);
    let logins = world.server.ledger.logins.len();
    world.suspend(0, 20 * MINUTE);
    world.run_for(20 * MINUTE + 5 * SECOND);
    assert_eq!(world.server.ledger.logins.len(), logins + 1);
    assert_eq!(world.finish().lapses, 0);
}

#[test]
fn slow_validation_of_a_login_fails_no_command() {
    let mut spec = spec(Supply::Fresh, 2 * MINUTE);
    spec.workload.interval = SECOND;
    let mut world = world_with(spec);
    world.server.auth_delay = 9 * SECOND;
    world.run_for(2 * HOUR);
    assert!(world.clients[0].failures.is_empty(), "{:?}", world.clients[0].failures);
    let report = world.finish();
    assert!(report.reauths > 50);
    assert_eq!((report.lapses, report.not_sent, report.indeterminate), (0, 0, 0), "{report:?}");
}

#[test]
fn a_refused_re_authentication_leaves_the_connection_working_and_is_repeated() {
    let mut world = world_with(spec(Supply::Fresh, HOUR));
    world.run_for(25 * MINUTE);
    world.server.auth_failures = 5;
    world.run_for(3 * HOUR);
    assert!(world.clients[0].failures.is_empty(), "{:?}", world.clients[0].failures);
    assert!(world.server.ledger.refusals == 5 && world.server.ledger.reauths > 2);
    assert_eq!(world.finish().lapses, 0);
}

#[test]
fn an_idle_client_makes_few_calls() {
    let mut spec = spec(Supply::Fresh, HOUR);
    spec.workload.interval = 0;
    let mut world = world_with(spec);
    world.run_for(HOUR);
    let calls = world.clients[0].calls;
    // A PING each half minute: what goes out, what comes back, the wake-ups around it.
    assert!(calls < 120 * 6, "{calls} calls in an idle hour");
    world.finish();
}
