//! Which deployments need attention, and which of them first.

use std::time::Duration;

use certward_pki::StalePolicy;
use certward_store::Timestamp;

use crate::{
    api_time,
    api_types::{CrlAnswer, DeploymentAnswer, EndingAnswer},
    commands::{broker_trouble, end_urgency::EndUrgency},
    style::Tone,
};

/// Scanners fail handshakes now and then; these are from now.
const RECENT_FAILURE: Duration = Duration::from_secs(60 * 60);

/// The first of what is to be said about a deployment.
#[derive(Debug)]
pub(super) struct Attention {
    rank: AttentionRank,
    /// What ends earlier comes first.
    end: Option<Timestamp>,
    reason: String,
}

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttentionRank {
    /// Devices are refused.
    Expired,
    /// Devices do not reach their broker.
    Broker,
    /// The newest upload was not proven.
    Failed,
    EndsSoon,
    /// A change is being carried out.
    Changing,
    FailedHandshakes,
    Well,
    NoCertificate,
}

impl Attention {
    /// `crls`: those of the deployment, if one of them has ended.
    pub(super) fn of(
        deployment: &DeploymentAnswer,
        endings: &[&EndingAnswer],
        crls: &[CrlAnswer],
        now: Timestamp,
    ) -> Self {
        let mut found = Vec::new();
        let mut note = |rank, end, reason: &str| found.push(Self { rank, end, reason: reason.to_owned() });
        let expire = deployment.tls.as_ref().and_then(|tls| tls.expire.as_deref());
        let end = expire.and_then(api_time::parse);
        match &deployment.tls {
            None => note(AttentionRank::NoCertificate, end, "no certificate"),
            Some(tls) => {
                note(AttentionRank::Well, end, "");
                match tls.status.as_deref() {
                    Some("failed") => {
                        let reason = tls.reason.as_deref().map(|reason| format!("failed: {reason}"));
                        note(AttentionRank::Failed, end, reason.as_deref().unwrap_or("failed"));
                    }
                    Some(status @ ("pending" | "terminated")) => note(AttentionRank::Changing, end, status),
                    _ => {}
                }
            }
        }
        if end.is_some_and(|end| end <= now) {
            note(AttentionRank::Expired, end, "expired");
        }
        // Before their ends, which say less.
        for crl in crls {
            if let Some((rank, end, reason)) = said_of_crl(crl, now) {
                note(rank, end, &reason);
            }
        }
        for ending in endings {
            // The list may still have the certificate before.
            let is_other_leaf = ending.kind == "leaf" && expire != Some(ending.expire.as_str());
            if let Some((rank, reason)) = said_of(ending, now)
                && !is_other_leaf
            {
                note(rank, api_time::parse(&ending.expire), &reason);
            }
        }
        if let Some(trouble) = deployment.broker_troubles.first() {
            let since = api_time::ago(&trouble.since, now);
            let reason =
                format!("broker {}: {}, {since}", broker_trouble::headline(trouble), trouble.message);
            note(AttentionRank::Broker, end, &reason);
        }
        let failed_at = deployment.last_failure.as_ref().and_then(|failure| api_time::parse(&failure.at));
        if failed_at.is_some_and(|at| at >= now.before(RECENT_FAILURE)) {
            note(AttentionRank::FailedHandshakes, end, "failed handshakes");
        }
        let first = found.into_iter().min_by_key(Self::key);
        first.unwrap_or(Self { rank: AttentionRank::Well, end, reason: String::new() })
    }

