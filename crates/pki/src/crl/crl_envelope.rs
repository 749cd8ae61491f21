//! What was uploaded as a CRL: DER, or PEM with certificates beside it.

use super::der_reader::{DerReader, SEQUENCE};
use crate::Code;
use crate::certificate::Certificate;
use crate::der::sequence;
use crate::field;
use crate::finding::{Field, Finding, Item};
use crate::pem::{Block, Label};
use crate::tbs::Tbs;

pub(super) struct CrlEnvelope {
    pub(super) der: Vec<u8>,
    pub(super) certificates: Vec<Certificate>,
}

/// A CA's chain has fewer.
const CERTIFICATES_MAX: usize = 10;

impl CrlEnvelope {
    pub(super) fn read(upload: &[u8], findings: &mut Vec<Finding>) -> Option<Self> {
        let mut say = |code, message: String| findings.push(Finding::new(code, Field::Crl, None, message));
        if upload.iter().all(u8::is_ascii_whitespace) {
            say(Code::CrlMissing, "The upload is empty.".to_owned());
            return None;
        }
        if is_der(upload) {
            if let Some(kind) = other_kind(upload) {
                say(Code::NotACrl, format!("The upload is {kind}, not a CRL."));
                return None;
            }
            return Some(Self { der: upload.to_vec(), certificates: Vec::new() });
        }
        if is_cut_der(upload) {
            let message = "The CRL cannot be read: its end is missing, or other bytes follow it.";
            say(Code::CrlUnreadable, message.to_owned());
            return None;
        }
        let blocks = field::read_text(&String::from_utf8_lossy(upload), Field::Crl, findings);
        Self::of_blocks(blocks, findings)
    }

    fn of_blocks(blocks: Vec<Block>, findings: &mut Vec<Finding>) -> Option<Self> {
        let (mut crls, mut certificates) = (Vec::new(), Vec::new());
        let is_sound = !findings.iter().any(Finding::is_error);
        let block_count = blocks.len();
        for block in blocks {
            let kind = match block.label {
                Label::Certificate => None,
                Label::Crl => other_kind(&block.der),
                label => Some(named(label)),
            };
            match kind {
                None if block.label == Label::Crl => crls.push(block),
                None => certificates.push(block),
                Some(kind) => findings.push(at(
                    block.index,
                    if block.label.is_private_key() { Code::CrlHoldsKey } else { Code::NotACrl },
                    format!("Block {} of the upload is {kind}, not a CRL.", block.index),
                )),
            }
        }
        let certificates = read_certificates(&certificates, findings);
        let [crl] = &crls[..] else {
            match crls.len() {
                0 if !is_sound || findings.iter().any(Finding::is_error) => {}
                0 => findings.push(Finding::new(
                    Code::NotACrl,
                    Field::Crl,
                    None,
                    format!("The upload holds {block_count} certificates and no CRL."),
                )),
                count => findings.push(at(
                    crls[1].index,
                    Code::SeveralCrls,
                    format!("The upload holds {count} CRLs; one is allowed."),
                )),
            }
            return None;
        };
        Some(Self { der: crl.der.to_vec(), certificates })
    }
}

fn read_certificates(blocks: &[Block], findings: &mut Vec<Finding>) -> Vec<Certificate> {
    if blocks.len() > CERTIFICATES_MAX {
        let message =
            format!("The upload holds {} certificates; {CERTIFICATES_MAX} are allowed.", blocks.len());
        findings.push(Finding::new(Code::TooManyCertificates, Field::Crl, None, message));
        return Vec::new();
    }
    let mut certificates = Vec::with_capacity(blocks.len());
    for block in blocks {
        match Certificate::read(&block.der) {
            Ok(certificate) => certificates.push(certificate),
            Err(_) => findings.push(at(
                block.index,
                Code::CertUnreadable,
                format!("Block {} of the upload is no well-formed X.509 certificate.", block.index),
            )),
        }
    }
    certificates
}

fn at(index: usize, code: Code, message: String) -> Finding {
    Finding::new(code, Field::Crl, Some(Item { index, subject: None }), message)
}

fn is_der(upload: &[u8]) -> bool {
    DerReader::new(upload).take_last(SEQUENCE).is_some()
}

/// A SEQUENCE longer than 127 bytes: no text begins so.
fn is_cut_der(upload: &[u8]) -> bool {
    matches!(upload, [SEQUENCE, 0x80..=0x84, ..])
}

/// What a SEQUENCE is, where it is certainly no CRL.
fn other_kind(der: &[u8]) -> Option<&'static str> {
    if Tbs::read(der).is_some() {
        return Some("a certificate");
    }
    if field::is_pkcs12(der) {
        return Some("a PKCS#12 container");
    }
    if field::is_pkcs7(der) {
        return Some("a PKCS#7 container");
    }
    is_private_key(der).then_some("a private key")
}

/// PKCS#8, PKCS#1 and SEC1 begin with a version, CRLs with a SEQUENCE.
fn is_private_key(der: &[u8]) -> bool {
    sequence(der).is_some_and(|(_, content)| matches!(content, [2, 1, 0 | 1, ..]))
}

fn named(label: Label) -> &'static str {
    match label {
        Label::Csr => "a certificate signing request",
        Label::Pkcs7 => "a PKCS#7 container",
        Label::PublicKey => "a public key",
        Label::Pgp => "a PGP block",
        label if label.is_private_key() => "a private key",
        _ => "of a kind that does not belong here",
    }
}
