//! Whether clients that hold the root of one chain can verify another.
//!
//! The root itself is seldom known: chains are served without it, and trusted for its key. What
//! is known are the signatures of the chains, and the name and key identifier of the issuer of
//! each chain's top.

use crate::certificate::Certificate;
use crate::signed::SignatureVerdict;
use crate::{ServedChain, fingerprint};

/// Chains of two roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootChange {
    /// The root's name, escaped and bounded; with its key identifier, if the names are equal.
    pub from: String,
    /// Likewise.
    pub to: String,
}

impl ServedChain {
    /// `None`: clients of this chain's root have the root of `new` too, or a certificate of their
    /// root is in `new`. Other intermediates under one root are no change.
    pub fn root_change(&self, new: &ServedChain) -> Option<RootChange> {
        let (old_top, new_top) = (self.top(), new.top());
        let is_kept = new.certificates().any(|certificate| has_issued(certificate, old_top))
            || old_top.is_self_signed() && has_issued(old_top, new_top)
            || have_same_issuer(old_top, new_top);
        if is_kept {
            return None;
        }
        let with_key = old_top.normal_issuer == new_top.normal_issuer;
        Some(RootChange { from: root_name(old_top, with_key), to: root_name(new_top, with_key) })
    }
}

/// By its signature; a self-signed one has issued itself. An unsupported signature (SHA-1) is taken
/// for one of the key that its key identifier names.
fn has_issued(issuer: &Certificate, subject: &Certificate) -> bool {
    subject.may_be_issued_by(issuer)
        && match subject.signed_by(issuer) {
            SignatureVerdict::Valid => true,
            SignatureVerdict::Broken => false,
            SignatureVerdict::Unsupported => subject.has_key_id_of(issuer),
        }
}

/// By name and key identifier: without one, by name alone. The key of a self-signed certificate is
/// known, so that its signature decides.
fn have_same_issuer(one: &Certificate, other: &Certificate) -> bool {
    let contradict = matches!(
        (&one.authority_key_id, &other.authority_key_id),
        (Some(one), Some(other)) if one != other
    );
    one.normal_issuer == other.normal_issuer
        && !contradict
        && !one.is_self_signed()
        && !other.is_self_signed()
}

fn root_name(top: &Certificate, with_key: bool) -> String {
    let name = &top.issuer;
    match key_digits(top).filter(|_| with_key) {
        Some(digits) => format!("{name} (key {digits})"),
        None if with_key => format!("{name} (a key without identifier)"),
        None => name.clone(),
    }
}

/// Of the issuer's key: its identifier; that of a self-signed certificate is known by itself.
fn key_digits(top: &Certificate) -> Option<String> {
    let identifier = match &top.authority_key_id {
        None if top.is_self_signed() => top.subject_key_id.as_ref(),
        identifier => identifier.as_ref(),
    };
    match identifier {
        Some(identifier) => {
            Some(identifier.iter().take(KEY_ID_BYTES_SHOWN_MAX).map(|byte| format!("{byte:02x}")).collect())
        }
        None => top.is_self_signed().then(|| fingerprint(&top.spki)[..2 * KEY_ID_BYTES_SHOWN_MAX].to_owned()),
    }
}

/// SHA-1 has 20.
const KEY_ID_BYTES_SHOWN_MAX: usize = 20;
