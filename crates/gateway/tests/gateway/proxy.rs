//! The PROXY header, read by a strict parser written from the specification.

use std::{collections::BTreeMap, net::Ipv4Addr};

use certward_pki::{DeviceIdentity, HostName};
use certward_store::{DeploymentPatch, ProxyProtocol};
use rcgen::{DistinguishedName, DnType, SanType};
use tokio::{io::AsyncReadExt, sync::mpsc};

use crate::stage::{Authority, Broker, CONNECT, Device, Leaf, TLS12, TLS13, World};

const HOST: &str = "d.test";

#[derive(Debug, PartialEq, Eq)]
struct Told {
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    tlvs: BTreeMap<u8, Vec<u8>>,
    /// Flags, `verify` and the sub-TLVs of PP2_TYPE_SSL.
    ssl: (u8, u32, BTreeMap<u8, String>),
    length: usize,
}

fn tlvs(mut bytes: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        assert!(found.insert(*kind, rest[..length].to_vec()).is_none(), "a TLV twice");
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "a TLV is cut off");
    found
}

/// §2.2 of the specification; panics on any deviation.
fn parse(bytes: &[u8]) -> Told {
    assert_eq!(&bytes[..12], b"\r\n\r\n\0\r\nQUIT\n", "the signature");
    assert_eq!(bytes[12..14], [0x21, 0x11], "version 2, PROXY, TCP over IPv4");
    let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let body = &bytes[16..length];
    let ip = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let mut tlvs_found = tlvs(&body[12..]);
    let ssl = tlvs_found.remove(&0x20).expect("PP2_TYPE_SSL");
    let verify = u32::from_be_bytes(ssl[1..5].try_into().unwrap());
    let sub = tlvs(&ssl[5..]).into_iter().map(|(kind, text)| (kind, String::from_utf8(text).unwrap()));
    assert_eq!(&bytes[length..], CONNECT, "and then the device's own bytes");
    Told {
        from: (ip(0), port(8)),
        to: (ip(4), port(10)),
        tlvs: tlvs_found,
        ssl: (ssl[0], verify, sub.collect()),
        length,
    }
}

struct Stage {
    world: World,
    deployment: certward_store::DeploymentId,
    servers: Authority,
    clients: Authority,
    received: mpsc::Receiver<Vec<u8>>,
    changes: u32,
    _broker: Broker,
}

impl Stage {
    async fn new(two_way: bool) -> Self {
        let (send, received) = mpsc::channel(9);
        let broker = Broker::new(move |mut stream| {
            let send = send.clone();
            async move {
                let mut all = Vec::new();
                while !all.ends_with(CONNECT) && stream.read_buf(&mut all).await.unwrap_or(0) > 0 {}
                send.send(all).await.unwrap();
            }
        })
        .await;
        let (world, servers, clients) =
            (World::new().await, Authority::new("servers"), Authority::new("clients"));
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        let cas: &[&Authority] = if two_way { &[&clients] } else { &[] };
        world.run(&deployment, &servers.server(&[HOST]), cas).await;
        Self { world, deployment, servers, clients, received, changes: 0, _broker: broker }
    }

    /// Another host is proven as well: then the node has the whole change.
    async fn set(&mut self, protocol: ProxyProtocol, identity: DeviceIdentity) {
        self.changes += 1;
        let hosts = [HOST.to_owned(), format!("change-{}.example.com", self.changes)];
        let change = DeploymentPatch {
            hosts: Some(hosts.iter().map(|host| HostName::parse(host).unwrap()).collect()),
            proxy_protocol: Some(protocol),
            proxy_identity: Some(identity),
            ..Default::default()
        };
        self.world.change(&self.deployment, change).await;
        assert_eq!(self.world.settled(&self.deployment).await, "running");
    }

