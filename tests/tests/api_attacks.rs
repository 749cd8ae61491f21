//! Connections that fill the API: others are still answered, and all resources are released.

use std::time::Duration;

use certward_tests::{API_ATTACKS, ApiAttacker, ApiVictims, Scene, Setup, effort};

/// Kept by allocators after 560 connections of 50 KiB each (unoptimised build).
const GROWTH_KIB: u64 = 40 * 1024;

const EVICTED: &str = "certward_api_connections_evicted_total";
/// Promised by docs/security.md, fifty times what was measured.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

fn survive(addresses: u8) {
    let effort = effort();
    let mut scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
    scene.run_one_way();
    let attacker = ApiAttacker::of(&scene, addresses, effort.api_attack_connections, 2 * effort.attack_span);
    for attack in API_ATTACKS {
        scene.certward.process().wait_resting();
        let before = scene.certward.process().resources();
        let evicted_before = scene.api().metric(EVICTED);
        let victims = ApiVictims::start(&scene);
        let tally = attack.carry_out(&attacker);
        for (who, noticed) in victims.stop() {
            let (name, done) = (attack.name, noticed.times.len());
            println!(
                "{name}, {addresses} addresses: {tally:?}; {who}: {done}, 99 % {:?}",
                noticed.within(0.99)
            );
            assert!(noticed.failures.is_empty(), "{name}: {who} met {:?}", noticed.failures);
            assert!(done > 0, "{name}: {who} never came through");
            assert!(noticed.within(0.99) < ANSWERED_WITHIN, "{name}: {who} waits {:?}", noticed.within(0.99));
        }
        assert!(tally.opened >= effort.api_attack_connections, "{} was none: {tally:?}", attack.name);
        let evicted = scene.api().metric(EVICTED) - evicted_before;
        assert!(evicted > 0.0, "{}: every place was taken", attack.name);
        scene.certward.process().wait_recovered(&before, GROWTH_KIB);
    }
}

#[test]
fn connections_of_one_address_that_finish_nothing_keep_no_client_out_of_the_api() {
    survive(1);
}

#[test]
fn connections_of_fifty_addresses_that_finish_nothing_keep_no_client_out_of_the_api() {
    survive(50);
}
