//! The right form of each key, shown when its value has a wrong type.

use toml::de::{DeTable, DeValue};

/// Path in the file, without indices of lists, and a line that is right. A test compares them with
/// the keys and reads each.
const EXAMPLES: [(&str, &str); 51] = [
    ("data_dir", "data_dir = \"/var/lib/certward\""),
    ("store", "store = \"postgres://USER:PASSWORD@HOST/DATABASE\""),
    ("role", "role = \"all\""),
    ("master_key_file", "master_key_file = \"/etc/certward/master.key\""),
    ("master_key_next_file", "master_key_next_file = \"/etc/certward/master.key.next\""),
    ("api", "[api]"),
    ("api.listen", "listen = \"127.0.0.1:8080\""),
    ("api.cert", "cert = \"/etc/certward/api.pem\""),
    ("api.key", "key = \"/etc/certward/api.key\""),
    ("api.allow_plain_http", "allow_plain_http = true"),
    ("api.platform", "platform = \"certward\""),
    ("api.region", "region = \"local\""),
    ("gateway", "[gateway]"),
    ("gateway.listener", "[[gateway.listener]]"),
    ("gateway.listener.listen", "listen = \"0.0.0.0:8883\""),
    ("gateway.listener.protocol", "protocol = \"mqtts\""),
    ("gateway.listener.deployment", "deployment = \"ge6a1a75\""),
    ("gateway.listener.proxy_protocol_from", "proxy_protocol_from = [\"10.0.0.0/8\"]"),
    ("gateway.default_deployment", "default_deployment = \"ge6a1a75\""),
    ("gateway.upstream_allow", "upstream_allow = [\"10.0.0.0/8\"]"),
    ("gateway.upstream_nat64", "upstream_nat64 = [\"2001:db8:64::/96\"]"),
    ("gateway.upstream_source", "upstream_source = [\"10.0.0.5\"]"),
    ("gateway.connections_per_address", "connections_per_address = 100"),
    ("gateway.handshake_within", "handshake_within = \"10s\""),
    ("gateway.connect_within", "connect_within = \"10s\""),
    ("gateway.prove_within", "prove_within = \"60s\""),
    ("gateway.drain", "drain = \"30s\""),
    ("gateway.stale_trust", "stale_trust = \"10m\""),
    ("gateway.expired_sessions", "expired_sessions = \"close\""),
    ("gateway.devices", "devices = \"full\""),
    ("limits", "[limits]"),
    ("limits.reads", "reads = 60"),
    ("limits.changes", "changes = 6"),
    ("limits.rollbacks", "rollbacks = 6"),
    ("limits.client_cas", "client_cas = 30"),
    ("limits.revocations", "revocations = 600"),
    ("limits.window", "window = \"60m\""),
    ("limits.deployments_per_project", "deployments_per_project = 100"),
    ("alerts", "[alerts]"),
    ("alerts.alert_allow", "alert_allow = [\"192.0.2.0/24\"]"),
    ("alerts.ca_file", "ca_file = \"/etc/certward/hooks.pem\""),
    ("alerts.rules", "rules = [\"14d\", \"1/30\"]"),
    ("alerts.ca_rules", "ca_rules = [\"14d\", \"1/30\"]"),
    ("crl", "[crl]"),
    ("crl.crl_allow", "crl_allow = [\"192.0.2.0/24\"]"),
    ("crl.ca_file", "ca_file = \"/etc/certward/crl-servers.pem\""),
    ("log", "[log]"),
    ("log.level", "level = \"info\""),
    ("log.format", "format = \"text\""),
    ("metrics", "[metrics]"),
    ("metrics.per_deployment", "per_deployment = true"),
];

/// What to write for the key whose value begins or lies at `at`.
pub(super) fn for_key_at(text: &str, at: usize) -> Option<&'static str> {
    let document = DeTable::parse(text).ok()?;
    let path = path_at(document.get_ref(), at)?;
    // The nearest key that has one: in a list, the list.
    let mut path = path.as_str();
    loop {
        if let Some((_, example)) = EXAMPLES.iter().find(|(known, _)| *known == path) {
            return Some(example);
        }
        path = path.rsplit_once('.')?.0;
    }
}

fn path_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    let holds = |span: std::ops::Range<usize>| span.contains(&at);
    let mut here = None;
    for (key, value) in table {
        let inside = match value.get_ref() {
            DeValue::Table(table) => path_at(table, at),
            DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
                DeValue::Table(table) => path_at(table, at),
                _ => None,
            }),
            _ => None,
        };
        if let Some(inside) = inside {
            return Some(format!("{}.{inside}", key.get_ref()));
        }
        if holds(value.span()) || holds(key.span()) {
            here = Some(key.get_ref().to_string());
        }
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigSource, key};

    fn source(text: &str) -> ConfigSource {
        ConfigSource { file: Some(("certward.toml".into(), text.into())), ..ConfigSource::default() }
    }

    /// A file with this line at the place of the key.
    fn file(path: &str, line: &str) -> String {
        match path.rsplit_once('.') {
            _ if line.starts_with('[') => line.to_owned(),
            None => line.to_owned(),
            Some(("gateway.listener", _)) => format!("[[gateway.listener]]\n{line}"),
            Some((section, _)) => format!("[{section}]\n{line}"),
        }
    }

    #[test]
    fn every_key_has_an_example() {
        let known: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        for key in key::KEYS {
            assert!(known.contains(&key.path), "{}", key.path);
        }
        for list in key::LISTS {
            let path = list["CERTWARD_".len()..].to_ascii_lowercase().replace("__", ".");
            assert!(known.contains(&path.as_str()), "{path}");
        }
    }

    #[test]
    fn every_example_is_read() {
        for (path, line) in EXAMPLES {
            let loaded = source(&file(path, line)).load().map_err(|error| error.to_string());
            // Rules between keys are another matter.
            let fault = loaded.err().unwrap_or_default();
            let other = ["missing field", "needs api.", "set store to share", "an address to listen on"];
            assert!(fault.is_empty() || other.iter().any(|it| fault.contains(it)), "{line}: {fault}");
        }
    }

    #[test]
    fn a_value_of_a_wrong_type_is_answered_with_the_right_form() {
        for (path, line) in EXAMPLES {
            let name = path.rsplit('.').next().unwrap_or(path);
            let wrong = if line.contains('"') || line.starts_with('[') { "12345" } else { "[{a = 1}]" };
            let given = match path {
                "gateway.listener" => "[gateway.listener]\nlisten = \"[::]:1\"".to_owned(),
                _ if line.starts_with('[') => format!("{name} = {wrong}"),
                _ => file(path, &format!("{name} = {wrong}")),
            };
            let error = source(&given).load().unwrap_err().to_string();
            assert!(error.ends_with(&format!("; write {line}")), "{given}: {error}");
        }
    }

    #[test]
    fn an_item_of_a_list_has_the_form_of_its_list() {
        let error = source("[gateway]\nupstream_allow = [\"10.0.0.0/8\", 7]").load().unwrap_err().to_string();
        assert!(error.ends_with("; write upstream_allow = [\"10.0.0.0/8\"]"), "{error}");
    }
}
