//! Record lengths towards devices with small buffers.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use certward_store::{DeploymentId, DeploymentPatch, RecordBytes};
use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    hello::{Hello, extension, names},
    stage::{Authority, Broker, CONNECT, Device, TEST_TIMEOUT, TLS12, TLS13, World},
};

const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;
/// Nonce and tag in TLS 1.2, content type and tag in TLS 1.3.
const ADDED_TLS12: usize = 8 + 16;
const ADDED_TLS13: usize = 1 + 16;
/// Plaintext.
const FULL: usize = 16 * 1024;
/// Thirty retained messages of 400 bytes, written at once.
const RETAINED: usize = 12_367;

fn max_fragment_length(code: u8) -> Vec<u8> {
    extension(1, &[code])
}

fn record_size_limit(bytes: u16) -> Vec<u8> {
    extension(28, &bytes.to_be_bytes())
}

fn retained() -> Vec<u8> {
    (0..RETAINED).map(|at| (at % 251) as u8).collect()
}

/// A deployment per [`RECORD_BYTES`]; the broker answers CONNECT with [`retained`].
struct Stage {
    world: World,
    ca: Authority,
    _broker: Broker,
}

const RECORD_BYTES: [usize; 4] = [FULL, 2048, 1000, 512];

fn host(record_bytes: usize) -> String {
    format!("r{record_bytes}.test")
}

impl Stage {
    /// A leaf of about 10 KB: more than 4,096 bytes, less than a full record.
    async fn new() -> Self {
        Self::with_names(200).await
    }

    async fn with_names(more: usize) -> Self {
        let broker = Broker::new(|mut stream| async move {
            let mut connect = vec![0; CONNECT.len()];
            stream.read_exact(&mut connect).await.unwrap();
            stream.write_all(&retained()).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        })
        .await;
        let (world, ca) = (World::new().await, Authority::new("servers"));
        let more = (0..more).map(|n| format!("{n:040}.test"));
        let hosts: Vec<String> = RECORD_BYTES.map(host).into_iter().chain(more).collect();
        let leaf = ca.server(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
        for bytes in RECORD_BYTES {
            let deployment = world.deploy(&format!("r{bytes}"), broker.address, &[&host(bytes)]).await;
            set(&world, &deployment, bytes).await;
            world.run(&deployment, &leaf, &[]).await;
        }
        Self { world, ca, _broker: broker }
    }
}

async fn set(world: &World, deployment: &DeploymentId, record_bytes: usize) {
    let record_bytes = RecordBytes::parse(i64::try_from(record_bytes).unwrap()).unwrap();
    let change = DeploymentPatch { record_bytes: Some(record_bytes), ..DeploymentPatch::default() };
    world.change(deployment, change).await;
}

/// Records what the client receives.
struct Tap {
    address: SocketAddr,
    received: JoinHandle<Vec<u8>>,
}

impl Tap {
    async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let gateway = TcpStream::connect(gateway).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_gateway, mut to_gateway) = gateway.into_split();
            let upward = tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_gateway).await;
            });
            let (mut received, mut piece) = (Vec::new(), vec![0; 4096]);
            while let Ok(len @ 1..) = from_gateway.read(&mut piece).await {
                received.extend_from_slice(&piece[..len]);
                let _ = to_client.write_all(&piece[..len]).await;
            }
            upward.abort();
            received
        });
        Self { address, received }
    }

    async fn received(self) -> Vec<u8> {
        timeout(TEST_TIMEOUT, self.received).await.expect("the connection ends").unwrap()
    }
}

/// Plaintexts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Longest {
    handshake: usize,
    data: usize,
}

