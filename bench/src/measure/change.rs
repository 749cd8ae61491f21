use std::time::{Duration, Instant};

use certward_tests::{Device, Scene};

use crate::judge::spread::Spread;

const CHANGES: usize = 100;

/// From the answer of a PUT to the first handshake with it, and to `running`.
pub(crate) fn measure() {
    let scene = Scene::new();
    scene.run_one_way();
    let (mut answers, mut met, mut running) = (vec![], vec![], vec![]);
    for _ in 0..CHANGES {
        let leaf = scene.leaf();
        let (address, der) = (scene.certward.mqtts(), leaf.der.clone());
        let begin = Instant::now();
        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        let answered = Instant::now();
        answers.push(answered - begin);
        let device = std::thread::spawn(move || first_handshake_with(address, &der, answered));
        running.push(until_running(&scene, answered));
        met.push(device.join().expect("the device"));
    }
    println!("## One change ({CHANGES} PUTs of a P-256 leaf, one deployment)\n");
    println!("| milliseconds | median | 99 % | max |\n|---|---|---|---|");
    println!("| PUT, from request to answer (new connection, durable) | {} |", Spread::new(answers).cells());
    println!(
        "| from the answer to the first handshake with the new certificate | {} |",
        Spread::new(met).cells()
    );
    println!(
        "| from the answer to `running`, seen by GET with `Prefer: wait` | {} |\n",
        Spread::new(running).cells()
    );
}

fn first_handshake_with(address: std::net::SocketAddr, leaf: &[u8], since: Instant) -> Duration {
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
