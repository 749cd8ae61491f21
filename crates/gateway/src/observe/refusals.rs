//! Refused devices, logged once a minute for each deployment and cause, with one example.

use std::net::SocketAddr;

use certward_pki::ClientCertificateFacts;
use certward_store::DeploymentId;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::{
    cause::Cause,
    failures::Seen,
    tally::{Counted, Tally},
};

const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Lines a minute; the rest is one line.
const LINES_MAX: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Tally<RefusalKey, RefusedDevice>>);

/// Without a deployment if the device's server name leads to none.
type RefusalKey = (Option<DeploymentId>, Cause);

#[derive(Debug)]
struct RefusedDevice {
    peer: SocketAddr,
    server_name: Option<Box<str>>,
    certificate: Option<ClientCertificateFacts>,
}

impl Refusals {
    pub(crate) fn note(&self, seen: &Seen, peer: SocketAddr, cause: Cause, now: Instant) {
        let example = || RefusedDevice {
            peer,
            server_name: seen.server_name.clone(),
            certificate: seen.client_certificate.as_ref().and_then(|certificate| certificate.facts.clone()),
        };
        self.0.lock().count(&(seen.deployment.clone(), cause), now, example);
    }

    /// Call it every few seconds.
    pub(crate) fn log(&self, now: Instant) {
        self.log_after(now, LOG_INTERVAL);
    }

    /// What would be lost at the end of the process.
    pub(crate) fn log_all(&self, now: Instant) {
        self.log_after(now, Duration::ZERO);
    }

    fn log_after(&self, now: Instant, after: Duration) {
        let (due, mut others) = self.0.lock().due(now, after);
        for (at, ((deployment, cause), counted)) in due.into_iter().enumerate() {
            if at < LINES_MAX {
                log_one(deployment.as_ref(), cause, &counted);
            } else {
                others += counted.count;
            }
        }
        if others > 0 {
            tracing::info!(
                count = others,
                "more devices were refused, of other deployments or for other causes"
            );
        }
    }
}

fn log_one(deployment: Option<&DeploymentId>, cause: Cause, counted: &Counted<RefusedDevice>) {
    let Counted { count, example: RefusedDevice { peer, server_name, certificate }, .. } = counted;
    let subject = certificate.as_ref().map(|facts| &*facts.subject);
    let issuer = certificate.as_ref().map(|facts| &*facts.issuer);
    let serial = certificate.as_ref().map(|facts| &*facts.serial);
    tracing::info!(
        deployment.id = deployment.map(tracing::field::display),
        cause = cause.as_str(),
        count,
        example.peer = %peer,
        example.server_name = server_name.as_deref(),
        example.subject = subject,
        example.issuer = issuer,
        example.serial = serial,
        "devices were refused: {}", cause.meaning()
    );
}
