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

    fn of_blocks(mut blocks: Vec<Block>, findings: &mut Vec<Finding>) -> Option<Self> {
        for block in &blocks {
            findings.extend(foreign(block));
        }
        blocks.retain(|block| foreign(block).is_none());
        let (crls, certificates): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.label == Label::Crl);
        let certificates = read_certificates(&certificates, findings);
        match &crls[..] {
            [crl] => return Some(Self { der: crl.der.to_vec(), certificates }),
            [] if findings.iter().any(Finding::is_error) => {}
            [] => {
                let message = "The upload holds certificates and no CRL.";
                findings.push(Finding::new(Code::NotACrl, Field::Crl, None, message));
            }
            [_, second, ..] => {
                let message = format!("The upload holds {} CRLs; one is allowed.", crls.len());
                findings.push(at(second.index, Code::SeveralCrls, message));
            }
        }
        None
    }
}

/// What a block is, if it is neither a CRL nor a certificate.
fn foreign(block: &Block) -> Option<Finding> {
    let kind = match block.label {
        Label::Certificate => return None,
        Label::Crl => other_kind(&block.der)?,
        label => named(label),
    };
    let code = if block.label.is_private_key() { Code::CrlHoldsKey } else { Code::NotACrl };
    Some(at(block.index, code, format!("Block {} of crl is {kind}, not a CRL.", block.index)))
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
                format!("Block {} of crl is no well-formed X.509 certificate.", block.index),
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
    if is_private_key(der) {
        return Some("a private key");
    }
    is_signing_request(der).then_some("a certificate signing request")
}

/// PKCS#8, PKCS#1 and SEC1 begin with a version, CRLs with a SEQUENCE.
fn is_private_key(der: &[u8]) -> bool {
    sequence(der).is_some_and(|(_, content)| matches!(content, [2, 1, 0 | 1, ..]))
}

/// Its content begins with version 0 (RFC 2986 §4.1), a CRL's with version 1 or none.
fn is_signing_request(der: &[u8]) -> bool {
    let content = sequence(der).and_then(|(_, outer)| sequence(outer));
    content.is_some_and(|(_, content)| content.starts_with(&[2, 1, 0]))
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
