//! Malformed ClientHellos: the right alert, never another deployment's certificate, never a panic.

use std::net::SocketAddr;

use rustls::{ClientConnection, HandshakeKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::stage::{Authority, Broker, Device, Leaf, TEST_TIMEOUT, World, id, settings};

const DECODE_ERROR: u8 = 50;
const ILLEGAL_PARAMETER: u8 = 47;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;
const UNEXPECTED_MESSAGE: u8 = 10;
const UNRECOGNIZED_NAME: u8 = 112;

/// The gateway's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// TLS 1.2, unencrypted.
    Leaf(Vec<u8>),
    /// Or HelloRetryRequest.
    Hello13,
    Alert(u8),
    /// The close only.
    Nothing,
}

fn u16_be(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

/// With two bytes of length.
pub(crate) fn vec16(body: &[u8]) -> Vec<u8> {
    [&u16_be(body.len()), body].concat()
}

pub(crate) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &vec16(body)].concat()
}

/// As host_name entries.
pub(crate) fn names(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| [&[0], vec16(name).as_slice()].concat()).collect();
    extension(0, &vec16(&list))
}

pub(crate) struct Hello {
    pub(crate) version: [u8; 2],
    pub(crate) suites: Vec<u8>,
    pub(crate) compression: Vec<u8>,
    pub(crate) extensions: Vec<u8>,
}

impl Hello {
    /// A valid one plus `more`.
    pub(crate) fn tls12(more: &[u8]) -> Self {
        let groups = extension(10, &vec16(&[0, 0x1d, 0, 0x17]));
        let formats = extension(11, &[1, 0]);
        let signatures = extension(13, &vec16(&[4, 3, 8, 4, 4, 1]));
        Self {
            version: [3, 3],
            suites: vec![0xc0, 0x2b, 0xc0, 0x2f],
            compression: vec![0],
            extensions: [more, &groups, &formats, &signatures].concat(),
        }
    }

