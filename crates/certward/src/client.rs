//! A client of the HTTP API.

mod link;
mod refusal;
mod tls_fault;
pub(crate) mod trusted_ca;

use std::{fmt, net::IpAddr, time::Duration};

use anyhow::Context;
use reqwest::{Method, StatusCode, Url, header, redirect};
use serde_json::Value;
use zeroize::Zeroizing;

use self::{link::next_query, tls_fault::TlsFault};
use crate::{
    api_key_pair::ApiKeyPair,
    api_types::{ErrorAnswer, FindingAnswer, ImpactAnswer},
    cli::ConnectArgs,
    connection::{ClientEnvironment, Connection},
    output::{self, plain},
    wording::{KeySource, Typed, UploadFiles},
};

pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: ApiKeyPair,
    key_source: KeySource,
}

struct ApiAnswer {
    /// Null if empty.
    body: Value,
    /// The query of the list's next page.
    next: Option<String>,
    /// As the API names them; `*` for all but the one that answers.
    silent_nodes: Vec<String>,
    /// Nodes that record no devices.
    anonymous_nodes: Vec<String>,
}

/// A page of a list.
pub(crate) struct ListPage {
    pub(crate) items: Vec<Value>,
    /// The query of the next page.
    pub(crate) next: Option<String>,
    /// Nodes that have not answered what is in it.
    pub(crate) silent_nodes: Vec<String>,
    /// Nodes that record no devices.
    pub(crate) anonymous_nodes: Vec<String>,
}

const SILENT_NODES: header::HeaderName = header::HeaderName::from_static("certward-silent-nodes");
const ANONYMOUS_NODES: header::HeaderName = header::HeaderName::from_static("certward-anonymous-nodes");

/// A list of a million deployments has less than half of it.
const ANSWER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Of a list: with 1000 items each, more than a store holds.
const PAGES_MAX: usize = 10_000;

/// An address without it meets certward, and none of its routes.
const BASE_PATH: &str = "/public_api/v1";

/// A firewall may drop packets for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest `Prefer: wait`, and 30 s for the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60 + 30);

impl Client {
    /// From flags, variables and logins.
    ///
    /// # Errors
    /// As [`Connection::resolve`].
    pub(crate) fn new(connect: &ConnectArgs) -> anyhow::Result<Self> {
        Self::of(Connection::resolve(connect, &ClientEnvironment::of_process()?)?)
    }

    /// # Errors
    /// [`crate::usage::UsageError`] for a CA that is none.
    pub(crate) fn of(connection: Connection) -> anyhow::Result<Self> {
        let Connection { base, key, key_source, ca } = connection;
        // The secret is in each request, so no redirects.
        let mut http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent(concat!("certward/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            // A proxy's loopback is another machine.
            http = http.no_proxy();
        } else if base.scheme() == "http" {
            output::note(
                "certward: http:// sends the secret key unencrypted; use https:// where anybody may listen",
            );
        }
        if let Some(ca) = &ca {
            http = http.tls_backend_preconfigured(trusted_ca::tls_config(ca)?);
        }
        let http = http.build().context("the HTTP client cannot be set up")?;
        Ok(Self { http, base, key, key_source })
    }

    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, ClientError> {
        Ok(self.send(Method::GET, path, "", None, None).await?.body)
    }

    /// What all nodes say, and those that have not answered, as the API names them.
    pub(crate) async fn get_of_nodes(&self, path: &[&str]) -> Result<(Value, Vec<String>), ClientError> {
        let ApiAnswer { body, silent_nodes, .. } = self.send(Method::GET, path, "", None, None).await?;
        Ok((body, silent_nodes))
    }

    pub(crate) async fn get_where(&self, path: &[&str], query: &str) -> Result<Value, ClientError> {
        Ok(self.send(Method::GET, path, query, None, None).await?.body)
    }

    /// The first page of a list.
    pub(crate) async fn page(&self, path: &[&str], query: &str) -> Result<Vec<Value>, ClientError> {
        Ok(self.list_page(path, query).await?.items)
    }

    /// All pages of a list.
    pub(crate) async fn pages(&self, path: &[&str], query: &str) -> Result<Vec<Value>, ClientError> {
        Ok(self.pages_of_nodes(path, query).await?.0)
    }

    /// All pages of a list, and the nodes that have not answered for one of them.
    pub(crate) async fn pages_of_nodes(
        &self,
        path: &[&str],
        query: &str,
    ) -> Result<(Vec<Value>, Vec<String>), ClientError> {
        let (mut items, mut silent) = (Vec::new(), Vec::new());
        let mut next = Some(query.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(query) = next else { return Ok((items, silent)) };
            let page = self.list_page(path, &query).await?;
            items.extend(page.items);
            silent.extend(
                page.silent_nodes.into_iter().filter(|node| !silent.contains(node)).collect::<Vec<_>>(),
            );
            next = page.next;
        }
        Err(self.foreign(StatusCode::OK))
    }

    pub(crate) async fn list_page(&self, path: &[&str], query: &str) -> Result<ListPage, ClientError> {
        match self.send(Method::GET, path, query, None, None).await? {
            ApiAnswer { body: Value::Array(items), next, silent_nodes, anonymous_nodes } => {
                Ok(ListPage { items, next, silent_nodes, anonymous_nodes })
            }
            ApiAnswer { .. } => Err(self.foreign(StatusCode::OK)),
        }
    }

    /// Held for at most `wait` until the state settles.
    pub(crate) async fn get_settled(&self, path: &[&str], wait: Duration) -> Result<Value, ClientError> {
        let prefer = format!("wait={}", wait.as_secs());
        Ok(self.send(Method::GET, path, "", None, Some(&prefer)).await?.body)
    }

    /// An empty answer is null.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        Ok(self.send(method, path, "", body, None).await?.body)
    }