impl Longest {
    /// AES-GCM, the gateway's choice if offered. In TLS 1.3 all encrypted records look like data.
    fn of(mut received: &[u8], is_tls13: bool) -> Self {
        let (mut longest, mut is_encrypted) = (Self::default(), false);
        while let Some((&[kind, _, _, high, low], rest)) = received.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(behind) = rest.get(len..) else { break };
            received = behind;
            let added = match (is_tls13, is_encrypted) {
                (true, _) if kind == APPLICATION_DATA => ADDED_TLS13,
                (false, true) => ADDED_TLS12,
                _ => 0,
            };
            is_encrypted |= kind == CHANGE_CIPHER_SPEC;
            let of_kind = if kind == APPLICATION_DATA { &mut longest.data } else { &mut longest.handshake };
            *of_kind = (*of_kind).max(len - added);
        }
        longest
    }
}

/// Extensions, and the largest plaintext allowed.
fn offers() -> Vec<(&'static str, Vec<u8>, usize)> {
    vec![
        ("nothing", vec![], FULL),
        ("max_fragment_length 512", max_fragment_length(1), 512),
        ("max_fragment_length 1024", max_fragment_length(2), 1024),
        ("max_fragment_length 2048", max_fragment_length(3), 2048),
        ("max_fragment_length 4096", max_fragment_length(4), 4096),
        ("an unknown max_fragment_length", max_fragment_length(5), FULL),
        ("record_size_limit 64", record_size_limit(64), 63),
        ("record_size_limit 63", record_size_limit(63), FULL),
        ("record_size_limit 1000", record_size_limit(1000), 999),
        ("record_size_limit 16385", record_size_limit(16385), FULL),
        ("record_size_limit 65535", record_size_limit(65535), FULL),
        ("both", [max_fragment_length(1), record_size_limit(2049)].concat(), 2048),
    ]
}

#[tokio::test]
async fn the_handshake_comes_in_records_that_device_and_deployment_allow() {
    let stage = Stage::new().await;
    for record_bytes in RECORD_BYTES {
        let name = names(&[host(record_bytes).as_bytes()]);
        for (offered, more, takes) in offers() {
            let (more, allowed) = ([name.clone(), more].concat(), takes.min(record_bytes));
            for (hello, is_tls13, listener) in [
                (Hello::tls12(&more), false, stage.world.mqtts()),
                (Hello::tls13(&more), true, stage.world.mqtts()),
                (Hello::tls13(&more), true, stage.world.wss()),
            ] {
                let case = format!("recordBytes {record_bytes}, {offered}, TLS 1.3: {is_tls13}");
                let mut socket = TcpStream::connect(listener).await.unwrap();
                socket.write_all(&hello.records()).await.unwrap();
                socket.shutdown().await.unwrap();
                let mut flight = Vec::new();
                timeout(TEST_TIMEOUT, socket.read_to_end(&mut flight)).await.unwrap().unwrap();
                assert!(flight.len() > 8 * 1024, "{case}: the certificate is long");
                let Longest { handshake, data } = Longest::of(&flight, is_tls13);
                let longest = handshake.max(data);
                if allowed == FULL {
                    assert!(longest > 8 * 1024 && longest <= FULL, "{case}: {longest}");
                } else {
                    assert_eq!(longest, allowed, "{case}");
                }
            }
        }
    }
    stage.world.shut_down().await;
}

/// The client forwards stdin; returns the broker's data.
fn talk(command: &mut Command) -> Vec<u8> {
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
    let mut input = client.stdin.take().unwrap();
    input.write_all(CONNECT).unwrap();
    input.flush().unwrap();
    let mut received = vec![0; RETAINED];
    let read = client.stdout.take().unwrap().read_exact(&mut received);
    drop(input);
    let _ = client.kill();
    client.wait().unwrap();
    read.expect("the client receives what the broker wrote");
    received
}

