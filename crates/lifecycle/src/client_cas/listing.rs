use std::time::Duration;

use certward_pki::{describe, fingerprint};
use certward_store::{ApiKey, DeploymentRef, NodeId, StoreError, Timestamp, Version};

use super::{sessions::SessionsByCa, usage::CasByAuthority};
use crate::{Lifecycle, SilentNodes, TlsError, judge_pool::TooMany};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client CA of the newest upload, and who uses it. Certificates of one CA have the same devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCaView {
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The subject, escaped and bounded.
    pub subject: String,
    /// Lower-case hexadecimal digits, two for each byte.
    pub serial: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Fingerprints of the other certificates of this CA, by name and key: it was renewed.
    pub same_ca: Vec<String>,
    /// Known devices that it admitted in the last day, 7 days and 30 days.
    pub admitted: [u64; 3],
    /// Sessions now.
    pub connected: u64,
    /// When a device of it was last seen, to the hour. `None`: none is known.
    pub last_seen_at: Option<Timestamp>,
}

/// The client CAs of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCasOfDeployment {
    /// In the order of the upload; empty for one-way.
    pub client_cas: Vec<ClientCaView>,
    /// Nodes that record no device: known devices are fewer than there are.
    pub anonymous: Vec<NodeId>,
    /// Nodes whose sessions are not counted.
    pub silent: SilentNodes,
}

impl Lifecycle {
    /// The client CAs of the newest upload, and who uses each.
    pub async fn client_cas(
        &self,
        actor: &ApiKey,
        wanted: &DeploymentRef,
    ) -> Result<ClientCasOfDeployment, TlsError> {
        let Version { client_cas, .. } = self.newest_version(wanted).await?;
        let cas = CasByAuthority::new(client_cas);
        let now = self.store.clock().now();
        let since = [DAY, 7 * DAY, 30 * DAY].map(|span| now.before(span));
        let store = self.store.read();
        let uses = store.path_uses(&wanted.id, &since, now).await?;
        let paths = store.known_paths(&wanted.id, now).await?;
        let live = match cas.ders() {
            [] => None,
            ders => self.sessions_by_client_ca(&wanted.id, ders).await?,
        };
        let judged = {
            let cas = cas.clone();
            move || cas.usage(&paths, &uses)
        };
        let usage = self.judge_pool.run(actor, judged).await.map_err(|TooMany| TlsError::TooManyUploads)?;
        let SessionsByCa { sessions, anonymous, silent } = live.unwrap_or(SessionsByCa {
            sessions: Vec::new(),
            anonymous: Vec::new(),
            silent: SilentNodes::These(Vec::new()),
        });
        let connected = cas.summed(&sessions);
        let views = usage.into_iter().zip(connected).enumerate().map(|(index, (usage, connected))| {
            let facts = describe(&cas.ders()[index]);
            let facts = facts.ok_or_else(|| StoreError::Corrupt("a stored client CA".to_owned()))?;
            let others = cas.of_same_ca(index).filter(|other| *other != index);
            let seen = |span: usize| usage.seen.get(span).copied().unwrap_or_default();
            Ok::<_, StoreError>(ClientCaView {
                fingerprint: cas.fingerprint(index).to_owned(),
                subject: facts.subject,
                serial: facts.serial,
                not_before: Timestamp::from_time(facts.not_before),
                not_after: Timestamp::from_time(facts.not_after),
                same_ca: others.map(|other| cas.fingerprint(other).to_owned()).collect(),
                admitted: [seen(0), seen(1), seen(2)],
                connected,
                last_seen_at: usage.last_seen_at,
            })
        });
        let client_cas = views.collect::<Result<_, _>>()?;
        Ok(ClientCasOfDeployment { client_cas, anonymous, silent })
    }

    /// # Errors
    /// [`TlsError::NoDeployment`]; [`TlsError::NotFound`] without a certificate.
    pub(super) async fn newest_version(&self, wanted: &DeploymentRef) -> Result<Version, TlsError> {
        let found = self.with_newest(&wanted.id).await?.filter(|(found, _)| wanted.means(found));
        let (_, newest) = found.ok_or(TlsError::NoDeployment)?;
        newest.ok_or(TlsError::NotFound)
    }
}

/// The index of the client CA of this fingerprint.
pub(super) fn position(client_cas: &[Vec<u8>], wanted: &str) -> Result<usize, TlsError> {
    client_cas.iter().position(|der| fingerprint(der) == wanted).ok_or(TlsError::NoClientCa)
}