    /// As [`Client::change`], but refused if devices would be cut off: see
    /// [`ClientError::severe_impact`].
    pub(crate) async fn change_strictly(
        &self,
        method: Method,
        path: &[&str],
        body: &Value,
    ) -> Result<Value, ClientError> {
        Ok(self.send(method, path, "", Some(body), Some("handling=strict")).await?.body)
    }

    /// As [`Client::change`] or [`Client::change_strictly`], with a query.
    pub(crate) async fn change_at(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: &Value,
        is_strict: bool,
    ) -> Result<Value, ClientError> {
        let prefer = is_strict.then_some("handling=strict");
        Ok(self.send(method, path, query, Some(body), prefer).await?.body)
    }

    /// DELETE as [`Client::change_strictly`].
    pub(crate) async fn remove_strictly(&self, path: &[&str], query: &str) -> Result<Value, ClientError> {
        Ok(self.send(Method::DELETE, path, query, None, Some("handling=strict")).await?.body)
    }

    /// PUT of what is not JSON.
    pub(crate) async fn put_bytes(
        &self,
        path: &[&str],
        query: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Value, ClientError> {
        let request = self.request(Method::PUT, path, query);
        let request = request.header(header::CONTENT_TYPE, media_type).body(bytes.to_vec());
        Ok(self.answer(request, typed(path, None)).await?.body)
    }

    pub(crate) async fn change_where(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
    ) -> Result<Value, ClientError> {
        Ok(self.send(method, path, query, None, None).await?.body)
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<&Value>,
        prefer: Option<&str>,
    ) -> Result<ApiAnswer, ClientError> {
        let mut request = self.request(method, path, query);
        if let Some(prefer) = prefer {
            request = request.header("Prefer", prefer);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request, typed(path, body)).await
    }

    fn request(&self, method: Method, path: &[&str], query: &str) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        // Checked: the base has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        self.http.request(method, url).basic_auth(&self.key.api_key, Some(self.key.secret_key.as_str()))
    }

