use std::net::IpAddr;

use certward_outbound::ReachFailure;
use thiserror::Error;

/// Why a message was not delivered. It holds no text of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum SendFailure {
    /// `alert_allow` permits none of the receiver's addresses; this is the first.
    #[error("the receiver's address {0} is in no network of alert_allow; add its network there")]
    NotAllowed(IpAddr),
    /// The look-up found no address.
    #[error("the receiver's name has no address; check the name and this machine's DNS")]
    NameNotFound,
    /// No TCP connection.
    #[error("no connection to the receiver; check its address and port, and the firewall between")]
    Connect,
    /// The handshake failed, mostly because of the certificate.
    #[error("TLS with the receiver failed; its certificate must be valid for its name and of a trusted CA")]
    Tls,
    /// The deadline passed.
    #[error("the receiver did not answer in time")]
    TimedOut,
    /// The connection ended early, or the answer is none of the protocol.
    #[error("the receiver closed the connection, or what answered speaks another protocol")]
    UnexpectedAnswer,
    /// Another HTTP status than 2xx and 3xx.
    #[error("the receiver answered with HTTP status {0}")]
    Status(u16),
    /// An HTTP status 3xx: not followed.
    #[error("the receiver answered with HTTP status {0}, a redirect, which is not followed; use its target")]
    Redirect(u16),
    /// A negative SMTP reply.
    #[error("the mail server answered with SMTP status {0}")]
    SmtpStatus(u16),
    /// The server does not offer STARTTLS; nothing was sent.
    #[error("the mail server does not offer STARTTLS, and nothing is sent without; use tls or another port")]
    StarttlsMissing,
    /// The server offers neither PLAIN nor LOGIN.
    #[error("the mail server offers no authentication by password (PLAIN or LOGIN) on this port")]
    AuthenticationMissing,
    /// The server refused user name and password.
    #[error("the mail server refused the user name or password")]
    AuthenticationRefused,
    /// A user name without a password.
    #[error("the mail settings have a user name, but no password is set")]
    PasswordMissing,
    /// The message cannot be put into the protocol's form.
    #[error("the message cannot be written in the form that the receiver needs")]
    InvalidMessage,
}

impl SendFailure {
    /// Every value of [`SendFailure::code`].
    pub const CODES: [&'static str; 14] = [
        "not_allowed",
        "name_not_found",
        "connect",
        "tls",
        "timed_out",
        "unexpected_answer",
        "status",
        "redirect",
        "smtp_status",
        "starttls_missing",
        "authentication_missing",
        "authentication_refused",
        "password_missing",
        "invalid_message",
    ];

    /// The stable code, for metrics and the API.
    pub fn code(&self) -> &'static str {
        let at = match self {
            Self::NotAllowed(_) => 0,
            Self::NameNotFound => 1,
            Self::Connect => 2,
            Self::Tls => 3,
            Self::TimedOut => 4,
            Self::UnexpectedAnswer => 5,
            Self::Status(_) => 6,
            Self::Redirect(_) => 7,
            Self::SmtpStatus(_) => 8,
            Self::StarttlsMissing => 9,
            Self::AuthenticationMissing => 10,
            Self::AuthenticationRefused => 11,
            Self::PasswordMissing => 12,
            Self::InvalidMessage => 13,
        };
        Self::CODES[at]
    }
}

impl From<ReachFailure> for SendFailure {
    fn from(failure: ReachFailure) -> Self {
        match failure {
            ReachFailure::NotAllowed(ip) => Self::NotAllowed(ip),
            ReachFailure::NameNotFound => Self::NameNotFound,
            ReachFailure::Connect => Self::Connect,
            ReachFailure::Tls => Self::Tls,
            ReachFailure::TimedOut => Self::TimedOut,
            ReachFailure::UnexpectedAnswer => Self::UnexpectedAnswer,
            ReachFailure::InvalidRequest => Self::InvalidMessage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::SendFailure::{self, *};

    #[test]
    fn each_failure_has_a_code_of_its_own_and_one_sentence() {
        let all = [
            (NotAllowed(Ipv4Addr::LOCALHOST.into()), "not_allowed"),
            (NameNotFound, "name_not_found"),
            (Connect, "connect"),
            (Tls, "tls"),
            (TimedOut, "timed_out"),
            (UnexpectedAnswer, "unexpected_answer"),
            (Status(500), "status"),
            (Redirect(302), "redirect"),
            (SmtpStatus(550), "smtp_status"),
            (StarttlsMissing, "starttls_missing"),
            (AuthenticationMissing, "authentication_missing"),
            (AuthenticationRefused, "authentication_refused"),
            (PasswordMissing, "password_missing"),
            (InvalidMessage, "invalid_message"),
        ];
        assert_eq!(all.map(|(failure, _)| failure.code()), all.map(|(_, code)| code));
        assert_eq!(all.map(|(_, code)| code), SendFailure::CODES);
        for (failure, _) in all {
            let sentence = failure.to_string();
            assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "{sentence}");
        }
    }
}
