//! Whether a ClientHello's offer suffices for a chain: clients decide, openssl and rustls.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use certward_pki::{ClientOffer, ServedChain};
use certward_test_support::{Authority, Leaf, server_params};
use rcgen::KeyPair;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, Acceptor};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SignatureScheme};

use crate::openssl::{Openssl, V3};
use crate::serving::{provider, shake};

/// What a hello offers, but for its versions: rustls does not show them.
fn offer_of(accepted: &Accepted, versions: &[u16]) -> ClientOffer {
    let hello = accepted.client_hello();
    let groups = hello.named_groups().unwrap_or_default();
    ClientOffer {
        versions: versions.to_vec(),
        signature_schemes: hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect(),
        groups: groups.iter().map(|group| u16::from(*group)).collect(),
        cipher_suites: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
        ..ClientOffer::default()
    }
}

fn server_config(leaf: &Leaf) -> Arc<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> =
        std::iter::once(&leaf.der).chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap()
        .with_no_client_auth();
    Arc::new(config.with_single_cert(chain, leaf.private_key()).unwrap())
}

fn served(leaf: &Leaf) -> ServedChain {
    let chain: Vec<&Vec<u8>> = std::iter::once(&leaf.der).chain(&leaf.intermediates).collect();
    ServedChain::read(&chain).unwrap()
}

/// The offer of one client, and whether both sides finish the handshake.
fn accept(listener: &TcpListener, config: &Arc<ServerConfig>, versions: &[u16]) -> (ClientOffer, bool) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        acceptor.read_tls(&mut socket).unwrap();
        if let Some(accepted) = acceptor.accept().unwrap_or_else(|(error, _)| panic!("{error}")) {
            break accepted;
        }
    };
    let offer = offer_of(&accepted, versions);
    let Ok(mut connection) = accepted.into_connection(Arc::clone(config)) else { return (offer, false) };
    while connection.is_handshaking() {
        if connection.complete_io(&mut socket).is_err() {
            return (offer, false);
        }
    }
    connection.send_close_notify();
    let _gone = connection.complete_io(&mut socket);
    drain(&mut socket);
    (offer, true)
}

/// Until the client closes: a reset would cut off what it has not read.
fn drain(socket: &mut TcpStream) {
    let _closed = socket.shutdown(std::net::Shutdown::Write);
    let _read = socket.read_to_end(&mut Vec::new());
}

const TLS12: (&str, &[u16]) = ("-tls1_2", &[0x0303]);
const TLS13: (&str, &[u16]) = ("-tls1_3", &[0x0304]);
const BOTH: (&str, &[u16]) = ("-min_protocol TLSv1.2", &[0x0303, 0x0304]);

