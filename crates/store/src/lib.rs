//! Persistent state: deployments, uploads, sealed keys, API keys, request log, audit, nodes, change
//! feed.
//!
//! Two engines: SQLite in the data folder, or PostgreSQL shared by several nodes. SQL stays in this
//! crate. A change is fsync'd when [`Tx::commit`] returns; private keys are sealed first.
//! Certificate lifecycle is decided in `lifecycle`.
//!
//! Start reading at [`Store`], which gives a [`Reader`] or begins a [`Tx`].

mod address;
mod audit;
mod backup;
mod device_batch;
mod engine;
mod error;
mod inspection;
mod metrics;
mod model;
mod opening;
mod postgres;
mod prune;
mod reader;
mod reading;
mod rekey;
mod replica;
mod repo;
mod sealed;
mod shared;
mod store;
mod topic;
mod transfer;
mod tx;

pub use address::Address;
pub use audit::checkpoint::AuditCheckpoint;
pub use audit::entry::{AuditEntry, AuditOrigin};
pub use audit::fault::AuditFault;
pub use audit::head::{AuditHead, AuditHeadError};
pub use audit::record::{AuditLink, AuditRecord};
pub use backup::error::BackupError;
pub use backup::file::BackupFile;
pub use backup::manifest::BackupManifest;
pub use backup::restoring::restore;
pub use backup::taking::back_up;
pub use engine::own_file::{
    NotOwn, existing_own_folder, look_at_socket, open_own_file, own_folder, refuse_writable_by_others,
};
pub use error::StoreError;
pub use inspection::{SchemaState, StoreInspection};
pub use model::address_group::address_group;
pub use model::alert_cause::{AlertCause, AppliedRule};
pub use model::alert_kind::AlertKind;
pub use model::api_key::ApiKey;
pub use model::boundary::Boundary;
pub use model::certificate_change::CertificateChange;
pub use model::clock::{Clock, SystemClock, Timestamp};
pub use model::close_rate::{CloseRate, CloseRateError};
pub use model::connection_limit::{ConnectionLimit, ConnectionLimitError, ConnectionLimits};
pub use model::crl::{
    CRL_BYTES_IN_ALL_MAX, CRL_BYTES_OF_ALL_MAX, CRLS_MAX, CrlContent, CrlFetchFailure, CrlFetching,
    CrlRevision, DeploymentCrl, DueCrl, ServedCrl,
};
pub use model::crl_url::CrlUrl;
pub use model::deployment::{Deployment, DeploymentRef};
pub use model::deployment_spec::{DeploymentPatch, DeploymentSpec};
pub use model::embedded_ipv4::{Nat64, Nat64Error};
pub use model::ending::{Ending, EndingOwners, ListedEnding};
pub use model::ending_kind::EndingKind;
pub use model::fetch_conditions::FetchConditions;
pub use model::host_suffix::{HostSuffix, HostSuffixError};
pub use model::http_url::{HttpUrl, HttpUrlError};
pub use model::id::{
    AlertId, ChannelId, CrlId, DeploymentId, Generation, IdError, NodeId, ProjectId, TrustScope, VersionId,
};
pub use model::mail_address::{MailAddress, MailAddressError};
pub use model::mail_password::{MailPassword, MailPasswordError};
pub use model::mail_server::{MailSecurity, MailServer, MailServerError};
pub use model::mail_settings::{MailSettings, MailSettingsError};
pub use model::proxy::{Proxy, ProxyProtocol};
pub use model::receiver::AlertReceiver;
pub use model::record_bytes::{RecordBytes, RecordBytesError};
pub use model::request_id::RequestId;
pub use model::revocation::{REVOCATIONS_IN_ALL_MAX, REVOCATIONS_MAX, Revocation, RevocationId, RevokedWhat};
pub use model::revocation_mark::RevocationMark;
pub use model::seen_device::{
    DEVICE_ADDRESS_KEPT_FOR, DEVICE_KEPT_FOR, DeviceBatch, DeviceSighting, HostInUse, HostSighting, OfferDay,
    OfferHour, SeenDevice,
};
pub use model::session_age::{SessionAge, SessionAgeError};
pub use model::tls_state::TlsState;
pub use model::upstream::{Upstream, UpstreamError};
pub use model::upstream_allow::{UpstreamAllow, UpstreamAllowError};
pub use model::upstream_list::{UpstreamList, UpstreamListError};
pub use model::webhook_secret::{WebhookSecret, WebhookSecretError};
pub use model::webhook_url::WebhookUrl;
pub use postgres::servers::{Servers, ServersError};
pub use reader::Reader;
pub use reading::Reading;
pub use rekey::error::RekeyError;
pub use rekey::resealing::Resealed;
pub use rekey::state::RekeyState;
pub use rekey::switching::RekeyNodes;
pub use replica::copying::CopyError;
pub use replica::db::Replica;
pub use repo::alert::{Alert, AlertPage, StoppedChange, UnusedClientCa};
pub use repo::alert_channel::AlertChannel;
pub use repo::alert_delivery::{Delivery, DeliveryOutcome, DeliveryState};
pub use repo::api_key::{ApiKeyRecord, ApiSecret, Scope};
pub use repo::audit::{AuditPage, ListedAudit};
pub use repo::audit_verification::AuditReport;
pub use repo::boundary::{Boundaries, Stamp, SuffixRefused};
pub use repo::broker_trouble::{BrokerTrouble, ReportedTrouble, TROUBLE_LISTED_FOR, TroubleReport};
pub use repo::client_ca_use::{NameUse, NeedyPaths, PathUse};
pub use repo::device_total::{DEVICES_IN_ALL_MAX, DEVICES_MAX, DEVICES_MIN, DeviceTotal};
pub use repo::ending::{EndingOwner, EndingPage, EndingScope, ExpiryWork};
pub use repo::ending_counts::{ENDING_WITHIN_DAYS, EndingCount};
pub use repo::expiry_marks::ExpiryMarks;
pub use repo::feed::{FeedEntry, FeedPage, FeedPosition};
pub use repo::first_expiries::FirstExpiries;
pub use repo::host::{HostTaken, Listed, ProofState};
pub use repo::host_use::HOSTS_IN_USE_MAX;
pub use repo::issuer_path::{ISSUER_PATHS_MAX, KnownPath};
pub use repo::node::{Lease, NodeRecord, ProcessRecord, RequiredProof, Session};
pub use repo::node_process::{KeyHolder, NodeProcess, Role};
pub use repo::node_question::{NodeQuestion, QUESTION_OPEN_FOR, QuestionAnswer, QuestionId, QuestionUrgency};
pub use repo::offer_day::OFFERS_A_DAY_MAX;
pub use repo::project::Project;
pub use repo::rekey::Rekey;
pub use repo::request_log::{Admission, Method, RequestLimit};
pub use repo::revocation::{KnownRevocations, RevocationChange, RevocationTotal};
pub use repo::status_counts::StatusCounts;
pub use repo::version::{KeptVersion, UploadEnd, Version};
pub use sealed::master_key::{MasterKey, MasterKeyError};
pub use sealed::master_key_id::{MasterKeyId, MasterKeyIdError};
pub use sealed::master_key_ring::MasterKeyRing;
pub use store::Store;
pub use topic::WakeUp;
pub use transfer::{CopiedTable, TransferError, transfer};
pub use tx::Tx;
