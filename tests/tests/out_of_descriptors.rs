//! The process runs out of descriptors.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use certward_tests::{ATTACKS, Api, Battlefield, Scene, Setup, connect_from, effort, wait_until};

/// 62 devices with two descriptors each, and four unfinished connections.
const THROUGH: &[&str] = &["sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh"];
/// Closed for newer connections before they sent anything.
const DISPLACED: &str = "certward_gateway_handshake_failures_total{cause=\"displaced\"}";

#[test]
fn an_address_that_wants_all_places_gets_its_own_and_the_victim_at_another_never_notices() {
    let connections_per_address = Some(32);
    let setup = Setup { log_level: "info", through: THROUGH, connections_per_address, ..Setup::default() };
    let mut field = Battlefield::new(setup);
    let before = field.scene.certward.process().resources();
    let victim = field.victim();
    let tally = ATTACKS[0].carry_out(&field.attacker(Battlefield::ATTACKER, 300, effort().attack_span));
    let noticed = victim.stop();
    assert!(tally.opened > 300 && tally.ended > 0, "{tally:?}");
    assert!(field.scene.api().metric(DISPLACED) > 100.0);
    assert_eq!(noticed.failures, Vec::<String>::new());
    assert!(!noticed.times.is_empty());
    field.scene.certward.process().wait_recovered(&before, 8 * 1024);
}

#[test]
fn devices_that_take_all_they_are_given_leave_the_api_and_the_store_theirs() {
    let mut field = Battlefield::new(Setup { log_level: "info", through: THROUGH, ..Setup::default() });
    let api = field.scene.api();
    let before = field.scene.certward.process().resources();

    let attacker = field.attacker(Battlefield::ATTACKER, 300, effort().attack_span);
    thread::scope(|scope| {
        let attack = scope.spawn(|| ATTACKS[0].carry_out(&attacker));
        wait_until("many give way", || (api.metric(DISPLACED) > 100.0).then_some(()));
        field.scene.connect(&field.scene.device().at(Battlefield::VICTIM), "meanwhile").unwrap();
        assert_eq!(api.try_send_at("GET", "/healthz", "", "").unwrap().status, 200);
        api.put_tls(Scene::DEPLOYMENT, &field.scene.leaf().one_way()).expect(200);
        let tally = attack.join().unwrap();
        assert!(tally.opened > 300 && tally.ended > 0, "{tally:?}");
    });

    wait_until("a device let in again", || field.scene.connect(&field.scene.device(), "after").ok());
    field.scene.certward.process().wait_recovered(&before, 8 * 1024);
    api.wait_running(Scene::DEPLOYMENT);
}

/// Opened before the descriptors ran out.
struct Asking(TcpStream, Api);

impl Asking {
    fn healthz(&mut self) {
        write!(self.0, "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", self.1.address).unwrap();
        let mut answer = [0; 4096];
        let length = self.0.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn without_descriptors_accept_pauses_does_not_spin_and_resumes_by_itself() {
    const LEFT: usize = 20;
    let mut field = Battlefield::new(Setup { log_level: "info", ..Setup::default() });
    let api = field.scene.api();
    let mut asking = Asking(connect_from(None, api.address).unwrap(), api.clone());
    asking.healthz();
    let certward = field.scene.certward.process();
    certward.wait_resting();
    let before = certward.resources();
    // Below the limit read at the start.
    certward.limit_descriptors((before.descriptors + LEFT) as u64);

    // Completed by the system; certward cannot accept all.
    let mut held: Vec<TcpStream> = (0..4 * LEFT)
        .map(|_| connect_from(Some(Battlefield::ATTACKER.into()), field.scene.certward.mqtts()).unwrap())
        .collect();
    let certward = field.scene.certward.process();
    certward.wait_for("connections cannot be accepted", 1);
    let window = Duration::from_secs(2);
    let used = certward.cpu_within(window);
    assert!(used < window / 4, "{used:?} of {window:?} for waiting");
    asking.healthz();

    // Each close lets one in; running out again is not logged again.
    for gone in held.drain(..LEFT / 2) {
        drop(gone);
        asking.healthz();
    }
    assert_eq!(field.scene.certward.process().count("connections cannot be accepted"), 1);

    drop(held);
    wait_until("a device let in again", || field.scene.connect(&field.scene.device(), "after").ok());
    assert_eq!(api.try_send_at("GET", "/healthz", "", "").unwrap().status, 200);
    field.scene.certward.process().wait_recovered(&before, 8 * 1024);
}