    /// Empty if the device is refused.
    async fn told(
        &mut self,
        identity: Option<&Leaf>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Vec<u8> {
        use tokio::io::AsyncWriteExt as _;
        let device = Device::new(&self.servers, identity, &[version]);
        let mut connection = device.connect(self.world.mqtts(), HOST).await.unwrap();
        connection.0.write_all(CONNECT).await.unwrap();
        let ends = async {
            let _ = connection.0.read_to_end(&mut Vec::new()).await;
        };
        tokio::select! {
            biased;
            received = self.received.recv() => received.unwrap(),
            () = ends => self.received.try_recv().unwrap_or_default(),
        }
    }
}

#[tokio::test]
async fn a_broker_is_told_who_connects_in_its_dialect() {
    let mut stage = Stage::new(true).await;
    let device = stage.clients.client("device-1");
    assert_eq!(stage.told(Some(&device), TLS13).await, CONNECT, "nothing by default");
    for (version, name, cipher) in [
        (TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (TLS13, "TLSv1.3", "AES_128_GCM_SHA256"),
    ] {
        for protocol in [ProxyProtocol::V2, ProxyProtocol::Emqx, ProxyProtocol::Mosquitto] {
            stage.set(protocol, DeviceIdentity::Cn).await;
            let told = parse(&stage.told(Some(&device), version).await);
            assert_eq!((told.from.0, told.to.0), (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
            assert_eq!(told.to.1, stage.world.mqtts().port());
            let (flags, verify, sub) = &told.ssl;
            assert_eq!((*flags, *verify), (7, 0), "TLS, a certificate now and in the session, verified");
            assert_eq!((sub[&0x21].as_str(), sub[&0x22].as_str()), (name, "device-1"));
            let expected = (protocol != ProxyProtocol::Emqx).then_some(cipher);
            assert_eq!(sub.get(&0x23).map(String::as_str), expected);
            let authority = (protocol == ProxyProtocol::V2).then_some(HOST.as_bytes());
            assert_eq!(told.tlvs.get(&2).map(Vec::as_slice), authority);
            assert!(told.length <= 500);
        }
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn without_a_certificate_no_name_is_told_and_nothing_is_verified() {
    let mut stage = Stage::new(false).await;
    stage.set(ProxyProtocol::V2, DeviceIdentity::Cn).await;
    let told = parse(&stage.told(None, TLS13).await);
    assert_eq!((told.ssl.0, told.ssl.1), (1, 1));
    assert_eq!(told.ssl.2.keys().collect::<Vec<_>>(), [&0x21, &0x23]);
    stage.world.shut_down().await;
}

#[tokio::test]
async fn the_name_is_the_one_chosen_and_a_doubtful_one_reaches_no_broker() {
    let mut stage = Stage::new(true).await;
    let plain = stage.clients.client_with("device-1", |params| {
        params.subject_alt_names = vec![SanType::DnsName("device-1".try_into().unwrap())];
    });
    let subject = stage.clients.client_with("", |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "A, B");
        params.distinguished_name.push(DnType::CommonName, "x=1 ");
    });
    let control = stage.clients.client("admin\n");
    let nul = stage.clients.client("admin\0x");
    let long = stage.clients.client(&"n".repeat(480));
    let nameless =
        stage.clients.client_with("", |params| params.distinguished_name = DistinguishedName::new());
    let fingerprint = |leaf: &Leaf| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf.der);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let print = fingerprint(&plain);
    let cases: [(&Leaf, DeviceIdentity, Option<&str>); 9] = [
        (&plain, DeviceIdentity::Cn, Some("device-1")),
        (&plain, DeviceIdentity::San, Some("device-1")),
        (&plain, DeviceIdentity::Fingerprint, Some(&print)),
        (&subject, DeviceIdentity::Dn, Some("CN=x\\=1\\ ,O=A\\, B")),
        (&control, DeviceIdentity::Cn, None),
        (&nul, DeviceIdentity::Dn, None),
        (&nameless, DeviceIdentity::Cn, None),
        (&nameless, DeviceIdentity::San, None),
        (&long, DeviceIdentity::Cn, None),
    ];
    for (leaf, identity, expected) in cases {
        stage.set(ProxyProtocol::Mosquitto, identity).await;
        let bytes = stage.told(Some(leaf), TLS13).await;
        match expected {
            Some(name) => assert_eq!(parse(&bytes).ssl.2[&0x22], name),
            None => assert!(bytes.is_empty(), "{identity}: {bytes:?}"),
        }
    }
    stage.world.shut_down().await;
}
