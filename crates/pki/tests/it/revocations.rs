//! Deny-list and CRLs together, as the gateway asks them.

use std::sync::Arc;
use std::time::Instant;

use certward_pki::{
    ClientRefusal, ClientTrust, CrlCircumstances, CrlTable, DenyKey, DenyKeys, DenyList, DeviceCertificate,
    DeviceIdentity, Revocations, StalePolicy, judge_crl,
};
use certward_test_support::{Authority, Leaf};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use time::Duration;
use time::macros::datetime;

use crate::clients::der;
use crate::crl_judges::unix;
use crate::crl_maker::{CrlMaker, serial};
use crate::openssl::Openssl;
use crate::serving::provider;
use crate::stage::{now, twin};

fn denying(keys: impl IntoIterator<Item = DenyKey>) -> Revocations {
    Revocations::new(DeviceIdentity::Cn, Arc::new(DenyList::from_iter(keys)))
}

fn table(crl: &CrlMaker, ca: &Authority, stale: StalePolicy) -> Arc<CrlTable> {
    let client_cas = [ca.der().to_vec()];
    let circumstances = CrlCircumstances { now: now(), client_cas: &client_cas, in_service: None, stale };
    let crl = judge_crl(&crl.sign(ca.key()), &circumstances).crl.unwrap();
    Arc::new(CrlTable::of_accepted(&crl.der, &crl.signer_spki, stale).unwrap())
}

fn facts(device: &CertificateDer<'_>, ca: &[u8]) -> DeviceCertificate {
    let trust = ClientTrust::new(vec![ca.to_vec().into()]).unwrap();
    DeviceCertificate::read(std::slice::from_ref(device), &trust, DeviceIdentity::Cn).unwrap()
}

#[test]
fn the_twin_of_a_denied_certificate_is_denied() {
    let ca = Authority::new("clients");
    let device = ca.client("device");
    let twisted = CertificateDer::from(twin(&device.der));
    assert_ne!(twisted.as_ref(), device.der);
    let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
    trust.verifier(&provider()).unwrap().verify_client_cert(&twisted, &[], unix(now())).unwrap();
    let facts = facts(&device.der.clone().into(), ca.der());
    for key in [
        DenyKey::certificate(facts.id),
        DenyKey::issued(&facts.issuer, &facts.serial),
        DenyKey::named("device"),
        DenyKey::named_by("device", &facts.issuer),
    ] {
        assert_eq!(denying([key]).check(&twisted, unix(now())), Err(CertificateError::Revoked), "{key}");
    }
    let crl = table(&CrlMaker::revoking(&ca, &device), &ca, StalePolicy::Soft);
    assert_eq!(denying([]).with_crls(vec![crl]).check(&twisted, unix(now())), Err(CertificateError::Revoked));
}

/// The public EMQX recipe makes version 1.
#[test]
fn certificates_of_version_1_are_denied_and_revoked_too() {
    let openssl = Openssl::new();
    openssl.write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=3650\n",
    );
    openssl.write("index", "");
    openssl
        .ca("ca")
        .p256("device")
        .sign("device", "ca", "-sha256")
        .p256("other")
        .sign("other", "ca", "-sha256");
    openssl.run("ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke device.pem");
    openssl.run("ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem");
    let (ca, device, other) =
        (der(&openssl.read("ca.pem")), der(&openssl.read("device.pem")), der(&openssl.read("other.pem")));
    let facts = facts(&device, &ca);
    // openssl uses the machine's time.
    let now = datetime!(2030-01-01 0:00 UTC);
    let circumstances =
        CrlCircumstances { now, client_cas: &[ca.to_vec()], in_service: None, stale: StalePolicy::Soft };
    let crl = judge_crl(&openssl.bytes("crl.pem"), &circumstances).crl.unwrap();
    let crl = Arc::new(CrlTable::of_accepted(&crl.der, &crl.signer_spki, StalePolicy::Soft).unwrap());
    for revocations in [
        denying([DenyKey::certificate(facts.id)]),
        denying([DenyKey::issued(&facts.issuer, &facts.serial)]),
        denying([DenyKey::named("device.example.com")]),
        denying([]).with_crls(vec![crl]),
    ] {
        assert_eq!(revocations.check(&device, unix(now)), Err(CertificateError::Revoked));
        assert_eq!(revocations.check(&other, unix(now)), Ok(()));
    }
}

#[test]
fn revoked_is_graver_than_unknown() {
    let ca = Authority::new("clients");
    let (device, other) = (ca.client("device"), ca.client("other"));
    let stale = table(&CrlMaker::of(&ca), &ca, StalePolicy::Hard);
    assert_eq!(stale.refuses_all_after(), Some(now() + Duration::days(9)));
    let listed = table(&CrlMaker::revoking(&ca, &device), &ca, StalePolicy::Soft);
    assert_eq!((listed.refuses_all_after(), listed.entries()), (None, 1));
    let later = unix(now() + Duration::days(10));
    for crls in [vec![stale.clone(), listed.clone()], vec![listed, stale]] {
        let revocations = denying([]).with_crls(crls);
        assert!(!revocations.is_empty());
        let verdicts = |leaf: &Leaf| revocations.check(&leaf.der.clone().into(), later);
        assert_eq!(verdicts(&device), Err(CertificateError::Revoked));
        assert_eq!(verdicts(&other), Err(CertificateError::ExpiredRevocationList));
    }
    let refusals = [
        (CertificateError::Revoked, ClientRefusal::Revoked),
        (CertificateError::ExpiredRevocationList, ClientRefusal::RevocationUnknown),
        (CertificateError::UnknownRevocationStatus, ClientRefusal::RevocationUnknown),
    ];
    for (error, refusal) in refusals {
        assert_eq!(ClientRefusal::of(&error), refusal);
    }
}

