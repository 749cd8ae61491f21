//! The PROXY header as HAProxy reads it.

use certward_tests::{Authority, HaProxy, Scene, wait_until};
use serde_json::json;

#[test]
fn haproxy_reads_the_header_and_the_broker_hears_the_device() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let haproxy = HaProxy::before(&scene.broker.upstream(), scene.certward.folder());

    let device = scene.device().with_identity(&clients.client("device"));
    let change = json!({"upstream": haproxy.upstream(), "proxyProtocol": "v2"});
    let path = format!("/deployments/{}", Scene::DEPLOYMENT);
    scene.api().send("PATCH", &path, Some(&change)).expect(200);
    // Until the node reads the change, the broker itself answers.
    let told = |times| haproxy.process().count("from=127.0.0.1 name=localhost") >= times;
    wait_until("a way through HAProxy", || {
        let _ = scene.connect(&device, "first");
        told(1).then_some(())
    });
    let before = haproxy.process().count("name=localhost");
    for device in [device.clone().with_tls12(), device.with_tls13()] {
        scene.connect(&device, "device").unwrap().ping().unwrap();
    }
    haproxy.process().wait_for("from=127.0.0.1 name=localhost", before + 2);
}
