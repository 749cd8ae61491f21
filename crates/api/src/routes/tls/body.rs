use crate::{
    detail::Detail,
    impact_body::ImpactBody,
    openapi::vocabulary::{CertificateNameText, NodeIdText, SentenceText, TlsTypeWord, UtcTimeText},
    wire_time,
};
use certward_lifecycle::{AwaitedNodes, CertificateView, Impact, Status, TlsView};
use certward_store::NodeId;
use serde::Serialize;
use utoipa::ToSchema;

/// Where a deployment's certificate stands. Without a certificate it is `{}`; while one is being
/// deleted, `{"status": "terminated"}` alone. Never holds a certificate, a key or any part of one.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TlsCertificate)]
pub(crate) struct TlsBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<TlsTypeWord>)]
    tls_type: Option<&'static str>,
    /// The leaf's notAfter, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    expire: Option<String>,
    /// Whole days until then, rounded down: 0 on the last day, negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 41, nullable = false)]
    days_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status: Option<TlsStatus>,
    /// The leaf's common name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    cn: Option<String>,
    /// What a check of the upload would find today; absent when nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Detail>,
    /// Why, when the status is `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<SentenceText>)]
    reason: Option<String>,
    /// While it is `pending` or `failed`: the counted nodes that have not proven it yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<NodeIdText>)]
    waiting_for: Vec<String>,
    /// While it is `pending` or `failed`: lost nodes, which are not waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<NodeIdText>)]
    left_out: Vec<String>,
    /// What the change does to devices; in answers to changes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    impact: Option<ImpactBody>,
}

/// `pending`: stored, not yet proven on every counted node. `running`: every counted node proved
/// that it serves this very upload. `failed`: not proven in time; not final. `terminated`: a
/// deletion is being carried out.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsStatus {
    Pending,
    Running,
    Failed,
    Terminated,
}

impl From<TlsView> for TlsBody {
    fn from(view: TlsView) -> Self {
        match view {
            TlsView::Absent => Self::default(),
            TlsView::Terminated => Self { status: Some(TlsStatus::Terminated), ..Self::default() },
            TlsView::Set(certificate) => Self::from(*certificate),
        }
    }
}

impl From<CertificateView> for TlsBody {
    fn from(view: CertificateView) -> Self {
        let (status, reason) = match view.status {
            Status::Pending => (TlsStatus::Pending, None),
            Status::Running => (TlsStatus::Running, None),
            Status::Failed { reason } => (TlsStatus::Failed, Some(reason)),
        };
        Self {
            tls_type: Some(view.tls_type.as_str()),
            expire: Some(wire_time::to_the_second(view.not_after.to_time())),
            days_left: Some(view.days_left),
            status: Some(status),
            cn: view.common_name,
            warnings: Detail::list(view.warnings),
            reason,
            ..Self::default()
        }
    }
}

impl TlsBody {
    pub(super) fn with_impact(self, impact: Option<Impact>) -> Self {
        Self { impact: impact.map(ImpactBody::from), ..self }
    }

    pub(super) fn with_nodes(self, nodes: AwaitedNodes) -> Self {
        let ids = |nodes: Vec<NodeId>| nodes.iter().map(NodeId::to_string).collect();
        Self { waiting_for: ids(nodes.waiting_for), left_out: ids(nodes.left_out), ..self }
    }
}
