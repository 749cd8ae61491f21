//! What is known of a verified device's certificate, and which devices are trusted alike.

use std::collections::HashMap;
use std::time::Duration;

use certward_pki::{
    AuthorityId, ClientChainJudge, ClientRefusal, ClientTrust, DeviceCertificate, DeviceIdentity,
    IssuerPathId, fingerprint,
};
use certward_test_support::{Authority, Leaf, authority_params, client_params};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::macros::datetime;

use crate::clients::der;
use crate::openssl::{Openssl, V3};
use crate::serving::provider;
use crate::stage::{now, twin};

fn trust(client_cas: &[&[u8]]) -> ClientTrust {
    ClientTrust::new(client_cas.iter().map(|der| der.to_vec().into()).collect()).unwrap()
}

fn chain(leaf: &Leaf) -> Vec<CertificateDer<'static>> {
    std::iter::once(&leaf.der).chain(&leaf.intermediates).map(|der| der.clone().into()).collect()
}

fn read(leaf: &Leaf, client_cas: &[&[u8]]) -> Option<DeviceCertificate> {
    DeviceCertificate::read(&chain(leaf), &trust(client_cas), DeviceIdentity::Cn)
}

fn path(leaf: &Leaf, client_cas: &[&[u8]]) -> IssuerPathId {
    read(leaf, client_cas).unwrap().path.id
}

#[test]
fn the_facts_are_those_that_openssl_prints() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("device");
    for extensions in ["-sha256", V3] {
        openssl.sign("device", "ca", extensions);
        let ca = der(&openssl.read("ca.pem"));
        let device = der(&openssl.read("device.pem"));
        let read = DeviceCertificate::read(std::slice::from_ref(&device), &trust(&[&ca]), DeviceIdentity::Cn);
        let read = read.unwrap();
        openssl.run(
            "x509 -in device.pem -noout -serial -fingerprint -sha256 -dates -dateopt iso_8601 -out printed",
        );
        let printed = openssl.read("printed").to_lowercase();
        let of_openssl = |name: &str| {
            let line = printed.lines().find(|line| line.contains(name)).unwrap();
            line.split_once('=').unwrap().1.replace([':', 'z'], "")
        };
        let time = |time: time::OffsetDateTime| {
            let (date, time) = (time.date(), time.time());
            format!("{date} {:02}{:02}{:02}", time.hour(), time.minute(), time.second())
        };
        assert_eq!(read.serial.as_ref(), of_openssl("serial"));
        assert_eq!(read.fingerprint.as_ref(), of_openssl("fingerprint"));
        assert_eq!(time(read.not_before), of_openssl("notbefore"));
        assert_eq!(time(read.not_after), of_openssl("notafter"));
        assert_eq!(
            (read.name.as_ref(), read.issuer.as_ref()),
            ("device.example.com", "C=CN, O=EMQ, CN=emqx")
        );
        assert_eq!(read.path.client_ca.as_ref(), fingerprint(&ca));
        assert_eq!(read.path.example, [device.to_vec()]);
        assert_eq!(read.path.example_not_after, read.not_after);
    }
}

/// The public EMQX recipe makes CAs of one name, and version 1 devices.
#[test]
fn of_client_cas_with_one_name_the_signature_decides() {
    let openssl = Openssl::new();
    openssl.ca("first").ca("second");
    for (name, ca, form) in
        [("a", "first", "-sha256"), ("b", "second", "-sha256"), ("c", "first", V3), ("d", "second", V3)]
    {
        openssl.p256(name).sign(name, ca, form);
        let (first, second) = (der(&openssl.read("first.pem")), der(&openssl.read("second.pem")));
        let device = der(&openssl.read(&format!("{name}.pem")));
        let trust = trust(&[&first, &second]);
        let read = DeviceCertificate::read(&[device], &trust, DeviceIdentity::Cn).unwrap();
        let admitted_by = if ca == "first" { &first } else { &second };
        assert_eq!(read.path.client_ca.as_ref(), fingerprint(admitted_by), "{name}");
    }
}

