use certward_pki::{Text, TlsType, Upload, fingerprint};
use certward_store::{CloseRate, DeploymentRef, Version};

use crate::{AcceptedUpload, Handling, Lifecycle, Requester, TlsError, tls::Change};

/// Of the newest upload's client CAs.
pub(crate) enum ClientCasChange {
    /// PEM.
    Add(Text),
    /// By its fingerprint.
    Remove(String),
}

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

impl ClientCasChange {
    /// The client CAs of `newest` that stay.
    pub(crate) fn kept(&self, newest: &Version) -> Result<Vec<Vec<u8>>, TlsError> {
        if newest.tls_type == TlsType::OneWay {
            return Err(TlsError::NotTwoWay);
        }
        match self {
            Self::Add(_) => Ok(newest.client_cas.clone()),
            Self::Remove(removed) => without(&newest.client_cas, removed),
        }
    }

    /// `upload` has the client CAs that stay.
    pub(crate) fn add_to(&self, upload: Upload, kept: &[Vec<u8>]) -> Upload {
        match self {
            Self::Add(cacert) => upload.with_added_client_cas(cacert.clone(), kept),
            Self::Remove(_) => upload,
        }
    }

    pub(crate) fn audited_action(&self) -> &'static str {
        match self {
            Self::Add(_) => "tls.client-ca-add",
            Self::Remove(_) => "tls.client-ca-remove",
        }
    }
}

/// At least one.
fn without(client_cas: &[Vec<u8>], removed: &str) -> Result<Vec<Vec<u8>>, TlsError> {
    let is_removed = |der: &&Vec<u8>| fingerprint(der) == removed;
    if !client_cas.iter().any(|der| is_removed(&der)) {
        return Err(TlsError::NoClientCa);
    }
    let kept: Vec<_> = client_cas.iter().filter(|der| !is_removed(der)).cloned().collect();
    if kept.is_empty() { Err(TlsError::LastClientCa) } else { Ok(kept) }
}
