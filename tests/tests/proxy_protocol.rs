//! The PROXY header as HAProxy reads it.

use std::{fs, net::TcpStream, process::Command};

use certward_tests::{Authority, Process, Scene, free_port, wait_until};
use serde_json::json;

#[test]
fn haproxy_reads_the_header_and_the_broker_hears_the_device() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let (port, folder) = (free_port(), scene.certward.folder().to_owned());
    let configuration = format!(
        "global\n  log stdout format raw local0\ndefaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  \
         timeout connect 5s\nlisten mqtt\n  bind 127.0.0.1:{port} accept-proxy\n  log global\n  option logasap\n  \
         log-format \"from=%ci name=%[fc_pp_authority]\"\n  server broker {}\n",
        scene.broker.upstream()
    );
    fs::write(folder.join("haproxy.cfg"), configuration).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    let haproxy =
        Process::start("haproxy", &folder, command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg")));
    wait_until("HAProxy", || TcpStream::connect(("127.0.0.1", port)).ok());

    let device = scene.device().with_identity(&clients.client("device"));
    let change = json!({"upstream": format!("127.0.0.1:{port}"), "proxyProtocol": "v2"});
    let path = format!("/deployments/{}", Scene::DEPLOYMENT);
    scene.api().send("PATCH", &path, Some(&change)).expect(200);
    // Until the node reads the change, the broker itself answers.
    let told = |times| haproxy.count("from=127.0.0.1 name=localhost") >= times;
    wait_until("a way through HAProxy", || {
        let _ = scene.connect(&device, "first");
        told(1).then_some(())
    });
    let before = haproxy.count("name=localhost");
    for device in [device.clone().with_tls12(), device.with_tls13()] {
        scene.connect(&device, "device").unwrap().ping().unwrap();
    }
    haproxy.wait_for("from=127.0.0.1 name=localhost", before + 2);
}
