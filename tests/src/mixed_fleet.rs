use std::{
    fmt,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{Authority, Device, Leaf, Packet, Process, Session, wait_until};

/// Connected devices of three kinds: rustls, `mosquitto_sub`, and `openssl s_client`. Each has a
/// client certificate of its own and verifies the server's chain and name.
#[derive(Debug)]
pub struct MixedFleet {
    rustls: Vec<(Device, SocketAddr, String, Option<Session>)>,
    mosquitto: Vec<MosquittoDevice>,
    openssl: Vec<OpensslDevice>,
}

/// How devices reach certward, and whom they trust.
#[derive(Debug, Clone)]
pub struct FleetTarget<'a> {
    /// A listener of each node; devices are spread over them.
    pub nodes: &'a [SocketAddr],
    /// The host; it resolves to the nodes.
    pub host: &'a str,
    /// The root of the server's certificates.
    pub server_ca: &'a Authority,
    /// The issuer of the devices' certificates.
    pub client_ca: &'a Authority,
    /// For files.
    pub folder: &'a Path,
}

/// It connects again by itself, until a TLS error ends it.
struct MosquittoDevice {
    name: String,
    folder: PathBuf,
    command: Box<dyn Fn() -> Command>,
    process: Process,
    /// CONNECTs when it was last seen connected.
    connects: usize,
}

struct OpensslDevice {
    name: String,
    command: Box<dyn Fn() -> Command>,
    running: Option<(Child, ChildStdin, ChildStdout)>,
}

impl MixedFleet {
    /// Connects devices: a fifth each of `mosquitto_sub` and `openssl`.
    pub fn connect(target: &FleetTarget<'_>, devices: usize) -> Self {
        let server_ca = target.server_ca.write(target.folder, "fleet-server-ca.pem");
        let mut fleet = Self { rustls: Vec::new(), mosquitto: Vec::new(), openssl: Vec::new() };
        for number in 0..devices {
            let (node, name) = (target.nodes[number % target.nodes.len()], format!("device-{number}"));
            let identity = target.client_ca.client(&name);
            match number % 5 {
                0 => fleet.mosquitto.push(MosquittoDevice::start(target, node, &name, &identity, &server_ca)),
                1 => fleet.openssl.push(OpensslDevice::new(target, node, &name, &identity, &server_ca)),
                _ => {
                    let device = Device::trusting(target.server_ca).with_identity(&identity);
                    fleet.rustls.push((device, node, name, None));
                }
            }
        }
        fleet.come_back(target.host);
        fleet
    }

