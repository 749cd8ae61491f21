//! From the answer of a PUT to the first handshake with it, and to `running`.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use certward_tests::{Device, Scene};

use crate::{
    judge::Series,
    results::{Report, Table, Value},
};

const CHANGES: usize = 100;

pub(crate) fn measure() -> Report {
    let mut report = Report::new("change");
    let scene = Scene::new();
    scene.run_one_way();
    let (mut answered, mut met, mut running) = (vec![], vec![], vec![]);
    for _ in 0..CHANGES {
        let leaf = scene.leaf();
        let (address, der) = (scene.certward.mqtts(), leaf.der.clone());
        let begin = Instant::now();
        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        let answer = Instant::now();
        answered.push(answer - begin);
        let device = thread::spawn(move || first_handshake_with(address, &der, answer));
        running.push(until_running(&scene, answer));
        met.push(device.join().expect("the device"));
    }
    report.text(format!("{CHANGES} PUTs of a P-256 leaf, one deployment, a new connection for each."));
    let mut table = Table::default();
    let mut row =
        |name: &str, times| table.row([("", name.into()), ("ms", Value::Percentiles(Series::ms(times)))]);
    row("PUT, from request to durable answer", answered);
    row("from the answer to the first handshake with the new certificate", met);
    row("from the answer to `running`, seen by GET with `Prefer: wait`", running);
    report.table(table);
    report
}

fn first_handshake_with(address: SocketAddr, leaf: &[u8], since: Instant) -> Duration {
    let device = Device::trusting_anyone();
    loop {
        let begun = Instant::now();
        let session = device.handshake(address, Scene::HOST).expect("a handshake never fails");
        if session.leaf() == leaf {
            return begun.max(since) - since;
        }
    }
}

fn until_running(scene: &Scene, since: Instant) -> Duration {
    let path = format!("/deployments/{}/tls", Scene::DEPLOYMENT);
    let answer = scene.api().try_send("GET", &path, "Prefer: wait=30\r\n", "").expect("an answer");
    assert_eq!(answer.tls_status(), "running", "{answer:?}");
    since.elapsed()
}
