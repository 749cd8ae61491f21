use std::{
    fmt,
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{ConnectOptions, any::AnyConnectOptions, postgres::PgConnectOptions};
use thiserror::Error;
use url::Url;
use zeroize::Zeroizing;

const SERVERS_MAX: usize = 8;
/// The driver ignores unknown parameters, so a mistyped `sslmode` would not protect the connection.
const ALLOWED_PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// PostgreSQL servers, preferred one first; the primary is found by connecting.
///
/// Without `sslmode` a URL means `verify-full`, unless the server is local (a Unix socket or
/// loopback). URLs may hold passwords: wiped on drop, never in `Debug` output or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    servers: Arc<[DatabaseServer]>,
    last_seen: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseServer {
    /// Always with `sslmode`, so that no environment variable sets it.
    url: Zeroizing<String>,
    /// Host and port, or the socket's folder.
    name: String,
    mode: String,
    local: bool,
    /// By URL parameter.
    files: Vec<(String, PathBuf)>,
}

/// Why URLs are refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ServersError {
    /// Not a postgres:// URL.
    #[error(
        "allowed is postgres://USER:PASSWORD@HOST:PORT/DATABASE, or several of them; leave the key out for the \
         embedded store"
    )]
    NotPostgres,
    /// Not a URL.
    #[error(
        "a postgres:// URL is not understood; write special characters in user and password as %XX, and a socket's \
         folder as ?host=/run/postgresql"
    )]
    NotUnderstood,
    /// The driver would take the host from its environment.
    #[error("a postgres:// URL names no host; for a Unix socket add ?host=/run/postgresql")]
    NoHost,
    /// An unknown parameter.
    #[error(
        "a postgres:// URL has a parameter that is not known; allowed are sslmode, sslrootcert, sslcert, sslkey, host, \
         hostaddr, port, dbname, user, password, application_name and options"
    )]
    UnknownParameter,
    /// Not an `sslmode` of libpq.
    #[error("sslmode must be verify-full, verify-ca, require, prefer, allow or disable")]
    UnknownMode,
    /// A client certificate or key without the other.
    #[error("sslcert and sslkey are given together or not at all")]
    HalfCertificate,
    /// Too many.
    #[error("at most 8 servers may be named")]
    TooMany,
}

impl Servers {
    /// Reads the URLs, the preferred server's first. Does no I/O. The error holds no part of a URL.
    pub fn parse<T: AsRef<str>>(urls: impl IntoIterator<Item = T>) -> Result<Self, ServersError> {
        let servers: Vec<DatabaseServer> =
            urls.into_iter().map(|url| DatabaseServer::parse(url.as_ref())).collect::<Result<_, _>>()?;
        match servers.len() {
            0 => Err(ServersError::NotPostgres),
            1..=SERVERS_MAX => Ok(Self { servers: servers.into(), last_seen: None }),
            _ => Err(ServersError::TooMany),
        }
    }

    /// As [`Servers::parse`], from one text separated by spaces or commas. Passwords may hold
    /// commas: only one before a URL separates.
    pub fn parse_list(text: &str) -> Result<Self, ServersError> {
        let parted = Zeroizing::new(text.replace(",postgres", " postgres"));
        Self::parse(parted.split_whitespace().map(|url| url.trim_end_matches(',')))
    }

    /// The risk of each `sslmode` that is not strict.
    pub fn warnings(&self) -> Vec<String> {
        self.servers.iter().filter_map(DatabaseServer::warning).collect()
    }

    /// Stores the database's identity and timeline in this file, once confirmed by the master key.
    /// Until it is removed, opens refuse another or replaced database.
    #[must_use]
    pub fn remembering(self, file: PathBuf) -> Self {
        Self { last_seen: Some(file), ..self }
    }

    /// Whether a URL holds a password.
    pub fn have_password(&self) -> bool {
        self.servers.iter().any(|server| {
            let Ok(url) = Url::parse(&server.url) else { return true };
            url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
        })
    }