#[test]
fn openssl_finishes_a_handshake_exactly_if_its_offer_suffices() {
    let openssl = Openssl::new();
    openssl.ca("ca");
    let keys = [
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048"),
        ("p256", "EC -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384"),
        ("p521", "EC -pkeyopt ec_paramgen_curve:P-521"),
        ("ed25519", "ED25519"),
    ];
    let leaves = keys.map(|(name, key)| {
        openssl.run(&format!("genpkey -algorithm {key} -out {name}.key")).sign(name, "ca", V3);
        Leaf::from_pem(&openssl.read(&format!("{name}.pem")), &openssl.read(&format!("{name}.key")))
    });
    // (version, more arguments, whether it verifies the kinds of key above)
    let yes = true;
    let no = false;
    let clients: [(_, &str, [bool; 5]); 17] = [
        (TLS13, "", [yes; 5]),
        (TLS12, "", [yes; 5]),
        (BOTH, "", [yes; 5]),
        // The chain itself is signed by RSA with SHA-256.
        (TLS13, "-sigalgs rsa_pss_rsae_sha256:RSA+SHA256", [yes, no, no, no, no]),
        (TLS13, "-sigalgs rsa_pss_rsae_sha512:RSA+SHA256", [yes, no, no, no, no]),
        (TLS13, "-sigalgs ECDSA+SHA256:RSA+SHA256", [no, yes, no, no, no]),
        (TLS13, "-sigalgs ECDSA+SHA384:RSA+SHA256", [no, no, yes, no, no]),
        (TLS13, "-sigalgs ECDSA+SHA512:ed25519:RSA+SHA256", [no, no, no, yes, yes]),
        (TLS12, "-sigalgs RSA+SHA256", [yes, no, no, no, no]),
        (TLS12, "-sigalgs rsa_pss_rsae_sha384:RSA+SHA256", [yes, no, no, no, no]),
        (TLS12, "-sigalgs ECDSA+SHA256:RSA+SHA256", [yes, yes, no, no, no]),
        // TLS 1.3 takes precedence, and has no PKCS#1 v1.5.
        (BOTH, "-sigalgs ECDSA+SHA256:RSA+SHA256", [no, yes, no, no, no]),
        (TLS12, "-cipher ECDHE-RSA-AES128-GCM-SHA256", [yes, no, no, no, no]),
        (
            TLS12,
            "-cipher ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305",
            [no, yes, yes, yes, yes],
        ),
        (TLS12, "-cipher AES128-GCM-SHA256", [no; 5]),
        (TLS12, "-groups X25519:P-384", [yes, no, yes, no, yes]),
        (TLS13, "-groups X25519:P-384", [yes; 5]),
    ];
    for (key, leaf) in leaves.iter().enumerate() {
        let (config, chain) = (server_config(leaf), served(leaf));
        for ((version, versions), more, verifies) in clients {
            let case = format!("{} {version} {more}", keys[key].0);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let ca = openssl.path("ca.pem");
            let mut client = Command::new("openssl")
                .args(["s_client", "-verify_return_error", "-servername", "broker.example.com"])
                .args(version.split_whitespace())
                .arg("-connect")
                .arg(listener.local_addr().unwrap().to_string())
                .arg("-CAfile")
                .arg(ca)
                .args(more.split_whitespace())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("openssl is installed");
            let (offer, is_finished) = accept(&listener, &config, versions);
            drop(listener);
            let is_satisfied = client.wait().unwrap().success();
            assert_eq!(is_finished && is_satisfied, verifies[key], "{case}");
            assert_eq!(offer.can_verify(&chain), verifies[key], "{case}: {offer:?}");
        }
    }
}

/// rustls, unlike openssl, verifies a chain's signatures only by the schemes that it offers.
#[test]
fn rustls_verifies_a_chain_exactly_if_its_offer_suffices() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("leaf").sign("leaf", "ca", V3);
    let root = Authority::new("EC root");
    let rsa_root = der(&openssl, "ca.pem");
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let under_p384 = root.intermediate_from(certward_test_support::authority_params("P-384"), p384);
    let host = ["broker.example.com"];
    let leaves = [
        (
            "signed by RSA",
            Leaf::from_pem(&openssl.read("leaf.pem"), &openssl.read("leaf.key")),
            rsa_root.clone(),
        ),
        ("signed by P-256", root.server(&host), root.der().to_vec()),
        ("signed by P-256 and P-384", under_p384.server(&host), root.der().to_vec()),
    ];
    let schemes = [
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
    ];
    let mut satisfied = 0;
    for chosen in 1..1_u32 << schemes.len() {
        let chosen: Vec<_> = schemes
            .iter()
            .enumerate()
            .filter(|(n, _)| chosen & 1 << n != 0)
            .map(|(_, scheme)| *scheme)
            .collect();
        for (name, leaf, root) in &leaves {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone().into()).unwrap();
            let client = ClientConfig::builder_with_provider(Arc::new(offering(&chosen)))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let mut client = ClientConnection::new(Arc::new(client), host[0].try_into().unwrap()).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut hello.as_slice()).unwrap();
            let accepted = acceptor.accept().unwrap_or_else(|(error, _)| panic!("{error}")).unwrap();
            let offer = offer_of(&accepted, &[0x0304]);
            let is_satisfied = match accepted.into_connection(server_config(leaf)) {
                Ok(mut server) => {
                    let mut answer = Vec::new();
                    while server.wants_write() {
                        server.write_tls(&mut answer).unwrap();
                    }
                    client.read_tls(&mut answer.as_slice()).unwrap();
                    client.process_new_packets().is_ok() && shake(&mut client, &mut server).is_ok()
                }
                Err(_) => false,
            };
            assert_eq!(offer.can_verify(&served(leaf)), is_satisfied, "{name}, {chosen:?}");
            satisfied += u32::from(is_satisfied);
        }
    }
    assert_eq!(satisfied, 2 + 4 + 2);
}

