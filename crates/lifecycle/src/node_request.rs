//! What a node asks of all, and what each answers: JSON, in the store for a second.
//!
//! Nodes of two releases ask each other: a request that a node does not know gets no answer, and an
//! answer that the asker does not know is none. Both name the node as silent.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certward_pki::{DenyKey, DeviceId, TlsType};
use certward_store::{DeploymentId, Generation, QuestionUrgency};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::{
    LiveEvidence, NodeView, ProposedTrust, SessionFilter, SessionsByClientCa, SessionsOfNode, TrustChange,
    failures_answer,
};

/// What a node is asked of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRequest {
    /// The handshakes that failed.
    Failures,
    /// Sessions that the filter selects, at most `limit`.
    Sessions {
        /// Which.
        filter: SessionFilter,
        /// How many.
        limit: usize,
    },
    /// Which of the devices have a session.
    Connected {
        /// By their certificates.
        devices: Vec<DeviceId>,
    },
    /// To end the sessions that the filter selects.
    CloseSessions {
        /// Which.
        filter: SessionFilter,
    },
    /// What its sessions say of a change.
    LiveEvidence(TrustChange),
    /// How many sessions each key finds.
    DeniedSessions {
        /// At most 1,000.
        keys: Vec<DenyKey>,
    },
    /// Whether it has carried this change out. It waits for that.
    CarriedOut {
        /// Its generation.
        change: Generation,
    },
    /// How many sessions each client CA admits.
    SessionsByClientCa {
        /// DER.
        client_cas: Vec<Vec<u8>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum RequestRecord {
    Sessions {
        filter: SessionFilter,
        limit: usize,
    },
    Connected {
        devices: Vec<DeviceId>,
    },
    CloseSessions {
        filter: SessionFilter,
    },
    LiveEvidence {
        today: TrustRecord,
        proposed: TrustRecord,
    },
    DeniedSessions {
        keys: Vec<DenyKey>,
    },
    CarriedOut {
        change: i64,
    },
    #[serde(rename_all = "camelCase")]
    SessionsByClientCa {
        client_cas: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrustRecord {
    two_way: bool,
    client_cas: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", content = "answer", rename_all = "camelCase")]
enum AnswerRecord {
    Sessions(Option<SessionsOfNode>),
    Connected(Option<Vec<DeviceId>>),
    Closed(Option<u64>),
    LiveEvidence(LiveEvidence),
    DeniedSessions(Vec<u64>),
    CarriedOut(bool),
    SessionsByClientCa(SessionsByClientCa),
}

/// What a node can answer.
pub(crate) trait AnswerOfNode: Sized {
    fn read(answer: &str) -> Option<Self>;
}

impl NodeRequest {
    pub(crate) fn urgency(&self) -> QuestionUrgency {
        match self {
            Self::CloseSessions { .. } | Self::LiveEvidence(_) | Self::CarriedOut { .. } => {
                QuestionUrgency::Change
            }
            Self::Failures
            | Self::Sessions { .. }
            | Self::Connected { .. }
            | Self::DeniedSessions { .. }
            | Self::SessionsByClientCa { .. } => QuestionUrgency::Read,
        }
    }

    /// Whether its answer may take most of a second: others must not wait for it.
    pub fn waits(&self) -> bool {
        matches!(self, Self::CarriedOut { .. })
    }

    /// The failed handshakes are asked for by nothing, as releases before do.
    pub(crate) fn to_text(&self) -> String {
        let record = match self.clone() {
            Self::Failures => return String::new(),
            Self::Sessions { filter, limit } => RequestRecord::Sessions { filter, limit },
            Self::Connected { devices } => RequestRecord::Connected { devices },
            Self::CloseSessions { filter } => RequestRecord::CloseSessions { filter },
            Self::LiveEvidence(TrustChange { today, proposed }) => RequestRecord::LiveEvidence {
                today: TrustRecord::of(&today),
                proposed: TrustRecord::of(&proposed),
            },
            Self::DeniedSessions { keys } => RequestRecord::DeniedSessions { keys },
            Self::CarriedOut { change } => RequestRecord::CarriedOut { change: change.0 },
            Self::SessionsByClientCa { client_cas } => {
                RequestRecord::SessionsByClientCa { client_cas: encoded(&client_cas) }
            }
        };
        written(&record)
    }

    /// `None`: of a newer release.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Failures);
        }
        Some(match serde_json::from_str(text).ok()? {
            RequestRecord::Sessions { filter, limit } => Self::Sessions { filter, limit },
            RequestRecord::Connected { devices } => Self::Connected { devices },
            RequestRecord::CloseSessions { filter } => Self::CloseSessions { filter },
            RequestRecord::LiveEvidence { today, proposed } => {
                Self::LiveEvidence(TrustChange { today: today.read()?, proposed: proposed.read()? })
            }
            RequestRecord::DeniedSessions { keys } => Self::DeniedSessions { keys },
            RequestRecord::CarriedOut { change } => Self::CarriedOut { change: Generation(change) },
            RequestRecord::SessionsByClientCa { client_cas } => {
                Self::SessionsByClientCa { client_cas: decoded(&client_cas)? }
            }
        })
    }

    /// This node's answer.
    pub async fn answer(self, view: Arc<dyn NodeView>, deployment: DeploymentId) -> String {
        if let Self::CarriedOut { change } = self {
            return written(&AnswerRecord::CarriedOut(view.carried_out(&deployment, change).await));
        }
        // It may verify certificates.
        let answer = spawn_blocking(move || self.answer_at_once(&*view, &deployment));
        answer.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    fn answer_at_once(&self, view: &dyn NodeView, deployment: &DeploymentId) -> String {
        written(&match self {
            Self::Failures => return failures_answer(&view.recent_failures(deployment)),
            // Only what is waited for is known: see `answer`.
            Self::CarriedOut { .. } => AnswerRecord::CarriedOut(false),
            Self::DeniedSessions { keys } => {
                AnswerRecord::DeniedSessions(view.denied_sessions(deployment, keys))
            }
            Self::Sessions { filter, limit } => {
                AnswerRecord::Sessions(view.sessions(deployment, filter, *limit))
            }
            Self::Connected { devices } => AnswerRecord::Connected(view.connected(deployment, devices)),
            Self::CloseSessions { filter } => AnswerRecord::Closed(view.close_sessions(deployment, filter)),
            Self::LiveEvidence(change) => AnswerRecord::LiveEvidence(view.live_evidence(deployment, change)),
            Self::SessionsByClientCa { client_cas } => {
                AnswerRecord::SessionsByClientCa(view.sessions_by_client_ca(deployment, client_cas))
            }
        })
    }
}

impl TrustRecord {
    fn of(ProposedTrust { tls_type, client_cas }: &ProposedTrust) -> Self {
        Self { two_way: *tls_type == TlsType::TwoWay, client_cas: encoded(client_cas) }
    }

    fn read(self) -> Option<ProposedTrust> {
        Some(ProposedTrust {
            tls_type: if self.two_way { TlsType::TwoWay } else { TlsType::OneWay },
            client_cas: decoded(&self.client_cas)?,
        })
    }
}

fn encoded(ders: &[Vec<u8>]) -> Vec<String> {
    ders.iter().map(|der| STANDARD.encode(der)).collect()
}

fn decoded(texts: &[String]) -> Option<Vec<Vec<u8>>> {
    texts.iter().map(|text| STANDARD.decode(text).ok()).collect()
}

fn written(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("texts and numbers can be written as JSON")
}

/// `None`: the node identifies no devices.
impl AnswerOfNode for Option<SessionsOfNode> {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::Sessions(sessions) => Some(sessions),
            _ => None,
        }
    }
}

/// Which are connected; `None` likewise.
impl AnswerOfNode for Option<Vec<DeviceId>> {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::Connected(devices) => Some(devices),
            _ => None,
        }
    }
}

