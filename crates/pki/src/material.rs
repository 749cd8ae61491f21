use crate::{Bundle, ClientTrust, TlsType};

/// All that the gateway needs to serve a deployment: one immutable value, so that a leaf can never meet
/// another upload's key or client CAs.
#[derive(Debug)]
pub struct Material {
    /// Leaf, intermediates and the leaf's key.
    pub bundle: Bundle,
    /// Whom to trust as a client; `None` is one-way.
    pub client_trust: Option<ClientTrust>,
}

impl Material {
    /// One-way or two-way, as the client trust says.
    pub fn tls_type(&self) -> TlsType {
        if self.client_trust.is_some() { TlsType::TwoWay } else { TlsType::OneWay }
    }
}
