//! The Debian package over its life on a machine with systemd: installed, upgraded under load,
//! removed, purged. `scripts/test-packages` makes the machine and the packages, and runs this.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{Api, Authority, Broker, DebianMachine, Device, wait_until};
use serde_json::{Value, json};

const DEPLOYMENT: &str = "ge6a1a75";
const HOST: &str = "localhost";
const CONFIG: &str = "/etc/certward/certward.toml";
const INSTALL: &str = "apt-get install --yes -o Dpkg::Use-Pty=0";

/// The default ports: the network is the test's own.
const MQTTS: SocketAddr = local(8883);
const API: SocketAddr = local(8080);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn made(name: &str) -> PathBuf {
    let folder = std::env::var_os("CERTWARD_PACKAGES").expect("CERTWARD_PACKAGES, see scripts/test-packages");
    PathBuf::from(folder).join(name)
}

/// A machine on which certward is set up, with a broker and a certificate.
struct Installation {
    machine: DebianMachine,
    broker: Broker,
    authority: Authority,
    api: Api,
}

impl Installation {
    /// Installs the older package, and follows what it prints.
    fn new(start: &str) -> Self {
        let machine = DebianMachine::boot(&made("root.tar"));
        for name in ["old.deb", "new.deb"] {
            fs::copy(made(name), machine.path("/srv").join(name)).unwrap();
        }
        let said = machine.must(&format!("cd /srv && {INSTALL} ./old.deb"));
        assert!(said.contains("certward init") && !said.contains("secretKey"), "{said}");
        let settings = fs::read_to_string(machine.path(CONFIG)).unwrap();
        let settings = settings.replace("# drain = \"30s\"", "drain = \"2s\"");
        let settings = settings.replace("# changes = 6", "changes = 1000");
        fs::write(machine.path(CONFIG), settings).unwrap();
        // As it is printed.
        let init = said.lines().find(|line| line.contains("certward init")).unwrap();
        machine.must(&format!("cd /srv && {init}"));
        let key = fs::metadata(machine.path("/srv/admin.json")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let key: Value = serde_json::from_slice(&fs::read(machine.path("/srv/admin.json")).unwrap()).unwrap();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        let api = Api { address: API, key: text("apiKey"), secret: text("secretKey") };
        machine.must(start);
        let broker = Broker::start(machine.folder());
        let authority = Authority::new("Package CA");
        wait_until("certward", || api.try_send_at("GET", "/readyz", "", "").ok());
        api.create_deployment_with(
            json!({"deploymentID": DEPLOYMENT, "upstream": broker.upstream(), "hosts": [HOST]}),
        );
        api.post_tls(DEPLOYMENT, &authority.server(&[HOST]).one_way()).expect(200);
        api.wait_running(DEPLOYMENT);
        Self { machine, broker, authority, api }
    }

    fn device(&self) -> Device {
        Device::trusting(&self.authority)
    }

    fn main_process(&self, unit: &str) -> String {
        self.machine.must(&format!("systemctl show -P MainPID {unit}")).trim().to_owned()
    }

    fn active(&self) -> String {
        self.machine.must(
            "systemctl list-units --plain --no-legend --state=active 'certward*.service' | cut -d' ' -f1",
        )
    }

    /// A change, seen by a device.
    fn changes_the_certificate(&self) {
        let leaf = self.authority.server(&[HOST]);
        self.api.put_tls(DEPLOYMENT, &leaf.one_way()).expect(200);
        self.api.wait_running(DEPLOYMENT);
        assert_eq!(self.device().connect(MQTTS, HOST, "after").unwrap().leaf(), leaf.der);
    }

    /// Installs the newer package while devices connect: none is refused or cut off.
    fn upgrades_under_load(&self) -> String {
        let load = Load::default();
        let said = thread::scope(|scope| {
            for worker in 0..4 {
                let load = &load;
                scope.spawn(move || load.connect(worker, &self.device()));
            }
            scope.spawn(|| load.ask(&self.api));
            load.wait_for_more();
            let said = self.machine.sh(&format!("cd /srv && {INSTALL} ./new.deb"));
            // Before an assertion, which would wait for the threads.
            if said.status.success() {
                load.wait_for_more();
            }
            load.over.store(true, Ordering::SeqCst);
            said
        });
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.status.success(), "{text}");
        let faults = load.faults.into_inner().unwrap();
        println!(
            "{} connections, {} of them closed by the drain, {} requests, {} faults",
            load.connections.into_inner(),
            load.closed.into_inner(),
            load.requests.into_inner(),
            faults.len()
        );
        assert!(faults.is_empty(), "{faults:#?}\n{text}\n{}", self.machine.journal());
        assert_eq!(self.machine.must("dpkg-query -W -f='${Version}' certward"), "0.1.0-2");
        text
    }
}

