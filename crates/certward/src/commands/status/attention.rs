//! Which deployments need attention, and which of them first.

use std::time::Duration;

use certward_store::Timestamp;

use crate::{
    api_time,
    api_types::{DeploymentAnswer, EndingAnswer},
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
    pub(super) fn of(deployment: &DeploymentAnswer, endings: &[&EndingAnswer], now: Timestamp) -> Self {
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
            // Replaced since.
            ("leaf", past, AttentionRank::Well, ""),
        ] {
            let ending = EndingAnswer {
                kind: kind.to_owned(),
                begin: "2024-01-01 00:00:00".to_owned(),
                expire: expire.to_owned(),
                ..EndingAnswer::default()
            };
            let attention = Attention::of(&deployment, &[&ending], now);
            assert_eq!((attention.rank, attention.reason()), (rank, reason), "{kind} {expire}");
        }
    }
}
