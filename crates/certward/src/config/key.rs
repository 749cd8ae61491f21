//! The single-valued keys and their variables.

pub(super) const PREFIX: &str = "CERTWARD_";

/// Variables are text; this is the value's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Integer,
    Bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConfigKey {
    /// As in the file: `api.listen`.
    pub(super) path: &'static str,
    pub(super) kind: ValueKind,
}

impl ConfigKey {
    /// `CERTWARD_API__LISTEN`.
    pub(super) fn variable(self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

const fn key(path: &'static str, kind: ValueKind) -> ConfigKey {
    ConfigKey { path, kind }
}

/// A test compares them with the documentation and the types.
pub(super) const KEYS: [ConfigKey; 32] = [
    key("data_dir", ValueKind::Text),
    key("store", ValueKind::Text),
    key("role", ValueKind::Text),
    key("master_key_file", ValueKind::Text),
    key("master_key_next_file", ValueKind::Text),
    key("api.listen", ValueKind::Text),
    key("api.cert", ValueKind::Text),
    key("api.key", ValueKind::Text),
    key("api.allow_plain_http", ValueKind::Bool),
    key("api.platform", ValueKind::Text),
    key("api.region", ValueKind::Text),
    key("gateway.default_deployment", ValueKind::Text),
    key("gateway.connections_per_address", ValueKind::Integer),
    key("gateway.handshake_within", ValueKind::Text),
    key("gateway.connect_within", ValueKind::Text),
    key("gateway.prove_within", ValueKind::Text),
    key("gateway.drain", ValueKind::Text),
    key("gateway.stale_trust", ValueKind::Text),
    key("gateway.expired_sessions", ValueKind::Text),
    key("gateway.devices", ValueKind::Text),
    key("limits.reads", ValueKind::Integer),
    key("limits.changes", ValueKind::Integer),
    key("limits.rollbacks", ValueKind::Integer),
    key("limits.client_cas", ValueKind::Integer),
    key("limits.revocations", ValueKind::Integer),
    key("limits.window", ValueKind::Text),
    key("limits.deployments_per_project", ValueKind::Integer),
    key("alerts.ca_file", ValueKind::Text),
    key("crl.ca_file", ValueKind::Text),
    key("log.level", ValueKind::Text),
    key("log.format", ValueKind::Text),
    key("metrics.per_deployment", ValueKind::Bool),
];

/// Have no place in the file.
pub(super) const MASTER_KEY: &str = "CERTWARD_MASTER_KEY";
pub(super) const NEXT_MASTER_KEY: &str = "CERTWARD_MASTER_KEY_NEXT";
/// systemd's.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Lists, possible only in the file.
pub(super) const LISTS: [&str; 8] = [
    "CERTWARD_ALERTS__ALERT_ALLOW",
    "CERTWARD_ALERTS__CA_RULES",
    "CERTWARD_ALERTS__RULES",
    "CERTWARD_CRL__CRL_ALLOW",
    "CERTWARD_GATEWAY__LISTENER",
    "CERTWARD_GATEWAY__UPSTREAM_ALLOW",
    "CERTWARD_GATEWAY__UPSTREAM_NAT64",
    "CERTWARD_GATEWAY__UPSTREAM_SOURCE",
];

/// Variables of other commands.
const COMMANDS: [&str; 7] = [
    "CERTWARD_URL",
    "CERTWARD_API_KEY",
    "CERTWARD_SECRET_KEY",
    "CERTWARD_KEY_FILE",
    "CERTWARD_LOGIN",
    "CERTWARD_CA_FILE",
    "CERTWARD_MIGRATE_TO",
];

pub(super) fn is_foreign(name: &str) -> bool {
    !name.starts_with(PREFIX) || COMMANDS.contains(&name)
}

pub(super) fn find(name: &str) -> Option<ConfigKey> {
    KEYS.into_iter().find(|key| key.variable() == name)
}

pub(super) fn nearest(name: &str) -> String {
    KEYS.into_iter()
        .map(ConfigKey::variable)
        .chain([MASTER_KEY.to_owned(), NEXT_MASTER_KEY.to_owned()])
        .min_by_key(|known| distance(known.as_bytes(), name.as_bytes()))
        .unwrap_or_default()
}

/// Levenshtein distance. `b` is cut to bound the cost.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let b = &b[..b.len().min(64)];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
