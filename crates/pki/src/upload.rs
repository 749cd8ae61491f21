use zeroize::Zeroizing;

/// The text of one property of an upload. Wiped on drop, for any field may hold a key by mistake.
#[derive(Default)]
pub enum Text {
    /// Absent, or null.
    #[default]
    Absent,
    /// Present, but of another JSON type than a string.
    NotText,
    /// The text as it came.
    Given(Zeroizing<String>),
}

/// An upload as it came in: nothing about it is known to be right.
#[derive(Default)]
pub struct Upload {
    /// `tlsType`: `one-way` or `two-way`.
    pub tls_type: Text,
    /// `cert`: the leaf and its chain, PEM.
    pub cert: Text,
    /// `key`: the leaf's private key, PEM.
    pub key: Text,
    /// `keyPassword`: what opens the key, if it is encrypted.
    pub key_password: Text,
    /// `cacert`: the client CAs, PEM.
    pub cacert: Text,
}