/// Through a [`Tap`], whose port `command` gets.
async fn tapped(stage: &Stage, is_tls13: bool, command: impl FnOnce(u16) -> Command) -> Longest {
    let tap = Tap::before(stage.world.mqtts()).await;
    let mut command = command(tap.address.port());
    let received = tokio::task::spawn_blocking(move || talk(&mut command)).await.unwrap();
    assert!(received == retained());
    Longest::of(&tap.received().await, is_tls13)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_receives_no_larger_records_than_its_max_fragment_length() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = stage.ca.write(folder.path(), "ca.pem");
    for (is_tls13, version) in [(false, "-tls1_2"), (true, "-tls1_3")] {
        let full = [512, 1024, 2048, 4096].map(|size| (FULL, size));
        for (record_bytes, size) in full.into_iter().chain([(1000, 512), (1000, 4096)]) {
            let (host, allowed) = (host(record_bytes), size.min(record_bytes));
            let longest = tapped(&stage, is_tls13, |port| {
                let mut openssl = Command::new("openssl");
                openssl.args(["s_client", "-quiet", "-verify_return_error", "-servername", &host, version]);
                openssl.args(["-maxfraglen", &size.to_string(), "-connect", &format!("127.0.0.1:{port}")]);
                openssl.arg("-CAfile").arg(&ca).stderr(Stdio::null());
                openssl
            })
            .await;
            assert_eq!(longest.data, allowed, "{version}");
            assert!(longest.handshake <= allowed, "{version} {allowed}: {longest:?}");
        }
    }
    stage.world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gnutls_receives_no_larger_records_than_its_record_size_limit() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = stage.ca.write(folder.path(), "ca.pem");
    for (is_tls13, version) in [(false, "1.2"), (true, "1.3")] {
        for (record_bytes, size) in [(FULL, 512), (FULL, 1000), (FULL, 4096), (1000, 600), (1000, 4096)] {
            let host = host(record_bytes);
            let longest = tapped(&stage, is_tls13, |port| {
                let mut gnutls = Command::new("gnutls-cli");
                let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
                gnutls.args(["--recordsize", &size.to_string(), "--priority", &priority]);
                gnutls.args(["--sni-hostname", &host, "--verify-hostname", &host]);
                gnutls.args(["--port", &port.to_string(), "127.0.0.1", "--logfile", "/dev/null"]);
                gnutls.arg("--x509cafile").arg(&ca).stderr(Stdio::null());
                gnutls
            })
            .await;
            // In TLS 1.3 the limit counts the content type; in TLS 1.2 records may be smaller.
            let allowed = if is_tls13 { size } else { size - 1 }.min(record_bytes);
            assert_eq!(longest.data, allowed, "TLS {version}");
            assert!(longest.handshake <= allowed, "TLS {version} {size}: {longest:?}");
        }
    }
    stage.world.shut_down().await;
}

fn compiled(folder: &Path, name: &str, libraries: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/gateway/{name}.c"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-D_POSIX_C_SOURCE=200112L", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    let compiled = cc.arg(&program).arg(source).args(libraries).status().expect("cc starts");
    assert!(compiled.success(), "apt-get install libbearssl-dev libmbedtls-dev");
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bearssl_works_with_a_small_buffer() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.der");
    std::fs::write(&ca, stage.ca.der()).unwrap();
    let program = compiled(folder.path(), "bearssl_device", &["-lbearssl"]);
    // It requests at most 4,096 bytes, unless its buffer fits a full record.
    for (record_bytes, buffer, allowed) in [
        (FULL, 512, 512),
        (FULL, 1024, 1024),
        (FULL, 2048, 2048),
        (FULL, 4096, 4096),
        (FULL, 8192, 4096),
        (1000, 512, 512),
        (1000, 4096, 1000),
        (1000, 16384, 1000),
    ] {
        let host = host(record_bytes);
        let longest = tapped(&stage, false, |port| {
            let mut device = Command::new(&program);
            device.args([&port.to_string(), &host]).arg(&ca).arg(buffer.to_string());
            device
        })
        .await;
        assert_eq!(longest.data, allowed, "{record_bytes}, {buffer}");
        assert!(longest.handshake <= allowed, "{record_bytes}, {buffer}: {longest:?}");
    }
    stage.world.shut_down().await;
}

