use certward_pki::{Text, TlsType, Upload, fingerprint};
use certward_store::Version;

use crate::TlsError;

/// Of the newest upload's client CAs.
pub(crate) enum ClientCasChange {
    /// PEM.
    Add(Text),
    /// By its fingerprint.
    Remove(String),
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
