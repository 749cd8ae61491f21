use std::{error::Error as StdError, fmt, io};

use certward_pki::ClientRefusal;
use rustls::{CertificateError, Error, InvalidMessage};

/// Why there is no TLS with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// It answers in something else, most often plain HTTP.
    NoTls,
    UnknownCa,
    OtherName,
    Expired,
}

impl TlsFault {
    /// `None` for the rest, whose own texts say enough.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        match rustls_error(error)? {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Self::NoTls),
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Some(Self::OtherName),
            // Those of a server's path are the same.
            Error::InvalidCertificate(error) => match ClientRefusal::of(error) {
                ClientRefusal::UnknownIssuer | ClientRefusal::BadSignature | ClientRefusal::IsCa => {
                    Some(Self::UnknownCa)
                }
                ClientRefusal::Expired => Some(Self::Expired),
                _ => None,
            },
            _ => None,
        }
    }
}

/// With the remedy.
impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTls => "the server does not speak TLS on this port; use http:// if it is certward without HTTPS",
            Self::UnknownCa => {
                "the server's certificate is not from a trusted CA; name its CA, or the certificate itself if it is \
                 self-signed, with --ca or CERTWARD_CA_FILE"
            }
            Self::OtherName => {
                "the server's certificate is for other names; use one of them (--url, CERTWARD_URL)"
            }
            Self::Expired => {
                "the server's certificate has expired; renew it and send certward SIGHUP, or correct this machine's clock"
            }
        })
    }
}

/// rustls puts its errors into those of I/O, which do not give them as sources.
fn rustls_error<'a>(mut error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error = match inner {
            Some(inner) => inner,
            None => error.source()?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_within_an_error_of_io() {
        let cases = [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Some(TlsFault::NoTls)),
            (CertificateError::UnknownIssuer.into(), Some(TlsFault::UnknownCa)),
            (CertificateError::NotValidForName.into(), Some(TlsFault::OtherName)),
            (CertificateError::Expired.into(), Some(TlsFault::Expired)),
            (CertificateError::Revoked.into(), None),
            (Error::DecryptError, None),
        ];
        for (error, expected) in cases {
            let twice = io::Error::other(io::Error::other(error.clone()));
            assert_eq!(TlsFault::of(&twice), expected, "{error}");
            assert_eq!(TlsFault::of(&error), expected, "{error}");
        }
        assert_eq!(TlsFault::of(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}
