//! The single-valued keys, and their names in the environment.

/// What the variables begin with.
pub(super) const PREFIX: &str = "CERTWARD_";

/// What kind of value a key has, for a variable is always text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Bool,
}

/// A key that has one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// As in the file, the section before the dot: `api.listen`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

impl Key {
    /// The name in the environment: `CERTWARD_API__LISTEN`.
    pub(super) fn variable(self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

/// All of them. A test holds them against the page of the documentation, and each against the types.
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

/// The master key's variable, which has no place in the file.
pub(super) const MASTER_KEY: &str = "CERTWARD_MASTER_KEY";

/// The keys that are lists and so stand in the file only.
pub(super) const LISTS: [&str; 4] = [
    "CERTWARD_GATEWAY__LISTENER",
    "CERTWARD_GATEWAY__UPSTREAM_ALLOW",
    "CERTWARD_GATEWAY__UPSTREAM_NAT64",
    "CERTWARD_GATEWAY__UPSTREAM_SOURCE",
];

/// The variables of the other commands: no configuration, whatever they hold.
const COMMANDS: [&str; 5] =
    ["CERTWARD_URL", "CERTWARD_API_KEY", "CERTWARD_SECRET_KEY", "CERTWARD_CA_FILE", "CERTWARD_MIGRATE_TO"];

/// Whether a variable is none of the configuration's.
pub(super) fn is_foreign(name: &str) -> bool {
    !name.starts_with(PREFIX) || COMMANDS.contains(&name)
}

/// The key of a variable.
pub(super) fn find(name: &str) -> Option<Key> {
    KEYS.into_iter().find(|key| key.variable() == name)
}

/// The known variable that needs the fewest changed letters to become `name`.
pub(super) fn nearest(name: &str) -> String {
    KEYS.into_iter()
        .map(Key::variable)
        .chain([MASTER_KEY.to_owned()])
        .min_by_key(|known| distance(known.as_bytes(), name.as_bytes()))
        .unwrap_or_default()
}

/// Levenshtein's distance. The environment bounds the length of a name; it is cut to keep the product small.
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
