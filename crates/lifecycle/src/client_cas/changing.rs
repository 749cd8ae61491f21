use certward_pki::Text;
use certward_store::{CloseRate, DeploymentRef};

use super::change::ClientCasChange;
use crate::{AcceptedUpload, Handling, Lifecycle, Requester, TlsError, tls::Change};

impl Lifecycle {
    /// Makes a version with these client CAs (PEM) beside those of the newest, and its leaf, chain
    /// and key. Judged as it stands now, as a new upload is. Nothing is changed if all of them are
    /// there already. Durable on return.
    ///
    /// The trust scope stays: session tickets go on.
    pub async fn add_client_cas<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        cacert: Text,
        handling: Handling,
    ) -> Result<AcceptedUpload, TlsError> {
        let change = Change::ClientCas(ClientCasChange::Add(cacert));
        self.accept(&change, actor.into(), deployment, handling, None).await
    }

    /// As [`Lifecycle::add_client_cas`], without the client CA of this fingerprint. Devices that no
    /// other one admits are disconnected, at `close_rate` as in [`Lifecycle::replace_tls`].
    pub async fn remove_client_ca<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        fingerprint: &str,
        handling: Handling,
        close_rate: Option<CloseRate>,
    ) -> Result<AcceptedUpload, TlsError> {
        let change = Change::ClientCas(ClientCasChange::Remove(fingerprint.to_owned()));
        self.accept(&change, actor.into(), deployment, handling, close_rate).await
    }
}
