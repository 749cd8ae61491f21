use std::fmt;

use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

/// A leaf's private key as PKCS#8 DER. Wiped on drop; shown by no `Debug` and no `Display`.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Wraps PKCS#8 DER. Whether it is a usable key shows when it is used: [`crate::Bundle::new`] checks.
    pub fn from_pkcs8_der(pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self { pkcs8 }
    }

    /// The key's bytes, for sealing and for signing only. Whoever calls this answers for every copy.
    pub fn expose_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The same bytes as rustls wants to borrow them.
    pub fn expose_rustls(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(self.expose_pkcs8_der().into())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}