#[test]
fn a_client_ca_that_is_renewed_with_its_key_keeps_its_paths() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let renewed = |not_after| {
        let mut ca = authority_params("Fleet CA");
        ca.not_after = not_after;
        Authority::from_params(ca, KeyPair::from_pem(&key).unwrap())
    };
    let old = renewed(datetime!(2030-01-01 0:00 UTC));
    let new = renewed(datetime!(2050-01-01 0:00 UTC));
    let device = old.client("device");
    let (before, after) = (read(&device, &[old.der()]).unwrap(), read(&device, &[new.der()]).unwrap());
    assert_eq!(before.path.id, after.path.id);
    assert_eq!(after.path.client_ca.as_ref(), fingerprint(new.der()));
    assert_ne!(before.path.client_ca, after.path.client_ca);
    // Both at once: the first.
    assert_eq!(read(&device, &[old.der(), new.der()]).unwrap().path, before.path);
    // With another key it is another CA.
    let rekeyed = Authority::new("Fleet CA");
    assert_eq!(read(&device, &[rekeyed.der(), old.der()]).unwrap().path, before.path);
    assert_ne!(path(&rekeyed.client("device"), &[rekeyed.der(), old.der()]), before.path.id);
}

#[test]
fn devices_that_are_trusted_alike_have_one_path() {
    let root = Authority::new("root");
    let (sub, more) = (root.intermediate("sub"), Authority::new("more"));
    let first = read(&sub.client("first"), &[root.der()]).unwrap();
    let with = |change: fn(&mut CertificateParams)| sub.client_with("other", change);
    let mut with_root = with(|_| ());
    with_root.intermediates.push(root.der().to_vec());
    let mut with_strangers = with(|_| ());
    with_strangers.intermediates.insert(0, Authority::new("stranger").der().to_vec());
    let mut with_namesakes = with(|_| ());
    for name in ["sub", "root"] {
        with_namesakes.intermediates.insert(0, Authority::new(name).der().to_vec());
    }
    let mut alone = with(|_| ());
    alone.intermediates.clear();
    let san = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("device".try_into().unwrap())];
    };
    let cases: [(&str, Leaf, &[&[u8]], bool); 12] = [
        ("another name, key and serial", with(|_| ()), &[root.der()], true),
        (
            "other dates",
            with(|params| params.not_after = datetime!(2031-01-01 0:00 UTC)),
            &[root.der()],
            true,
        ),
        ("another subjectAltName", with(san), &[root.der()], true),
        ("with the root", with_root, &[root.der()], true),
        ("with unrelated CAs", with_strangers, &[root.der()], true),
        ("with others of its issuers' names", with_namesakes, &[root.der()], true),
        ("beside another client CA", with(|_| ()), &[more.der(), root.der()], true),
        (
            "for servers too",
            with(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth)),
            &[root.der()],
            false,
        ),
        (
            "another key usage",
            with(|params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment)),
            &[root.der()],
            false,
        ),
        ("without its intermediate", alone, &[sub.der()], false),
        ("to a client CA below the root", with(|_| ()), &[sub.der()], false),
        ("of the root", root.client("other"), &[root.der()], false),
    ];
    for (case, leaf, client_cas, is_same) in cases {
        assert_eq!(path(&leaf, client_cas) == first.path.id, is_same, "{case}");
        assert_ne!(read(&leaf, client_cas).unwrap().id, first.id, "{case}");
    }
    assert_eq!(first.path.example.len(), 2);
    assert_eq!(read(&root.client("other"), &[sub.der()]), None);
    assert_eq!(DeviceCertificate::read(&[], &trust(&[root.der()]), DeviceIdentity::Cn), None);
}

