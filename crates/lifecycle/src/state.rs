//! The states of a deployment's certificate, as pure functions of what is stored and what was said.
//!
//! ```text
//!            POST, PUT                 last missing proof
//!  absent ───────────────▶ pending ───────────────────────▶ running
//!    ▲                        │ deadline, or no way in          │
//!    │                        ▼          last missing proof     │
//!    │                     failed ──────────────────────────────┤
//!    │  all let go                                              │
//!    └───────────────── terminated ◀────────── DELETE ──────────┘
//! ```
//!
//! A newer upload, or new hosts, lead from any state that has a certificate back to `pending`. `failed` is not
//! final: nodes go on trying. `running` is `failed` again when a counted node cannot serve it any more. A node that is counted no longer is not waited for; with nobody counted a change
//! stays `pending` (nobody has proven anything), while a deletion is over at once (nobody holds anything).

use std::time::Duration;

use certward_pki::{Material, NoWayIn};
use certward_store::{
    Generation, NodeId, RequiredProof, Timestamp, TlsState, TrustScope, Version, VersionId,
};

/// Why a node could not prove a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// No listener and name lead to the deployment: `failed` at once.
    NoWayIn(NoWayIn),
    /// The newest try failed, in one plain sentence; the node goes on trying. `failed` at the deadline.
    NotProven(String),
}

/// The state of an upload, or of new hosts of an old one, the moment they are stored.
pub(crate) fn pending(version: VersionId, now: Timestamp, prove_within: Duration) -> TlsState {
    TlsState::Pending { version, deadline: now.after(prove_within) }
}

/// Where a deployment goes once the counted nodes have said what `counts` holds; `None`: it stays.
pub(crate) fn settled(
    state: &TlsState,
    generation: Generation,
    counts: &[RequiredProof],
) -> Option<TlsState> {
    let all_done = counts.iter().all(|count| count.proven >= generation);
    match state {
        TlsState::Pending { version, .. } | TlsState::Failed { version, .. }
            if all_done && !counts.is_empty() =>
        {
            Some(TlsState::Running { version: *version })
        }
        TlsState::Terminated if all_done => Some(TlsState::Absent),
        _ => None,
    }
}

/// Where a deployment goes when a counted node could not prove it; `None`: it stays. Before the deadline only a missing
/// way in is a failure: no time will mend it.
pub(crate) fn failed(state: &TlsState, node: &NodeId, failure: &ProofFailure) -> Option<TlsState> {
    let (version, known) = match state {
        TlsState::Pending { version, .. } => (*version, None),
        TlsState::Failed { version, reason } => (*version, Some(reason)),
        TlsState::Absent | TlsState::Running { .. } | TlsState::Terminated => return None,
    };
    let reason = match (failure, known) {
        (ProofFailure::NoWayIn(reason), _) => no_way_in(node, *reason),
        (ProofFailure::NotProven(reason), Some(_)) => reason.clone(),
        (ProofFailure::NotProven(_), None) => return None,
    };
    (known != Some(&reason)).then_some(TlsState::Failed { version, reason })
}

/// Where a deployment goes when a counted node cannot serve its newest version any more; `None`: it stays, for it is not
/// `running` without that node.
pub(crate) fn withdrawn(state: &TlsState, node: &NodeId, reason: &str) -> Option<TlsState> {
    let TlsState::Running { version } = state else { return None };
    let reason = format!("the node {node} cannot serve it any more: {reason}");
    Some(TlsState::Failed { version: *version, reason })
}

/// Where a pending deployment goes at `now`; `None`: its time is not over, or nobody is counted.
pub(crate) fn overdue(
    state: &TlsState,
    generation: Generation,
    counts: &[RequiredProof],
    now: Timestamp,
) -> Option<TlsState> {
    let TlsState::Pending { version, deadline } = state else { return None };
    let missing = counts.iter().find(|count| count.proven < generation).filter(|_| now >= *deadline)?;
    let reason = match &missing.reason {
        Some(reason) => reason.clone(),
        None => format!("the node {} has not proven it in time", missing.node),
    };
    Some(TlsState::Failed { version: *version, reason })
}

/// The uploader reads this: the cause, and the remedy that belongs to it.
fn no_way_in(node: &NodeId, reason: NoWayIn) -> String {
    format!("no device can reach the deployment through the node {node}: {reason}. {}", reason.remedy())
}

/// The trust scope of a new upload: kept only when a certificate is replaced and the same clients are trusted as before.
/// `fresh` is used otherwise.
pub(crate) fn trust_scope(replaced: Option<&Version>, material: &Material, fresh: TrustScope) -> TrustScope {
    let same_trust = |before: &Version| {
        let anchors = material.client_trust.iter().flat_map(|trust| trust.anchors());
        let mut new: Vec<&[u8]> = anchors.map(|anchor| anchor.as_ref()).collect();
        let mut old: Vec<&[u8]> = before.client_cas.iter().map(Vec::as_slice).collect();
        // The order of the CAs is the operator's taste and decides nothing.
        new.sort_unstable();
        old.sort_unstable();
        before.tls_type == material.tls_type() && new == old
    };
    replaced.filter(|before| same_trust(before)).map_or(fresh, |before| before.trust_scope)
}

/// Whether a client that `before` admitted may be one that `new` must refuse: one-way became two-way, or a client CA
/// is gone. Where the new version cannot be served, the old one must not be served either.
pub fn narrows(new: &Version, before: &Version) -> bool {
    if new.client_cas.is_empty() {
        return false;
    }
    before.client_cas.is_empty() || before.client_cas.iter().any(|ca| !new.client_cas.contains(ca))
}

#[cfg(test)]
mod tests {
    use certward_pki::TlsType;
    use certward_store::DeploymentId;

