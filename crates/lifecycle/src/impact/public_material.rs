use certward_pki::{ClientTrust, Material};
use certward_store::Version;

use crate::{ProposedTrust, TrustChange};

/// Material without its key: what devices get, and by what they are judged.
#[derive(Debug, Clone)]
pub(crate) struct PublicMaterial {
    /// DER, leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) trust: ProposedTrust,
}

impl PublicMaterial {
    pub(crate) fn of_version(version: &Version) -> Self {
        let Version { tls_type, chain, client_cas, .. } = version;
        let trust = ProposedTrust { tls_type: *tls_type, client_cas: client_cas.clone() };
        Self { chain: chain.clone(), trust }
    }

    pub(crate) fn of(material: &Material) -> Self {
        let anchors = material.client_trust.as_ref().map_or(&[][..], ClientTrust::anchors);
        let client_cas = anchors.iter().map(|der| der.to_vec()).collect();
        let trust = ProposedTrust { tls_type: material.tls_type(), client_cas };
        Self { chain: material.bundle.chain().iter().map(|der| der.to_vec()).collect(), trust }
    }

    /// With `new` in its place.
    pub(crate) fn trust_change(&self, new: &Self) -> TrustChange {
        TrustChange { today: self.trust.clone(), proposed: new.trust.clone() }
    }
}
