//! What may be uploaded as a CRL, and what it is called if it is none.

use certward_pki::{CRL_BYTES_MAX, CrlCircumstances, CrlJudgement, Severity, StalePolicy, judge_crl};
use certward_test_support::Authority;
use time::macros::datetime;

use crate::crl_maker::CrlMaker;
use crate::openssl::Openssl;
use crate::stage::{encode_pem, now};

fn judge(upload: &[u8], ca: &Authority) -> CrlJudgement {
    let client_cas = [ca.der().to_vec()];
    let circumstances =
        CrlCircumstances { now: now(), client_cas: &client_cas, in_service: None, stale: StalePolicy::Soft };
    judge_crl(upload, &circumstances)
}

fn codes(judgement: &CrlJudgement) -> Vec<&'static str> {
    judgement.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_crl_may_be_der_or_pem() {
    let ca = Authority::new("Fleet");
    let device = ca.client("device");
    let der = CrlMaker::revoking(&ca, &device).sign(ca.key());
    let pem = encode_pem("X509 CRL", &der);
    let uploads: [(&str, Vec<u8>, &[&str]); 6] = [
        ("DER", der.clone(), &[]),
        ("PEM", pem.clone().into_bytes(), &[]),
        ("line breaks of Windows", pem.replace('\n', "\r\n").into_bytes(), &["PEM_REPAIRED"]),
        (
            "text before it",
            format!("Certificate Revocation List (CRL):\n    Version 2\n{pem}").into_bytes(),
            &["PEM_REPAIRED"],
        ),
        ("a certificate beside it", format!("{pem}{}", ca.pem()).into_bytes(), &[]),
        ("a certificate in front of it", format!("{}{pem}", device.pem).into_bytes(), &[]),
    ];
    for (name, upload, expected) in uploads {
        let judgement = judge(&upload, &ca);
        assert_eq!(codes(&judgement), expected, "{name}");
        let crl = judgement.crl.unwrap();
        assert_eq!(crl.der, der, "{name}");
        assert_eq!((crl.issuer.as_ref(), crl.number.as_deref(), crl.entries), ("CN=Fleet", Some("1"), 1));
        assert_eq!(crl.this_update, datetime!(2026-05-31 12:00 UTC));
        assert_eq!(crl.next_update, Some(datetime!(2026-06-10 12:00 UTC)));
    }
}

