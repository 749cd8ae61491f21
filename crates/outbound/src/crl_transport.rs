use std::{sync::Arc, time::Duration};

use certward_lifecycle::{CrlFetcher, Fetched, Fetching, Unfetched};
use certward_pki::CRL_BYTES_MAX;
use certward_store::{CrlUrl, FetchConditions};
use reqwest::{
    Client, RequestBuilder, Response,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        LAST_MODIFIED,
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{FetchFailure, OutboundAllow, OutboundHttp, OutboundTlsError, client_config, http::failure_of};

/// What CRLs are fetched with, by GET over http or https.
#[derive(Debug, Clone)]
pub struct CrlTransport {
    http: OutboundHttp,
    connect_timeout: Duration,
    fetch_timeout: Duration,
}

/// How CRLs are fetched.
#[derive(Debug, Clone)]
pub struct CrlTransportSettings {
    /// Where from.
    pub allow: OutboundAllow,
    /// Trusted beside the system's roots: PEM certificates of the operator's CA file.
    pub ca: Option<Vec<u8>>,
    /// For look-up, connect and TLS handshake. Default: 10 s.
    pub connect_timeout: Duration,
    /// For a whole fetch. Default: 30 s: 16 MiB at 5 Mbit/s.
    pub fetch_timeout: Duration,
}

impl CrlTransportSettings {
    /// With the system's roots and the default timeouts.
    pub fn new(allow: OutboundAllow) -> Self {
        Self {
            allow,
            ca: None,
            connect_timeout: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(30),
        }
    }
}

impl CrlTransport {
    /// Reads the roots; makes no connection.
    pub fn new(settings: CrlTransportSettings) -> Result<Self, OutboundTlsError> {
        let CrlTransportSettings { allow, ca, connect_timeout, fetch_timeout } = settings;
        let tls = client_config(ca.as_deref())?;
        Ok(Self { http: OutboundHttp::new(allow, Arc::new(tls)), connect_timeout, fetch_timeout })
    }

    async fn fetch_in_time(
        &self,
        url: &CrlUrl,
        conditions: &FetchConditions,
    ) -> Result<Fetched, FetchFailure> {
        let now = Instant::now();
        let fetched = self.fetch_once(now + self.connect_timeout, url, conditions);
        timeout_at(now + self.fetch_timeout, fetched).await.unwrap_or(Err(FetchFailure::TimedOut))
    }

    async fn fetch_once(
        &self,
        connected_by: Instant,
        url: &CrlUrl,
        conditions: &FetchConditions,
    ) -> Result<Fetched, FetchFailure> {
        let get = |client: &Client| conditional(client.get(url.as_url().clone()), conditions);
        let response = self.http.request(url.as_url(), connected_by, get).await?;
        match response.status().as_u16() {
            200 => read(response).await,
            304 if !conditions.is_empty() => Ok(Fetched::Unmodified),
            status @ (301 | 302 | 303 | 307 | 308) => Err(FetchFailure::Redirect(status)),
            status => Err(FetchFailure::Status(status)),
        }
    }
}

impl CrlFetcher for CrlTransport {
    fn fetch<'a>(&'a self, url: &'a CrlUrl, conditions: &'a FetchConditions) -> Fetching<'a> {
        Box::pin(async move { self.fetch_in_time(url, conditions).await.map_err(Unfetched::from) })
    }

    fn may_reach_any(&self) -> bool {
        !self.http.allow().networks.is_empty()
    }
}

fn conditional(request: RequestBuilder, conditions: &FetchConditions) -> RequestBuilder {
    let request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    [(IF_NONE_MATCH, conditions.etag()), (IF_MODIFIED_SINCE, conditions.last_modified())]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .fold(request, |request, (name, value)| request.header(name, value))
}

/// Holds at most [`CRL_BYTES_MAX`], whatever length the server declares.
async fn read(mut response: Response) -> Result<Fetched, FetchFailure> {
    let is_compressed = response
        .headers()
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_compressed {
        return Err(FetchFailure::Compressed);
    }
    let declared = response.content_length().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared > CRL_BYTES_MAX {
        return Err(FetchFailure::TooLarge);
    }
    let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let conditions = FetchConditions::of(text(ETAG), text(LAST_MODIFIED));
    // Grows with what arrives: a declared length is only a promise.
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure_of(&error))? {
        if chunk.len() > CRL_BYTES_MAX - bytes.len() {
            return Err(FetchFailure::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Fetched::Body { bytes, conditions })
}