/// Every device, verified by itself, against every client trust that can be made of the CAs.
#[test]
fn what_is_true_of_one_device_is_true_of_its_path() {
    let roots = [Authority::new("root"), Authority::new("root"), Authority::new("other")];
    let subs = [&roots[0], &roots[0], &roots[1], &roots[2]].map(|root| root.intermediate("sub"));
    let key = || KeyPair::from_pem(&subs[0].key().serialize_pem()).unwrap();
    // The first sub, also issued by another root.
    let crossed = roots[2].intermediate_from(authority_params("sub"), key());
    let mut devices = Vec::new();
    for sub in subs.iter().chain(&roots).chain([&crossed]) {
        let variants: [fn(&mut CertificateParams); 2] = [|_| (), |params| params.key_usages.clear()];
        for change in variants {
            let device = sub.client_with("device", change);
            let all: Vec<_> = subs.iter().chain([&crossed]).map(|sub| sub.der().to_vec()).collect();
            let sent = [device.intermediates.clone(), Vec::new(), all[..2].to_vec(), all[..4].to_vec(), all];
            devices.extend(sent.map(|intermediates| Leaf { intermediates, ..device.clone() }));
        }
    }
    let cas: Vec<&Authority> = roots.iter().chain(&subs[..2]).collect();
    let trusts: Vec<ClientTrust> = (1..1_u32 << cas.len())
        .map(|chosen| {
            let chosen = cas.iter().enumerate().filter(|(n, _)| chosen & 1 << n != 0);
            trust(&chosen.map(|(_, ca)| ca.der()).collect::<Vec<_>>())
        })
        .collect();
    let judges: Vec<_> = trusts.iter().map(|trust| ClientChainJudge::new(trust).unwrap()).collect();
    let verdict = |trust: usize, chain: &[CertificateDer<'_>]| judges[trust].verify(chain, now()).is_ok();
    let verdicts: Vec<Vec<bool>> = devices
        .iter()
        .map(|device| (0..trusts.len()).map(|trust| verdict(trust, &chain(device))).collect())
        .collect();
    let mut paths: HashMap<IssuerPathId, Vec<bool>> = HashMap::new();
    for (device, verdicts) in devices.iter().zip(&verdicts) {
        for (trust, accepts) in verdicts.iter().enumerate() {
            let read = DeviceCertificate::read(&chain(device), &trusts[trust], DeviceIdentity::Cn);
            let Some(read) = read.filter(|_| *accepts) else {
                assert!(!accepts, "a device that is accepted has a path");
                continue;
            };
            assert_eq!(paths.entry(read.path.id).or_insert_with(|| verdicts.clone()), verdicts);
            assert_eq!(judges[trust].verify(&read.path.example, now()), Ok(()));
        }
    }
    assert!(paths.len() > 10, "{}", paths.len());
}

#[test]
fn the_id_does_not_depend_on_the_signature() {
    let ca = Authority::new("ca");
    let device = ca.client("device");
    let twin = Leaf { der: twin(&device.der), ..device.clone() };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
    let verifier = trust(&[ca.der()]).verifier(&provider()).unwrap();
    verifier.verify_client_cert(&chain(&twin)[0], &[], now).unwrap();
    let (twin, device) = (read(&twin, &[ca.der()]).unwrap(), read(&device, &[ca.der()]).unwrap());
    assert_ne!(twin.fingerprint, device.fingerprint);
    assert_eq!((twin.id, twin.path.id), (device.id, device.path.id));
}

#[test]
fn the_name_is_what_the_broker_gets_or_else_the_subject() {
    let ca = Authority::new("ca");
    let named = |name: &str| ca.client(name);
    let with_san = ca.client_with("device", |params| {
        params.subject_alt_names = vec![SanType::Rfc822Name("device@a.test".try_into().unwrap())];
    });
    let long = "x".repeat(200);
    let cases = [
        (named("meter 7"), DeviceIdentity::Cn, "meter 7".to_owned()),
        (named("meter 7"), DeviceIdentity::Dn, "CN=meter 7".to_owned()),
        (named("meter 7"), DeviceIdentity::San, "CN=meter 7".to_owned()),
        (with_san.clone(), DeviceIdentity::San, "device@a.test".to_owned()),
        (with_san.clone(), DeviceIdentity::Fingerprint, fingerprint(&with_san.der)),
        (named("zähler"), DeviceIdentity::Cn, "z\\u{e4}hler".to_owned()),
        (named("a\nb"), DeviceIdentity::Cn, "CN=a\\u{a}b".to_owned()),
        (named(&long), DeviceIdentity::Cn, "x".repeat(157) + "..."),
    ];
    for (leaf, identity, name) in cases {
        let read = DeviceCertificate::read(&chain(&leaf), &trust(&[ca.der()]), identity).unwrap();
        assert_eq!(read.name.as_ref(), name);
        assert!(read.name.len() <= 160);
    }
    let long_lived = Leaf::self_signed(client_params("own"));
    let own = read(&long_lived, &[&long_lived.der]).unwrap();
    assert_eq!(own.path.client_ca, own.fingerprint);
}

#[test]
fn the_example_of_a_path_tells_why_other_client_cas_refuse_it() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let refusal = |leaf: &Leaf, client_cas: &[&[u8]], now| {
        let path = read(leaf, &[old.der()]).unwrap().path;
        ClientChainJudge::new(&trust(client_cas)).unwrap().verify(&path.example, now).err()
    };
    let device = old.client("device");
    let in_2045 = datetime!(2045-01-01 0:00 UTC);
    assert_eq!(refusal(&device, &[new.der(), old.der()], now()), None);
    assert_eq!(refusal(&device, &[new.der()], now()), Some(ClientRefusal::UnknownIssuer));
    assert_eq!(refusal(&device, &[Authority::new("old").der()], now()), Some(ClientRefusal::BadSignature));
    assert_eq!(refusal(&device, &[old.der()], in_2045), Some(ClientRefusal::Expired));
    assert_eq!(
        refusal(&device, &[old.der()], datetime!(1969-12-31 0:00 UTC)),
        Some(ClientRefusal::NotYetValid)
    );
    let judge = ClientChainJudge::new(&trust(&[old.der()])).unwrap();
    assert_eq!(judge.verify(&[[0; 0]; 0], now()), Err(ClientRefusal::Encoding));
    assert_eq!(judge.verify(&[[0x30, 0]], now()), Err(ClientRefusal::Encoding));
}

