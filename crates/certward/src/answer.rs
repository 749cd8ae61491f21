//! The API's answers as this client reads them: only what it shows, and nothing refuses because a server says more.

use serde::{Deserialize, Serialize};

/// An error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Vec<Finding>,
}

/// A finding; its code is a text here, for a newer server may know codes that this program does not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<Item>,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// Which block of the field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

impl From<&certward_pki::Finding> for Finding {
    fn from(finding: &certward_pki::Finding) -> Self {
        // Both spell it as the contract does, so that the way over JSON loses nothing.
        serde_json::to_value(finding).and_then(serde_json::from_value).unwrap_or_default()
    }
}

/// A failed handshake.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Failure {
    pub(crate) at: String,
    pub(crate) address: String,
    pub(crate) server_name: String,
    pub(crate) tls_version: String,
    pub(crate) cause: String,
    pub(crate) detail: Option<String>,
    pub(crate) remedy: String,
}

impl Failure {
    /// The cause, with what came where that is known.
    pub(crate) fn what(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{} ({detail})", self.cause),
            None => self.cause.clone(),
        }
    }
}

/// What would become of an upload. The same from the server and from `certward check`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Check {
    /// Whether it would be accepted.
    pub(crate) accepted: bool,
    pub(crate) findings: Vec<Finding>,
    /// What would be served; absent when it is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serves: Option<Served>,
    /// The chain as it was found, leaf first, the root included; a server leaves it out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) found: Vec<ServedCertificate>,
}

/// What would be served.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Served {
    pub(crate) tls_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cn: Option<String>,
    pub(crate) expire: String,
    /// How many certificates are sent, the leaf included.
    pub(crate) chain_length: usize,
    /// How many client CAs are trusted.
    pub(crate) client_cas: usize,
    /// The certificates that are sent, leaf first; a server may leave them out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) chain: Vec<ServedCertificate>,
}

/// A certificate that would be sent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServedCertificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    /// For example `ECDSA P-256`.
    pub(crate) key: String,
    pub(crate) not_before: String,
    pub(crate) expire: String,
}

/// A certificate's state; all absent where none is set.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Tls {
    pub(crate) tls_type: Option<String>,
    pub(crate) expire: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) cn: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) warnings: Vec<Finding>,
}

impl Tls {
    /// Whether a certificate is set, and not being deleted.
    pub(crate) fn is_set(&self) -> bool {
        self.status.as_deref().is_some_and(|status| status != "terminated")
    }

    /// Whether waiting is over.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self.status.as_deref(), Some("pending" | "terminated"))
    }
}

/// A project.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Project {
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

/// A deployment; the list leaves some of it out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deployment {
    #[serde(rename = "deploymentID")]
    pub(crate) id: String,
    #[serde(rename = "deploymentName")]
    pub(crate) name: String,
    #[serde(rename = "projectID")]
    pub(crate) project_id: Option<String>,
    pub(crate) project_name: Option<String>,
    pub(crate) status: String,
    pub(crate) create_at: String,
    pub(crate) upstream: Option<String>,
    pub(crate) ws_upstream: Option<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) profile: Option<String>,
    pub(crate) proxy_protocol: Option<String>,
    pub(crate) proxy_identity: Option<String>,
    pub(crate) connections: u64,
    pub(crate) connection_rate: u64,
    pub(crate) record_bytes: Option<u64>,
    pub(crate) warnings: Vec<Finding>,
}

/// An API key without its secret.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Key {
    pub(crate) api_key: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) projects: Option<Vec<String>>,
    pub(crate) create_at: String,
}

/// A node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Node {
    #[serde(rename = "nodeID")]
    pub(crate) node_id: String,
    pub(crate) role: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) started_at: String,
    pub(crate) heard_at: String,
    pub(crate) unproven: u64,
}

/// An API key that was just made. No `Debug`, for it holds the secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewKey {
    pub(crate) api_key: String,
    pub(crate) secret_key: String,
}
