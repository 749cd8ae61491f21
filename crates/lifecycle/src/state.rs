//! The states of a deployment's certificate, as pure functions.
//!
//! ```text
//!            POST, PUT                 last missing proof
//!  absent ───────────────▶ pending ───────────────────────▶ running
//!    ▲                        │ deadline, or no entry point     │
//!    │                        ▼          last missing proof     │
//!    │                     failed ──────────────────────────────┤
//!    │  last connection closed                                  │
//!    └───────────────── terminated ◀────────── DELETE ──────────┘
//! ```
//!
//! A new upload, or new hosts, lead to `pending`. After `failed` nodes retry. `running` fails when
//! a counted node stops serving it. Without a counted node a change stays `pending`, and a deletion
//! ends at once.

use std::time::Duration;

use certward_pki::{Material, NoEntryPoint};
use certward_store::{
    Generation, NodeId, RequiredProof, Timestamp, TlsState, TrustScope, Version, VersionId,
};

/// Why a proof failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// No entry point: `failed` at once.
    NoEntryPoint(NoEntryPoint),
    /// The last failure, in one plain sentence. `failed` at the deadline.
    NotProven(String),
}

pub(crate) fn pending(version: VersionId, now: Timestamp, prove_within: Duration) -> TlsState {
    TlsState::Pending { version, deadline: now.after(prove_within) }
}

/// `None`: unchanged.
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

/// `None`: unchanged. Before the deadline only a missing entry point fails: retries cannot fix it.
pub(crate) fn failed(state: &TlsState, node: &NodeId, failure: &ProofFailure) -> Option<TlsState> {
    let (version, known) = match state {
        TlsState::Pending { version, .. } => (*version, None),
        TlsState::Failed { version, reason } => (*version, Some(reason)),
        TlsState::Absent | TlsState::Running { .. } | TlsState::Terminated => return None,
    };
    let reason = match (failure, known) {
        (ProofFailure::NoEntryPoint(reason), _) => no_entry_point(node, *reason),
        (ProofFailure::NotProven(reason), Some(_)) => reason.clone(),
        (ProofFailure::NotProven(_), None) => return None,
    };
    (known != Some(&reason)).then_some(TlsState::Failed { version, reason })
}

/// `None`: not `running`.
pub(crate) fn withdrawn(state: &TlsState, node: &NodeId, reason: &str) -> Option<TlsState> {
    let TlsState::Running { version } = state else { return None };
    let reason = format!("the node {node} cannot serve it any more: {reason}");
    Some(TlsState::Failed { version: *version, reason })
}

/// `None`: not overdue, or no proof is missing.
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

/// Cause and remedy, for the uploader.
fn no_entry_point(node: &NodeId, reason: NoEntryPoint) -> String {
    format!("no device can reach the deployment through the node {node}: {reason}. {}", reason.remedy())
}

/// The replaced version's scope if each client that it accepts is accepted still; else `fresh`.
///
/// What a node has verified for a scope stays true as CAs are added; what it has not verified, it
/// verifies by the CAs that it serves with.
pub(crate) fn trust_scope(replaced: Option<&Version>, material: &Material, fresh: TrustScope) -> TrustScope {
    replaced.filter(|before| keeps_client_cas(before, material)).map_or(fresh, |before| before.trust_scope)
}

/// Of the same type, and no client CA is removed.
pub(crate) fn keeps_client_cas(before: &Version, material: &Material) -> bool {
    let is_kept = |ca: &Vec<u8>| anchors(material).any(|anchor| anchor == ca);
    before.tls_type == material.tls_type() && before.client_cas.iter().all(is_kept)
}

pub(crate) fn anchors(material: &Material) -> impl Iterator<Item = &[u8]> {
    material.client_trust.iter().flat_map(|trust| trust.anchors()).map(|anchor| anchor.as_ref())
}

/// Whether `new` must refuse a client of `before`: now two-way, or a CA removed. Then never serve
/// `before` instead.
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
        // Proofs of 7 and 8 are too old for generation 9.
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
    fn before_the_deadline_only_a_missing_entry_point_fails() {
        const NO_HOST: &str = "no device can reach the deployment through the node n: it has no host, no listener of \
            its own, and is not the default deployment. Give the deployment a host: certward deployment set ID --host \
            NAME.";
        const NO_LISTENER: &str = "no device can reach the deployment through the node n: the node has no shared \
            listener, and none that is bound to this deployment. Add a [[gateway.listener]] to the node's \
            configuration: without `deployment`, so that hosts lead to their deployments, or with `deployment` set to \
            this one's id.";
        let node = NodeId::parse("n").unwrap();
        let no_host = ProofFailure::NoEntryPoint(NoEntryPoint::NoHost);
        let no_listener = ProofFailure::NoEntryPoint(NoEntryPoint::NoListener);
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
            accepted_by: None,
            restores: None,
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
