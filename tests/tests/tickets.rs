//! Session tickets after each kind of change, in both versions of TLS.

use std::process::Command;

use certward_tests::{Authority, Device, Leaf, Scene, run, wait_until};

/// A change between two connections of a device.
struct Change {
    name: &'static str,
    /// At first; the device always has a certificate.
    two_way: bool,
    carry_out: fn(&mut Stage),
    after: After,
}

/// The next connection.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Resumed,
    Full,
    Refused,
}

struct Stage {
    scene: Scene,
    leaf: Leaf,
    clients: Authority,
    others: Authority,
}

impl Stage {
    fn put(&self, leaf: &Leaf, client_cas: Option<&str>) {
        let upload = client_cas.map_or_else(|| leaf.one_way(), |cas| leaf.two_way(cas));
        self.scene.api().put_tls(Scene::DEPLOYMENT, &upload).expect(200);
        self.scene.api().wait_running(Scene::DEPLOYMENT);
    }

    fn connect(&self, device: &Device) -> After {
        match self.scene.connect(device, "device") {
            Ok(session) if session.is_resumed() => After::Resumed,
            Ok(_) => After::Full,
            Err(_) => After::Refused,
        }
    }
}

const CHANGES: [Change; 11] = [
    Change { name: "nothing", two_way: false, carry_out: |_| {}, after: After::Resumed },
    Change { name: "nothing, two-way", two_way: true, carry_out: |_| {}, after: After::Resumed },
    Change {
        name: "another leaf",
        two_way: true,
        carry_out: |stage| stage.put(&stage.scene.leaf(), Some(stage.clients.pem())),
        after: After::Resumed,
    },
    Change {
        name: "a restart",
        two_way: true,
        carry_out: |stage| {
            stage.scene.certward.stop();
            stage.scene.certward.serve();
            stage.scene.api().wait_running(Scene::DEPLOYMENT);
        },
        after: After::Resumed,
    },
    Change {
        name: "one-way to two-way",
        two_way: false,
        carry_out: |stage| stage.put(&stage.leaf, Some(stage.clients.pem())),
        after: After::Full,
    },
    Change {
        name: "one-way to two-way for others",
        two_way: false,
        carry_out: |stage| stage.put(&stage.leaf, Some(stage.others.pem())),
        after: After::Refused,
    },
    Change {
        name: "two-way to one-way",
        two_way: true,
        carry_out: |stage| stage.put(&stage.leaf, None),
        after: After::Full,
    },
    Change {
        name: "another CA instead",
        two_way: true,
        carry_out: |stage| stage.put(&stage.leaf, Some(stage.others.pem())),
        after: After::Refused,
    },
    Change {
        name: "a CA added",
        two_way: true,
        carry_out: |stage| {
            stage.put(&stage.leaf, Some(&format!("{}{}", stage.clients.pem(), stage.others.pem())));
        },
        after: After::Resumed,
    },
    Change {
        name: "deleted and made again",
        two_way: true,
        carry_out: |stage| {
            let api = stage.scene.api();
            api.delete_tls(Scene::DEPLOYMENT).expect(204);
            wait_until("the end of the deletion", || (api.tls(Scene::DEPLOYMENT).body == "{}").then_some(()));
            api.post_tls(Scene::DEPLOYMENT, &stage.leaf.two_way(stage.clients.pem())).expect(200);
            api.wait_running(Scene::DEPLOYMENT);
        },
        after: After::Full,
    },
    Change {
        name: "the host is another deployment's",
        two_way: true,
        carry_out: |stage| {
            let api = stage.scene.api();
            api.send("DELETE", &format!("/deployments/{}", Scene::DEPLOYMENT), None).expect(204);
            api.create_deployment("other", &stage.scene.broker.upstream(), &[Scene::HOST]);
            api.post_tls("other", &stage.leaf.two_way(stage.clients.pem())).expect(200);
            api.wait_running("other");
        },
        after: After::Full,
    },
];

/// With TLS 1.2 and with TLS 1.3.
fn play(change: &Change) -> [After; 2] {
    let scene = Scene::new();
    let (clients, others) = (Authority::new("Device CA"), Authority::new("Device CA"));
    let leaf = if change.two_way { scene.run_two_way(&clients) } else { scene.run_one_way() };
    let device = scene.device().with_identity(&clients.client("device"));
    let devices = [device.clone().with_tls12(), device.with_tls13()].map(Device::with_resumption);
    let mut stage = Stage { scene, leaf, clients, others };
    assert_eq!(devices.each_ref().map(|device| stage.connect(device)), [After::Full, After::Full]);
    (change.carry_out)(&mut stage);
    devices.each_ref().map(|device| stage.connect(device))
}

#[test]
fn a_ticket_resumes_only_where_nothing_about_the_trust_has_changed() {
    std::thread::scope(|scope| {
        for change in &CHANGES {
            scope.spawn(|| {
                let after = play(change);
                assert!(after.iter().all(|after| *after == change.after), "{}: {after:?}", change.name);
            });
        }
    });
}

#[test]
fn without_a_ticket_there_is_no_session_to_resume() {
    let scene = Scene::new();
    scene.run_one_way();
    let file = scene.certward.folder().join("session");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-no_ticket", "-servername", Scene::HOST]);
    command.args(["-connect", &scene.certward.mqtts().to_string(), "-sess_out"]).arg(&file);
    let output = run(&mut command);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("New, TLSv1.2"), "{text}");
    assert!(!file.exists(), "a session id was given out");
}