    /// Devices.
    pub fn len(&self) -> usize {
        self.rustls.len() + self.mosquitto.len() + self.openssl.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every device is answered on the connection that it has had.
    #[track_caller]
    pub fn assert_connected(&mut self) {
        for (_, _, name, session) in &mut self.rustls {
            session
                .as_mut()
                .expect("it is connected")
                .ping()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for device in &mut self.openssl {
            device.ping().unwrap_or_else(|error| panic!("openssl: {error}"));
        }
        for device in &self.mosquitto {
            assert_eq!(device.process.count(SENT), device.connects, "{}", device.process.output());
        }
    }

    /// Waits until certward has ended every connection.
    pub fn wait_closed(&mut self) {
        for (_, _, name, session) in &mut self.rustls {
            let mut session = session.take().expect("it is connected");
            session.wait_closed().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for device in &mut self.openssl {
            device.wait_end();
        }
    }

    /// Every device that is not connected connects: it accepts what is served, and is accepted.
    #[track_caller]
    pub fn come_back(&mut self, host: &str) {
        for (device, node, name, session) in &mut self.rustls {
            if session.is_none() {
                *session =
                    Some(device.connect(*node, host, name).unwrap_or_else(|error| panic!("{name}: {error}")));
            }
        }
        for device in &mut self.openssl {
            device.come_back();
        }
        for device in &mut self.mosquitto {
            device.come_back();
        }
    }
}

/// As `mosquitto_sub -d` reports a CONNECT.
const SENT: &str = "sending CONNECT";

impl MosquittoDevice {
    fn start(
        target: &FleetTarget<'_>,
        node: SocketAddr,
        name: &str,
        identity: &Leaf,
        server_ca: &Path,
    ) -> Self {
        let (cert, key) = identity.write(target.folder, name);
        let (host, server_ca, id) = (target.host.to_owned(), server_ca.to_owned(), name.to_owned());
        let command = move || {
            // Else it reports to a file only with its first message.
            let mut command = Command::new("stdbuf");
            command.args(["-oL", "mosquitto_sub", "-d", "-k", "600", "-h", &host, "-i", &id, "-t", &id]);
            command.args(["-p", &node.port().to_string()]);
            command.arg("--cafile").arg(&server_ca).arg("--cert").arg(&cert).arg("--key").arg(&key);
            command
        };
        let process = Process::start(name, target.folder, &mut command());
        let (name, folder) = (name.to_owned(), target.folder.to_owned());
        Self { name, folder, command: Box::new(command), process, connects: 0 }
    }

    fn come_back(&mut self) {
        wait_until("mosquitto_sub is connected", || {
            if !self.process.is_running() {
                self.process = Process::start(&self.name, &self.folder, &mut (self.command)());
            }
            let output = self.process.output();
            let is_event = |line: &&str| line.contains("received CONNACK") || line.contains(SENT);
            output.lines().rfind(is_event)?.contains("received CONNACK (0)").then_some(())
        });
        self.connects = self.process.count(SENT);
    }
}

impl fmt::Debug for MosquittoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MosquittoDevice").field("name", &self.name).finish_non_exhaustive()
    }
}

impl OpensslDevice {
    fn new(
        target: &FleetTarget<'_>,
        node: SocketAddr,
        name: &str,
        identity: &Leaf,
        server_ca: &Path,
    ) -> Self {
        let (cert, key) = identity.write(target.folder, name);
        let (host, server_ca): (String, PathBuf) = (target.host.to_owned(), server_ca.to_owned());
        let command = move || {
            let mut command = Command::new("openssl");
            command.args(["s_client", "-quiet", "-connect", &node.to_string(), "-servername", &host]);
            command.args(["-verify_return_error", "-verify_hostname", &host]);
            command.arg("-CAfile").arg(&server_ca).arg("-cert").arg(&cert).arg("-key").arg(&key);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            command
        };
        Self { name: name.to_owned(), command: Box::new(command), running: None }
    }

    fn come_back(&mut self) {
        if self.running.is_some() {
            return;
        }
        let mut child = (self.command)().spawn().expect("openssl starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        self.running = Some((child, to, from));
        let connect = Packet::connect(&self.name);
        self.exchange(connect.bytes(), &Packet::CONNACK).expect("openssl s_client is connected");
    }

    fn ping(&mut self) -> std::io::Result<()> {
        self.exchange(Packet::ping().bytes(), &Packet::PINGRESP)
    }

    fn exchange(&mut self, packet: &[u8], answer: &[u8]) -> std::io::Result<()> {
        let (_, to, from) = self.running.as_mut().expect("it is connected");
        to.write_all(packet)?;
        to.flush()?;
        let mut got = vec![0; answer.len()];
        from.read_exact(&mut got)?;
        if got == answer { Ok(()) } else { Err(std::io::Error::other(format!("{got:02x?}"))) }
    }

    fn wait_end(&mut self) {
        let Some((mut child, _, mut from)) = self.running.take() else { return };
        // To its end.
        let _ = from.read_to_end(&mut Vec::new());
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for OpensslDevice {
    fn drop(&mut self) {
        if let Some((mut child, ..)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl fmt::Debug for OpensslDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslDevice").field("is_connected", &self.running.is_some()).finish_non_exhaustive()
    }
}
