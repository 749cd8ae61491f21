use certward_lifecycle::{Impact, RefusedShare, RejectedDevice};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::vocabulary::{CertificateNameText, HostText, ImpactWord, NodeIdText, SentenceText, UtcTimeText},
    silent_nodes, wire_time,
};

/// What a change does to devices now connected or known. Absent where nothing is known of any.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Impact)]
pub(crate) struct ImpactBody {
    #[schema(value_type = ImpactWord)]
    severity: &'static str,
    /// Sessions now.
    connected: RefusedBody,
    /// Devices seen in the last 90 days whose certificates are valid and accepted today.
    known: KnownBody,
    /// Some that would be refused.
    #[schema(max_items = 20)]
    named: Vec<RejectedBody>,
    /// Hosts that devices ask for and the new leaf does not cover, as the old one does.
    #[schema(value_type = Vec<HostText>)]
    hosts_lost: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    root_changed: Option<RootChangeBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key_kind_changed: Option<KeyKindChangeBody>,
    /// When that was so, UTC.
    #[schema(value_type = UtcTimeText)]
    as_of: String,
    /// Nodes whose sessions are not in it; `*` for all but the one that answers. Absent when none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
}

/// How many are accepted today and would be refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedDevices)]
pub(crate) struct RefusedBody {
    #[schema(minimum = 0)]
    refused: u64,
    #[schema(minimum = 0)]
    of: u64,
}

/// How many are accepted today and would be refused, as far as is known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KnownDevices)]
pub(crate) struct KnownBody {
    #[schema(minimum = 0)]
    refused: u64,
    #[schema(minimum = 0)]
    of: u64,
    /// Devices besides, that other client CAs may refuse: no certificate of their path is kept.
    /// Absent when none.
    #[serde(skip_serializing_if = "is_none")]
    #[schema(minimum = 1)]
    not_judged: u64,
}

/// A device that is accepted today and would be refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedDevice)]
pub(crate) struct RejectedBody {
    /// The device's id, if it sent a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{32}$", example = "5d41402abc4b2a76b9719d911017c592")]
    id: Option<String>,
    /// The device's name; without a certificate its address.
    #[schema(value_type = CertificateNameText)]
    name: String,
    /// Why.
    #[schema(value_type = SentenceText)]
    reason: String,
}

/// The chain leads to another root: devices that trust the old one alone cannot verify it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RootChange)]
pub(crate) struct RootChangeBody {
    /// The old root's name; if the new one has the same, with its key.
    #[schema(value_type = SentenceText)]
    from: String,
    /// The new root's.
    #[schema(value_type = SentenceText)]
    to: String,
}

/// The leaf has another kind of key, or the chain other signatures.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyKindChange)]
pub(crate) struct KeyKindChangeBody {
    /// What devices verify today, such as `RSA 2048`.
    #[schema(value_type = SentenceText)]
    from: String,
    /// What they would have to verify.
    #[schema(value_type = SentenceText)]
    to: String,
    /// The share of what ClientHellos offer, weighed by network, that can verify today's chain and
    /// not the new one: 0 to 1.
    #[schema(minimum = 0, maximum = 1, example = 0.1)]
    share: f64,
}

impl From<Impact> for ImpactBody {
    fn from(impact: Impact) -> Self {
        Self {
            severity: impact.severity.as_str(),
            connected: impact.connected.into(),
            known: KnownBody {
                refused: impact.known.refused,
                of: impact.known.of,
                not_judged: impact.not_judged,
            },
            named: impact.named.into_iter().map(RejectedBody::from).collect(),
            hosts_lost: impact.hosts_lost,
            root_changed: impact
                .root_changed
                .map(|change| RootChangeBody { from: change.from, to: change.to }),
            key_kind_changed: impact.key_kind_changed.map(|change| KeyKindChangeBody {
                share: change.share(),
                from: change.from,
                to: change.to,
            }),
            as_of: wire_time::to_the_second(impact.as_of.to_time()),
            silent_nodes: silent_nodes::named(&impact.silent),
        }
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl From<RefusedShare> for RefusedBody {
    fn from(RefusedShare { refused, of }: RefusedShare) -> Self {
        Self { refused, of }
    }
}

impl From<RejectedDevice> for RejectedBody {
    fn from(RejectedDevice { id, name, reason }: RejectedDevice) -> Self {
        Self { id: id.map(|id| id.to_string()), name: name.into(), reason: reason.into() }
    }
}

/// What of the impact is severe, in one sentence.
pub(crate) fn sentence(impact: &Impact) -> String {
    format!("The impact of the change is severe: {}.", impact.severe_reasons().join("; "))
}