/// How many were ended; `None` likewise.
impl AnswerOfNode for Option<u64> {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::Closed(closed) => Some(closed),
            _ => None,
        }
    }
}

/// How many sessions each key finds.
impl AnswerOfNode for Vec<u64> {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::DeniedSessions(counts) => Some(counts),
            _ => None,
        }
    }
}

/// Whether a change is carried out.
impl AnswerOfNode for bool {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::CarriedOut(has) => Some(has),
            _ => None,
        }
    }
}

impl AnswerOfNode for LiveEvidence {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::LiveEvidence(evidence) => Some(evidence),
            _ => None,
        }
    }
}

impl AnswerOfNode for SessionsByClientCa {
    fn read(answer: &str) -> Option<Self> {
        match serde_json::from_str(answer).ok()? {
            AnswerRecord::SessionsByClientCa(sessions) => Some(sessions),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_asked() {
        let filters = [
            SessionFilter::All,
            SessionFilter::Devices(vec![DeviceId([7; 16])]),
            SessionFilter::Address([127, 0, 0, 1].into()),
        ];
        let two_way = ProposedTrust { tls_type: TlsType::TwoWay, client_cas: vec![vec![0x30, 0, 255]] };
        let one_way = ProposedTrust { tls_type: TlsType::OneWay, client_cas: vec![] };
        let change = |today: &ProposedTrust, proposed: &ProposedTrust| {
            NodeRequest::LiveEvidence(TrustChange { today: today.clone(), proposed: proposed.clone() })
        };
        let mut requests = vec![
            NodeRequest::Failures,
            NodeRequest::Connected { devices: vec![DeviceId([7; 16])] },
            NodeRequest::DeniedSessions { keys: vec![DenyKey::named("one"), DenyKey::named("other")] },
            NodeRequest::CarriedOut { change: Generation(i64::MAX) },
            change(&two_way, &one_way),
            change(&one_way, &two_way),
            NodeRequest::SessionsByClientCa { client_cas: vec![vec![0x30, 0, 255], vec![]] },
        ];
        for filter in filters {
            requests.push(NodeRequest::Sessions { filter: filter.clone(), limit: 20 });
            requests.push(NodeRequest::CloseSessions { filter });
        }
        for request in requests {
            assert_eq!(NodeRequest::parse(&request.to_text()), Some(request));
        }
    }

    #[test]
    fn what_is_not_known_is_no_request_and_no_answer() {
        for text in ["{}", "null", "{\"kind\":\"invented\"}", "{\"kind\":\"sessions\"}", "-"] {
            assert_eq!(NodeRequest::parse(text), None, "{text}");
        }
        // A release before answers every question with failed handshakes.
        let failures = failures_answer(&[]);
        assert_eq!(Option::<SessionsOfNode>::read(&failures), None);
        assert_eq!(Option::<Vec<DeviceId>>::read(&failures), None);
        assert_eq!(Option::<u64>::read(&failures), None);
        assert_eq!(Vec::<u64>::read(&failures), None);
        assert_eq!(bool::read(&failures), None);
        assert_eq!(LiveEvidence::read(&failures), None);
        assert_eq!(SessionsByClientCa::read(&failures), None);
    }
}
