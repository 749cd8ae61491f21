//! x509-limbo's cases of CRLs, from tests/limbo/client_cases.jsonl.

use certward_pki::{CrlCircumstances, CrlTable, StalePolicy, judge_crl};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::crl_judges::{CrlVerdict, verify};
use crate::stage::now;

/// Case, whether the device is let in, findings of each CRL that has any, and why it is not as
/// x509-limbo expects. It does not tell a refused certificate from a refused CRL.
const CASES: &[(&str, bool, &[&str], Option<&str>)] = &[
    ("crl::revoked-certificate-with-crl", false, &[], None),
    (
        "crl::crlnumber-missing",
        true,
        &[],
        Some("a CRL without a number is accepted: openssl makes such, and its order is known by thisUpdate"),
    ),
    ("crl::certificate-not-on-crl", true, &[], None),
    ("crl::certificate-serial-on-crl-different-issuer", true, &[], None),
    ("crl::crlnumber-critical", false, &["CRL_CRITICAL_EXTENSION"], None),
    ("crl::issuer-missing-crlsign", false, &["CRL_SIGN_NOT_ALLOWED"], None),
    ("crl::issuer-no-keyusage-extension", true, &[], None),
    ("crl::issuer-valid-crlsign-and-keycertsign", true, &[], None),
];

#[test]
fn crls_are_judged_as_x509_limbo_expects() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/limbo/client_cases.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cases: Vec<&Value> = cases.iter().filter(|case| case["tier"] == "CRL").collect();
    assert_eq!(cases.len(), CASES.len());
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let (_, is_let_in, expected, reason) = CASES.iter().find(|(known, ..)| *known == id).unwrap();
        let (codes, was_let_in) = run(case);
        assert_eq!((&codes[..], was_let_in), (*expected, *is_let_in), "{id}");
        let is_as_expected = was_let_in == (case["expect"] == "accept");
        assert_eq!(is_as_expected, reason.is_none(), "{id}");
    }
}

/// Codes of the findings, and whether all CRLs are accepted and the device is let in.
fn run(case: &Value) -> (Vec<&'static str>, bool) {
    let certificates = |field: &str| -> Vec<Vec<u8>> {
        let text = case[field].as_str().unwrap().as_bytes();
        CertificateDer::pem_slice_iter(text).map(|der| der.unwrap().to_vec()).collect()
    };
    let client_cas = certificates("cacert");
    // They were made in 1970 for a thousand years, or a day of 2024.
    let circumstances =
        CrlCircumstances { now: now(), client_cas: &client_cas, in_service: None, stale: StalePolicy::Soft };
    let (mut codes, mut tables, mut is_refused) = (Vec::new(), Vec::new(), false);
    for crl in case["crls"].as_array().unwrap() {
        let judgement = judge_crl(crl.as_str().unwrap().as_bytes(), &circumstances);
        codes.extend(judgement.findings.iter().map(|finding| finding.code.as_str()));
        is_refused |= judgement.crl.is_none();
        tables.extend(
            judgement
                .crl
                .and_then(|crl| CrlTable::of_accepted(&crl.der, &crl.signer_spki, StalePolicy::Soft)),
        );
    }
    let verdict = verify(&tables, &client_cas, &certificates("chain"), now());
    (codes, !is_refused && verdict == CrlVerdict::LetIn)
}