#[test]
fn what_is_no_crl_is_named() {
    let ca = Authority::new("Fleet");
    let device = ca.client("device");
    let crl = encode_pem("X509 CRL", &CrlMaker::revoking(&ca, &device).sign(ca.key()));
    let second = encode_pem("X509 CRL", &CrlMaker::of(&ca).sign(ca.key()));
    let openssl = Openssl::new();
    openssl.write("device.key", &device.key_pem);
    openssl.write("device.pem", &device.pem);
    openssl.run("req -new -key device.key -subj /CN=x -out request.pem");
    openssl.run("req -in request.pem -outform DER -out request.der");
    openssl.run("crl2pkcs7 -nocrl -certfile device.pem -out pkcs7.pem");
    openssl.run("crl2pkcs7 -nocrl -certfile device.pem -outform DER -out pkcs7.der");
    openssl.run("pkcs12 -export -in device.pem -inkey device.key -passout pass:x -out device.p12");
    openssl.run("pkey -in device.key -pubout -out public.pem");
    let utf16: Vec<u8> = crl.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = |text: &str| text.as_bytes().to_vec();
    let uploads: Vec<(&str, Vec<u8>, &[&str], &str)> = vec![
        ("nothing", Vec::new(), &["CRL_MISSING"], "empty"),
        ("blanks", text(" \n"), &["CRL_MISSING"], "empty"),
        ("a certificate in DER", device.der.clone(), &["NOT_A_CRL"], "a certificate, not a CRL"),
        ("a certificate in PEM", text(&device.pem), &["NOT_A_CRL"], "holds certificates and no CRL"),
        (
            "a certificate by a wrong label",
            text(&encode_pem("X509 CRL", &device.der)),
            &["NOT_A_CRL"],
            "a certificate",
        ),
        ("a key in DER", device.key_der.clone(), &["NOT_A_CRL"], "a private key"),
        ("a key in PEM", text(&device.key_pem), &["CRL_HOLDS_KEY"], "a private key"),
        ("a key beside the CRL", text(&(crl.clone() + &device.key_pem)), &["CRL_HOLDS_KEY"], "Block 1"),
        ("a signing request", openssl.bytes("request.pem"), &["NOT_A_CRL"], "a certificate signing request"),
        (
            "a signing request in DER",
            openssl.bytes("request.der"),
            &["NOT_A_CRL"],
            "a certificate signing request",
        ),
        ("PKCS#7", openssl.bytes("pkcs7.pem"), &["NOT_A_CRL"], "a PKCS#7 container"),
        ("PKCS#7 in DER", openssl.bytes("pkcs7.der"), &["NOT_A_CRL"], "a PKCS#7 container"),
        ("PKCS#12", openssl.bytes("device.p12"), &["NOT_A_CRL"], "a PKCS#12 container"),
        ("a public key", openssl.bytes("public.pem"), &["NOT_A_CRL"], "a public key"),
        ("two CRLs", text(&(crl.clone() + &second)), &["SEVERAL_CRLS"], "2 CRLs"),
        ("a damaged block", text(&crl.replace("-----END", "----END")), &["PEM_UNREADABLE"], "no END line"),
        (
            "a certificate that cannot be read",
            text(&(crl.clone() + &encode_pem("CERTIFICATE", &[0x30, 0]))),
            &["CERT_UNREADABLE"],
            "Block 1",
        ),
        (
            "many certificates",
            text(&(crl.clone() + &device.pem.repeat(11))),
            &["TOO_MANY_CERTIFICATES"],
            "11",
        ),
        ("an address", text("http://crl.example.com/fleet.crl"), &["FORMAT_URL"], "an address"),
        ("a page", text("<html><body>Not found</body></html>"), &["PEM_MISSING"], "no PEM block"),
        ("UTF-16", utf16, &["FORMAT_UTF16"], "UTF-16"),
        (
            "base64 alone",
            text(crl.lines().filter(|line| !line.starts_with('-')).collect::<String>().as_str()),
            &["FORMAT_RAW_BASE64"],
            "base64",
        ),
        ("some other DER", vec![0x30, 0], &["CRL_UNREADABLE"], "cannot be read"),
        ("an OCTET STRING", vec![4, 2, 0xff, 0xfe], &["PEM_MISSING"], "no PEM block"),
        ("too much", vec![b' '; CRL_BYTES_MAX + 1], &["CRL_TOO_LARGE"], "16777217 bytes"),
    ];
    for (name, upload, expected, said) in uploads {
        let judgement = judge(&upload, &ca);
        assert!(judgement.crl.is_none(), "{name}");
        assert_eq!(codes(&judgement), expected, "{name}: {:?}", judgement.findings);
        let finding = &judgement.findings[0];
        assert_eq!(finding.severity, Severity::Error, "{name}");
        assert!(finding.message.contains(said), "{name}: {}", finding.message);
        assert_eq!(serde_json::to_value(finding).unwrap()["field"], "crl", "{name}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let (ca, stranger) = (Authority::new("Fleet"), Authority::new("Stranger"));
    let crl = CrlMaker { next_update: None, ..CrlMaker::of(&stranger) };
    let crl = crl.from(now() + time::Duration::DAY).entry(&[], &[]);
    let judgement = judge(&crl.sign(stranger.key()), &ca);
    let expected = ["CRL_UNREADABLE", "CRL_ISSUER_UNKNOWN", "CRL_NOT_YET_VALID", "CRL_WITHOUT_NEXT_UPDATE"];
    assert_eq!(codes(&judgement), expected);
}
