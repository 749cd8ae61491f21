use crate::parsed_upload::ParsedUpload;
use crate::rules::RULES;
use crate::{CertificateFacts, Circumstances, Finding, Material, Upload};

/// Findings and material of an upload.
#[derive(Debug)]
pub struct Judgement {
    /// Most important first; at most 100.
    pub findings: Vec<Finding>,
    /// `Some` exactly if no finding is an error.
    pub material: Option<Material>,
    /// The chain as far as found, even if refused: leaf, intermediates, root.
    pub chain: Vec<CertificateFacts>,
}

/// Hundreds of damaged blocks must not become hundreds of lines.
const FINDINGS_MAX: usize = 100;

/// Judges an upload. Pure; the cost is bounded for any input.
pub fn judge(upload: &Upload, circumstances: &Circumstances<'_>) -> Judgement {
    let mut findings = Vec::new();
    let parsed = ParsedUpload::read(upload, circumstances, &mut findings);
    for rule in RULES {
        rule(&parsed, &mut findings);
    }
    let chain = parsed.chain().map(|given| CertificateFacts::of(&given.certificate)).collect();
    let mut material = None;
    if !findings.iter().any(Finding::is_error) {
        match parsed.into_material() {
            Ok(served) => material = Some(served),
            Err(finding) => findings.push(finding),
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings.truncate(FINDINGS_MAX);
    Judgement { findings, material, chain }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use zeroize::Zeroizing;

    use super::*;
    use crate::work::spent;
    use crate::{Profile, Text};

    fn text(text: &str) -> Text {
        Text::Given(Zeroizing::new(text.to_owned()))
    }

    /// (signatures verified, bytes read).
    fn work(cert: &str, key: &str, cacert: &str) -> (usize, usize) {
        let upload = Upload {
            tls_type: text("two-way"),
            cert: text(cert),
            key: text(key),
            cacert: text(cacert),
            ..Upload::default()
        };
        let now = time::macros::datetime!(2026-06-01 12:00 UTC);
        let circumstances =
            Circumstances { now, hosts: &[], entry_point: Ok(()), replaces: None, profile: Profile::Default };
        spent::take();
        judge(&upload, &circumstances);
        spent::take()
    }

    fn pem(der: &[u8]) -> String {
        let base64 = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
    }

    /// Every byte is read a few times: no search restarts at each position.
    #[test]
    fn hostile_text_is_passed_a_few_times_and_no_more() {
        let size = 255 * 1024;
        let fill = |piece: &str| piece.repeat(size / piece.len());
        for text in [
            fill("-"),
            fill("- "),
            fill("-----BEGIN "),
            fill("-----BEGIN CERTIFICATE-----"),
            fill("-----END CERTIFICATE-----"),
            fill("-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"),
            fill("\\"),
            fill("\\\\n"),
            fill("\u{feff}"),
            fill("B\0E\0G\0"),
            fill("A"),
            fill("-----BEGIN A-----\n-----END B-----\n"),
            pem(&vec![0x30; size / 2]),
            pem(&[0x30, 0x80].repeat(size / 4)),
            pem(&[0x30, 0x83, 0x01, 0x00, 0x00].repeat(size / 8)),
        ] {
            let (signatures, bytes) = work(&text, &text, &text);
            let beginning = text.get(..40);
            assert!(bytes <= 3 * 6 * text.len(), "{bytes} for {}, {beginning:?}", text.len());
            assert!(signatures <= 10, "{signatures} for {beginning:?}");
        }
    }

    /// The costliest case: each may have issued every other.
    #[test]
    fn no_upload_makes_more_than_some_hundred_signatures_be_verified() {
        let key = KeyPair::generate().unwrap();
        let ca = |serial: u64| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.serial_number = Some(serial.into());
            params.self_signed(&key).unwrap().pem()
        };
        let cas = |count: u64| (0..count).map(ca).collect::<String>();
        let (signatures, _) = work(&cas(10), &key.serialize_pem(), &cas(100));
        assert!((190..=300).contains(&signatures), "{signatures}");
        let (too_many, _) = work(&cas(11), &key.serialize_pem(), &cas(101));
        assert!(too_many <= 10, "{too_many}");
    }
}