#[test]
fn a_path_leads_to_whichever_client_ca_of_its_key_is_there() {
    let (ca, namesake) = (Authority::new("Devices"), Authority::new("Devices"));
    let (renewed, other) = (ca.renewed("Devices"), Authority::new("Other"));
    let below = ca.intermediate("Site");
    let among = |leaf: &Leaf, cas: &[&Authority]| {
        let chain: Vec<_> =
            [&leaf.der].into_iter().chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let path = DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap().path;
        path.client_ca_among(&cas.iter().map(|ca| ca.der()).collect::<Vec<_>>())
    };
    for leaf in [ca.client("direct"), below.client("below")] {
        assert_eq!(among(&leaf, &[&ca]), Some(0));
        assert_eq!(among(&leaf, &[&other, &namesake, &ca]), Some(2));
        assert_eq!(among(&leaf, &[&renewed]), Some(0), "by the key");
        assert_eq!(among(&leaf, &[&renewed, &ca]), Some(0), "the first of them");
        // Of that name there is one key only, and it is another.
        assert_eq!(among(&leaf, &[&namesake]), None);
        assert_eq!(among(&leaf, &[&other]), None);
        assert_eq!(among(&leaf, &[]), None);
    }
    let id = |ca: &Authority| AuthorityId::of(ca.der()).unwrap();
    assert_eq!(id(&ca), id(&renewed));
    assert_eq!([&namesake, &other, &below].map(id).into_iter().find(|other| *other == id(&ca)), None);
    assert_eq!(AuthorityId::of(b"none"), None);
}
