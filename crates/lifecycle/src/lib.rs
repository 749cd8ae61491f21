//! The life cycle of a deployment's certificate: create, replace, prove, fail, delete.
//!
//! [`Lifecycle`] takes operators' changes and nodes' reports, judges, computes the next state by
//! pure functions, and stores it in one transaction. It knows neither HTTP nor TLS; [`Rehearsal`]
//! and [`NodeView`] are its view of the gateway. Start reading at [`Lifecycle`]; the rules are in
//! `state.rs`.

mod acknowledgement;
mod acting;
mod alert_channels;
mod asked_nodes;
mod assignment;
mod awaited_nodes;
mod boundary;
mod broker_remedy;
mod claimed_crl;
mod client_cas;
mod crl_renewal;
mod crl_schedule;
mod crls;
mod deployment_error;
mod deployments;
mod devices;
mod entropy;
mod evidence_of_nodes;
mod expiry;
mod failed_handshake;
mod failures_answer;
mod failures_of_nodes;
mod fair_queue;
mod fingerprints;
mod impact;
mod judge_pool;
mod keys;
mod live_sessions;
mod membership;
mod metrics;
mod new_revocation;
mod node_request;
mod node_status;
mod out_of_bounds;
mod periodic;
mod ports;
mod projects;
mod refusals;
mod requester;
mod revocations;
mod service;
mod sessions_of_nodes;
mod state;
mod tls;
mod tls_error;
mod trust_trial;
mod versions;

pub use acting::Denied;
pub use alert_channels::{AlertChannelError, NewAlertChannel};
pub use asked_nodes::SilentNodes;
pub use assignment::{AssignedCertificate, MaterialError, assignment_in, material_in};
pub use awaited_nodes::AwaitedNodes;
pub use boundary::BoundaryWarning;
pub use broker_remedy::{broker_remedy, is_proxy_suspected};
pub use client_cas::{ClientCaView, ClientCasOfDeployment, Straggler, Stragglers};
pub use crl_renewal::{CrlRenewal, RenewedCrls};
pub use crls::{AcceptedCrl, CrlError, NewCrl};
pub use deployment_error::DeploymentError;
pub use deployments::NewDeployment;
pub use devices::DeviceError;
pub use entropy::{Entropy, SystemEntropy};
pub use evidence_of_nodes::EvidenceOfNodes;
pub use expiry::alert_message::AlertMessage;
pub use expiry::delivering::{AlertDelivery, Delivered};
pub use expiry::listing::of_certificate;
pub use expiry::message::{alert_summary, days_left};
pub use expiry::rules::{ExpiryRule, ExpiryRuleError, ExpiryRules, Lifetime};
pub use expiry::span::{read_span, relative};
pub use expiry::watch::ExpiryWatch;
pub use failed_handshake::{FAILURES_KEPT, FailedHandshake};
pub use failures_answer::failures_answer;
pub use failures_of_nodes::{FailuresOfNodes, NodeFailure};
pub use impact::{Handling, Impact, ImpactSeverity, KeyKindChange, RefusedShare};
pub use keys::{KeyError, NewKey};
pub use live_sessions::{
    LiveEvidence, LiveOffer, LiveSession, NAMED_MAX, ProposedTrust, RejectedDevice, SessionFilter,
    SessionsByClientCa, SessionsOfNode, TrustChange,
};
pub use membership::{Member, Observation, Withdrawal};
pub use new_revocation::{
    NewRevocation, REVOCATION_REASON_MAX, RefusedRevocation, RevocationFault, RevocationTarget,
};
pub use node_request::NodeRequest;
pub use node_status::NodeStatus;
pub use out_of_bounds::{OutOfBounds, UpstreamField};
pub use periodic::{Pace, periodically};
pub use ports::{
    AlertSender, CarryingOut, CrlFetcher, Fetched, Fetching, NodeView, Rehearsal, Sending, Undelivered,
    Unfetched,
};
pub use projects::{ProjectChange, ProjectError};
pub use requester::Requester;
pub use revocations::{REVOKED_AT_ONCE_MAX, RevocationError, RevocationMatches, Revoked, RevokedEntry};
pub use service::{Lifecycle, LifecycleSettings};
pub use sessions_of_nodes::{ClosedSessions, ConnectedDevices, DeniedSessions, SessionsOfNodes};
pub use state::{ProofFailure, narrows};
pub use tls::{AcceptedUpload, CertificateView, CheckedUpload, Status, TlsView};
pub use tls_error::TlsError;
pub use trust_trial::{TrialVerdict, TrustTrial};
pub use versions::{ListedCertificate, VersionStatus, VersionView};
