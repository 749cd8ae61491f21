//! Attacks from one address: a device at another does not notice, and nothing leaks.

use std::path::Path;

use certward_tests::{
    ATTACKS, Attack, Attacker, Battlefield, Device, EmbeddedDatabase, Setup, Stage, effort,
};

/// Allocators keep what an attack took, and reuse it for the next: memory settles. A leak of 6 KiB
/// for each connection of a full attack (`scripts/soak`) grows by more each time.
const GROWTH_KIB: u64 = 1024;
const TIMES_MAX: usize = 4;

fn battlefield() -> Battlefield {
    // At `debug`, logging would cost more than the attack.
    Battlefield::new(Setup { log_level: "info", ..Setup::default() })
}

/// Repeats each attack until memory grows no more.
fn survive(attacks: impl Iterator<Item = Attack>) {
    let effort = effort();
    let mut field = battlefield();
    field.scene.certward.process().wait_resting();
    let attacker = field.attacker(Battlefield::ATTACKER, effort.attack_connections, effort.attack_span);
    for attack in attacks {
        let settles = (0..TIMES_MAX).any(|_| grown_by(&mut field, &attack, &attacker) <= GROWTH_KIB);
        assert!(settles, "{}: memory grows with every attack", attack.name);
    }
}

/// Memory that an attack leaves, in KiB.
fn grown_by(field: &mut Battlefield, attack: &Attack, attacker: &Attacker) -> u64 {
    let before = field.scene.certward.process().resources();
    let victim = field.victim_of(attack);
    let tally = attack.carry_out(attacker);
    let noticed = victim.stop();
    let (after, within) = field.scene.certward.process().wait_recovered(&before, u64::MAX);
    println!(
        "{}: {tally:?}; the victim connected {} times; {} descriptors, {:.1} MiB before, {:.1} after {within:.1?}",
        attack.name,
        noticed.times.len(),
        after.descriptors,
        before.resident_mib(),
        after.resident_mib(),
    );
    assert!(noticed.failures.is_empty(), "{}: the victim met {:?}", attack.name, noticed.failures);
    assert!(!noticed.times.is_empty(), "{}: the victim never came through", attack.name);
    assert!(tally.opened >= effort().attack_connections, "{} was none: {tally:?}", attack.name);
    after.resident_kib.saturating_sub(before.resident_kib)
}

/// Half of a stage's attacks, each with its own certward.
fn half(stage: Stage, half: usize) -> impl Iterator<Item = Attack> {
    ATTACKS.into_iter().filter(move |attack| attack.stage == stage).skip(half).step_by(2)
}

#[test]
fn attacks_before_the_handshake_is_done_harm_no_other_device_and_leave_nothing() {
    survive(half(Stage::Handshake, 0));
}

#[test]
fn more_attacks_before_the_handshake_is_done_harm_no_other_device_and_leave_nothing() {
    survive(half(Stage::Handshake, 1));
}

#[test]
fn attacks_after_the_handshake_harm_no_other_device_and_leave_nothing() {
    survive(half(Stage::Session, 0));
}

#[test]
fn more_attacks_after_the_handshake_harm_no_other_device_and_leave_nothing() {
    survive(half(Stage::Session, 1));
}

/// Renames every table, or restores the names: in between, every read fails.
fn rename_tables(data: &Path, rename: impl Fn(&str) -> Option<String>) {
    for file in EmbeddedDatabase::files(data) {
        let mut database = EmbeddedDatabase::open(&file);
        let tables = database.tables().into_iter().filter(|table| !table.starts_with("sqlite_"));
        for (table, new) in tables.filter_map(|table| Some((rename(&table)?, table))) {
            database.execute(&format!("ALTER TABLE \"{new}\" RENAME TO \"{table}\""));
        }
    }
}

#[test]
fn invented_names_are_refused_without_a_look_into_the_store() {
    let field = battlefield();
    let (certward, api) = (&field.scene.certward, field.scene.api());
    let loads = api.metric("certward_gateway_config_loads_total");
    assert!(loads >= 5.0, "all five deployments are loaded: {loads}");

    rename_tables(&certward.data(), |table| Some(format!("gone_{table}")));
    let device = Device::trusting_anyone().at(Battlefield::ATTACKER);
    let victim = field.victim();
    for number in 0..10 * effort().attack_connections {
        let error =
            device.handshake(certward.mqtts(), &format!("invented-{number}.example.com")).unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "as without the store's trouble: {error}");
    }
    assert_eq!(victim.stop().failures, Vec::<String>::new());
    assert_eq!(api.metric("certward_gateway_config_loads_total"), loads);

    rename_tables(&certward.data(), |table| table.strip_prefix("gone_").map(str::to_owned));
}