    /// The preferred server's URL without its password, as libpq reads it.
    pub fn url_without_password(&self) -> Option<String> {
        let server = self.servers.first()?;
        let mut url = Url::parse(&server.url).ok()?;
        url.set_password(None).ok()?;
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "password")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
            // libpq reads a plus as itself.
            let query = url.query().map(|query| query.replace('+', "%20"));
            url.set_query(query.as_deref());
        }
        Some(url.to_string())
    }

    pub(crate) fn all(&self) -> &[DatabaseServer] {
        &self.servers
    }

    pub(crate) fn last_seen(&self) -> Option<&Path> {
        self.last_seen.as_deref()
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(DatabaseServer::name)).finish()
    }
}

impl DatabaseServer {
    fn parse(url: &str) -> Result<Self, ServersError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(ServersError::NotPostgres);
        }
        let parsed = url.parse::<AnyConnectOptions>().map_err(|_| ServersError::NotUnderstood)?.database_url;
        let mut mode = None;
        let mut files = Vec::new();
        let mut host = parsed.host_str().unwrap_or_default().replace("%2F", "/").replace("%2f", "/");
        let mut port = parsed.port().unwrap_or(5432);
        for (name, value) in parsed.query_pairs() {
            match name.as_ref() {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" | "sslcert" | "sslkey" => {
                    files.push((name.into_owned(), PathBuf::from(value.as_ref())));
                }
                "host" | "hostaddr" => host = value.into_owned(),
                "port" => port = value.parse().map_err(|_| ServersError::NotUnderstood)?,
                name if ALLOWED_PARAMETERS.contains(&name) => {}
                _ => return Err(ServersError::UnknownParameter),
            }
        }
        if host.is_empty() {
            return Err(ServersError::NoHost);
        }
        let named = |parameter| files.iter().any(|(name, _)| name == parameter);
        if named("sslcert") != named("sslkey") {
            return Err(ServersError::HalfCertificate);
        }
        let local = is_local(&host);
        // Else the driver keeps an IPv6 address's brackets.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let mut added = bare.map(|host| format!("&host={host}")).unwrap_or_default();
        let mode = mode.unwrap_or_else(|| {
            let mode = if local { "prefer" } else { "verify-full" };
            added.push_str("&sslmode=");
            added.push_str(mode);
            mode.to_owned()
        });
        if parsed.query().is_none() && !added.is_empty() {
            added.replace_range(..1, "?");
        }
        let url = Zeroizing::new(format!("{parsed}{added}"));
        if !["verify-full", "verify-ca", "require", "prefer", "allow", "disable"].contains(&mode.as_str()) {
            return Err(ServersError::UnknownMode);
        }
        let name = if host.starts_with('/') { host } else { format!("{host}:{port}") };
        let server = Self { url, name, mode, local, files };
        // The driver checks the rest.
        server.options().map_err(|_| ServersError::NotUnderstood)?;
        Ok(server)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// By its parameter: the driver would not name it, and errors must not contain a URL.
    pub(crate) fn unreadable_file(&self) -> Option<String> {
        self.files.iter().find_map(|(parameter, path)| {
            let error = File::open(path).err()?;
            Some(format!("the file that {parameter} names: {error}"))
        })
    }

    pub(crate) fn any_options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        Ok(self.url.parse::<AnyConnectOptions>()?.disable_statement_logging())
    }

    /// `LISTEN` needs its own kind.
    pub(crate) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        Ok(self.url.parse::<PgConnectOptions>()?.disable_statement_logging())
    }

    fn warning(&self) -> Option<String> {
        let danger = match self.mode.as_str() {
            _ if self.local => return None,
            "verify-full" => return None,
            "verify-ca" => {
                "accepts any server with a certificate of a CA that is trusted here, public ones too: with one for \
                 another name an attacker on the way can take the database's place, read everything and change it"
            }
            "require" => {
                "does not check who answers: an attacker on the way can take the database's place, read everything \
                 and change it"
            }
            _ => {
                "may go unencrypted: an attacker on the way can read the password and everything else, and change it"
            }
        };
        Some(format!(
            "the connection to the database {} (sslmode={}) {danger}; use sslmode=verify-full, with sslrootcert for \
             a CA of your own",
            self.name, self.mode
        ))
    }
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> DatabaseServer {
        Servers::parse([url]).unwrap().all()[0].clone()
    }

    #[test]
    fn a_url_without_its_password_leads_to_the_same_database() {
        for (url, shown) in [
            ("postgres://u:CANARY@db.example/d?sslmode=require", "postgres://u@db.example/d?sslmode=require"),
            ("postgres://u@h/d?password=CANARY&sslmode=require", "postgres://u@h/d?sslmode=require"),
            (
                "postgres://u:CANARY@%2Frun%2Fpostgresql/d",
                "postgres://u@%2Frun%2Fpostgresql/d?sslmode=prefer",
            ),
            (
                "postgres://u:CANARY@h/d?options=-c%20x=y&sslmode=require",
                "postgres://u@h/d?options=-c%20x%3Dy&sslmode=require",
            ),
        ] {
            let servers = Servers::parse([url]).expect(url);
            assert_eq!(servers.url_without_password().as_deref(), Some(shown));
        }
    }

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is_unless_told_otherwise() {
        for (url, mode, warned) in [
            ("postgres://u:p@db.example.com/d", "verify-full", false),
            ("postgres://u:p@192.0.2.1:6432/d", "verify-full", false),
            ("postgres://u:p@db.example.com/d?sslrootcert=/ca.pem", "verify-full", false),
            ("postgres://u:p@localhost/d?host=db.example.com", "verify-full", false),
            ("postgres://u:p@db.example.com/d?sslmode=verify-ca", "verify-ca", true),
            ("postgres://u:p@db.example.com/d?sslmode=require", "require", true),
            ("postgres://u:p@db.example.com/d?sslmode=prefer", "prefer", true),
            ("postgres://u:p@db.example.com/d?sslmode=disable", "disable", true),
            ("postgres://u:p@localhost/d", "prefer", false),
            ("postgres://u:p@127.0.0.2/d", "prefer", false),
            ("postgres://u:p@[::1]/d", "prefer", false),
            ("postgres://u@%2Frun%2Fpostgresql/d", "prefer", false),
            ("postgres:///d?host=/run/postgresql", "prefer", false),
            ("postgres://u:p@localhost/d?sslmode=disable", "disable", false),
        ] {
            let server = server(url);
            assert_eq!((server.mode.as_str(), server.warning().is_some()), (mode, warned), "{url}");
            assert!(server.url.contains(&format!("sslmode={mode}")), "{url}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_and_not_told() {
        for (url, error) in [
            ("mysql://u:CANARY@h/d", ServersError::NotPostgres),
            ("CANARY", ServersError::NotPostgres),
            ("postgres://u:CANARY@[::1/d", ServersError::NotUnderstood),
            ("postgres://u:CANARY@h:port/d", ServersError::NotUnderstood),
            ("postgres:///d?password=CANARY", ServersError::NoHost),
            ("postgres://u:CANARY@h/d?sslmod=verify-full", ServersError::UnknownParameter),
            ("postgres://u:CANARY@h/d?sslmode=CANARY", ServersError::UnknownMode),
            ("postgres://u:CANARY@h/d?sslcert=/c.pem", ServersError::HalfCertificate),
        ] {
            let refused = Servers::parse([url]).unwrap_err();
            assert_eq!(refused, error, "{url}");
            assert!(!format!("{refused} {refused:?}").contains("CANARY"), "{url}");
        }
        assert_eq!(Servers::parse([""; 0]), Err(ServersError::NotPostgres));
        assert_eq!(Servers::parse(["postgres://h/d"; 9]), Err(ServersError::TooMany));
    }

    #[test]
    fn several_stand_in_one_text() {
        for text in [
            "postgres://u:a,b@one/d,postgres://u:p@two/d",
            "postgres://u:a,b@one/d postgres://u:p@two/d",
            " postgres://u:a,b@one/d,\n postgresql://u:p@two/d ",
        ] {
            let servers = Servers::parse_list(text).unwrap();
            assert_eq!(format!("{servers:?}"), "[\"one:5432\", \"two:5432\"]", "{text}");
        }
    }
}
