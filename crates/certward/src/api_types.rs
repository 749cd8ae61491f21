//! The API's answers, as far as they are shown; unknown fields are ignored.

mod alert;
mod audit;
mod client_ca;
mod crl;
mod deployment;
mod device;
mod ending;
mod finding;
mod impact;
mod revocation;
mod session;
mod tls;
mod version;

use certward_pki::CertificateFacts;
use serde::{Deserialize, Serialize};

use crate::api_time;

pub(crate) use self::{
    alert::{AlertAnswer, AlertTestAnswer, ChannelAnswer, DeliveryAnswer},
    audit::AuditAnswer,
    client_ca::ClientCaAnswer,
    crl::{CrlAnswer, SetCrlAnswer},
    deployment::{BrokerTroubleAnswer, DeploymentAnswer},
    device::{DeviceAnswer, DeviceSummaryAnswer, OfferAnswer},
    ending::EndingAnswer,
    finding::{ErrorAnswer, FindingAnswer},
    impact::{ImpactAnswer, RefusedAnswer},
    revocation::{AddedRevocationsAnswer, RevocationAnswer, RevocationMatchesAnswer},
    session::{ClosedSessionsAnswer, SessionAnswer, SessionsAnswer},
    tls::TlsAnswer,
    version::{ListedCertificateAnswer, VersionAnswer},
};
#[cfg(test)]
pub(crate) use self::{
    finding::FindingItem,
    impact::{KeyKindChangeAnswer, RejectedAnswer, RootChangeAnswer},
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FailureAnswer {
    pub(crate) at: String,
    pub(crate) node: String,
    pub(crate) address: String,
    pub(crate) server_name: String,
    pub(crate) tls_version: String,
    pub(crate) cause: String,
    pub(crate) detail: Option<String>,
    pub(crate) remedy: String,
    pub(crate) client_certificate: Option<ClientCertificateAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientCertificateAnswer {
    pub(crate) subject: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) not_after: Option<String>,
    pub(crate) fingerprint: String,
}

impl FailureAnswer {
    pub(crate) fn what(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{} ({detail})", self.cause),
            None => self.cause.clone(),
        }
    }
}

/// From the server or `certward check`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CheckAnswer {
    pub(crate) accepted: bool,
    pub(crate) findings: Vec<FindingAnswer>,
    /// Absent if not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serves: Option<ServedAnswer>,
    /// The found chain, leaf first, with the root; the server omits it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) found: Vec<ServedCertificate>,
    /// Only of a server, and only if devices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) impact: Option<ImpactAnswer>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServedAnswer {
    pub(crate) tls_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cn: Option<String>,
    pub(crate) expire: String,
    /// Certificates sent, with the leaf.
    pub(crate) chain_length: usize,
    pub(crate) client_cas: usize,
    /// Leaf first; a server may omit them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) chain: Vec<ServedCertificate>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServedCertificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    /// Such as `ECDSA P-256`.
    pub(crate) key: String,
    pub(crate) not_before: String,
    pub(crate) expire: String,
}

impl From<CertificateFacts> for ServedCertificate {
    fn from(facts: CertificateFacts) -> Self {
        Self {
            subject: facts.subject,
            issuer: facts.issuer,
            names: facts.names,
            key: facts.key_kind.to_string(),
            not_before: api_time::show(facts.not_before),
            expire: api_time::show(facts.not_after),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProjectAnswer {
    #[serde(rename = "projectID")]
    pub(crate) id: String,
    #[serde(rename = "projectName")]
    pub(crate) name: String,
    pub(crate) description: String,
    #[serde(rename = "upstreamAllow")]
    pub(crate) upstream_allow: Option<Vec<String>>,
    #[serde(rename = "hostSuffixes")]
    pub(crate) host_suffixes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeyAnswer {
    pub(crate) api_key: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) projects: Option<Vec<String>>,
    pub(crate) create_at: String,
    /// Absent: it does not end.
    pub(crate) expires_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeAnswer {
    #[serde(rename = "nodeID")]
    pub(crate) node_id: String,
    pub(crate) role: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) started_at: String,
    pub(crate) heard_at: String,
    pub(crate) unproven: u64,
}

/// No `Debug`: it holds the secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedKey {
    pub(crate) api_key: String,
    pub(crate) secret_key: String,
    #[serde(default)]
    pub(crate) expires_at: Option<String>,
}
