//! Reports proofs to the store, once the replica holds what they prove.

use certward_lifecycle::{Observation, ProofFailure};
use certward_store::{Deployment, DeploymentId, FeedPosition, TlsState};

use crate::sync::follower::Follower;

impl Follower {
    pub(super) async fn report(
        &self,
        deployment: &Deployment,
        outcome: Result<(), ProofFailure>,
        as_of: FeedPosition,
        tries: u32,
    ) -> bool {
        let Deployment { id, generation, .. } = deployment;
        // Without an entry point a retry is useless until the deployment changes.
        let settled = !matches!(outcome, Err(ProofFailure::NotProven(_)));
        match &outcome {
            Ok(()) => tracing::debug!(deployment.id = %id, deployment.generation = %generation, "proven"),
            Err(ProofFailure::NoEntryPoint(reason)) => {
                log_failure(id, tries, &format!("no device can reach it: {reason}"));
            }
            Err(ProofFailure::NotProven(reason)) => {
                log_failure(id, tries, &format!("generation {generation} is not proven: {reason}"));
            }
        }
        let outcome = match outcome {
            Ok(()) => self.is_copied(deployment).await,
            failed => failed,
        };
        if let (true, Err(ProofFailure::NotProven(reason))) = (settled, &outcome) {
            log_failure(id, tries, &format!("generation {generation} is proven, and not reported: {reason}"));
        }
        let settled = settled && !matches!(outcome, Err(ProofFailure::NotProven(_)));
        let is_proven = outcome.is_ok();
        let Some(_open) = self.reports.open().await else { return self.reports.is_closed() };
        // A node that is not counted reports when it joins.
        let Some(member) = self.membership.member() else { return true };
        let observation = Observation { id, generation: *generation, as_of };
        match self.lifecycle.report(&member, &observation, outcome).await {
            // The session is over: prove again.
            Ok(false) => false,
            Ok(true) => {
                if is_proven {
                    log_proven(deployment);
                }
                settled
            }
            Err(error) => {
                log_failure(id, tries, &format!("a proof cannot be reported: {error}"));
                false
            }
        }
    }

    /// A proof must be in the replica before it is reported, unless the report changes nothing.
    async fn is_copied(&self, deployment: &Deployment) -> Result<(), ProofFailure> {
        let Some(replicator) = &self.replicator else { return Ok(()) };
        if is_news(&deployment.tls) {
            replicator.wait_durable(deployment).await.map_err(ProofFailure::NotProven)
        } else {
            Ok(())
        }
    }
}

/// Called after the report: an unreported proof is repeated often.
fn log_proven(deployment: &Deployment) {
    let Deployment { id, generation, tls, .. } = deployment;
    let what =
        if *tls == TlsState::Terminated { "connections closed on this node" } else { "proven on this node" };
    if is_news(tls) {
        tracing::info!(deployment.id = %id, deployment.generation = %generation, "{what}");
    }
}

/// Whether the store waits for a report.
fn is_news(tls: &TlsState) -> bool {
    match tls {
        TlsState::Absent | TlsState::Running { .. } => false,
        TlsState::Pending { .. } | TlsState::Failed { .. } | TlsState::Terminated => true,
    }
}

/// Warns once, then every thousandth time, to bound the log.
pub(super) fn log_failure(id: &DeploymentId, tries: u32, what: &str) {
    if tries.is_multiple_of(1000) {
        tracing::warn!(deployment.id = %id, tries, "{what}");
    } else {
        tracing::debug!(deployment.id = %id, tries, "{what}");
    }
}

pub(super) fn not_proven(reason: Option<&str>) -> ProofFailure {
    let reason = reason.unwrap_or("it cannot be served");
    ProofFailure::NotProven(format!("the certificate cannot be served: {reason}"))
}
