//! The API's own certificate: served with its key, and not about to end.

use certward_pki::{CertificateFacts, describe};
use certward_store::Timestamp;

use super::{
    certificates::CertificateLife,
    check::{Check, CheckKind},
};
use crate::config::Config;

/// Nothing for plain HTTP.
pub(super) fn check(config: &Config, now: Timestamp) -> Option<Check> {
    let kind = CheckKind::ApiCertificate;
    let (cert, key) = config.api.cert.clone().zip(config.api.key.clone())?;
    let shown = cert.display().to_string();
    let fix = "correct [api] cert and key; after a renewal: systemctl reload certward";
    let leaf = match (certward_api::CertificateFiles { cert, key }).leaf() {
        Ok(leaf) => leaf,
        Err(error) => return Some(Check::error(kind, format!("{:#}", anyhow::Error::from(error)), fix)),
    };
    let Some(facts) = describe(&leaf) else {
        return Some(Check::error(kind, format!("{shown} holds no certificate that can be read"), fix));
    };
    Some(judge(&shown, &facts, now))
}

fn judge(file: &str, facts: &CertificateFacts, now: Timestamp) -> Check {
    let renew = format!("renew {file}, then systemctl reload certward");
    CertificateLife::of(facts, now).check(
        CheckKind::ApiCertificate,
        &format!("the API's certificate {file}"),
        renew,
    )
}
