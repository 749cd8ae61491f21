//! The certificate of each deployment: set, proven, valid now, and of its hosts' names.

use certward_lifecycle::relative;
use certward_pki::{CertificateFacts, HostName, Severity, describe, findings_as_of, uncovered_hosts};
use certward_store::{Deployment, DeploymentId, Timestamp, TlsState, Version};

use super::{
    check::{Check, CheckKind},
    inspected_deployment::InspectedDeployment,
};
use crate::api_time::show;

pub(super) fn check(looked: &InspectedDeployment, now: Timestamp) -> Vec<Check> {
    let InspectedDeployment { deployment, upload } = looked;
    let id = &deployment.id;
    let Some(upload) = upload else {
        return vec![Check::warning(
            CheckKind::Certificate,
            format!("{id} has no certificate: its devices are refused"),
            set(id),
        )];
    };
    let mut checks = Vec::from_iter(of_state(deployment));
    checks.extend(of_leaf(id, upload, now));
    checks.extend(of_others(id, upload, now));
    checks.extend(of_hosts(deployment, upload));
    checks
}

fn set(id: &DeploymentId) -> String {
    format!("certward tls set {id} --cert FILE --key FILE")
}

fn of_state(deployment: &Deployment) -> Option<Check> {
    let TlsState::Failed { reason, .. } = &deployment.tls else { return None };
    let id = &deployment.id;
    let sentence = format!("{id}: the newest certificate is not proven: {}", reason.trim_end_matches('.'));
    Some(Check::error(CheckKind::Certificate, sentence, format!("certward tls show {id}")))
}

fn of_leaf(id: &DeploymentId, upload: &Version, now: Timestamp) -> Option<Check> {
    let facts = describe(upload.chain.first()?)?;
    Some(CertificateLife::of(&facts, now).check(
        CheckKind::Certificate,
        &format!("{id}: the certificate"),
        set(id),
    ))
}

/// Intermediates and client CAs that are no longer, or not yet, valid.
fn of_others(id: &DeploymentId, upload: &Version, now: Timestamp) -> Vec<Check> {
    let chain_without_leaf = upload.chain.get(1..).unwrap_or_default();
    // An empty leaf adds nothing.
    let chain = [&[Vec::new()], chain_without_leaf].concat();
    let found = findings_as_of(&[], &chain, &upload.client_cas, now.to_time());
    let check = |finding: certward_pki::Finding| {
        let sentence = format!("{id}: {}", finding.message.trim_end_matches('.'));
        let new = if finding.severity == Severity::Error { Check::error } else { Check::warning };
        let fix =
            if upload.client_cas.is_empty() { set(id) } else { format!("{} --client-ca FILE", set(id)) };
        new(CheckKind::Certificate, sentence, fix)
    };
    found.into_iter().map(check).collect()
}

fn of_hosts(deployment: &Deployment, upload: &Version) -> Vec<Check> {
    let (kind, id, hosts) = (CheckKind::HostCovered, &deployment.id, &deployment.spec.hosts);
    let Some(uncovered) = upload.chain.first().and_then(|leaf| uncovered_hosts(leaf, hosts)) else {
        return Vec::new();
    };
    if uncovered.is_empty() {
        let all = hosts.iter().map(HostName::as_str).take(HOSTS_NAMED_MAX).collect::<Vec<_>>().join(", ");
        let sentence = match hosts.len() {
            0 => return Vec::new(),
            1..=HOSTS_NAMED_MAX => format!("{id}: the certificate covers {all}"),
            count => format!("{id}: the certificate covers all {count} hosts"),
        };
        return vec![Check::ok(kind, sentence)];
    }
    let more = uncovered.len().saturating_sub(HOSTS_NAMED_MAX);
    let named = uncovered.into_iter().take(HOSTS_NAMED_MAX).map(|host| {
        Check::error(
            kind,
            format!("{id}: the host {host} is not covered by the certificate's names: devices that check the name refuse it"),
            format!("have the certificate issued for {host}, then {}", set(id)),
        )
    });
    let mut checks: Vec<Check> = named.collect();
    if more > 0 {
        checks.push(Check::error(kind, format!("{id}: {more} more hosts are not covered"), set(id)));
    }
    checks
}

const HOSTS_NAMED_MAX: usize = 5;

/// Where now is in a certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CertificateLife {
    not_before: Timestamp,
    not_after: Timestamp,
    now: Timestamp,
}

impl CertificateLife {
    pub(super) fn of(facts: &CertificateFacts, now: Timestamp) -> Self {
        let [not_before, not_after] = [facts.not_before, facts.not_after].map(Timestamp::from_time);
        Self { not_before, not_after, now }
    }

    /// Below a third of the lifetime, and below 30 days: as EXPIRES_SOON.
    fn ends_soon(self) -> bool {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let (left, life) = (self.not_after.0 - self.now.0, self.not_after.0 - self.not_before.0);
        left < (life / 3).min(30 * DAY_MS)
    }

    /// `what` ends: "the certificate".
    pub(super) fn check(self, kind: CheckKind, what: &str, renew: String) -> Check {
        let Self { not_before, not_after, now } = self;
        let time = |at: Timestamp| format!("{} UTC", show(at.to_time()));
        if now > not_after {
            let sentence = format!("{what} expired {}, at {}", relative(not_after, now), time(not_after));
            Check::error(kind, sentence, renew)
        } else if now < not_before {
            let sentence =
                format!("{what} is valid from {} on, and this clock says {}", time(not_before), time(now));
            Check::error(kind, sentence, "timedatectl set-ntp true; or have it issued again")
        } else if self.ends_soon() {
            Check::warning(
                kind,
                format!("{what} ends {}, at {}", relative(not_after, now), time(not_after)),
                renew,
            )
        } else {
            Check::ok(kind, format!("{what} ends {}", relative(not_after, now)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_certificate_is_judged_by_where_now_is_in_its_life() {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        for (life, now, verdict, says) in [
            (
                90,
                -1,
                Verdict::Error,
                "is valid from 1970-01-01 00:00:00 UTC on, and this clock says 1969-12-31",
            ),
            (90, 0, Verdict::Ok, "ends in 90 days"),
            (90, 60, Verdict::Ok, "ends in 30 days"),
            (90, 61, Verdict::Warning, "ends in 29 days, at 1970-04-01"),
            (90, 90, Verdict::Warning, "ends"),
            (90, 101, Verdict::Error, "expired 11 days ago, at 1970-04-01"),
            (3650, 3619, Verdict::Ok, "ends in 31 days"),
            (3650, 3621, Verdict::Warning, "ends in 29 days"),
        ] {
            let validity = CertificateLife {
                not_before: Timestamp(0),
                not_after: Timestamp(life * DAY),
                now: Timestamp(now * DAY),
            };
            let check = validity.check(CheckKind::Certificate, "it", "renew".to_owned());
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.sentence.contains(says), "{says}: {check:?}");
        }
    }
}
