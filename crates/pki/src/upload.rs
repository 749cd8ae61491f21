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
    /// `tlsType`: `one-way` or `two-way`.
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
