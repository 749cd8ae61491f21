use std::net::{IpAddr, SocketAddr};

use certward_store::RequestId;
use http::{Extensions, HeaderName, HeaderValue};

/// Drawn here; none is taken from a client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Set by the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// Where a request comes from, and its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestOrigin {
    pub(crate) request: RequestId,
    /// The peer's.
    pub(crate) address: Option<IpAddr>,
}

impl RequestOrigin {
    pub(crate) fn of(request: &Extensions) -> Self {
        let peer = request.get::<PeerAddress>();
        Self { request: RequestId::draw(), address: peer.map(|peer| peer.0.ip().to_canonical()) }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.request.to_string()).ok()
    }
}
