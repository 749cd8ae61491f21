//! Behind HAProxy: the address of its PROXY header reaches logs, lists and the broker.

use std::{fs, net::TcpStream, process::Command};

use certward_tests::{Authority, Device, Process, Scene, Setup, free_port, wait_until};
use serde_json::{Value, json};

const BALANCER: &str = "127.0.0.200";

/// Before certward with either header version, and behind it, reading certward's header.
struct HaProxy {
    process: Process,
    v1: u16,
    v2: u16,
    behind: u16,
}

impl HaProxy {
    fn start(scene: &Scene) -> Self {
        let [v1, v2, behind] = std::array::from_fn(|_| free_port());
        let certward = scene.certward.mqtts();
        let front = |name: &str, port: u16, send: &str| {
            format!(
                "listen {name}\n  bind 127.0.0.1:{port}\n  server certward {certward} {send} source {BALANCER}\n"
            )
        };
        let configuration = format!(
            "global\n  log stdout format raw local0\ndefaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  \
             timeout connect 5s\n{}{}listen behind\n  bind 127.0.0.1:{behind} accept-proxy\n  log global\n  option logasap\n  \
             log-format \"from=%ci to=%fi:%fp\"\n  server broker {}\n",
            front("v1", v1, "send-proxy"),
            front("v2", v2, "send-proxy-v2"),
            scene.broker.upstream()
        );
        let file = scene.certward.folder().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        let process =
            Process::start("haproxy", scene.certward.folder(), command.arg("-db").arg("-f").arg(file));
        for port in [v1, v2] {
            wait_until("HAProxy", || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        Self { process, v1, v2, behind }
    }
}

#[test]
fn haproxy_says_who_the_device_is_to_the_broker_and_to_the_operator() {
    let scene = Scene::with(Setup { proxy_protocol_from: Some(BALANCER), ..Setup::default() });
    let haproxy = HaProxy::start(&scene);
    let change = json!({"upstream": format!("127.0.0.1:{}", haproxy.behind), "proxyProtocol": "v2"});
    scene.api().send("PATCH", &format!("/deployments/{}", Scene::DEPLOYMENT), Some(&change)).expect(200);
    scene.run_one_way();
    let stranger = Device::trusting(&Authority::new("Another CA"));
    for (port, address) in [(haproxy.v1, [127, 0, 0, 7]), (haproxy.v2, [127, 0, 0, 8])] {
        let (front, from) = ((std::net::Ipv4Addr::LOCALHOST, port).into(), std::net::IpAddr::from(address));
        let device = scene.device().at(from);
        device.connect(front, Scene::HOST, "device").unwrap().ping().unwrap();
        haproxy.process.wait_for(&format!("from={from} to=127.0.0.1:{port}"), 1);
        stranger.clone().at(from).handshake(front, Scene::HOST).expect_err("it trusts another CA");
        wait_until("the failure", || {
            let answer =
                scene.api().send("GET", &format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT), None);
            let newest: Value = answer.expect(200).json()[0].clone();
            (newest["cause"] == "client_unknown_ca"
                && newest["address"].as_str()?.starts_with(&from.to_string()))
            .then_some(())
        });
    }
    let device = scene.device().at([127, 0, 0, 9]);
    scene.connect(&device, "straight").unwrap().ping().unwrap();
    haproxy.process.wait_for("from=127.0.0.9 ", 1);
}
