//! Files and sockets are what a process has least of: what happens when somebody takes them all.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use certward_tests::{Api, Battlefield, Scene, Setup, connect_from, effort, wait_until};

#[test]
fn devices_that_take_all_they_are_given_leave_the_api_and_the_store_theirs() {
    let through = &["sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh"];
    let mut field = Battlefield::new(Setup { log_level: "info", through, ..Setup::default() });
    let api = field.scene.api();
    let before = field.scene.certward.process().resources();

    // Far more than the quarter of the descriptors that is for devices, two each.
    let attacker = field.attacker(Battlefield::ATTACKER, 300, effort().attack_span);
    thread::scope(|scope| {
        let attack = scope.spawn(|| certward_tests::ATTACKS[0].carry_out(&attacker));
        wait_until("refusals", || (api.metric("certward_gateway_refused_total") > 100.0).then_some(()));
        assert_eq!(api.try_send_at("GET", "/healthz", "", "").unwrap().status, 200);
        api.put_tls(Scene::DEPLOYMENT, &field.scene.leaf().one_way()).expect(200);
        let tally = attack.join().unwrap();
        assert!(tally.opened > 300 && tally.ended > 0, "{tally:?}");
    });

    wait_until("a device let in again", || field.scene.connect(&field.scene.device(), "after").ok());
    field.scene.certward.process().wait_recovered(&before, 8 * 1024);
    api.wait_running(Scene::DEPLOYMENT);
}

/// Asks twice on one connection and more: it was there before the descriptors were taken.
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
    // Below what certward was told at its start, and reckons with.
    certward.limit_descriptors((before.descriptors + LEFT) as u64);

    // The system completes their connections; certward cannot take them all.
    let held: Vec<TcpStream> = (0..4 * LEFT)
        .map(|_| connect_from(Some(Battlefield::ATTACKER.into()), field.scene.certward.mqtts()).unwrap())
        .collect();
    let certward = field.scene.certward.process();
    certward.wait_for("connections cannot be accepted", 1);
    let window = Duration::from_secs(2);
    let used = certward.cpu_within(window);
    assert!(used < window / 4, "{used:?} of {window:?} for waiting");
    asking.healthz();

    drop(held);
    wait_until("a device let in again", || field.scene.connect(&field.scene.device(), "after").ok());
    assert_eq!(api.try_send_at("GET", "/healthz", "", "").unwrap().status, 200);
    field.scene.certward.process().wait_recovered(&before, 8 * 1024);
}
