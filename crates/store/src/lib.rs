//! What must last: deployments, uploads, sealed keys, API keys, request log, audit, nodes and the change feed.
//!
//! One store on two engines: an embedded SQLite database in the data folder, or PostgreSQL where many nodes
//! share the work. The face is in our own words and the same for both; SQL never leaves this crate.
//!
//! Promises: when [`Tx::commit`] has returned, the change is on disk, fsync'd; a transaction that is dropped
//! leaves no trace; private keys are sealed before they reach the database. It decides nothing about the life of
//! a certificate: that is `lifecycle`'s.
//!
//! Start reading at [`Store`], then [`Tx`].

mod address_group;
mod api_key;
mod audit;
mod boundary;
mod census;
mod clock;
mod connection_limit;
mod copy;
mod data_folder;
mod deployment;
mod durability;
mod embedded_ipv4;
mod engine;
mod error;
mod feed;
mod host;
mod host_suffix;
mod id;
mod last_seen;
mod line;
mod listen;
mod lock;
mod master_key;
mod node;
mod node_process;
mod own_file;
mod project;
mod proxy;
mod random;
mod reading;
mod record_bytes;
mod records;
mod request_log;
mod row;
mod schema;
mod sealing;
mod secret;
mod servers;
mod snapshot;
mod standing;
mod store;
mod tls_state;
mod transfer;
mod tx;
mod upstream;
mod upstream_allow;
mod upstream_claim;
mod upstream_list;
mod version;

pub use address_group::address_group;
pub use api_key::{ApiKey, ApiKeyRecord, ApiSecret, Scope};
pub use audit::{AuditEntry, AuditRecord};
pub use boundary::{Boundaries, Boundary, Stamp, SuffixRefused};
pub use census::Census;
pub use clock::{Clock, SystemClock, Timestamp};
pub use connection_limit::{ConnectionLimit, ConnectionLimitError, ConnectionLimits};
pub use deployment::{Deployment, DeploymentRef};
pub use embedded_ipv4::{Nat64, Nat64Error};
pub use error::StoreError;
pub use feed::{FeedEntry, FeedPage, FeedPosition};
pub use host::{HostTaken, Listed, Standing};
pub use host_suffix::{HostSuffix, HostSuffixError};
pub use id::{DeploymentId, Generation, IdError, NodeId, ProjectId, TrustScope};
pub use master_key::{MasterKey, MasterKeyError};
pub use node::{Count, Lease, NodeRecord, ProcessRecord, Session};
pub use node_process::{NodeProcess, Role};
pub use own_file::{
    NotOwn, existing_own_folder, look_at_socket, open_own_file, own_folder, refuse_writable_by_others,
};
pub use project::Project;
pub use proxy::{Proxy, ProxyProtocol};
pub use reading::Reading;
pub use record_bytes::{RecordBytes, RecordBytesError};
pub use records::Records;
pub use request_log::{Admission, Method, RequestLimit};
pub use servers::{Servers, ServersError};
pub use snapshot::{CopyError, Snapshot};
pub use store::{Address, Store};
pub use tls_state::TlsState;
pub use transfer::{CopiedTable, TransferError, transfer};
pub use tx::Tx;
pub use upstream::{Upstream, UpstreamError};
pub use upstream_allow::{UpstreamAllow, UpstreamAllowError};
pub use upstream_list::{UpstreamList, UpstreamListError};
pub use version::Version;