/// Devices and requests, without a pause.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    connections: AtomicUsize,
    requests: AtomicUsize,
    closed: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn connect(&self, worker: usize, device: &Device) {
        while !self.is_over() {
            match device.connect(MQTTS, HOST, &format!("worker-{worker}")) {
                Ok(_) => {}
                // A close_notify: the process before drains. rustls names it where it is missing.
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof
                        && !error.to_string().contains("close_notify") =>
                {
                    self.closed.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => self.fault(format!("a device: {error}")),
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, api: &Api) {
        while !self.is_over() {
            match api.try_send_at("GET", "/healthz", "", "") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => self.fault(format!("a request: {answer:?}")),
                Err(error) => self.fault(format!("a request: {error}")),
            }
            self.requests.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn wait_for_more(&self) {
        let seen = || [&self.connections, &self.requests].map(|counter| counter.load(Ordering::SeqCst));
        let before = seen();
        wait_until("load", || {
            let now = seen();
            (now[0] > before[0] + 20 && now[1] > before[1] + 20).then_some(())
        });
    }
}

const BY_SOCKET: &str = "systemctl enable --now certward.socket certward.service";

#[test]
#[ignore = "needs root, packages and a network of its own: scripts/test-packages"]
fn the_package_is_installed_upgraded_removed_and_purged() {
    let installed = Installation::new(BY_SOCKET);
    let machine = &installed.machine;
    let owned = || {
        let modes = format!("stat -c '%U:%G %a' {CONFIG} /var/lib/certward /var/lib/certward/master.key");
        assert_eq!(machine.must(&modes), "root:certward 640\ncertward:certward 700\ncertward:certward 600\n");
    };
    owned();
    for tried in [
        "test -s /usr/share/man/man1/certward-tls-set.1.gz",
        "certward healthcheck --config /etc/certward/certward.toml",
        "runuser -u certward -- certward doctor --config /etc/certward/certward.toml",
        "test -s /usr/share/bash-completion/completions/certward",
    ] {
        machine.must(tried);
    }

    installed.works_under_the_restrictions_of_its_unit("certward.service");
    let before = installed.main_process("certward");
    let said = installed.upgrades_under_load();
    assert!(said.contains("new connections wait"), "{said}");
    assert_ne!(before, installed.main_process("certward"), "the new program serves");
    installed.changes_the_certificate();
    let settings = fs::read_to_string(machine.path(CONFIG)).unwrap();
    assert!(settings.contains("drain = \"2s\""), "a configuration that was edited stays");
    owned();

    machine.must("apt-get remove --yes certward");
    let error = installed.device().connect(MQTTS, HOST, "gone").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "it has been stopped");
    assert!(!machine.path("/usr/bin/certward").exists());
    for kept in [CONFIG, "/var/lib/certward/store.db", "/var/lib/certward/master.key"] {
        assert!(machine.path(kept).exists(), "{kept} stays");
    }

    machine.must(&format!("cd /srv && {INSTALL} ./new.deb"));
    machine.must(BY_SOCKET);
    installed.changes_the_certificate();

    fs::write(machine.path("/etc/certward/api.key"), "the operator's").unwrap();
    let said = machine.must("apt-get purge --yes certward");
    assert!(said.contains("removing /var/lib/certward") && said.contains("/etc/certward stays"), "{said}");
    assert!(!machine.path("/var/lib/certward").exists() && !machine.path(CONFIG).exists());
    assert!(machine.path("/etc/certward/api.key").exists(), "what the operator put there stays");
    let left = machine
        .must("find /etc/systemd /usr/lib/systemd /var/lib/systemd/deb-systemd-helper* -name '*certward*'");
    assert_eq!(left, "", "no unit is left");
}

impl Installation {
    /// Devices, a change, a reload, a backup.
    fn works_under_the_restrictions_of_its_unit(&self, unit: &str) {
        let machine = &self.machine;
        let process = self.main_process(unit);
        let status = machine.must(&format!("cat /proc/{process}/status"));
        for held in
            ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            assert!(status.contains(held), "{held}: {status}");
        }
        let spaces = machine.must(&format!(
            "readlink /proc/1/ns/user /proc/1/ns/mnt /proc/{process}/ns/user /proc/{process}/ns/mnt"
        ));
        let mut spaces: Vec<&str> = spaces.lines().collect();
        spaces.sort_unstable();
        spaces.dedup();
        assert_eq!(spaces.len(), 4, "users and mounts are its own: {spaces:?}");
        let core = machine.must(&format!("grep 'Max core file size' /proc/{process}/limits"));
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");

        self.changes_the_certificate();
        assert!(self.broker.output().contains("after"), "the broker has seen the device");
        let settings = fs::read_to_string(machine.path(CONFIG)).unwrap();
        fs::write(machine.path(CONFIG), settings.replace("# level = \"info\"", "level = \"debug\"")).unwrap();
        machine.must(&format!("systemctl reload {unit}"));
        wait_until("a reload", || machine.journal().contains("log level").then_some(()));
        machine.must("systemctl start certward-backup.service");
        let backups = fs::read_dir(machine.path("/var/lib/certward-backup")).unwrap();
        let sizes: Vec<u64> = backups.map(|entry| entry.unwrap().metadata().unwrap().size()).collect();
        assert!(sizes.len() == 1 && sizes[0] > 10_000, "{sizes:?}");
    }
}

#[test]
#[ignore = "needs root, packages and a network of its own: scripts/test-packages"]
fn instances_take_over_from_each_other_without_a_wait() {
    let installed = Installation::new(BY_SOCKET);
    let machine = &installed.machine;
    // From the sockets to instances, as in docs/upgrade.md.
    machine.must("systemctl disable --now certward.socket && systemctl enable --now certward@a && systemctl disable certward.service");
    wait_until("the end of the service", || (installed.active() == "certward@a.service\n").then_some(()));
    installed.works_under_the_restrictions_of_its_unit("certward@a");

    let mut staying = installed.device().connect(MQTTS, HOST, "staying").unwrap();
    let said = installed.upgrades_under_load();
    assert!(said.contains("certward@b.service has taken over"), "{said}");
    assert!(staying.wait_closed().unwrap(), "the process before drains");
    wait_until("the end of the drain", || (installed.active() == "certward@b.service\n").then_some(()));
    let enabled = machine.sh("systemctl is-enabled certward@a certward@b").stdout;
    assert_eq!(String::from_utf8_lossy(&enabled), "disabled\nenabled\n");
    installed.changes_the_certificate();

    // One that cannot start changes nothing.
    let settings = fs::read_to_string(machine.path(CONFIG)).unwrap();
    fs::write(machine.path(CONFIG), format!("{settings}\n[nonsense]\n")).unwrap();
    let said = machine.must(&format!("cd /srv && timeout 120 {INSTALL} --reinstall ./new.deb"));
    assert!(said.contains("certward@b.service still serves"), "{said}");
    installed.changes_the_certificate();
    fs::write(machine.path(CONFIG), settings).unwrap();

    machine.must("systemctl kill --signal=KILL certward@b");
    wait_until("a start after the kill", || installed.device().connect(MQTTS, HOST, "again").ok());
    machine.must("apt-get purge --yes certward");
    assert_eq!(installed.active(), "");
    let left = machine
        .must("find /etc/systemd /usr/lib/systemd /var/lib/systemd/deb-systemd-helper* -name '*certward*'");
    assert_eq!(left, "", "no unit is left");
}
