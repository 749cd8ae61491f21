use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The server that mail is handed to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MailServerParts")]
pub struct MailServer {
    host: Box<str>,
    port: u16,
    security: MailSecurity,
    username: Option<Box<str>>,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// TLS from the first byte (RFC 8314 §3.3).
    Tls,
    /// STARTTLS, required: without it no mail is sent.
    Starttls,
    /// None; without authentication only.
    Plain,
}

impl MailSecurity {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Tls, Self::Starttls, Self::Plain];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Starttls => "starttls",
            Self::Plain => "plain",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|security| security.as_str() == text)
    }

    /// Submission (RFC 8314 §3.3, RFC 6409 §3.1), or SMTP itself.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::Starttls => 587,
            Self::Plain => 25,
        }
    }
}

/// Why it is no mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MailServerError {
    /// Neither a name nor an address.
    #[error("the host must be a name or an IP address, without a port")]
    Host,
    /// Zero.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Empty, too long or with control characters.
    #[error("the user name must have 1 to 255 bytes and no control characters")]
    Username,
    /// The password would be readable on the network.
    #[error("a user name needs tls or starttls: without, the password would travel in the clear")]
    PlainAuthentication,
}

/// As stored.
#[derive(Deserialize)]
struct MailServerParts {
    host: String,
    port: u16,
    security: MailSecurity,
    username: Option<String>,
}

/// RFC 4616 §2.
const USERNAME_BYTES_MAX: usize = 255;

impl MailServer {
    /// Reads the parts. An IPv6 address may have brackets.
    pub fn parse(
        host: &str,
        port: u16,
        security: MailSecurity,
        username: Option<&str>,
    ) -> Result<Self, MailServerError> {
        let host = normalised_host(host).ok_or(MailServerError::Host)?;
        if port == 0 {
            return Err(MailServerError::Port);
        }
        if let Some(username) = username {
            let fits = matches!(username.len(), 1..=USERNAME_BYTES_MAX);
            if !fits || username.chars().any(char::is_control) {
                return Err(MailServerError::Username);
            }
            if security == MailSecurity::Plain {
                return Err(MailServerError::PlainAuthentication);
            }
        }
        Ok(Self { host, port, security, username: username.map(Into::into) })
    }

    /// A lower-case name without a trailing dot, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How the connection is protected.
    pub fn security(&self) -> MailSecurity {
        self.security
    }

    /// Who authenticates; `None`: without authentication.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }
}

fn normalised_host(text: &str) -> Option<Box<str>> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let ip: Ipv6Addr = bracketed.strip_suffix(']')?.parse().ok()?;
        return Some(ip.to_string().into());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_string().into());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    // Resolvers read `127.1` as an address.
    let is_numeric =
        name.rsplit('.').next().is_none_or(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    (name.len() <= 253 && name.split('.').all(is_label) && !is_numeric).then(|| name.into())
}

fn is_label(label: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    matches!(label.len(), 1..=63)
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<MailServerParts> for MailServer {
    type Error = MailServerError;

    fn try_from(parts: MailServerParts) -> Result<Self, Self::Error> {
        Self::parse(&parts.host, parts.port, parts.security, parts.username.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (text, expected) in [
            ("Mail.Example.COM.", Some("mail.example.com")),
            ("localhost", Some("localhost")),
            ("smtp_1.internal", Some("smtp_1.internal")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:DB8:0::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:127.0.0.1", Some("::ffff:127.0.0.1")),
            ("", None),
            (".", None),
            ("127.1", None),
            ("2130706433", None),
            ("0x7f.0.0.0x1", None),
            ("192.0.2.1:25", None),
            ("mail.example.com:25", None),
            ("[mail.example.com]", None),
            ("[::1", None),
            ("fe80::1%eth0", None),
            ("a..b", None),
            ("-a.example", None),
            ("mail example", None),
            ("mail\r\nexample", None),
            ("müller.example", None),
        ] {
            let server = MailServer::parse(text, 25, MailSecurity::Plain, None);
            let expected = expected.ok_or(MailServerError::Host);
            assert_eq!(server.as_ref().map(MailServer::host).map_err(|e| *e), expected, "{text:?}");
        }
    }

    #[test]
    fn a_password_never_travels_in_the_clear() {
        use MailSecurity::{Plain, Starttls, Tls};
        use MailServerError as E;
        let long = "u".repeat(256);
        for (port, security, username, expected) in [
            (465, Tls, Some("user"), Ok(())),
            (587, Starttls, Some("user"), Ok(())),
            (25, Plain, None, Ok(())),
            (25, Plain, Some("user"), Err(E::PlainAuthentication)),
            (0, Tls, None, Err(E::Port)),
            (465, Tls, Some(""), Err(E::Username)),
            (465, Tls, Some("a\0b"), Err(E::Username)),
            (465, Tls, Some(&long), Err(E::Username)),
        ] {
            for host in ["mail.example", "127.0.0.1", "::1", "localhost"] {
                let server = MailServer::parse(host, port, security, username);
                assert_eq!(server.map(|_| ()), expected, "{host} {port} {security:?}");
            }
        }
        let stored = r#"{"host":"a","port":25,"security":"plain","username":"user"}"#;
        assert!(serde_json::from_str::<MailServer>(stored).is_err());
    }

    proptest! {
        #[test]
        fn a_server_is_written_as_it_is_read_again(
            host in prop_oneof![".{0,40}", "[a-zA-Z0-9.:\\[\\]-]{1,20}"],
            port: u16,
            username in proptest::option::of(".{0,20}"),
        ) {
            if let Ok(server) = MailServer::parse(&host, port, MailSecurity::Starttls, username.as_deref()) {
                let json = serde_json::to_string(&server).unwrap();
                prop_assert_eq!(serde_json::from_str::<MailServer>(&json).unwrap(), server);
            }
        }
    }
}
