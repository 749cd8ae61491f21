use std::{net::SocketAddr, path::PathBuf, time::Duration};

use certward_store::{RequestLimit, Role};

/// How the API is to be served. Whether plain HTTP may be offered at `listen` is for the program to decide.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to listen on; port 0 takes a free one, see [`crate::Bound::address`].
    pub listen: SocketAddr,
    /// What this node does: one that has a gateway alone serves only what tells how it is.
    pub role: Role,
    /// HTTPS with these files; `None` is plain HTTP.
    pub tls: Option<CertificateFiles>,
    /// How many requests each key may send.
    pub limits: Limits,
    /// `platform` of every deployment, for example `certward`.
    pub platform: String,
    /// `region` of every deployment, for example `local`.
    pub region: String,
    /// At most so many connections at once. For further ones, those that wait for their clients give way (`crowd.rs`).
    pub connections_max: usize,
    /// How long a client may take.
    pub deadlines: Deadlines,
}

impl Settings {
    /// 1024 connections hold at most 1024 × (16 KiB of headers + 256 KiB of body) = 272 MiB, and far less in truth:
    /// only an authenticated request within its limits has a body in memory.
    pub const CONNECTIONS_MAX: usize = 1024;

    /// The defaults of everything but the address: plain HTTP, 60 reads and 6 changes in 60 minutes.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            role: Role::All,
            tls: None,
            limits: Limits::default(),
            platform: "certward".to_owned(),
            region: "local".to_owned(),
            connections_max: Self::CONNECTIONS_MAX,
            deadlines: Deadlines::default(),
        }
    }
}

/// Where the certificate of the API itself is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, PEM, leaf first.
    pub cert: PathBuf,
    /// The leaf's private key, PEM.
    pub key: PathBuf,
}

/// How many requests one API key may send to one deployment, each method on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// GET of the certificate, `/check`, and the GETs of projects and deployments: 60 in 60 minutes by default.
    pub reads: RequestLimit,
    /// POST, PUT and DELETE of the certificate: 6 in 60 minutes by default.
    pub changes: RequestLimit,
}

impl Default for Limits {
    fn default() -> Self {
        let window = Duration::from_secs(60 * 60);
        Self { reads: RequestLimit { requests: 60, window }, changes: RequestLimit { requests: 6, window } }
    }
}

/// How long a client may take for each step; after that its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From accept to the end of the TLS handshake, and again from there, or from a later request's first byte, to
    /// the end of the headers: 10 s.
    pub headers: Duration,
    /// From the first attempt to read a body to its end: 20 s, then 408.
    pub body: Duration,
    /// Between an answer and the next request's first byte: 60 s.
    pub idle: Duration,
    /// From the answer's beginning until the client has taken all of it: 60 s.
    pub answer: Duration,
    /// From the shutdown's beginning until the last request under way is cut off: 20 s.
    pub drain: Duration,
}

impl Default for Deadlines {
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
