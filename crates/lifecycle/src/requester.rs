use std::net::IpAddr;

use certward_store::{ApiKey, AuditOrigin, RequestId};

/// The API key that asks for a change, and its request; recorded with the change.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// The key.
    pub key: &'a ApiKey,
    /// The client's.
    pub address: Option<IpAddr>,
    /// The API's.
    pub request: Option<RequestId>,
}

impl Requester<'_> {
    pub(crate) fn origin(&self) -> AuditOrigin {
        AuditOrigin { actor: self.key.to_string(), address: self.address, request: self.request }
    }
}

/// Without a request.
impl<'a> From<&'a ApiKey> for Requester<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self { key, address: None, request: None }
    }
}
