//! The single-valued keys and their variables.

pub(super) const PREFIX: &str = "CERTWARD_";

/// Variables are text; this is the value's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// As in the file: `api.listen`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

impl Key {
    /// `CERTWARD_API__LISTEN`.
    pub(super) fn variable(self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

/// A test compares them with the documentation and the types.
pub(super) const KEYS: [Key; 23] = [
    key("data_dir", Kind::Text),
    key("store", Kind::Text),
    key("role", Kind::Text),
    key("master_key_file", Kind::Text),
    key("api.listen", Kind::Text),
    key("api.cert", Kind::Text),
    key("api.key", Kind::Text),
    key("api.allow_plain_http", Kind::Bool),
    key("api.platform", Kind::Text),
    key("api.region", Kind::Text),
    key("gateway.default_deployment", Kind::Text),
    key("gateway.connections_per_address", Kind::Integer),
    key("gateway.handshake_within", Kind::Text),
    key("gateway.connect_within", Kind::Text),
    key("gateway.prove_within", Kind::Text),
    key("gateway.drain", Kind::Text),
    key("gateway.stale_trust", Kind::Text),
    key("limits.reads", Kind::Integer),
    key("limits.changes", Kind::Integer),
    key("limits.window", Kind::Text),
    key("limits.deployments_per_project", Kind::Integer),
    key("log.level", Kind::Text),
    key("log.format", Kind::Text),
];

/// Has no place in the file.
pub(super) const MASTER_KEY: &str = "CERTWARD_MASTER_KEY";

/// Lists, possible only in the file.
pub(super) const LISTS: [&str; 4] = [
    "CERTWARD_GATEWAY__LISTENER",
    "CERTWARD_GATEWAY__UPSTREAM_ALLOW",
    "CERTWARD_GATEWAY__UPSTREAM_NAT64",
    "CERTWARD_GATEWAY__UPSTREAM_SOURCE",
];

/// Variables of other commands.
const COMMANDS: [&str; 5] =
    ["CERTWARD_URL", "CERTWARD_API_KEY", "CERTWARD_SECRET_KEY", "CERTWARD_CA_FILE", "CERTWARD_MIGRATE_TO"];

pub(super) fn is_foreign(name: &str) -> bool {
    !name.starts_with(PREFIX) || COMMANDS.contains(&name)
}

pub(super) fn find(name: &str) -> Option<Key> {
    KEYS.into_iter().find(|key| key.variable() == name)
}

/// The known variable with the smallest edit distance.
pub(super) fn nearest(name: &str) -> String {
    KEYS.into_iter()
        .map(Key::variable)
        .chain([MASTER_KEY.to_owned()])
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