/// mbedTLS 2.28 accepts no split handshake message: each message of an ordinary leaf fits 512
/// bytes, the flight does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mbedtls_receives_handshake_messages_in_one_piece() {
    let stage = Stage::with_names(0).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = stage.ca.write(folder.path(), "ca.pem");
    let program = compiled(folder.path(), "mbedtls_device", &["-lmbedtls", "-lmbedx509", "-lmbedcrypto"]);
    for (code, allowed) in [(1, 512), (2, 1024), (3, 2048), (4, 4096)] {
        let host = host(FULL);
        let longest = tapped(&stage, false, |port| {
            let mut device = Command::new(&program);
            device.args([&port.to_string(), &host]).arg(&ca).arg(code.to_string());
            device
        })
        .await;
        assert_eq!(longest.data, allowed);
        assert!(longest.handshake <= allowed, "{allowed}: {longest:?}");
    }
    stage.world.shut_down().await;
}

/// rustls offers no limit.
async fn connected(stage: &Stage, device: &Device, host: &str, is_tls13: bool) -> (Longest, HandshakeKind) {
    let tap = Tap::before(stage.world.mqtts()).await;
    let mut connection = device.connect(tap.address, host).await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let mut received = vec![0; RETAINED];
    timeout(TEST_TIMEOUT, connection.0.read_exact(&mut received)).await.unwrap().unwrap();
    assert!(received == retained());
    let kind = connection.0.get_ref().1.handshake_kind().unwrap();
    drop(connection);
    (Longest::of(&tap.received().await, is_tls13), kind)
}

#[tokio::test]
async fn a_device_that_offers_nothing_receives_records_as_large_as_its_deployment_allows() {
    let stage = Stage::new().await;
    for record_bytes in RECORD_BYTES {
        let host = host(record_bytes);
        let allowed = |longest: Longest, case: &str| {
            let case = format!("recordBytes {record_bytes}, {case}: {longest:?}");
            if record_bytes == FULL {
                assert!(longest.data > 4096 && longest.data <= RETAINED, "{case}");
            } else {
                assert!(longest.data == record_bytes && longest.handshake <= record_bytes, "{case}");
            }
        };
        for (is_tls13, version) in [(false, TLS12), (true, TLS13)] {
            let device = Device::new(&stage.ca, None, &[version]);
            for wanted in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (longest, kind) = connected(&stage, &device, &host, is_tls13).await;
                assert_eq!(kind, wanted, "{host} {version:?}");
                allowed(longest, &format!("{version:?}, {kind:?}"));
            }
        }
        let (longest, kind) = connected(&stage, &Device::asked_again(&stage.ca), &host, true).await;
        assert_eq!(kind, HandshakeKind::FullWithHelloRetryRequest);
        allowed(longest, "asked again");
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn a_changed_size_of_records_holds_for_the_next_connection() {
    let broker = Broker::echo().await;
    let (world, ca) = (World::new().await, Authority::new("servers"));
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let echoed = async |connection: &mut crate::stage::Connection| {
        connection.echo(&retained()).await.unwrap();
    };
    let before = Tap::before(world.mqtts()).await;
    let mut live = device.talk(before.address, "d.test").await.unwrap();
    set(&world, &deployment, 512).await;
    crate::stage::eventually("a new connection has small records", || async {
        let tap = Tap::before(world.mqtts()).await;
        let mut connection = device.talk(tap.address, "d.test").await.unwrap();
        echoed(&mut connection).await;
        drop(connection);
        Longest::of(&tap.received().await, true).data == 512
    })
    .await;
    echoed(&mut live).await;
    drop(live);
    let longest = Longest::of(&before.received().await, true);
    assert!(longest.data > 4096, "the connection that was there keeps its records: {longest:?}");
    world.shut_down().await;
}