    async fn answer(&self, request: reqwest::RequestBuilder, typed: Typed) -> Result<ApiAnswer, ClientError> {
        let typed = Typed { key: self.key_source.clone(), ..typed };
        let mut response = request.send().await.map_err(|e| self.unreachable(e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.foreign(status));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
            let next = text(header::LINK).and_then(next_query).map(str::to_owned);
            let nodes = |name| {
                let nodes = text(name).unwrap_or_default().split(',').map(str::trim);
                nodes.filter(|node| !node.is_empty()).map(str::to_owned).collect()
            };
            let (silent_nodes, anonymous_nodes) = (nodes(SILENT_NODES), nodes(ANONYMOUS_NODES));
            let body = match bytes.is_empty() {
                true => Value::Null,
                false => serde_json::from_slice(&bytes).map_err(|_| self.foreign(status))?,
            };
            return Ok(ApiAnswer { body, next, silent_nodes, anonymous_nodes });
        }
        let body: ErrorAnswer = serde_json::from_slice(&bytes).map_err(|_| self.foreign(status))?;
        let is_elsewhere = body.code == "NOT_FOUND" && !self.base.path().ends_with(BASE_PATH);
        if body.code.is_empty() || is_elsewhere {
            return Err(self.foreign(status));
        }
        let seconds = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok())
        };
        Err(ClientError::Refused {
            status,
            retry_after: seconds("retry-after").map(Duration::from_secs),
            body: Box::new(body),
            typed: Box::new(typed),
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> ClientError {
        if let Some(fault) = TlsFault::of(&error) {
            return ClientError::Tls { base: self.shown_base(), fault };
        }
        ClientError::Unreachable {
            base: self.shown_base(),
            timed_out: error.is_timeout(),
            cause: root_cause(&error),
        }
    }

    fn foreign(&self, status: StatusCode) -> ClientError {
        ClientError::Foreign { base: self.shown_base(), status }
    }

    /// With the login that it is from: no URL was typed.
    fn shown_base(&self) -> String {
        match &self.key_source {
            KeySource::Login(name) => format!("{} (the login {name})", self.base),
            KeySource::Given | KeySource::Typed | KeySource::File(_) => self.base.to_string(),
        }
    }
}

/// The deployment of a request.
fn typed(path: &[&str], body: Option<&Value>) -> Typed {
    let new = || body.and_then(|body| body.get("deploymentID")).and_then(Value::as_str);
    match path {
        ["deployments", id, ..] => Typed::about(id),
        ["deployments"] => new().map_or_else(Typed::default, Typed::about),
        _ => Typed::default(),
    }
}

/// The innermost cause; reqwest's own text repeats the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Its text names the remedy.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// No answer, or not in time.
    Unreachable { base: String, timed_out: bool, cause: String },
    /// A later try meets the same.
    Tls { base: String, fault: TlsFault },
    /// The peer is not certward.
    Foreign { base: String, status: StatusCode },
    /// Judged before the change was asked for: none is used up.
    RefusedBefore { findings: Vec<FindingAnswer>, typed: Box<Typed> },
    /// The API refused what was typed.
    Refused { status: StatusCode, retry_after: Option<Duration>, body: Box<ErrorAnswer>, typed: Box<Typed> },
}

impl ClientError {
    pub(crate) fn refused_before(findings: Vec<FindingAnswer>, typed: Typed) -> Self {
        Self::RefusedBefore { findings, typed: Box::new(typed) }
    }

    pub(crate) fn is_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused { body, .. } if body.code == code)
    }

    /// Why a strict change was refused.
    pub(crate) fn severe_impact(&self) -> Option<&ImpactAnswer> {
        match self {
            Self::Refused { body, .. } if body.code == "IMPACT_SEVERE" => body.impact.as_ref(),
            _ => None,
        }
    }

    /// Names the places of its findings in these files.
    pub(crate) fn with_files(mut self, files: &UploadFiles) -> Self {
        if let Self::Refused { typed, .. } = &mut self {
            typed.files = files.clone();
        }
        self
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } => Some(Duration::from_secs(2)),
            Self::Refused { status, retry_after, .. } if matches!(status.as_u16(), 429 | 503) => {
                Some(retry_after.unwrap_or(Duration::from_secs(2)))
            }
            Self::Foreign { status, .. } if is_of_proxy(*status) => Some(Duration::from_secs(2)),
            Self::Refused { .. } | Self::RefusedBefore { .. } | Self::Foreign { .. } | Self::Tls { .. } => {
                None
            }
        }
    }
}

/// While the API restarts behind it.
fn is_of_proxy(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

impl std::error::Error for ClientError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { base, timed_out: true, .. } => write!(
                f,
                "no answer from {base} in time; is it the right address (--url, CERTWARD_URL), and does a firewall stand between?"
            ),
            Self::Unreachable { base, cause, .. } => write!(
                f,
                "cannot reach {base}: {}; is `certward serve` running, and is this its address (--url, CERTWARD_URL)?",
                plain(cause)
            ),
            Self::Tls { base, fault } => write!(f, "no TLS with {base}: {fault}"),
            Self::Foreign { base, status } if is_of_proxy(*status) => write!(
                f,
                "what answered at {base} is a proxy that does not reach the API (status {}). A later try may succeed.",
                status.as_u16()
            ),
            Self::Foreign { base, status } => write!(
                f,
                "what answered at {base} is not certward's API (status {}); check --url or CERTWARD_URL, which must end in \
                 /public_api/v1",
                status.as_u16()
            ),
            Self::RefusedBefore { findings, typed } => f.write_str(&refusal::of_upload(findings, typed)),
            Self::Refused { status, retry_after, body, typed } => {
                f.write_str(&refusal::text(*status, *retry_after, body, typed))
            }
        }
    }
}

#[cfg(test)]
mod tests;
