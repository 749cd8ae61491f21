//! Whose a CRL is: the CA that signed it.

use time::OffsetDateTime;

use super::certificate_list::{CertificateList, comparable_name};
use crate::Code;
use crate::certificate::{Certificate, weak_hash_of};
use crate::client_certificate::shown_name;
use crate::finding::{Field, Finding};
use crate::signed::SignatureVerdict;
use crate::tbs::Tbs;

/// Where a signer may be found.
pub(super) struct CrlSigners<'a> {
    pub(super) client_cas: &'a [Certificate],
    /// Sent with the CRL.
    pub(super) beside: &'a [Certificate],
    pub(super) now: OffsetDateTime,
}

impl CrlSigners<'_> {
    /// The CA whose name and key are the CRL's: a client CA, or one that leads to a client CA.
    pub(super) fn find(&self, list: &CertificateList<'_>) -> Result<&Certificate, Finding> {
        let say = |code, message: String| Err(Finding::new(code, Field::Crl, None, message));
        let issuer = shown_name(list.issuer);
        let named: Vec<&Certificate> =
            self.client_cas.iter().chain(self.beside).filter(|ca| has_name(ca, list)).collect();
        if named.is_empty() {
            let message =
                format!("The CRL's issuer, {issuer}, is neither a client CA nor sent beside the CRL.");
            return say(Code::CrlIssuerUnknown, message);
        }
        if let Some(hash) = weak_hash_of(list.signed.algorithm) {
            return say(Code::CrlSignatureWeak, format!("The CRL is signed with {hash}."));
        }
        let verdicts: Vec<_> = named.iter().map(|ca| (*ca, list.signed.verify(&ca.spki))).collect();
        let are = |verdict| verdicts.iter().filter(move |(_, is)| *is == verdict).map(|(ca, _)| *ca);
        let signers: Vec<&Certificate> = are(SignatureVerdict::Valid).collect();
        if signers.is_empty() {
            let (code, message) = match are(SignatureVerdict::Broken).next() {
                None => (
                    Code::CrlSignatureUnsupported,
                    "is made with an algorithm or a key that is not supported",
                ),
                Some(_) if named.iter().all(|ca| has_another_key(ca, list)) => {
                    (Code::CrlSignerKeyDiffers, "is by another key than that of the known CA of this name")
                }
                Some(_) => {
                    (Code::CrlSignatureBroken, "does not verify with the key of the known CA of this name")
                }
            };
            return say(code, format!("The signature of {issuer} {message}."));
        }
        let signers: Vec<_> = signers.into_iter().filter(|ca| may_sign_crls(ca)).collect();
        if signers.is_empty() {
            let message = format!("The key usage of {issuer} does not allow it to sign CRLs (cRLSign).");
            return say(Code::CrlSignNotAllowed, message);
        }
        match signers.into_iter().find(|ca| self.is_trusted(ca)) {
            Some(signer) => Ok(signer),
            None => say(
                Code::CrlSignerUntrusted,
                format!(
                    "The CRL's issuer, {issuer}, does not lead to a client CA as a CA that is valid now."
                ),
            ),
        }
    }

    fn is_trusted(&self, signer: &Certificate) -> bool {
        self.client_cas.iter().any(|ca| ca.der == signer.der) || self.leads_to_client_ca(signer)
    }

    /// Each certificate once, so that circles end.
    fn leads_to_client_ca(&self, signer: &Certificate) -> bool {
        let mut open = vec![signer];
        let mut at = 0;
        while let Some(ca) = open.get(at).copied() {
            at += 1;
            if !ca.may_issue() || !ca.is_valid_at(self.now) || ca.weak_hash.is_some() {
                continue;
            }
            let has_issued = |issuer: &&Certificate| {
                ca.may_be_issued_by(issuer) && ca.signed_by(issuer) == SignatureVerdict::Valid
            };
            if self.client_cas.iter().any(|issuer| has_issued(&issuer)) {
                return true;
            }
            let is_open = |issuer: &Certificate| open.iter().any(|other| other.der == issuer.der);
            let more: Vec<_> =
                self.beside.iter().filter(|issuer| !is_open(issuer)).filter(has_issued).collect();
            open.extend(more);
        }
        false
    }
}

fn has_name(ca: &Certificate, list: &CertificateList<'_>) -> bool {
    Tbs::read(&ca.der).is_some_and(|tbs| comparable_name(tbs.subject) == list.normal_issuer())
}

/// RFC 5280 §4.2.1.3, §5.2.1.
fn may_sign_crls(ca: &Certificate) -> bool {
    ca.key_usage.is_none_or(|usage| usage.crl_sign)
}

fn has_another_key(ca: &Certificate, list: &CertificateList<'_>) -> bool {
    matches!((&ca.subject_key_id, list.extensions.authority_key_id), (Some(is), Some(wanted)) if is != wanted)
}
