//! Removed trust closes exactly the connections that it covers, at once.

use std::time::{Duration, Instant};

use certward_tests::{Authority, Scene};

const DEVICES: usize = 100;

#[test]
fn when_a_client_ca_goes_all_its_devices_are_closed_within_a_second_and_the_others_stay() {
    let scene = Scene::new();
    let (staying, going) = (Authority::new("Device CA"), Authority::new("Device CA"));
    let leaf = scene.leaf();
    scene
        .api()
        .post_tls(Scene::DEPLOYMENT, &leaf.two_way(&format!("{}{}", staying.pem(), going.pem())))
        .expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let connect = |authority: &Authority, name: &str| {
        let device = scene.device().with_identity(&authority.client(name));
        (0..DEVICES).map(|n| scene.connect(&device, &format!("{name}-{n}")).unwrap()).collect::<Vec<_>>()
    };
    let (mut stay, mut go) = (connect(&staying, "stays"), connect(&going, "goes"));

    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(staying.pem())).expect(200);
    let changed = Instant::now();
    for session in &mut go {
        assert!(session.wait_closed().expect("an end"), "properly, with a close_notify");
    }
    assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
    for session in &mut stay {
        session.ping().expect("it is trusted as before");
    }
}
