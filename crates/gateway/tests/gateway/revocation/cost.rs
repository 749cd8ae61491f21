//! What revocations cost, printed: `cargo nextest run --release -p certward-gateway cost_of
//! --run-ignored only --no-capture`.

#![allow(clippy::print_stdout, reason = "what it measures is its result")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use certward_lifecycle::RevocationTarget;
use certward_pki::StalePolicy;
use rcgen::SerialNumber;
use tokio::task::JoinHandle;

use super::{Fleet, HOST};
use crate::stage::{Device, Leaf, TLS13, World, from_now};

/// Full handshakes one after another, until it is stopped.
struct Newcomers {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Newcomers {
    fn of(world: &World, device: impl Fn() -> Device + Send + 'static, host: &'static str) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let (to, until) = (world.mqtts(), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                device().talk(to, host).await.unwrap();
                times.push(began.elapsed());
            }
            times
        });
        Self { is_over, task }
    }

    async fn print(self, whose: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut times = self.task.await.unwrap();
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("  {whose}: {} handshakes, median {median:?}, longest {longest:?}", times.len());
    }
}

fn identities(
    fleet: &Fleet,
    leaf: &Leaf,
) -> (impl Fn() -> Device + Send + Clone + use<>, impl Fn() -> Device + Send + Clone + use<>) {
    // Each time without tickets.
    let two_way = (fleet.servers.der().to_vec(), leaf.clone());
    let one_way = fleet.servers.der().to_vec();
    let two_way = move || Device::trusting_der(&two_way.0, Some(&two_way.1), &[TLS13]);
    (two_way, move || Device::trusting_der(&one_way, None, &[TLS13]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn cost_of_a_crl_of_200_000_entries() {
    let fleet = Fleet::new().await;
    let Fleet { world, servers, clients, .. } = &fleet;
    let other = world.deploy("other", fleet.broker.address, &["other.test"]).await;
    world.run(&other, &servers.server(&["other.test"]), &[]).await;
    let revoked = clients.client("revoked");
    let (own, others) = identities(&fleet, &clients.client("device"));
    let serial = |n: u64| SerialNumber::from([[0x55; 12].as_slice(), &n.to_be_bytes()].concat());
    let now = from_now(Duration::ZERO);
    let crl = |number, more: &[&Leaf]| {
        let serials = (0..200_000).map(serial).chain(more.iter().map(|leaf| leaf.serial().into()));
        clients.crl_of(number, serials.collect(), now, from_now(Duration::from_secs(3600)))
    };
    let (first, second) = (crl(1, &[]), crl(2, &[&revoked]));
    let newcomers =
        [Newcomers::of(world, own.clone(), HOST), Newcomers::of(world, others.clone(), "other.test")];
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("without a CRL");
    for (newcomers, whose) in newcomers.into_iter().zip(["its own", "another deployment's"]) {
        newcomers.print(whose).await;
    }
    let mut session = fleet.talk(&fleet.device(&revoked)).await.unwrap();
    for (what, crl) in [("the first", first), ("the next, which revokes one", second)] {
        let newcomers =
            [Newcomers::of(world, own.clone(), HOST), Newcomers::of(world, others.clone(), "other.test")];
        let (judged, acknowledged) = fleet.set_crl_timed("devices", crl, StalePolicy::Soft).await;
        println!("{what}: judged and stored in {judged:?}, acknowledged {acknowledged:?} later");
        for (newcomers, whose) in newcomers.into_iter().zip(["its own", "another deployment's"]) {
            newcomers.print(whose).await;
        }
    }
    session.ends_cleanly().await;
    fleet.world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn cost_of_a_deny_list_of_100_000_entries() {
    let fleet = Fleet::new().await;
    let (own, _) = identities(&fleet, &fleet.clients.client("device"));
    let revoked = fleet.clients.client("revoked");
    let mut session = fleet.talk(&fleet.device(&revoked)).await.unwrap();
    for entries in [0, 1, 99_998] {
        if entries > 0 {
            let names: Vec<_> = (0..entries)
                .map(|n| RevocationTarget::Name { name: format!("{entries} {n}"), issuer: None })
                .collect();
            for names in names.chunks(1_000) {
                fleet.revoke(names.to_vec()).await;
            }
        }
        let newcomers = Newcomers::of(&fleet.world, own.clone(), HOST);
        tokio::time::sleep(Duration::from_secs(3)).await;
        newcomers.print(&format!("with {entries} entries more")).await;
    }
    let began = Instant::now();
    fleet.revoke(vec![super::certificate(&revoked)]).await;
    session.ends_cleanly().await;
    println!("one more, acknowledged, and its session ended in {:?}", began.elapsed());
    fleet.world.shut_down().await;
}
