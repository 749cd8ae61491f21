use std::path::PathBuf;

use serde::Deserialize;

use super::Network;

/// `[crl]`: where CRLs are fetched from.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CrlSection {
    /// The networks that servers of CRLs may be in: none, and none is fetched. Checked on the
    /// resolved address at every connect.
    pub(crate) crl_allow: Vec<Network>,
    /// A file of CAs, PEM, that servers of CRLs are trusted by over https, beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
}