    use super::*;

    const VERSION: VersionId = VersionId(7);
    const NOW: Timestamp = Timestamp(100_000);

    fn state_pending() -> TlsState {
        pending(VERSION, NOW, Duration::from_secs(60))
    }

    fn state_failed(reason: &str) -> TlsState {
        TlsState::Failed { version: VERSION, reason: reason.into() }
    }

    const RUNNING: TlsState = TlsState::Running { version: VERSION };

    fn counts(proven: &[i64]) -> Vec<RequiredProof> {
        let count = |(number, proven): (usize, &i64)| RequiredProof {
            deployment: DeploymentId::parse("d").unwrap(),
            node: NodeId::parse(&format!("node-{number}")).unwrap(),
            proven: Generation(*proven),
            reason: None,
        };
        proven.iter().enumerate().map(count).collect()
    }

    #[test]
    fn only_the_last_missing_proof_settles_a_state() {
        // The deployment stands at generation 9: proofs of 7 and 8 are of no use.
        let cases = [
            (state_pending(), &[][..], None),
            (state_pending(), &[9], Some(RUNNING)),
            (state_pending(), &[9, 8], None),
            (state_pending(), &[9, 9], Some(RUNNING)),
            (state_failed("x"), &[9, 9], Some(RUNNING)),
            (state_failed("x"), &[0, 9], None),
            (state_failed("x"), &[], None),
            (RUNNING, &[9], None),
            (TlsState::Absent, &[9], None),
            (TlsState::Terminated, &[], Some(TlsState::Absent)),
            (TlsState::Terminated, &[9, 9], Some(TlsState::Absent)),
            (TlsState::Terminated, &[9, 7], None),
        ];
        for (state, proven, expected) in cases {
            assert_eq!(
                settled(&state, Generation(9), &counts(proven)),
                expected,
                "{state:?} with {proven:?}"
            );
        }
    }

    #[test]
    fn before_the_deadline_only_a_missing_way_in_fails() {
        const NO_HOST: &str = "no device can reach the deployment through the node n: it has no host, no listener of \
            its own, and is not the default deployment. Give the deployment a host: certward deployment set ID --host \
            NAME.";
        const NO_LISTENER: &str = "no device can reach the deployment through the node n: the node has no shared \
            listener, and none that is bound to this deployment. Add a [[gateway.listener]] to the node's \
            configuration: without `deployment`, so that hosts lead to their deployments, or with `deployment` set to \
            this one's id.";
        let node = NodeId::parse("n").unwrap();
        let no_host = ProofFailure::NoWayIn(NoWayIn::NoHost);
        let no_listener = ProofFailure::NoWayIn(NoWayIn::NoListener);
        let not_proven = ProofFailure::NotProven("because".into());
        let cases = [
            (state_pending(), &not_proven, None),
            (state_pending(), &no_host, Some(state_failed(NO_HOST))),
            (state_pending(), &no_listener, Some(state_failed(NO_LISTENER))),
            (state_failed(NO_HOST), &no_listener, Some(state_failed(NO_LISTENER))),
            (state_failed(NO_HOST), &no_host, None),
            (state_failed("older"), &not_proven, Some(state_failed("because"))),
            (state_failed("because"), &not_proven, None),
            (RUNNING, &no_host, None),
            (RUNNING, &not_proven, None),
            (TlsState::Absent, &no_host, None),
            (TlsState::Terminated, &not_proven, None),
        ];
        for (state, failure, expected) in cases {
            assert_eq!(failed(&state, &node, failure), expected, "{state:?} with {failure:?}");
        }
    }

    #[test]
    fn the_deadline_fails_what_a_counted_node_has_not_proven() {
        let late = NOW.after(Duration::from_secs(60));
        let early = Timestamp(late.0 - 1);
        let with_reason = {
            let mut counts = counts(&[9, 0]);
            counts[1].reason = Some("the listener is down".into());
            counts
        };
        let silent = state_failed("the node node-0 has not proven it in time");
        let cases = [
            (state_pending(), counts(&[0]), early, None),
            (state_pending(), counts(&[0]), late, Some(silent)),
            (state_pending(), with_reason, late, Some(state_failed("the listener is down"))),
            (state_pending(), counts(&[]), late, None),
            (RUNNING, counts(&[0]), late, None),
            (TlsState::Terminated, counts(&[0]), late, None),
        ];
        for (state, counts, now, expected) in cases {
            assert_eq!(overdue(&state, Generation(9), &counts, now), expected, "{state:?} at {now:?}");
        }
    }

    #[test]
    fn trust_narrows_when_a_client_may_be_refused_that_was_admitted() {
        let version = |client_cas: &[&str]| Version {
            deployment: DeploymentId::parse("d").unwrap(),
            version: VERSION,
            tls_type: if client_cas.is_empty() { TlsType::OneWay } else { TlsType::TwoWay },
            chain: vec![],
            client_cas: client_cas.iter().map(|ca| ca.as_bytes().to_vec()).collect(),
            trust_scope: TrustScope([0; 16]),
            common_name: None,
            not_after: NOW,
            findings: vec![],
            created_at: NOW,
            proven: true,
        };
        let cases: [(&[&str], &[&str], bool); 7] = [
            (&[], &[], false),
            (&[], &["a"], true),
            (&["a"], &[], false),
            (&["a"], &["a"], false),
            (&["a"], &["b"], true),
            (&["a"], &["b", "a"], false),
            (&["a", "b"], &["b"], true),
        ];
        for (before, new, expected) in cases {
            assert_eq!(narrows(&version(new), &version(before)), expected, "{before:?} to {new:?}");
        }
    }
}