/// A provider whose certificate verification knows, and so offers, these schemes only.
fn offering(schemes: &[SignatureScheme]) -> CryptoProvider {
    let full = aws_lc_rs::default_provider();
    let WebPkiSupportedAlgorithms { mapping, .. } = full.signature_verification_algorithms;
    let mapping: Vec<_> = mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
    let all: Vec<_> = mapping.iter().flat_map(|(_, algorithms)| algorithms.iter().copied()).collect();
    // For the rest of the test's process, as rustls wants them.
    let signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: Vec::leak(all), mapping: Vec::leak(mapping) };
    CryptoProvider { signature_verification_algorithms, ..full }
}

fn der(openssl: &Openssl, name: &str) -> Vec<u8> {
    crate::clients::der(&openssl.read(name)).to_vec()
}

#[test]
fn separate_schemes_for_certificates_count_for_the_chain_alone() {
    let root = Authority::new("root");
    let chain = served(&root.server(&["broker.example.com"]));
    let own = served(&Leaf::self_signed(server_params("broker.example.com", &["broker.example.com"])));
    let offer = |signature_schemes: &[u16], certificate_schemes: &[u16]| ClientOffer {
        versions: vec![0x0304],
        signature_schemes: signature_schemes.to_vec(),
        certificate_schemes: certificate_schemes.to_vec(),
        ..ClientOffer::default()
    };
    // (offer, verifies a leaf of P-256 signed by P-256, verifies a self-signed one)
    let cases: [(ClientOffer, bool, bool); 6] = [
        (offer(&[0x0403], &[]), true, true),
        (offer(&[0x0403], &[0x0403]), true, true),
        (offer(&[0x0403], &[0x0401]), false, true),
        (offer(&[0x0804], &[0x0403]), false, false),
        (offer(&[], &[]), false, false),
        (ClientOffer { versions: vec![0x0302], ..offer(&[0x0403], &[]) }, false, false),
    ];
    for (offer, issued, self_signed) in cases {
        assert_eq!((offer.can_verify(&chain), offer.can_verify(&own)), (issued, self_signed), "{offer:?}");
    }
}

/// TLS 1.2 without groups: the server may choose any (RFC 8422 §4).
#[test]
fn no_groups_are_all_groups() {
    let leaf = Authority::new("root").server(&["broker.example.com"]);
    let offer = |groups: &[u16]| ClientOffer {
        versions: vec![0x0303],
        signature_schemes: vec![0x0403],
        cipher_suites: vec![0xc02b],
        groups: groups.to_vec(),
        ..ClientOffer::default()
    };
    for (groups, verifies) in [(&[][..], true), (&[23], true), (&[24, 29], false)] {
        assert_eq!(offer(groups).can_verify(&served(&leaf)), verifies, "{groups:?}");
    }
}

/// As `openssl x509 -sigopt rsa_padding_mode:pss` makes it: any length of salt.
#[test]
fn a_signature_with_another_salt_is_of_the_same_scheme() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("leaf");
    for salt in ["digest", "max"] {
        openssl.sign(
            "leaf",
            "ca",
            &format!("{V3} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}"),
        );
        let leaf = Leaf::from_pem(&openssl.read("leaf.pem"), &openssl.read("leaf.key"));
        let offer = |certificate_schemes: &[u16]| ClientOffer {
            versions: vec![0x0304],
            signature_schemes: vec![0x0403],
            certificate_schemes: certificate_schemes.to_vec(),
            ..ClientOffer::default()
        };
        assert!(offer(&[0x0804]).can_verify(&served(&leaf)), "{salt}");
        assert!(!offer(&[0x0401, 0x0805]).can_verify(&served(&leaf)), "{salt}");
    }
}

#[test]
fn only_certificates_make_a_chain() {
    let leaf = Authority::new("root").server(&["broker.example.com"]);
    assert!(ServedChain::read(&[&leaf.der]).is_some());
    assert!(ServedChain::read(&[&leaf.der[..], &[0x30, 0]]).is_none());
    assert!(ServedChain::read(&[[0; 0]; 0]).is_none());
}