    /// A valid one with an X25519 key share plus `more`.
    pub(crate) fn tls13(more: &[u8]) -> Self {
        let mut hello = Self::tls12(more);
        hello.suites = vec![0x13, 1];
        hello.extensions.extend(extension(43, &[2, 3, 4]));
        let share = [&[0, 0x1d], vec16(&[9; 32]).as_slice()].concat();
        hello.extensions.extend(extension(51, &vec16(&share)));
        hello
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(vec16(&self.suites));
        body.push(u8::try_from(self.compression.len()).unwrap());
        body.extend(&self.compression);
        if !self.extensions.is_empty() {
            body.extend(vec16(&self.extensions));
        }
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    pub(crate) fn records(&self) -> Vec<u8> {
        records(&self.bytes(), 16 * 1024)
    }
}

fn records(bytes: &[u8], most: usize) -> Vec<u8> {
    bytes.chunks(most).flat_map(|part| [&[22, 3, 1], vec16(part).as_slice()].concat()).collect()
}

async fn ask(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(to).await.unwrap();
    // Ignored: the gateway may close early.
    let _ = socket.write_all(bytes).await;
    timeout(TEST_TIMEOUT, answer(&mut socket)).await.expect("an answer comes")
}

pub(crate) async fn answer(socket: &mut TcpStream) -> Answer {
    let mut handshake = Vec::new();
    loop {
        let mut header = [0; 5];
        if socket.read_exact(&mut header).await.is_err() {
            return Answer::Nothing;
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        socket.read_exact(&mut body).await.unwrap();
        match header[0] {
            21 => {
                assert_eq!(body[0], 2, "fatal");
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
                assert!(rest.is_empty(), "nothing follows a fatal alert");
                return Answer::Alert(body[1]);
            }
            22 => handshake.extend(body),
            other => panic!("a record of type {other}"),
        }
        if let Some(answer) = first_flight(&handshake) {
            return answer;
        }
    }
}

/// In TLS 1.3 the leaf is encrypted.
fn first_flight(mut bytes: &[u8]) -> Option<Answer> {
    let length = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
    while bytes.len() >= 4 {
        let (kind, end) = (bytes[0], 4 + length(&bytes[1..4]));
        let message = bytes.get(4..end)?;
        match kind {
            // supported_versions: TLS 1.3
            2 if message.windows(6).any(|six| six == [0, 43, 0, 2, 3, 4]) => return Some(Answer::Hello13),
            11 => return Some(Answer::Leaf(message[6..6 + length(&message[3..6])].to_vec())),
            _ => bytes = &bytes[end..],
        }
    }
    None
}

/// Two deployments, a wildcard, and perhaps a default.
struct Stage {
    world: World,
    _broker: Broker,
    leaves: Vec<(&'static str, Leaf)>,
}

const DEPLOYMENTS: [(&str, &str); 4] =
    [("a", "a.test"), ("b", "b.test"), ("wild", "*.wild.test"), ("fallback", "fallback.test")];

impl Stage {
    async fn new(with_default: bool) -> Self {
        let mut settings = settings();
        settings.default_deployment = with_default.then(|| id("fallback"));
        let (world, ca, broker) =
            (World::with(settings).await, Authority::new("servers"), Broker::echo().await);
        let mut leaves = Vec::new();
        for (name, host) in DEPLOYMENTS {
            let deployment = world.deploy(name, broker.address, &[host]).await;
            let leaf = ca.server(&[host]);
            world.run(&deployment, &leaf, &[]).await;
            leaves.push((name, leaf));
        }
        Self { world, _broker: broker, leaves }
    }

    async fn ask(&self, bytes: &[u8]) -> Result<&'static str, Answer> {
        match ask(self.world.mqtts(), bytes).await {
            Answer::Leaf(leaf) => {
                let found = self.leaves.iter().find(|(_, own)| own.der == leaf);
                Ok(found.expect("one of ours").0)
            }
            other => Err(other),
        }
    }
}

/// SNI bytes, result without and with a default deployment.
type NameCase = (&'static str, Vec<u8>, Result<&'static str, u8>, Result<&'static str, u8>);

fn name_cases() -> Vec<NameCase> {
    let long = "a.".repeat(126) + "test";
    let long_label = "a".repeat(64) + ".test";
    let name = |text: &str| names(&[text.as_bytes()]);
    let nobody = Err(UNRECOGNIZED_NAME);
    let fallback = Ok("fallback");
    let invalid = |what, text: &[u8]| (what, names(&[text]), Err(ILLEGAL_PARAMETER), Err(ILLEGAL_PARAMETER));
    let broken = |what, bytes: Vec<u8>| (what, bytes, Err(DECODE_ERROR), Err(DECODE_ERROR));
    vec![
        ("as it is", name("a.test"), Ok("a"), Ok("a")),
        ("upper case", name("B.TEST"), Ok("b"), Ok("b")),
        ("trailing dot", name("a.test."), Ok("a"), Ok("a")),
        ("upper case and trailing dot", name("A.TeSt."), Ok("a"), Ok("a")),
        ("under the wildcard", name("x.wild.test"), Ok("wild"), Ok("wild")),
        ("two labels under the wildcard", name("x.y.wild.test"), nobody, fallback),
        ("the wildcard's own domain", name("wild.test"), nobody, fallback),
        ("unknown", name("c.test"), nobody, fallback),
        ("a part of a name", name("test"), nobody, fallback),
        ("absent", Vec::new(), nobody, fallback),
        ("IPv4 literal", name("127.0.0.1"), nobody, fallback),
        ("IPv6 literal", name("::1"), nobody, fallback),
        ("the longest label", name(&("a".repeat(63) + ".wild.test")), Ok("wild"), Ok("wild")),
        invalid("the wildcard itself", b"*.wild.test"),
        invalid("a hyphen first", b"-a.test"),
        invalid("two dots", b"a..test"),
        invalid("a dot alone", b"."),
        invalid("a NUL at the end", b"a.test\0"),
        invalid("a NUL and another name", b"a.test\0.b.test"),
        invalid("a space", b"a.test "),
        invalid("no UTF-8", b"\xff\xfe.test"),
        invalid("UTF-8", "ä.test".as_bytes()),
        invalid("an address with a port", b"a.test:8883"),
        ("too long", name(&long), Err(ILLEGAL_PARAMETER), Err(ILLEGAL_PARAMETER)),
        ("a label that is too long", name(&long_label), Err(ILLEGAL_PARAMETER), Err(ILLEGAL_PARAMETER)),
        // As OpenSSL does: RFC 6066 §3 forbids it and names no alert.
        broken("two names", names(&[b"a.test", b"b.test"])),
        broken("a name twice", names(&[b"a.test", b"a.test"])),
        (
            "a name of another type",
            extension(0, &vec16(b"\x07\0\x06a.test")),
            Err(ILLEGAL_PARAMETER),
            Err(ILLEGAL_PARAMETER),
        ),
        broken("an empty name", names(&[b""])),
        broken("an empty list", names(&[])),
        broken("an empty extension", extension(0, b"")),
        broken("a list that is cut off", extension(0, &[0, 9, 0, 0, 6, b'a'])),
        broken(
            "something behind the list",
            extension(0, &[vec16(&[&[0], vec16(b"a.test").as_slice()].concat()), vec![0]].concat()),
        ),
        broken("the extension twice", [name("a.test"), name("b.test")].concat()),
    ]
}

#[tokio::test]
async fn every_form_of_a_name_leads_to_its_deployment_or_to_the_right_alert() {
    for with_default in [false, true] {
        let stage = Stage::new(with_default).await;
        let mut wrong = Vec::new();
        for (case, sni, without, with) in name_cases() {
            let expected = if with_default { with } else { without };
            let got = stage.ask(&Hello::tls12(&sni).records()).await;
            if got != expected.map_err(Answer::Alert) {
                wrong.push(format!(
                    "default {with_default}, {case}, TLS 1.2: {got:?} instead of {expected:?}"
                ));
            }
            let got = ask(stage.world.mqtts(), &Hello::tls13(&sni).records()).await;
            if got != expected.map_or_else(Answer::Alert, |_| Answer::Hello13) {
                wrong.push(format!(
                    "default {with_default}, {case}, TLS 1.3: {got:?} instead of {expected:?}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        stage.world.shut_down().await;
    }
}

#[tokio::test]
async fn a_hello_may_be_cut_up_and_be_large_and_is_still_understood() {
    let stage = Stage::new(false).await;
    let a = names(&[b"a.test"]);
    let padded = |length: usize| Hello::tls12(&[a.clone(), extension(21, &vec![0; length])].concat()).bytes();
    let cases = [
        ("records of one byte", records(&Hello::tls12(&a).bytes(), 1)),
        ("records of seven bytes", records(&Hello::tls12(&a).bytes(), 7)),
        ("just under 16 KiB", records(&padded(16 * 1024 - 200), 16 * 1024)),
        ("over 16 KiB", records(&padded(20 * 1024), 16 * 1024)),
        ("over 16 KiB in small records", records(&padded(20 * 1024), 100)),
        ("60 KiB", records(&padded(60 * 1024), 16 * 1024)),
    ];
    for (case, bytes) in cases {
        assert_eq!(stage.ask(&bytes).await, Ok("a"), "{case}");
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn what_is_no_good_hello_gets_the_right_alert() {
    let stage = Stage::new(true).await;
    let a = names(&[b"a.test"]);
    let with = |change: fn(&mut Hello)| {
        let mut hello = Hello::tls12(&a);
        change(&mut hello);
        hello.records()
    };
    let with13 = |change: fn(&mut Hello)| {
        let mut hello = Hello::tls13(&a);
        change(&mut hello);
        hello.records()
    };
    let mut huge = vec![1, 0xff, 0xff, 0xff];
    huge.extend([0; 70_000]);
    let cases: Vec<(&str, Vec<u8>, Answer)> = vec![
        ("TLS 1.0", with(|hello| hello.version = [3, 1]), Answer::Alert(PROTOCOL_VERSION)),
        ("TLS 1.1", with(|hello| hello.version = [3, 2]), Answer::Alert(PROTOCOL_VERSION)),
        ("SSL 3.0", with(|hello| hello.version = [3, 0]), Answer::Alert(PROTOCOL_VERSION)),
        (
            "only TLS 1.1 among the supported versions",
            with(|hello| hello.extensions.extend(extension(43, &[2, 3, 2]))),
            Answer::Alert(PROTOCOL_VERSION),
        ),
        (
            "no cipher suite in common (CBC alone)",
            with(|hello| hello.suites = vec![0xc0, 0x13, 0, 0x2f]),
            Answer::Alert(HANDSHAKE_FAILURE),
        ),
        ("no null compression", with(|hello| hello.compression = vec![1]), Answer::Alert(ILLEGAL_PARAMETER)),
        ("no compression at all", with(|hello| hello.compression = vec![]), Answer::Alert(DECODE_ERROR)),
        (
            "compression in TLS 1.3",
            with13(|hello| hello.compression = vec![1, 0]),
            Answer::Alert(ILLEGAL_PARAMETER),
        ),
        ("no extensions", with(|hello| hello.extensions.clear()), Answer::Alert(HANDSHAKE_FAILURE)),
        ("a Finished", records(&[20, 0, 0, 1, 0], 99), Answer::Alert(UNEXPECTED_MESSAGE)),
        ("no message of TLS", records(&[99, 0, 0, 1, 0], 99), Answer::Alert(UNEXPECTED_MESSAGE)),
        ("application data", b"\x17\x03\x03\0\x01a".to_vec(), Answer::Alert(UNEXPECTED_MESSAGE)),
        ("a ChangeCipherSpec", b"\x14\x03\x03\0\x01\x01".to_vec(), Answer::Alert(UNEXPECTED_MESSAGE)),
        (
            "an SSLv2 hello",
            b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10\x01\0\x80".to_vec(),
            Answer::Alert(DECODE_ERROR),
        ),
        ("plain MQTT", crate::stage::CONNECT.to_vec(), Answer::Alert(DECODE_ERROR)),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), Answer::Alert(DECODE_ERROR)),
        ("a PROXY header", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(), Answer::Alert(DECODE_ERROR)),
        ("NULs", vec![0; 600], Answer::Alert(DECODE_ERROR)),
        ("a record that is too long", b"\x16\x03\x01\xff\xff".to_vec(), Answer::Alert(DECODE_ERROR)),
        ("an empty record", b"\x16\x03\x01\0\0".to_vec(), Answer::Alert(DECODE_ERROR)),
        ("a message of 16 MiB", records(&huge, 16 * 1024), Answer::Alert(DECODE_ERROR)),
    ];
    let mut wrong = Vec::new();
    for (case, bytes, expected) in cases {
        let got = ask(stage.world.mqtts(), &bytes).await;
        if got != expected {
            wrong.push(format!("{case}: {got:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.ask(&Hello::tls12(&names(&[b"a.test"])).records()).await, Ok("a"), "alive");
    stage.world.shut_down().await;
}

#[tokio::test]
async fn a_name_that_changes_after_a_hello_retry_request_is_refused() {
    let stage = Stage::new(false).await;
    let config = Device::asked_again(&Authority::new("nobody's")).config();
    for (second, expected) in [("a.test", Answer::Hello13), ("b.test", Answer::Alert(ILLEGAL_PARAMETER))] {
        let mut client = ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(stage.world.mqtts()).await.unwrap();
        socket.write_all(&written(&mut client)).await.unwrap();
        // The ChangeCipherSpec is for middleboxes (RFC 8446 §D.4).
        for kind in [22, 20] {
            let record = record(&mut socket).await;
            assert_eq!(record[0], kind);
            client.read_tls(&mut record.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
        let mut again = written(&mut client);
        let at = again.windows(6).position(|six| six == b"a.test").expect("the name stands in it");
        again[at..at + 6].copy_from_slice(second.as_bytes());
        socket.write_all(&again).await.unwrap();
        assert_eq!(timeout(TEST_TIMEOUT, answer(&mut socket)).await.unwrap(), expected, "{second}");
    }
    stage.world.shut_down().await;
}

pub(crate) fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

async fn record(socket: &mut TcpStream) -> Vec<u8> {
    let mut record = vec![0; 5];
    socket.read_exact(&mut record).await.unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    socket.read_exact(&mut record[5..]).await.unwrap();
    record
}
