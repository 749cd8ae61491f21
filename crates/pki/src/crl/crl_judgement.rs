use time::{Duration, OffsetDateTime};

use super::certificate_list::CertificateList;
use super::crl_envelope::CrlEnvelope;
use super::crl_signer::CrlSigners;
use super::stale_policy::StalePolicy;
use crate::Code;
use crate::certificate::Certificate;
use crate::client_certificate::shown_name;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::signed::SignatureVerdict;

/// What [`judge_crl`] needs besides the upload.
#[derive(Clone, Copy, Debug)]
pub struct CrlCircumstances<'a> {
    /// When to check validity.
    pub now: OffsetDateTime,
    /// The deployment's client CAs, DER.
    pub client_cas: &'a [Vec<u8>],
    /// The CRL that this one replaces, DER.
    pub in_service: Option<&'a [u8]>,
    /// What the CRL is to mean after its nextUpdate.
    pub stale: StalePolicy,
}

/// Findings and the CRL of an upload.
#[derive(Debug)]
pub struct CrlJudgement {
    /// Most important first; at most 100.
    pub findings: Vec<Finding>,
    /// `Some` exactly if no finding is an error.
    pub crl: Option<Crl>,
}

/// An accepted CRL: complete, of one issuer, and signed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// DER; at most 16 MiB.
    pub der: Vec<u8>,
    /// For display, escaped; at most 160 bytes.
    pub issuer: Box<str>,
    /// The signer's SubjectPublicKeyInfo, DER.
    pub signer_spki: Vec<u8>,
    /// cRLNumber: decimal up to 16 bytes, else hexadecimal with `0x`.
    pub number: Option<Box<str>>,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// When the next one will be there.
    pub next_update: Option<OffsetDateTime>,
    /// How many it revokes; duplicates count.
    pub entries: usize,
}

/// The bytes of a CRL's upload, DER or PEM.
pub const CRL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Between the clocks of the CA and of this machine.
const CLOCK_SKEW_MAX: Duration = Duration::minutes(5);

/// Hundreds of damaged blocks must not become hundreds of lines.
const FINDINGS_MAX: usize = 100;

/// Judges a CRL: DER, or PEM with the certificates of its issuer beside it. Pure; the cost is
/// linear in the upload. 200,000 entries need a blocking thread.
pub fn judge_crl(upload: &[u8], circumstances: &CrlCircumstances<'_>) -> CrlJudgement {
    let mut findings = Vec::new();
    let crl = judged(upload, circumstances, &mut findings);
    let crl = crl.filter(|_| !findings.iter().any(Finding::is_error));
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings.truncate(FINDINGS_MAX);
    CrlJudgement { findings, crl }
}

/// `None` only after an error.
fn judged(upload: &[u8], circumstances: &CrlCircumstances<'_>, findings: &mut Vec<Finding>) -> Option<Crl> {
    if upload.len() > CRL_BYTES_MAX {
        let message = format!("The upload has {} bytes; {CRL_BYTES_MAX} are allowed.", upload.len());
        findings.push(Finding::new(Code::CrlTooLarge, Field::Crl, None, message));
        return None;
    }
    let envelope = CrlEnvelope::read(upload, findings)?;
    let mut or_say = |fault: super::crl_fault::CrlFault| findings.push(fault.finding());
    let list = CertificateList::read(&envelope.der).map_err(&mut or_say).ok()?;
    let entries = list.entries().try_fold(0, |count, entry| entry.map(|_| count + 1));
    let entries = entries.map_err(&mut or_say).ok();

    let client_cas = circumstances.client_cas.iter().filter_map(|der| Certificate::read(der).ok());
    let signers = CrlSigners {
        client_cas: &client_cas.collect::<Vec<_>>(),
        beside: &envelope.certificates,
        now: circumstances.now,
    };
    let signer_spki = signers.find(&list).map(|signer| signer.spki.clone());
    let signer_spki = signer_spki.map_err(|finding| findings.push(finding)).ok();
    check_times(&list, circumstances, findings);
    if let Some(spki) = &signer_spki {
        check_order(&list, &envelope.der, spki, circumstances.in_service, findings);
    }
    Some(Crl {
        issuer: shown_name(list.issuer),
        signer_spki: signer_spki?,
        number: list.extensions.number.map(|number| number.to_string().into()),
        this_update: list.this_update,
        next_update: list.next_update,
        entries: entries?,
        der: envelope.der,
    })
}

