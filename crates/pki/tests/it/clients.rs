//! Client verification in real handshakes, TLS 1.2 and 1.3.

use std::sync::Arc;

use certward_pki::{ClientRefusal, ClientTrust};
use certward_test_support::{AnyServer, server_params};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::openssl::{Openssl, V3};
use crate::serving::{provider, shake};
use crate::stage::{Authority, Leaf};

pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("made by the test")
}

fn key(pem: &str) -> PrivateKeyDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("made by the test")
}

pub(crate) fn verifier(anchors: &[&str]) -> Arc<dyn ClientCertVerifier> {
    let trust = ClientTrust::new(anchors.iter().map(|pem| der(pem)).collect()).unwrap();
    trust.verifier(&provider()).unwrap()
}

/// The chain need not match the key, unlike what rustls loads.
pub(crate) fn handshake(
    verifier: &Arc<dyn ClientCertVerifier>,
    version: &'static SupportedProtocolVersion,
    chain: &[&str],
    client_key: &str,
) -> Result<(), Error> {
    let server_leaf = Leaf::self_signed(server_params("server", &["server"]));
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(Arc::clone(verifier))
        .with_single_cert(vec![server_leaf.der.clone().into()], server_leaf.private_key())
        .unwrap();
    let signing_key = aws_lc_rs::sign::any_supported_type(&key(client_key)).unwrap();
    let certified = CertifiedKey::new(chain.iter().map(|pem| der(pem)).collect(), signing_key);
    let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider())))
        .with_client_cert_resolver(resolver);
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "server".try_into().unwrap()).unwrap();
    shake(&mut client, &mut server)
}

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn version_1_end_entities_of_an_anchor_are_let_in_and_nothing_more() {
    let openssl = Openssl::new();
    openssl
        .ca("server-ca")
        .ca("client-ca")
        .ca("stranger")
        .run("genrsa -out rsa.key 2048")
        .sign("rsa", "client-ca", "-sha256")
        .p256("p256")
        .sign("p256", "client-ca", "-sha256")
        .run("ecparam -name secp384r1 -genkey -noout -out p384.key")
        .sign("p384", "client-ca", "-sha256")
        .run("genpkey -algorithm ed25519 -out ed.key")
        .sign("ed", "client-ca", "-sha256")
        .p256("good")
        .sign("good", "client-ca", V3)
        .p256("other")
        .sign("other", "stranger", "-sha256")
        .p256("sha1")
        .sign("sha1", "client-ca", "-sha1")
        // Version 1 certificates used as issuers.
        .sign("p256", "client-ca", "-sha256")
        .p256("below")
        .sign("below", "p256", "-sha256")
        .p256("below3")
        .sign("below3", "p256", V3)
        // Version 1 under a valid intermediate.
        .p256("sub")
        .run("req -new -key sub.key -out sub.csr -subj /CN=sub");
    openssl.write("sub.cnf", "basicConstraints = critical,CA:TRUE\nkeyUsage = keyCertSign\n");
    openssl
        .run("x509 -req -in sub.csr -CA client-ca.pem -CAkey client-ca.key -CAcreateserial -out sub.pem -days 3650 -extfile sub.cnf")
        .p256("under")
        .sign("under", "sub", "-sha256");
    let read = |name: &str| openssl.read(name);
    let verifier = verifier(&[&read("server-ca.pem"), &read("client-ca.pem")]);
    let accepted = |chain: &[&str], key: &str, name: &str| {
        let pems: Vec<String> = chain.iter().map(|name| read(&format!("{name}.pem"))).collect();
        let chain: Vec<&str> = pems.iter().map(String::as_str).collect();
        for version in VERSIONS {
            let result = handshake(&verifier, version, &chain, &read(&format!("{key}.key")));
            assert!(result.is_ok(), "{name}: {result:?}");
        }
    };
    let refused = |chain: &[&str], key: &str, name: &str| {
        let pems: Vec<String> = chain.iter().map(|name| read(&format!("{name}.pem"))).collect();
        let chain: Vec<&str> = pems.iter().map(String::as_str).collect();
        for version in VERSIONS {
            let result = handshake(&verifier, version, &chain, &read(&format!("{key}.key")));
            assert!(matches!(result, Err(Error::InvalidCertificate(_))), "{name}: {result:?}");
        }
    };
    for kind in ["rsa", "p256", "p384", "ed"] {
        accepted(&[kind], kind, kind);
    }
    accepted(&["rsa", "client-ca"], "rsa", "with its root behind it");
    accepted(&["good"], "good", "version 3");
    refused(&["other"], "other", "another CA of the same name");
    refused(&["sha1"], "sha1", "signed with SHA-1");
    refused(&["p256"], "good", "another key of the same kind");
    refused(&["rsa"], "p256", "another key of another kind");
    refused(&["below"], "below", "version 1 under version 1");
    refused(&["below", "p256"], "below", "version 1 under version 1, both sent");
    refused(&["below3", "p256"], "below3", "version 3 under version 1");
    refused(&["under"], "under", "version 1 under an intermediate");
    refused(&["under", "sub"], "under", "version 1 under an intermediate that is sent");
}