    pub(super) fn key(&self) -> (AttentionRank, i64) {
        (self.rank, self.end.map_or(i64::MAX, |end| end.0))
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_needed(&self) -> bool {
        self.rank <= AttentionRank::EndsSoon
    }

    pub(super) fn tone(&self) -> Option<Tone> {
        match self.rank {
            AttentionRank::Expired | AttentionRank::Broker | AttentionRank::Failed => Some(Tone::Bad),
            AttentionRank::EndsSoon => Some(Tone::Doubtful),
            AttentionRank::Changing | AttentionRank::FailedHandshakes => Some(Tone::Remark),
            AttentionRank::Well => None,
            AttentionRank::NoCertificate => Some(Tone::Faint),
        }
    }
}

/// The end of a client CA refuses no device that has a certificate. Of others than the leaf it says
/// when: the table shows the leaf's end.
fn said_of(ending: &EndingAnswer, now: Timestamp) -> Option<(AttentionRank, String)> {
    use AttentionRank::{EndsSoon, Expired};
    let urgency = EndUrgency::of(ending, now);
    let words = api_time::ends_in_words(&ending.expire, now);
    let (name, expired) = match ending.kind.as_str() {
        "leaf" => ("", Expired),
        "intermediate" => ("intermediate ", Expired),
        "clientCA" => ("client CA ", EndsSoon),
        // CAs issue the next one late: its end is no news before.
        "crl" if urgency == EndUrgency::Expired => ("CRL ", EndsSoon),
        _ => return None,
    };
    match urgency {
        EndUrgency::Expired if name.is_empty() => Some((expired, "expired".to_owned())),
        EndUrgency::Soon if name.is_empty() => Some((EndsSoon, "ends soon".to_owned())),
        EndUrgency::Expired => Some((expired, format!("{name}{words}"))),
        EndUrgency::Soon => Some((EndsSoon, format!("{name}ends {words}"))),
        EndUrgency::Later => None,
    }
}

/// Of one that is stale, or whose fetch fails: it will be stale.
fn said_of_crl(crl: &CrlAnswer, now: Timestamp) -> Option<(AttentionRank, Option<Timestamp>, String)> {
    use AttentionRank::{EndsSoon, Expired};
    let next_update = crl.next_update.as_deref().unwrap_or_default();
    let end = api_time::parse(next_update);
    if end.is_some_and(|end| end <= now) {
        let rank = if crl.stale == StalePolicy::Hard.as_str() { Expired } else { EndsSoon };
        return Some((rank, end, format!("CRL {} {}", crl.id, api_time::ends_in_words(next_update, now))));
    }
    crl.failure.as_ref().map(|failure| (EndsSoon, end, format!("CRL {}: {}", crl.id, failure.message)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn other_certificates_of_a_deployment_count_by_what_they_break() {
        let deployment: DeploymentAnswer = serde_json::from_value(
            json!({"deploymentID": "d", "tls": {"status": "running", "expire": "2035-01-01 00:00:00"}}),
        )
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 12:00:00 UTC));
        let (past, near) = ("2034-04-10 00:00:00", "2034-04-12 00:00:00");
        for (kind, expire, rank, reason) in [
            ("intermediate", past, AttentionRank::Expired, "intermediate expired 36 hours ago"),
            ("intermediate", near, AttentionRank::EndsSoon, "intermediate ends in 12 hours"),
            ("clientCA", past, AttentionRank::EndsSoon, "client CA expired 36 hours ago"),
            ("clientCA", near, AttentionRank::EndsSoon, "client CA ends in 12 hours"),
            ("crl", past, AttentionRank::EndsSoon, "CRL expired 36 hours ago"),
            ("crl", near, AttentionRank::Well, ""),
            // Replaced since.
            ("leaf", past, AttentionRank::Well, ""),
        ] {
            let ending = EndingAnswer {
                kind: kind.to_owned(),
                begin: "2024-01-01 00:00:00".to_owned(),
                expire: expire.to_owned(),
                ..EndingAnswer::default()
            };
            let attention = Attention::of(&deployment, &[&ending], &[], now);
            assert_eq!((attention.rank, attention.reason()), (rank, reason), "{kind} {expire}");
        }
    }
    #[test]
    fn a_stale_crl_counts_by_its_policy_and_a_fetch_that_fails_less() {
        let deployment: DeploymentAnswer =
            serde_json::from_value(json!({"deploymentID": "d", "tls": {"expire": "2034-05-01 00:00:00"}}))
                .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 12:00:00 UTC));
        let crl = |id: &str, stale: &str, end: &str, failure: &str| {
            let mut crl = json!({"id": id, "stale": stale, "nextUpdate": end});
            if !failure.is_empty() {
                crl["failure"] = json!({"message": failure});
            }
            serde_json::from_value::<CrlAnswer>(crl).unwrap()
        };
        let (past, future) = ("2034-04-10 00:00:00", "2034-04-12 00:00:00");
        let soft = || crl("b", "soft", past, "");
        for (crls, rank, reason) in [
            (vec![crl("a", "hard", past, "")], AttentionRank::Expired, "CRL a expired 36 hours ago"),
            (vec![soft()], AttentionRank::EndsSoon, "CRL b expired 36 hours ago"),
            (vec![soft(), crl("a", "hard", past, "")], AttentionRank::Expired, "CRL a expired 36 hours ago"),
            (vec![crl("a", "hard", future, "It is away.")], AttentionRank::EndsSoon, "CRL a: It is away."),
            // The end says more.
            (
                vec![crl("a", "soft", past, "It is away.")],
                AttentionRank::EndsSoon,
                "CRL a expired 36 hours ago",
            ),
            (vec![crl("a", "hard", future, "")], AttentionRank::Well, ""),
        ] {
            let ending =
                EndingAnswer { kind: "crl".to_owned(), expire: past.to_owned(), ..Default::default() };
            let endings: &[_] = if crls.iter().any(|crl| crl.next_update.as_deref() == Some(past)) {
                &[&ending]
            } else {
                &[]
            };
            let attention = Attention::of(&deployment, endings, &crls, now);
            assert_eq!((attention.rank, attention.reason()), (rank, reason), "{crls:?}");
        }
    }
}
