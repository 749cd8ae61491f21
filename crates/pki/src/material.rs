use crate::{Bundle, ClientTrust, TlsType};

/// What the gateway serves: one immutable value, so that a leaf never meets another upload's key or
/// client CAs.
#[derive(Debug)]
pub struct Material {
    /// Leaf, intermediates and key.
    pub bundle: Bundle,
    /// `None` is one-way.
    pub client_trust: Option<ClientTrust>,
}

impl Material {
    /// Two-way with client trust, else one-way.
    pub fn tls_type(&self) -> TlsType {
        if self.client_trust.is_some() { TlsType::TwoWay } else { TlsType::OneWay }
    }
}
