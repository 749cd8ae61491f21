//! `kill -9` at any moment: acknowledged changes are complete and served.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{Api, Authority, Certward, Leaf, effort};

const DEPLOYMENTS: usize = 3;
const VERSIONS: usize = 40;

struct Operator {
    id: String,
    host: String,
    /// The common name is the number.
    leaves: Vec<Leaf>,
    /// Counted over all leaves.
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Operator {
    fn new(authority: &Authority, number: usize) -> Self {
        let host = format!("host-{number}.example");
        let leaves =
            (0..VERSIONS).map(|version| authority.server_named(&format!("v{version}"), &[&host])).collect();
        let id = format!("deployment-{number}");
        Self { id, host, leaves, sent: AtomicUsize::new(0), acknowledged: AtomicUsize::new(0) }
    }

    fn leaf(&self, change: usize) -> &Leaf {
        &self.leaves[change % VERSIONS]
    }

    fn change_until_killed(&self, api: &Api, faults: &Mutex<Vec<String>>) {
        let path = format!("/deployments/{}/tls", self.id);
        for change in self.acknowledged.load(Ordering::SeqCst) + 1.. {
            self.sent.store(change, Ordering::SeqCst);
            let body = self.leaf(change).one_way().to_string();
            match api.try_send("PUT", &path, "Content-Type: application/json\r\n", &body) {
                Ok(answer) if answer.status == 200 => self.acknowledged.store(change, Ordering::SeqCst),
                Ok(answer) => return faults.lock().unwrap().push(format!("{answer:?}")),
                Err(_) => return,
            }
        }
    }

    /// The state is the last acknowledged change or the one in flight.
    fn verify(&self, certward: &Certward, authority: &Authority) {
        let (acknowledged, sent) =
            (self.acknowledged.load(Ordering::SeqCst), self.sent.load(Ordering::SeqCst));
        let view = certward.api().wait_running(&self.id);
        let is = |change: usize| view["cn"] == format!("v{}", change % VERSIONS);
        let now = if is(sent) { sent } else { acknowledged };
        assert!(
            is(now),
            "{}: {acknowledged} was acknowledged, {sent} was sent, and there is {view}",
            self.id
        );
        // The handshake proves that certificate and key match.
        let device = certward_tests::Device::trusting(authority);
        let session = device.handshake(certward.mqtts(), &self.host).unwrap();
        assert_eq!(session.leaf(), self.leaf(now).der, "{} serves what it says is running", self.id);
        self.acknowledged.store(now, Ordering::SeqCst);
        self.sent.store(now, Ordering::SeqCst);
    }
}

#[test]
fn no_acknowledged_change_is_lost_none_is_mixed_and_every_restart_serves() {
    let kills = effort().kills;
    let authority = Authority::new("Test Server CA");
    let operators: Vec<Operator> = (0..DEPLOYMENTS).map(|number| Operator::new(&authority, number)).collect();
    let mut certward = Certward::start();
    let api = certward.api();
    for operator in &operators {
        api.create_deployment(&operator.id, "127.0.0.1:1", &[&operator.host]);
        api.post_tls(&operator.id, &operator.leaf(0).one_way()).expect(200);
    }

    let faults = Mutex::default();
    let mut changes = 0;
    for round in 0..kills {
        let acknowledged = || -> usize {
            operators.iter().map(|operator| operator.acknowledged.load(Ordering::SeqCst)).sum()
        };
        let before = acknowledged();
        thread::scope(|scope| {
            for operator in &operators {
                let (api, faults) = (&api, &faults);
                scope.spawn(move || operator.change_until_killed(api, faults));
            }
            // Every step of a change is interrupted in some round.
            thread::sleep(Duration::from_micros(40_000 + (round as u64 * 7_919) % 120_000));
            certward.kill();
        });
        changes += acknowledged() - before;
        certward.serve();
        for operator in &operators {
            operator.verify(&certward, &authority);
        }
    }
    println!("{kills} kills, {changes} acknowledged changes");
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(changes > kills, "there was hardly any load");
}
