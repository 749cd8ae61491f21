use certward_pki::{ClientChainJudge, ClientTrust, Material, TlsType};
use certward_store::Version;

use crate::ProposedTrust;

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
}

/// How certificates of devices are judged.
#[derive(Debug)]
pub(crate) enum TrustVerdict {
    /// One-way: none is asked for.
    NotAsked,
    Judge(ClientChainJudge),
    /// The client CAs cannot be used: no device is accepted.
    Unusable,
}

impl TrustVerdict {
    pub(crate) fn of(trust: &ProposedTrust) -> Self {
        if trust.tls_type == TlsType::OneWay {
            return Self::NotAsked;
        }
        let anchors = trust.client_cas.iter().map(|der| der.clone().into()).collect();
        match ClientTrust::new(anchors).and_then(|trust| ClientChainJudge::new(&trust)) {
            Ok(judge) => Self::Judge(judge),
            Err(_) => Self::Unusable,
        }
    }
}
