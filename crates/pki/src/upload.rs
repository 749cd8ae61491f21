use zeroize::Zeroizing;

/// One property of an upload. Wiped on drop: any may hold a key by mistake.
#[derive(Default)]
pub enum Text {
    /// Absent, or null.
    #[default]
    Absent,
    /// Another JSON type than a string.
    NotText,
    /// As received.
    Given(Zeroizing<String>),
}

/// An unchecked upload.
#[derive(Default)]
pub struct Upload {
    /// `tlsType`: `one-way`, `two-way`, or [`KEEP`].
    pub tls_type: Text,
    /// `cert`: the leaf and its chain, PEM.
    pub cert: Text,
    /// `key`: the leaf's private key, PEM.
    pub key: Text,
    /// `keyPassword`: for an encrypted key.
    pub key_password: Text,
    /// `cacert`: the client CAs, PEM.
    pub cacert: Text,
}

/// The `tlsType` of an upload that keeps the type and the client CAs of the version it replaces.
pub const KEEP: &str = "keep";

impl Upload {
    /// Whether `tlsType` is [`KEEP`].
    pub fn keeps_client_trust(&self) -> bool {
        matches!(&self.tls_type, Text::Given(text) if text.as_str() == KEEP)
    }
}