#[test]
fn a_version_1_certificate_is_held_to_its_validity() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("device").sign("device", "ca", "");
    let certificate = der(&openssl.read("device.pem"));
    let verifier = verifier(&[&openssl.read("ca.pem")]);
    let made = certward_pki::describe(&certificate).unwrap();
    let at = |time: time::OffsetDateTime| {
        let seconds = u64::try_from(time.unix_timestamp()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        verifier.verify_client_cert(&certificate, &[], now).map(|_| ())
    };
    let second = time::Duration::SECOND;
    assert_eq!(at(made.not_before), Ok(()));
    assert_eq!(at(made.not_after), Ok(()));
    assert_eq!(at(made.not_before - second), Err(CertificateError::NotValidYet.into()));
    assert_eq!(at(made.not_after + second), Err(CertificateError::Expired.into()));
}

#[test]
fn the_refusal_for_the_version_is_recognised_so_our_webpki_is_the_one_of_rustls() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("device").sign("device", "ca", "");
    let roots = rustls::RootCertStore {
        roots: vec![webpki::anchor_from_trusted_cert(&der(&openssl.read("ca.pem"))).unwrap().to_owned()],
    };
    let plain = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_900_000_000));
    let refusal = plain.verify_client_cert(&der(&openssl.read("device.pem")), &[], now).unwrap_err();
    let Error::InvalidCertificate(CertificateError::Other(cause)) = refusal else { panic!("{refusal:?}") };
    assert_eq!(cause.0.downcast_ref::<webpki::Error>(), Some(&webpki::Error::UnsupportedCertVersion));
}

#[test]
fn the_names_of_all_anchors_are_asked_for_and_duplicates_are_left_out() {
    let (one, other) = (Authority::new("One Name"), Authority::new("One Name"));
    let anchor = |ca: &Authority| CertificateDer::from(ca.der().to_vec());
    let trust = ClientTrust::new(vec![anchor(&one), anchor(&other), anchor(&one)]).unwrap();
    assert_eq!(trust.anchors().len(), 2);
    let subjects = trust.subjects();
    assert_eq!(subjects.len(), 2);
    assert_eq!(subjects[0][0], 0x30, "with the SEQUENCE header");
    let hints = trust.verifier(&provider()).unwrap();
    let hints: Vec<&[u8]> = hints.root_hint_subjects().iter().map(|name| name.as_ref()).collect();
    assert_eq!(hints, subjects.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert!(ClientTrust::new(vec![]).is_err());
    assert!(ClientTrust::new(vec![CertificateDer::from(vec![1, 2, 3])]).is_err());
}

#[test]
fn trust_narrows_exactly_when_an_anchor_is_gone() {
    let (one, other) = (Authority::new("One"), Authority::new("Other"));
    let trust = |cas: &[&Authority]| {
        ClientTrust::new(cas.iter().map(|ca| CertificateDer::from(ca.der().to_vec())).collect()).unwrap()
    };
    assert!(trust(&[&one]).narrows(&trust(&[&one, &other])));
    assert!(trust(&[&other]).narrows(&trust(&[&one])));
    assert!(!trust(&[&other, &one]).narrows(&trust(&[&one])));
}

/// The time of the certificates that the stage makes.
fn at() -> UnixTime {
    let seconds = u64::try_from(crate::stage::now().unix_timestamp()).unwrap();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// Invented CAs of one name, which any stranger can send, multiply webpki's search.
#[test]
fn a_search_that_multiplies_ends_before_it_begins() {
    let anchor = Authority::new("Anchor");
    let invented: Vec<Authority> = (0..9).map(|_| Authority::new("Invented")).collect();
    let leaf = invented[0].client("device");
    let verifier = verifier(&[anchor.pem()]);
    let refusal = |issuers: usize| {
        let issuers: Vec<_> = invented[..issuers].iter().map(|ca| der(ca.pem())).collect();
        match verifier.verify_client_cert(&der(&leaf.pem), &issuers, at()) {
            Err(Error::InvalidCertificate(error)) => ClientRefusal::of(&error),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(3), ClientRefusal::UnknownIssuer);
    assert_eq!(refusal(5), ClientRefusal::ChainTooLong);
    assert_eq!(refusal(9), ClientRefusal::ChainTooLong);
}

/// The outer header is not signed: a certificate has one form.
#[test]
fn a_certificate_in_another_form_is_none() {
    let (anchor, other) = (Authority::new("Anchor"), Authority::new("ANCHOR"));
    let sub = anchor.intermediate("Sub");
    let decoys = [Authority::new("Anchor"), other].map(|ca| ca.intermediate("Sub"));
    let leaf = sub.client("device");
    let verifier = verifier(&[anchor.pem()]);
    let verdict = |sub: Vec<u8>| {
        let issuers: Vec<_> =
            std::iter::once(sub.into()).chain(decoys.iter().map(|ca| der(ca.pem()))).collect();
        verifier.verify_client_cert(&der(&leaf.pem), &issuers, at()).is_ok()
    };
    let good = der(sub.pem()).to_vec();
    assert!(verdict(good.clone()));
    let primitive = [&[0x10], &good[1..]].concat();
    assert_eq!(good[1], 0x82);
    let padded = [&[0x30, 0x83, 0], &good[2..]].concat();
    assert!(!verdict(primitive) && !verdict(padded));
}