fn check_times(
    list: &CertificateList<'_>,
    circumstances: &CrlCircumstances<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut say = |code, message: String| findings.push(Finding::new(code, Field::Crl, None, message));
    let now = circumstances.now;
    if list.version == 1 {
        say(Code::CrlVersion1, "The CRL is of version 1.".to_owned());
    }
    if list.this_update > now + CLOCK_SKEW_MAX {
        say(Code::CrlNotYetValid, format!("The CRL is of {}, in the future.", shown_time(list.this_update)));
    }
    let Some(next_update) = list.next_update else {
        say(
            Code::CrlWithoutNextUpdate,
            "The CRL does not say when the next one comes (nextUpdate).".to_owned(),
        );
        return;
    };
    let shown = shown_time(next_update);
    match circumstances.stale {
        StalePolicy::Hard if next_update < now => {
            let message = format!(
                "A newer CRL was due at {shown}; with this one all certificates of its issuer would be refused."
            );
            say(Code::CrlStaleHard, message);
        }
        StalePolicy::Soft if next_update < now => {
            say(Code::CrlStale, format!("A newer CRL was due at {shown}."));
        }
        _ if next_update - now < (next_update - list.this_update) / SOON => {
            say(Code::CrlStaleSoon, format!("The next CRL is due at {shown}."));
        }
        _ => {}
    }
}

/// The part of its life that is left when a CRL is soon stale: a tenth.
const SOON: i32 = 10;

/// By cRLNumber (RFC 5280 §5.2.3) where both have one, else by thisUpdate. One of another issuer,
/// key or scope is no successor: in its place, what was revoked would be accepted again.
fn check_order(
    list: &CertificateList<'_>,
    der: &[u8],
    signer_spki: &[u8],
    in_service: Option<&[u8]>,
    findings: &mut Vec<Finding>,
) {
    let Some(in_service) = in_service.filter(|in_service| *in_service != der) else { return };
    let Ok(before) = CertificateList::read(in_service) else { return };
    let is_of_one_key = before.signed.verify(signer_spki) == SignatureVerdict::Valid;
    if !is_of_one_key || !list.is_of_one_series_with(&before) {
        let message = format!(
            "The CRL in service is of {}; this one is of {}, or of another key or scope.",
            shown_name(before.issuer),
            shown_name(list.issuer)
        );
        findings.push(Finding::new(Code::CrlOfAnother, Field::Crl, None, message));
        return;
    }
    let is_earlier = list.this_update < before.this_update;
    let older = |message: String| Finding::new(Code::CrlOlder, Field::Crl, None, message);
    match (list.extensions.number, before.extensions.number) {
        (Some(number), Some(before)) if number < before => {
            findings.push(older(format!(
                "The CRL has the number {number}, and the one in service has {before}."
            )));
        }
        (Some(number), Some(before)) if number > before => {}
        _ if is_earlier => {
            let (is, was) = (shown_time(list.this_update), shown_time(before.this_update));
            findings.push(older(format!("The CRL is of {is}, and the one in service is of {was}.")));
        }
        (Some(number), Some(_)) => {
            let message =
                format!("The CRL has the number {number}, as the one in service, and differs from it.");
            findings.push(Finding::new(Code::CrlNumberRepeated, Field::Crl, None, message));
        }
        _ => {}
    }
}
