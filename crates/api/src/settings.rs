use std::{net::SocketAddr, path::PathBuf, time::Duration};

use certward_store::{RequestLimit, Role};

/// The caller decides whether plain HTTP is allowed.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Port 0 takes a free one, see [`crate::BoundApi::address`].
    pub listen: SocketAddr,
    /// A gateway-only node serves just health and metrics.
    pub role: Role,
    /// `None`: plain HTTP.
    pub tls: Option<CertificateFiles>,
    /// Rate limits.
    pub limits: Limits,
    /// `platform` of every deployment.
    pub platform: String,
    /// `region` of every deployment.
    pub region: String,
    /// At this number waiting connections are evicted (`evictions.rs`).
    pub connections_max: usize,
    /// Client deadlines.
    pub deadlines: ApiDeadlines,
}

impl ApiSettings {
    /// At most 1024 × (16 KiB headers + 256 KiB body) = 272 MiB, and 96 MiB of large bodies; far
    /// less in practice: only admitted requests have a body.
    pub const CONNECTIONS_MAX: usize = 1024;

    /// Plain HTTP and the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            role: Role::All,
            tls: None,
            limits: Limits::default(),
            platform: "certward".to_owned(),
            region: "local".to_owned(),
            connections_max: Self::CONNECTIONS_MAX,
            deadlines: ApiDeadlines::default(),
        }
    }
}

/// The API's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, PEM, leaf first.
    pub cert: PathBuf,
    /// The leaf's private key, PEM.
    pub key: PathBuf,
}

/// Requests of one API key to one deployment, per method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// GET of the certificate, `/check`, GETs of projects and deployments, DELETE of sessions: 60
    /// in 60 minutes.
    pub reads: RequestLimit,
    /// POST, PUT and DELETE of the certificate: 6 in 60 minutes.
    pub changes: RequestLimit,
    /// Rollbacks: 6 in 60 minutes, apart from the changes: wrong ones must not use up the way back.
    pub rollbacks: RequestLimit,
    /// Added and removed client CAs: 30 in 60 minutes, apart from the changes: a rotation takes
    /// several tries.
    pub client_cas: RequestLimit,
    /// Changes of the deny-list, and those of CRLs: 600 in 60 minutes. A device is revoked in a
    /// hurry, and a CA may publish a CRL every few minutes.
    pub revocations: RequestLimit,
}

impl Limits {
    /// Pages of devices, ten for each read: with 600 in 60 minutes all of 100,000 devices can be
    /// listed six times.
    pub fn pages(&self) -> RequestLimit {
        RequestLimit { requests: self.reads.requests.saturating_mul(10), ..self.reads }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let window = Duration::from_secs(60 * 60);
        let limit = |requests| RequestLimit { requests, window };
        Self {
            reads: limit(60),
            changes: limit(6),
            rollbacks: limit(6),
            client_cas: limit(30),
            revocations: limit(600),
        }
    }
}

/// Time limits of a client; then its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiDeadlines {
    /// The TLS handshake; then headers, from there or a request's first byte: 10 s.
    pub headers: Duration,
    /// From the first read to the end: 20 s, then 408; three times that for a large body.
    pub body: Duration,
    /// Between an answer and the next request: 60 s.
    pub idle: Duration,
    /// Until the client has received the whole answer: 60 s.
    pub answer: Duration,
    /// From shutdown until the last request is cut off: 20 s.
    pub drain: Duration,
}

impl Default for ApiDeadlines {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            body: Duration::from_secs(20),
            idle: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            drain: Duration::from_secs(20),
        }
    }
}