#[test]
fn unreadable_certificates_are_refused_beside_a_crl() {
    let ca = Authority::new("clients");
    let revocations = denying([]).with_crls(vec![table(&CrlMaker::of(&ca), &ca, StalePolicy::Soft)]);
    let garbage = CertificateDer::from(vec![0x30, 0]);
    assert_eq!(revocations.check(&garbage, unix(now())), Err(CertificateError::Revoked));
    // An unreadable intermediate is part of no path.
    let sent = [garbage];
    let candidates = revocations.candidates(&sent, unix(now()));
    assert_eq!(candidates.left.len(), 1);
    assert_eq!(candidates.refusal, None);
}

/// A stranger's intermediates must not make signatures be verified without end.
#[test]
fn after_some_signatures_an_entry_counts_unasked() {
    let (ca, namesake) = (Authority::new("clients"), Authority::new("clients"));
    let sub = namesake.intermediate("sub");
    let crl = CrlMaker::of(&ca).entry(&serial(sub.der()), &[]);
    let revocations = denying([]).with_crls(vec![table(&crl, &ca, StalePolicy::Soft)]);
    let sent = vec![CertificateDer::from(sub.der().to_vec()); 40];
    assert_eq!(revocations.candidates(&sent, unix(now())).left.len(), 16);
}

/// Prints sizes and times: `cargo test --release -p certward-pki --test it -- --ignored --nocapture
/// large_lists`.
#[test]
#[ignore = "a measurement"]
fn large_lists() {
    let ca = Authority::new("clients");
    let device = ca.client("device");
    let number = |n: u32| {
        [&[1], &aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &n.to_be_bytes()).as_ref()[..19]]
            .concat()
    };
    let crl = (0..200_000)
        .fold(CrlMaker::of(&ca).number(&[1]), |crl, n| crl.entry(&number(n), &[crate::crl_maker::reason(1)]));
    let der = crl.sign(ca.key());
    let client_cas = [ca.der().to_vec()];
    let circumstances =
        CrlCircumstances { now: now(), client_cas: &client_cas, in_service: None, stale: StalePolicy::Soft };
    let pem = crate::stage::encode_pem("X509 CRL", &der);
    for (form, upload) in [("DER", &der[..]), ("PEM", pem.as_bytes())] {
        let began = Instant::now();
        let judgement = judge_crl(upload, &circumstances);
        println!("judge_crl, 200,000 entries, {form}, {} bytes: {:?}", upload.len(), began.elapsed());
        assert_eq!(judgement.crl.unwrap().entries, 200_000);
    }
    let spki = judge_crl(&der, &circumstances).crl.unwrap().signer_spki;
    let (tables, took, bytes) = many(|| CrlTable::of_accepted(&der, &spki, StalePolicy::Soft).unwrap());
    println!("CrlTable::of_accepted: {took:?}, {bytes} bytes");
    let table = Arc::new(tables.into_iter().next().unwrap());
    let revocations = denying([]).with_crls(vec![table]);
    let began = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(revocations.check(&device.der.clone().into(), unix(now())), Ok(()));
    }
    println!("check with the table: {:?}", began.elapsed() / 10_000);
    let keys: Vec<DenyKey> = (0..100_000).map(|n| DenyKey::named(&format!("device {n}"))).collect();
    let (lists, took, bytes) = many(|| DenyList::from_iter(keys.iter().copied()));
    println!("DenyList of 100,000: {took:?}, {bytes} bytes");
    let list = Arc::new(lists.into_iter().next().unwrap());
    let began = Instant::now();
    let mut more = DenyList::clone(&list);
    more.extend([DenyKey::named("one more")]);
    println!("a copy with one more: {:?}", began.elapsed());
    let keys = DenyKeys::of(&device.der, DeviceIdentity::Cn).unwrap();
    let revocations = Revocations::new(DeviceIdentity::Cn, list);
    let began = Instant::now();
    for _ in 0..1_000_000 {
        assert!(!revocations.denies(std::hint::black_box(&keys)));
    }
    println!("denies: {:?}", began.elapsed() / 1_000_000);
    let began = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(revocations.check(&device.der.clone().into(), unix(now())), Ok(()));
    }
    println!("check with the list: {:?}", began.elapsed() / 10_000);
}

/// Some, with the time and the memory for each. What is freed within would hide the size of one.
fn many<T>(make: impl Fn() -> T) -> (Vec<T>, std::time::Duration, usize) {
    const COUNT: usize = 20;
    let (before, began) = (resident_bytes(), Instant::now());
    let made: Vec<T> = (0..COUNT).map(|_| make()).collect();
    let took = began.elapsed() / COUNT as u32;
    (made, took, resident_bytes().saturating_sub(before) / COUNT)
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
