//! Turns libFuzzer's bytes into the parts of an upload.

use base64::Engine as _;
use certward_pki::{Circumstances, HostName, Judgement, Profile, Severity, Text, Upload, judge};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The seeds are valid then.
pub const NOW: OffsetDateTime = time::macros::datetime!(2030-01-01 12:00 UTC);

/// The parts of a DER input, each after two bytes of length. A length beyond the end takes the
/// rest.
pub fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let [high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (part, after) = rest.split_at(length);
        parts.push(part);
        data = after;
    }
    parts
}

/// DER as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// A present property.
pub fn text(text: impl Into<String>) -> Text {
    Text::Given(Zeroizing::new(text.into()))
}

/// Judges, and asserts what holds for every judgement.
pub fn judged(upload: &Upload, profile: Profile) -> Judgement {
    let hosts = [HostName::parse("broker.example.com").expect("a host name")];
    let judgement = judge(upload, &Circumstances { now: NOW, hosts: &hosts, entry_point: Ok(()), replaces: None, profile });
    let refused = judgement.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(judgement.material.is_none(), refused, "material is there exactly without errors");
    assert!(judgement.findings.len() <= 100, "findings are bounded");
    assert!(judgement.findings.is_sorted_by_key(|finding| (finding.severity, finding.code)));
    for finding in &judgement.findings {
        let subject = finding.item.as_ref().and_then(|item| item.subject.as_deref()).unwrap_or_default();
        for shown in [finding.message.as_str(), subject] {
            assert!(shown.len() <= 4096, "what is shown is bounded: {shown}");
            assert!(shown.chars().all(|c| matches!(c, ' '..='~')), "what is shown is harmless: {shown:?}");
        }
    }
    judgement
}
