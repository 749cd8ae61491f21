use std::net::IpAddr;

use certward_lifecycle::Unfetched;
use thiserror::Error;

use crate::ReachFailure;

/// Why a CRL was not fetched. It holds no text of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum FetchFailure {
    /// `crl_allow` permits none of the server's addresses; this is the first.
    #[error("the address {0} of the CRL's server is in no network of crl_allow; add its network there")]
    NotAllowed(IpAddr),
    /// The look-up found no address.
    #[error("the name in the CRL's URL has no address; check the name and this machine's DNS")]
    NameNotFound,
    /// No TCP connection.
    #[error("no connection to the CRL's server; check its address and port, and the firewall between")]
    Connect,
    /// The handshake failed, mostly because of the certificate.
    #[error(
        "TLS with the CRL's server failed; its certificate must be valid for its name and of a trusted CA"
    )]
    Tls,
    /// The deadline passed.
    #[error("the CRL's server did not send the whole CRL in time")]
    TimedOut,
    /// The connection ended early, or the answer is none of HTTP.
    #[error("the CRL's server closed the connection, or what answered speaks another protocol")]
    UnexpectedAnswer,
    /// The request cannot be written.
    #[error("no request can be made of the CRL's URL; set another one")]
    InvalidRequest,
    /// Another HTTP status than 200 and 3xx.
    #[error("the CRL's server answered with HTTP status {0}")]
    Status(u16),
    /// An HTTP status 3xx: not followed.
    #[error(
        "the CRL's server answered with HTTP status {0}, a redirect, which is not followed; use its target"
    )]
    Redirect(u16),
    /// Over 16 MiB.
    #[error("the CRL's server sent more than 16 MiB")]
    TooLarge,
    /// A Content-Encoding: nothing is decompressed.
    #[error("the CRL's server sent the CRL compressed, which was not asked for; turn that off there")]
    Compressed,
}

impl FetchFailure {
    /// Every value of [`FetchFailure::code`].
    pub const CODES: [&'static str; 11] = [
        "not_allowed",
        "name_not_found",
        "connect",
        "tls",
        "timed_out",
        "unexpected_answer",
        "invalid_request",
        "status",
        "redirect",
        "too_large",
        "compressed",
    ];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        let at = match self {
            Self::NotAllowed(_) => 0,
            Self::NameNotFound => 1,
            Self::Connect => 2,
            Self::Tls => 3,
            Self::TimedOut => 4,
            Self::UnexpectedAnswer => 5,
            Self::InvalidRequest => 6,
            Self::Status(_) => 7,
            Self::Redirect(_) => 8,
            Self::TooLarge => 9,
            Self::Compressed => 10,
        };
        Self::CODES[at]
    }
}

impl From<ReachFailure> for FetchFailure {
    fn from(failure: ReachFailure) -> Self {
        match failure {
            ReachFailure::NotAllowed(ip) => Self::NotAllowed(ip),
            ReachFailure::NameNotFound => Self::NameNotFound,
            ReachFailure::Connect => Self::Connect,
            ReachFailure::Tls => Self::Tls,
            ReachFailure::TimedOut => Self::TimedOut,
            ReachFailure::UnexpectedAnswer => Self::UnexpectedAnswer,
            ReachFailure::InvalidRequest => Self::InvalidRequest,
        }
    }
}

impl From<FetchFailure> for Unfetched {
    fn from(failure: FetchFailure) -> Self {
        Self { code: failure.code(), sentence: failure.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::FetchFailure::{self, *};

    #[test]
    fn each_failure_has_a_code_of_its_own_and_one_sentence() {
        let all = [
            (NotAllowed(Ipv4Addr::LOCALHOST.into()), "not_allowed"),
            (NameNotFound, "name_not_found"),
            (Connect, "connect"),
            (Tls, "tls"),
            (TimedOut, "timed_out"),
            (UnexpectedAnswer, "unexpected_answer"),
            (InvalidRequest, "invalid_request"),
            (Status(500), "status"),
            (Redirect(302), "redirect"),
            (TooLarge, "too_large"),
            (Compressed, "compressed"),
        ];
        assert_eq!(all.map(|(failure, _)| failure.code()), all.map(|(_, code)| code));
        assert_eq!(all.map(|(_, code)| code), FetchFailure::CODES);
        for (failure, _) in all {
            let sentence = failure.to_string();
            assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "{sentence}");
        }
    }
}
