use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{PrivateKey, TlsType};

/// One property of an upload. Wiped on drop: any may hold a key by mistake.
#[derive(Clone, Default)]
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
    /// Client CAs, DER, that those of `cacert` are added to. In findings they come after them.
    pub added_to: Vec<Vec<u8>>,
}

/// The `tlsType` of an upload that keeps the type and the client CAs of the version it replaces.
pub const KEEP: &str = "keep";

impl Upload {
    /// Whether `tlsType` is [`KEEP`].
    pub fn keeps_client_trust(&self) -> bool {
        matches!(&self.tls_type, Text::Given(text) if text.as_str() == KEEP)
    }

    /// Stored material as the texts of an upload, to be judged again as one.
    ///
    /// `chain` and `client_cas` are DER, as [`crate::Material`] has them.
    pub fn of_stored(tls_type: TlsType, chain: &[Vec<u8>], key: &PrivateKey, client_cas: &[Vec<u8>]) -> Self {
        Self {
            tls_type: Text::Given(Zeroizing::new(tls_type.as_str().to_owned())),
            cert: certificates(chain),
            key: Text::Given(pem("PRIVATE KEY", [key.expose_pkcs8_der()].into_iter())),
            key_password: Text::Absent,
            cacert: if client_cas.is_empty() { Text::Absent } else { certificates(client_cas) },
            added_to: Vec::new(),
        }
    }

    /// With these client CAs, PEM, added to its own, DER.
    pub fn with_added_client_cas(self, cacert: Text, client_cas: &[Vec<u8>]) -> Self {
        Self { cacert, added_to: client_cas.to_vec(), ..self }
    }
}

fn certificates(ders: &[Vec<u8>]) -> Text {
    Text::Given(pem("CERTIFICATE", ders.iter().map(Vec::as_slice)))
}

/// RFC 7468 §2: lines of 64 characters.
const LINE_BYTES: usize = 48;
const LINE_CHARS: usize = 64;

/// In one buffer of sufficient capacity: an outgrown one would leave a copy of a key.
fn pem<'a>(label: &str, ders: impl Iterator<Item = &'a [u8]> + Clone) -> Zeroizing<String> {
    let boundaries = 2 * (label.len() + "-----BEGIN -----\n".len());
    let lines = |der: &[u8]| der.len().div_ceil(LINE_BYTES) * (LINE_CHARS + 1);
    let mut text =
        Zeroizing::new(String::with_capacity(ders.clone().map(|der| boundaries + lines(der)).sum()));
    let mut line = Zeroizing::new([0; LINE_CHARS]);
    for der in ders {
        for part in ["-----BEGIN ", label, "-----\n"] {
            text.push_str(part);
        }
        for bytes in der.chunks(LINE_BYTES) {
            // A line has room for its bytes, and base64 is ASCII.
            let length = STANDARD.encode_slice(bytes, line.as_mut_slice()).unwrap_or_default();
            text.push_str(std::str::from_utf8(&line[..length]).unwrap_or_default());
            text.push('\n');
        }
        for part in ["-----END ", label, "-----\n"] {
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_written_as_openssl_does_and_never_outgrows_its_buffer() {
        for (bytes, lines) in [(0, 0), (1, 1), (47, 1), (48, 1), (49, 2), (96, 2), (1200, 25)] {
            let der = vec![7; bytes];
            let text = pem("PRIVATE KEY", [der.as_slice(), &der].into_iter());
            assert_eq!(text.lines().count(), 2 * (lines + 2), "{bytes}");
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
            assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{bytes}");
            assert!(text.ends_with("-----END PRIVATE KEY-----\n"), "{bytes}");
            let body: String = text.lines().take(lines + 1).skip(1).collect();
            assert_eq!(STANDARD.decode(body).unwrap(), der);
            let counted = 2 * (2 * (11 + 17) + lines * 65);
            let capacity = text.capacity();
            assert_eq!(capacity, counted, "as it was reserved, for {bytes}");
        }
    }
}
