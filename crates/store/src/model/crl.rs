//! A CRL of a deployment.

use certward_pki::StalePolicy;

use crate::{ApiKey, CrlId, CrlUrl, DeploymentRef, FetchConditions, Generation, Timestamp};

/// CRLs of a deployment.
pub const CRLS_MAX: usize = 20;
/// Of all CRLs of a deployment, in DER.
pub const CRL_BYTES_IN_ALL_MAX: u64 = 64 * 1024 * 1024;

/// Of all CRLs of all deployments, in DER: nodes hold their serial numbers in memory.
pub const CRL_BYTES_OF_ALL_MAX: u64 = 1024 * 1024 * 1024;

/// A state of a CRL that nodes must read: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrlRevision(pub [u8; 16]);

/// A CRL of a deployment, without its DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentCrl {
    /// Its id.
    pub id: CrlId,
    /// Of the last change that nodes must read.
    pub generation: Generation,
    /// `None`: it has not been fetched yet.
    pub content: Option<CrlContent>,
    /// After its nextUpdate.
    pub stale_policy: StalePolicy,
    /// `None`: it is uploaded.
    pub fetching: Option<CrlFetching>,
    /// Who uploaded it, or its address; the key may be revoked since.
    pub put_by: ApiKey,
    /// When.
    pub put_at: Timestamp,
}

/// What an accepted CRL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlContent {
    /// Drawn with it, and with each change of its policy.
    pub revision: CrlRevision,
    /// Of the DER.
    pub bytes: u64,
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The SubjectPublicKeyInfo of the CA that signed it, DER.
    pub signer_spki: Vec<u8>,
    /// For display, escaped; at most 160 bytes.
    pub issuer: String,
    /// cRLNumber, for display.
    pub number: Option<String>,
    /// How many certificates it revokes.
    pub entries: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one will be there.
    pub next_update: Option<Timestamp>,
}

/// Where a CRL is fetched from, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFetching {
    /// Its address.
    pub url: CrlUrl,
    /// Of the content.
    pub conditions: FetchConditions,
    /// When the server last gave it, or said that there is no other.
    pub fetched_at: Option<Timestamp>,
    /// When it is asked for again.
    pub next_at: Timestamp,
    /// If the last time failed.
    pub failure: Option<CrlFetchFailure>,
}

/// Why a CRL could not be fetched, or was not accepted. The one before stays in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFetchFailure {
    /// From a closed list, such as `timed_out`.
    pub code: String,
    /// One sentence.
    pub sentence: String,
    /// How many in a row.
    pub count: u32,
    /// Of the first of them.
    pub since: Timestamp,
}

/// A CRL to be fetched by the node that has claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCrl {
    /// Its deployment.
    pub deployment: DeploymentRef,
    /// As it was claimed.
    pub crl: DeploymentCrl,
}

/// Of a CRL, what certificates are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCrl {
    /// Its id.
    pub id: CrlId,
    /// Its state.
    pub revision: CrlRevision,
    /// At most 16 MiB.
    pub der: Vec<u8>,
    /// The SubjectPublicKeyInfo of the CA that signed it, DER.
    pub signer_spki: Vec<u8>,
    /// After its nextUpdate.
    pub stale_policy: StalePolicy,
}
