//! systemd opens the sockets and starts certward: earlier connections are served.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
    thread,
};

use certward_tests::{Api, Certward, Process, Scene, Setup, certward_binary, free_port, wait_until};

/// `systemd-socket-activate` passes only named variables.
fn activate(certward: &Certward, addresses: &[SocketAddr], notify: &Path) -> Process {
    let mut command = Command::new("systemd-socket-activate");
    for address in addresses {
        command.arg("--listen").arg(address.to_string());
    }
    command.arg("--fdname=certward").arg("--setenv").arg(format!("NOTIFY_SOCKET={}", notify.display()));
    command.arg(certward_binary()).args(["serve", "--config"]).arg(certward.config());
    Process::start("certward", certward.folder(), &mut command)
}

fn is_ready(api: &Api) -> bool {
    api.try_send_at("GET", "/readyz", "", "").is_ok_and(|answer| answer.status == 200)
}

#[test]
fn connections_before_the_start_are_served_after_it() {
    let mut scene = Scene::new();
    let leaf = scene.run_one_way();
    scene.certward.stop();
    let manager = UnixDatagram::bind(scene.certward.folder().join("notify")).unwrap();
    manager.set_read_timeout(Some(certward_tests::DEADLINE)).unwrap();
    let hear = || {
        let mut state = [0; 64];
        let length = manager.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..length]).into_owned()
    };
    let stray = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // certward binds the `wss` listener itself.
    let addresses = [scene.api().address, scene.certward.mqtts(), stray];
    let mut systemd = activate(&scene.certward, &addresses, &scene.certward.folder().join("notify"));
    systemd.wait_for("Listening on", addresses.len());
    // The first connection starts it.
    let device = scene.device();
    let waiting: Vec<_> = (0..5)
        .map(|number| {
            let (device, address) = (device.clone(), scene.certward.mqtts());
            thread::spawn(move || device.connect(address, Scene::HOST, &format!("early-{number}")))
        })
        .collect();
    for session in waiting {
        assert_eq!(session.join().unwrap().unwrap().leaf(), leaf.der);
    }
    assert_eq!(hear(), "READY=1");
    assert!(is_ready(&scene.api()));
    assert!(TcpStream::connect(scene.certward.wss()).is_ok());
    let output = systemd.output();
    assert_eq!(output.matches("the socket was open already").count(), 2, "{output}");
    assert!(output.contains("matches no listener"), "{output}");
    wait_until("an end of the stray socket", || TcpListener::bind(stray).ok());
    systemd.signal(rustix::process::Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    assert!(systemd.wait().success());
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let certward = Certward::prepare(Setup::default());
    assert!(certward.run_init(&[]).status.success());
    let mut command = Command::new(certward_binary());
    command.args(["serve", "--config"]).arg(certward.config());
    command.env("LISTEN_FDS", "3").env("LISTEN_PID", "1");
    let mut process = Process::start("certward", certward.folder(), &mut command);
    process.wait_for("the index of hosts is complete", 1);
    assert!(process.is_running() && !process.output().contains("open already"), "{}", process.output());
}
