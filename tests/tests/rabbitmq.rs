//! The PROXY header as RabbitMQ reads it.

use certward_tests::{Authority, Certward, Device, Packet, RabbitMq, WebSocket};
use serde_json::json;

#[test]
fn rabbitmq_sees_the_address_of_each_device_and_refuses_who_sends_no_header() {
    let certward = Certward::start();
    let broker = RabbitMq::start(certward.folder());
    let (servers, clients) = (Authority::new("Test Server CA"), Authority::new("Device CA"));
    let deployments = [("oneway", "v2", false), ("twoway", "v2", true), ("silent", "none", false)];
    for (id, protocol, two_way) in deployments {
        let host = format!("{id}.example");
        certward.api().create_deployment_with(json!({
            "deploymentID": id, "upstream": broker.upstream(), "wsUpstream": broker.ws_upstream(),
            "hosts": [host], "proxyProtocol": protocol,
        }));
        let leaf = servers.server(&[&host]);
        let upload = if two_way { leaf.two_way(clients.pem()) } else { leaf.one_way() };
        certward.api().post_tls(id, &upload).expect(200);
        certward.api().wait_running(id);
    }

    let anybody = Device::trusting(&servers);
    let known = anybody.clone().with_identity(&clients.client("device-7"));
    for (id, device) in [("oneway", &anybody), ("twoway", &known)] {
        for (version, device) in [("12", device.clone().with_tls12()), ("13", device.clone().with_tls13())] {
            let name = format!("{id}-{version}");
            let mut session = device.connect(certward.mqtts(), &format!("{id}.example"), &name).unwrap();
            // SUBACK, then its own message.
            session.exchange(&Packet::subscribe(&name), &[0x90, 3, 0, 1, 0]).unwrap();
            let message = Packet::publish(&name, b"hello");
            session.exchange(&message, message.bytes()).unwrap();
            broker.wait_for(&format!(
                "({} -> {}, client id: {name})",
                session.local_address(),
                certward.mqtts()
            ));
        }
    }
    anybody.connect(certward.mqtts(), "silent.example", "silent").expect_err("a broker that wants a header");

    let session = anybody.handshake(certward.wss(), "oneway.example").unwrap();
    let address = session.local_address();
    let mut socket = WebSocket::upgrade(session, "oneway.example").unwrap();
    socket.send(Packet::connect("oneway-wss").bytes()).unwrap();
    assert_eq!(socket.receive().unwrap(), Packet::CONNACK);
    broker.wait_for(&format!("{address} -> {}", certward.wss()));
}
