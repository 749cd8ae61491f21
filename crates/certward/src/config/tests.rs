use std::{path::PathBuf, time::Duration};

use certward_lifecycle::ExpiryRule;
use certward_store::{Nat64, Role};

use super::{error::Origin, *};

fn source(text: &str) -> ConfigSource {
    ConfigSource { file: Some(("certward.toml".into(), text.into())), ..ConfigSource::default() }
}

fn variables(pairs: &[(&str, &str)]) -> ConfigSource {
    let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ConfigSource { variables, ..ConfigSource::default() }
}

fn config(source: &ConfigSource) -> Config {
    source.load().unwrap().config
}

/// Every key of the file.
const EVERYTHING: &str = r#"
data_dir = "/var/lib/certward"
store = "postgres://certward:secret@db/certward"
role = "gateway"
master_key_file = "/etc/certward/master.key"
[api]
listen = "0.0.0.0:8080"
cert = "api.pem"
key = "api.key"
allow_plain_http = false
platform = "bare metal"
region = "cellar"
[[gateway.listener]]
listen = "0.0.0.0:8883"
protocol = "mqtts"
[[gateway.listener]]
listen = "[::]:8084"
protocol = "wss"
deployment = "ge6a1a75"
[gateway]
default_deployment = "ge6a1a75"
upstream_allow = ["10.0.0.0/8", "192.0.2.7"]
upstream_nat64 = ["2001:db8:64::/96"]
upstream_source = ["10.0.0.5", "fd00::5"]
connections_per_address = 100
prove_within = "90s"
[limits]
reads = 600
changes = 60
rollbacks = 12
client_cas = 12
revocations = 60
window = "24h"
deployments_per_project = 100
[alerts]
alert_allow = ["192.0.2.0/24"]
ca_file = "hooks.pem"
rules = ["14d", "1/30"]
ca_rules = ["1/5"]
[crl]
crl_allow = ["192.0.2.0/24", "fd00::/8"]
ca_file = "crl-servers.pem"
[log]
level = "debug"
format = "json"
[metrics]
per_deployment = true
"#;

#[test]
fn without_a_file_and_variables_the_defaults_hold() {
    let config = config(&ConfigSource::default());
    assert_eq!(config, Config::default());
    assert_eq!(config.data_dir, PathBuf::from("certward-data"));
    assert_eq!(config.master_key_place(), "certward-data/master.key");
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.gateway.prove_within, Duration::from_secs(60));
    assert_eq!((config.limits.reads, config.limits.changes, config.limits.rollbacks), (60, 6, 6));
    assert_eq!(config.limits.client_cas, 30);
    assert_eq!(config.limits.window, Duration::from_secs(3_600));
    let listeners = config.gateway.listeners();
    let listeners: Vec<_> = listeners.iter().map(|l| (l.listen.to_string(), l.protocol.as_str())).collect();
    assert_eq!(listeners, [("[::]:8883".into(), "mqtts"), ("[::]:8084".into(), "wss")]);
}

#[test]
fn every_key_of_the_file_is_read() {
    let config = config(&source(EVERYTHING));
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/certward"));
    assert_eq!(format!("{:?}", config.store.as_ref().unwrap().servers()), "[\"db:5432\"]");
    assert_eq!(config.role, Role::Gateway);
    assert_eq!(config.master_key_place(), "/etc/certward/master.key");
    assert_eq!(config.api.cert, Some(PathBuf::from("api.pem")));
    assert_eq!((config.api.platform.as_str(), config.api.region.as_str()), ("bare metal", "cellar"));
    let bound = &config.gateway.listeners()[1];
    assert_eq!(bound.deployment.as_ref().unwrap().as_str(), "ge6a1a75");
    assert_eq!(config.gateway.upstream_allow.as_ref().unwrap().len(), 2);
    assert_eq!(config.gateway.upstream_nat64, Nat64::parse(&["2001:db8:64::/96"]).unwrap());
    assert_eq!(config.limits.deployments_per_project, 100);
    assert!(config.metrics.per_deployment);
    assert_eq!(
        (config.alerts.alert_allow.len(), config.alerts.ca_file),
        (1, Some(PathBuf::from("hooks.pem")))
    );
    assert_eq!(config.alerts.rules, Some(vec![ExpiryRule::Days(14), ExpiryRule::Share(30)]));
    assert_eq!(config.alerts.ca_rules, Some(vec![ExpiryRule::Share(5)]));
    assert_eq!((config.crl.crl_allow.len(), config.crl.ca_file), (2, Some(PathBuf::from("crl-servers.pem"))));
    assert_eq!(config.gateway.upstream_source.len(), 2);
    assert_eq!(config.gateway.connections_per_address, Some(100));
    assert_eq!(config.gateway.prove_within, Duration::from_secs(90));
    assert_eq!(config.limits.window, Duration::from_secs(86_400));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn a_wrong_key_or_value_names_the_line_and_what_is_allowed() {
    let cases = [
        ("data_dri = \"x\"", 1, "unknown field `data_dri`, expected one of `data_dir`"),
        ("\n[apii]\n", 2, "unknown field `apii`, expected one of"),
        ("[api]\nlisen = \"127.0.0.1:1\"", 2, "unknown field `lisen`, expected one of `listen`"),
        ("[api]\nlisten = \"localhost:80\"", 2, "allowed is ADDRESS:PORT"),
        ("[api]\nlisten = 8080", 2, "expected a string"),
        ("[api]\nallow_plain_http = \"yes\"", 2, "expected a boolean"),
        ("[api]\n\ncert = \"a.pem\"", 3, "api.cert needs api.key"),
        ("[api]\nkey = \"a.key\"", 2, "api.key needs api.cert"),
        ("[api]\nlisten = \"0.0.0.0:8080\"", 2, "plain HTTP is allowed on loopback only"),
        ("[[gateway.listener]]\nlisten = \"0.0.0.0:1\"\nprotocol = \"mqtt\"", 3, "expected `mqtts` or `wss`"),
        ("[[gateway.listener]]\nlisten = \"0.0.0.0:1\"", 1, "missing field `protocol`"),
        ("[[gateway.listener]]\nprotocol = \"wss\"", 1, "missing field `listen`"),
        ("[gateway]\ndefault_deployment = \"Ge6\"", 2, "is no deployment id: only a-z, 0-9 and '-'"),
        ("[gateway]\nlistener = []", 2, "the list is empty"),
        ("[gateway]\nupstream_allow = [\"10.0.0.1/8\"]", 2, "write 10.0.0.0/8"),
        ("[gateway]\nupstream_allow = \"10.0.0.0/8\"", 2, "expected a sequence"),
        ("[alerts]\nalert_allow = [\"hooks.example\"]", 2, "is no network"),
        ("[crl]\ncrl_allow = [\"ca.example\"]", 2, "is no network"),
        ("[crl]\ncrl_allow = \"10.0.0.0/8\"", 2, "expected a sequence"),
        ("[alerts]\nrules = [\"1/1\"]", 2, "\"1/1\" is no rule"),
        ("[alerts]\nrules = [\"end\"]", 2, "\"end\" is no rule"),
        (
            "[alerts]\nca_rules = [\"1d\", \"2d\", \"3d\", \"4d\", \"5d\", \"6d\", \"7d\", \"8d\", \"9d\", \"10d\", \"11d\"]",
            2,
            "at most 10",
        ),
        ("[gateway]\nupstream_source = [\"10.0.0.0/8\"]", 2, "allowed are addresses of this machine"),
        ("[gateway]\nupstream_source = [\"::\"]", 2, "can be no address of this machine"),
        ("[gateway]\nupstream_source = [\"::1\", \"::1\"]", 2, "stands there twice"),
        ("[gateway]\nupstream_source = \"10.0.0.5\"", 2, "expected a sequence"),
        ("[gateway]\nconnections_per_address = 0", 2, "outside what is allowed: 1 to 1000000"),
        ("[gateway]\nhandshake_within = \"0s\"", 2, "outside what is allowed: 1s to 5m"),
        ("[gateway]\nconnect_within = \"301s\"", 2, "outside what is allowed: 1s to 5m"),
        ("[gateway]\nprove_within = \"2h\"", 2, "outside what is allowed: 1s to 1h"),
        ("[gateway]\nprove_within = 60", 2, "expected a string"),
        ("[gateway]\ndrain = \"61m\"", 2, "outside what is allowed: 0s to 1h"),
        ("[gateway]\nstale_trust = \"9s\"", 2, "outside what is allowed: 10s to 31d; or \"serve\""),
        ("[gateway]\nstale_trust = \"never\"", 2, "is no duration"),
        ("[gateway]\nexpired_sessions = \"drop\"", 2, "close"),
        ("[gateway]\ndevices = \"some\"", 2, "full"),
        (
            "[[gateway.listener]]\nlisten = \"[::]:1\"\nprotocol = \"wss\"\nproxy_protocol_from = [\"10.0.0.1/8\"]",
            4,
            "write 10.0.0.0/8",
        ),
        ("[gateway]\nupstream_nat64 = [\"64:ff9b::/95\"]", 2, "32, 40, 48, 56, 64 or 96 bits"),
        ("[gateway]\nupstream_nat64 = [\"10.0.0.0/8\"]", 2, "must be an IPv6 prefix"),
        ("[limits]\ndeployments_per_project = -1", 2, "outside what is allowed: 0 to 1000000"),
        ("[limits]\nreads = 0", 2, "outside what is allowed: 1 to 1000000"),
        ("[limits]\nchanges = -6", 2, "outside what is allowed: 1 to 1000000"),
        ("[limits]\nrollbacks = 0", 2, "outside what is allowed: 1 to 1000000"),
        ("[limits]\nclient_cas = 0", 2, "outside what is allowed: 1 to 1000000"),
        ("[limits]\nrevocations = 0", 2, "outside what is allowed: 1 to 1000000"),
        ("[limits]\nwindow = \"60\"", 2, "allowed is a whole number with s, m, h or d"),
        ("[limits]\nwindow = \"32d\"", 2, "outside what is allowed: 1s to 31d"),
        ("[log]\nlevel = \"loud\"", 2, "expected one of `error`, `warn`, `info`, `debug`, `trace`"),
        ("[metrics]\nper_deployment = 1", 2, "expected a boolean"),
        ("[log]\nformat = \"xml\"", 2, "expected `text` or `json`"),
        ("\nrole = \"proxy\"", 2, "allowed are all, api and gateway"),
        ("\nrole = \"api\"", 2, "set store to share a PostgreSQL database"),
        ("store = \"mysql://db\"", 1, "allowed is postgres://"),
        ("master_key = \"00\"", 1, "unknown field `master_key`"),
        ("[api\n", 1, ""),
        ("data_dir = \"a\"\ndata_dir = \"b\"", 2, "duplicate key"),
    ];
    for (text, line, says) in cases {
        let error = source(text).load().unwrap_err();
        assert_eq!(
            error.origin,
            Origin::File { path: "certward.toml".into(), line: Some(line) },
            "{text}: {error}"
        );
        assert!(error.message.contains(says), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("certward.toml, line {line}: ")), "{error}");
    }
}

#[test]
fn addresses_that_stand_twice_are_found_where_they_stand_again() {
    let twice = "[[gateway.listener]]\nlisten = \"127.0.0.1:1\"\nprotocol = \"mqtts\"\n\
                 [[gateway.listener]]\nprotocol = \"wss\"\nlisten = \"127.0.0.1:1\"\n";
    let error = source(twice).load().unwrap_err();
    assert_eq!(error.to_string(), "certward.toml, line 6: this address is another listener's already");
    let the_apis = "[[gateway.listener]]\nlisten = \"127.0.0.1:8080\"\nprotocol = \"mqtts\"\n";
    let error = source(the_apis).load().unwrap_err();
    assert_eq!(error.to_string(), "certward.toml, line 2: this address is the API's already");
    let chosen = twice.replace("127.0.0.1:1", "127.0.0.1:0");
    assert!(source(&chosen).load().is_ok(), "the system chooses two different ports");
}

#[test]
fn a_password_in_the_file_is_in_no_error_and_no_debug_output() {
    for text in [
        "store = \"mysql://u:hunter2@db\"",
        "store = \"postgres://u:hunter2@db\" x",
        "store = \"postgres://u:hunter2@db",
        "store = [\"hunter2\"]",
        "store = [\"postgres://u:hunter2@db\", \"hunter2\"]",
        "store = \"postgres://u:hunter2@db?hunter2=1\"",
        "store = \"postgres://u:pa/hunter2@db\"",
        "stroe = \"postgres://u:hunter2@db\"",
    ] {
        let error = source(text).load().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let config = config(&source("store = \"postgres://u:hunter2@db\""));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_variable_is_stronger_than_the_file() {
    let mut source = source("data_dir = \"a\"\n[api]\nlisten = \"127.0.0.1:1\"\nregion = \"here\"");
    source.variables = variables(&[
        ("CERTWARD_API__LISTEN", "127.0.0.1:2"),
        ("CERTWARD_API__ALLOW_PLAIN_HTTP", "true"),
        ("CERTWARD_LIMITS__CHANGES", "7"),
        ("CERTWARD_LOG__LEVEL", "trace"),
    ])
    .variables;
    let config = config(&source);
    assert_eq!(config.api.listen.port(), 2);
    assert_eq!(config.api.region, "here", "what no variable names stays");
    assert!(config.api.allow_plain_http);
    assert_eq!((config.limits.changes, config.limits.reads), (7, 60));
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.data_dir, PathBuf::from("a"));
}

#[test]
fn every_single_valued_key_has_a_variable() {
    // A key that the types do not know fails as an unknown field.
    let values = [
        ("data_dir", "x"),
        ("store", "postgres://db"),
        ("role", "api"),
        ("master_key_file", "x"),
        ("master_key_next_file", "x"),
        ("api.listen", "127.0.0.1:1"),
        ("api.cert", "x"),
        ("api.key", "x"),
        ("api.allow_plain_http", "true"),
        ("api.platform", "x"),
        ("api.region", "x"),
        ("gateway.default_deployment", "x"),
        ("gateway.connections_per_address", "10"),
        ("gateway.handshake_within", "1s"),
        ("gateway.connect_within", "5m"),
        ("gateway.prove_within", "10s"),
        ("gateway.drain", "0s"),
        ("gateway.stale_trust", "10m"),
        ("gateway.expired_sessions", "close"),
        ("gateway.devices", "counts"),
        ("limits.reads", "1"),
        ("limits.changes", "1"),
        ("limits.rollbacks", "1"),
        ("limits.client_cas", "1"),
        ("limits.revocations", "1"),
        ("limits.window", "10s"),
        ("limits.deployments_per_project", "10"),
        ("alerts.ca_file", "x"),
        ("crl.ca_file", "x"),
        ("log.level", "warn"),
        ("log.format", "json"),
        ("metrics.per_deployment", "true"),
    ];
    assert_eq!(values.map(|(path, _)| path), key::KEYS.map(|key| key.path));
    let all: Vec<_> = key::KEYS.iter().zip(values).map(|(key, (_, value))| (key.variable(), value)).collect();
    let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let config = config(&variables(&all));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.api.key, Some(PathBuf::from("x")));
}

#[test]
fn a_wrong_variable_is_named_with_what_is_allowed() {
    let cases = [
        ("CERTWARD_API__LISTEN", "8080", "allowed is ADDRESS:PORT"),
        ("CERTWARD_API__ALLOW_PLAIN_HTTP", "yes", "allowed are true and false"),
        ("CERTWARD_LIMITS__READS", "many", "is no whole number"),
        ("CERTWARD_LIMITS__READS", "0", "1 to 1000000"),
        ("CERTWARD_LOG__LEVEL", "", "it is empty"),
        ("CERTWARD_API__LISEN", "127.0.0.1:1", "the nearest is CERTWARD_API__LISTEN"),
        ("CERTWARD_LIMIT__WINDOW", "1h", "the nearest is CERTWARD_LIMITS__WINDOW"),
        ("CERTWARD_GATEWAY__LISTENER", "x", "lists stand in the file only"),
        ("CERTWARD_GATEWAY__UPSTREAM_ALLOW", "x", "lists stand in the file only"),
        ("CERTWARD_GATEWAY__UPSTREAM_SOURCE", "x", "lists stand in the file only"),
        ("CERTWARD_CRL__CRL_ALLOW", "x", "lists stand in the file only"),
        ("CERTWARD_MASTER_KEY__FILE", "x", "the nearest is CERTWARD_MASTER_KEY_FILE"),
    ];
    for (name, value, says) in cases {
        let error = variables(&[(name, value)]).load().unwrap_err();
        assert_eq!(error.origin, Origin::Variable(name.into()));
        assert!(error.message.contains(says), "{error}");
    }
    let error = variables(&[("CERTWARD_API__LISTEN", "0.0.0.0:1")]).load().unwrap_err();
    assert_eq!(
        error.origin,
        Origin::Variable("CERTWARD_API__LISTEN".into()),
        "rules between keys know it as well"
    );
}

#[test]
fn the_variables_of_clients_and_of_others_are_no_configuration() {
    let loaded = variables(&[
        ("CERTWARD_URL", "http://elsewhere"),
        ("CERTWARD_API_KEY", "k"),
        ("CERTWARD_SECRET_KEY", "s"),
        ("CERTWARD_KEY_FILE", "f"),
        ("CERTWARD_LOGIN", "l"),
        ("CERTWARD_CA_FILE", "f"),
        ("PATH", "/bin"),
        ("certward_api__listen", "127.0.0.1:1"),
    ])
    .load()
    .unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn what_kubernetes_sets_beside_a_service_is_a_warning() {
    let loaded =
        variables(&[("CERTWARD_SERVICE_HOST", "10.0.0.1"), ("CERTWARD_DATADIR", "x")]).load().unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[1].contains("the nearest is CERTWARD_DATA_DIR"), "{:?}", loaded.warnings);
}

#[test]
fn the_master_key_comes_from_one_place() {
    let digits = "0f".repeat(32);
    let config = config(&variables(&[("CERTWARD_MASTER_KEY", &digits)]));
    assert_eq!(config.master_key.as_ref().unwrap().expose(), digits);
    assert!(!format!("{config:?}").contains(&digits));
    let mut both = source("\nmaster_key_file = \"x\"");
    both.variables = variables(&[("CERTWARD_MASTER_KEY", &digits)]).variables;
    let error = both.load().unwrap_err();
    assert_eq!(error.origin, Origin::File { path: "certward.toml".into(), line: Some(2) });
    assert!(!error.to_string().contains(&digits));
}

#[test]
fn each_master_key_comes_from_the_most_explicit_of_its_places() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), "0f".repeat(32));
    let credentials = folder.path().to_str().unwrap();
    let places = |variables: &[(&str, &str)], text: &str| {
        let mut source = source(text);
        source.variables = self::variables(variables).variables;
        let sources = config(&source).master_key_sources();
        (sources.current.place(), sources.next.place())
    };
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let none: [(&str, &str); 1] = [("CREDENTIALS_DIRECTORY", credentials)];
    let default = ("certward-data/master.key".to_owned(), "certward-data/master.key.next".to_owned());
    assert_eq!(places(&none, ""), default, "no credential is there");
    let names = ["certward-master-key", "certward-master-key-next"];
    names.iter().for_each(|name| std::fs::write(folder.path().join(name), &digits).unwrap());
    assert_eq!(places(&none, ""), (in_folder(names[0]), in_folder(names[1])));
    assert_eq!(places(&[], ""), default);
    let files = "master_key_file = \"a\"\nmaster_key_next_file = \"b\"\n";
    assert_eq!(places(&none, files), ("a".into(), "b".into()));
    let both = [("CERTWARD_MASTER_KEY", digits.as_str()), ("CERTWARD_MASTER_KEY_NEXT", &digits)];
    let (current, next) = places(&both, "");
    assert_eq!(
        (current.as_str(), next.as_str()),
        ("the variable CERTWARD_MASTER_KEY", "the variable CERTWARD_MASTER_KEY_NEXT")
    );
    let mut twice = source(files);
    twice.variables = variables(&both[1..]).variables;
    assert_eq!(
        twice.load().unwrap_err().origin,
        Origin::File { path: "certward.toml".into(), line: Some(2) }
    );
}

#[test]
fn a_next_master_key_that_is_not_there_is_none_and_a_wrong_one_is_an_error() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), "0f".repeat(32));
    let config = Config { data_dir: folder.path().into(), ..Config::default() };
    certward_store::MasterKey::parse(&digits).unwrap().write_new(&folder.path().join("master.key")).unwrap();
    assert!(config.read_master_keys().unwrap().next.is_none());
    let next = folder.path().join("master.key.next");
    std::fs::write(&next, "0f").unwrap();
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let error = config.read_master_keys().unwrap_err().to_string();
    assert!(error.contains("master.key.next: ") && error.contains("64 hexadecimal digits"), "{error}");
    std::fs::write(&next, &digits).unwrap();
    assert!(config.read_master_keys().unwrap().next.is_some());
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_allowed() {
    let cases = [
        ("listen = \"127.0.0.1:1\"", true),
        ("listen = \"127.8.9.1:1\"", true),
        ("listen = \"[::1]:1\"", true),
        ("listen = \"[::ffff:127.0.0.1]:1\"", true),
        ("listen = \"0.0.0.0:1\"", false),
        ("listen = \"[::]:1\"", false),
        ("listen = \"192.0.2.1:1\"", false),
        ("listen = \"192.0.2.1:1\"\nallow_plain_http = true", true),
        ("listen = \"192.0.2.1:1\"\ncert = \"a\"\nkey = \"b\"", true),
    ];
    for (keys, allowed) in cases {
        assert_eq!(source(&format!("[api]\n{keys}")).load().is_ok(), allowed, "{keys}");
    }
}

#[test]
fn the_command_line_says_the_role_whatever_stands_elsewhere() {
    let mut source = source("store = \"postgres://db\"\nrole = \"gateway\"");
    source.role = Some(Role::Api);
    assert_eq!(config(&source).role, Role::Api);
    let alone = ConfigSource { role: Some(Role::Gateway), ..ConfigSource::default() };
    let error = alone.load().unwrap_err();
    assert!(error.to_string().starts_with("--role: the embedded store is that of one process"), "{error}");
    assert!(ConfigSource { role: Some(Role::All), ..ConfigSource::default() }.load().is_ok());
}

#[test]
fn what_a_role_has_no_use_for_is_a_warning() {
    let cases = [
        ("all", vec![]),
        (
            "api",
            vec![
                "a node of the role api ignores gateway.listener, gateway.handshake_within, gateway.connect_within, gateway.drain",
            ],
        ),
        ("gateway", vec!["a node of the role gateway ignores api.region, limits.window"]),
    ];
    for (role, warnings) in cases {
        let text = format!(
            "store = \"postgres://db\"\nrole = {role:?}\n[api]\nregion = \"here\"\nplatform = \"certward\"\n\
             [gateway]\nprove_within = \"9s\"\ndrain = \"9s\"\nhandshake_within = \"9s\"\nconnect_within = \"9s\"\n\
             [[gateway.listener]]\nlisten = \"[::]:1\"\nprotocol = \"wss\"\n[limits]\nreads = 60\nwindow = \"9h\""
        );
        assert_eq!(source(&text).load().unwrap().warnings, warnings, "{role}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    let error =
        ConfigSource::gather(Some(std::path::Path::new("/nowhere/certward.toml")), std::iter::empty())
            .err()
            .unwrap();
    assert!(
        error.to_string().starts_with("/nowhere/certward.toml: the configuration cannot be read: "),
        "{error}"
    );
}

/// docs/configuration.md.
mod documentation {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/configuration.md");

    #[test]
    fn its_complete_example_is_read_and_says_the_defaults() {
        let example = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let with_comments = config(&source(example));
        let mut defaults = Config::default();
        // The example spells out the default listeners.
        let listeners = with_comments.gateway.listeners();
        let is = |l: &certward_gateway::Listener| (l.listen, l.protocol, l.deployment.clone());
        assert_eq!(
            listeners.iter().map(is).collect::<Vec<_>>(),
            defaults.gateway.listeners().iter().map(is).collect::<Vec<_>>()
        );
        defaults.gateway.listener = with_comments.gateway.listener.clone();
        assert_eq!(with_comments, defaults);
    }

    #[test]
    fn its_tables_name_exactly_the_keys_that_exist() {
        let mut named: Vec<&str> = PAGE
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .filter(|key| !key.starts_with("CERTWARD_"))
            .collect();
        let mut known: Vec<&str> = key::KEYS.iter().map(|key| key.path).collect();
        known.extend([
            "alerts.alert_allow",
            "alerts.ca_rules",
            "alerts.rules",
            "crl.crl_allow",
            "gateway.upstream_allow",
            "gateway.upstream_nat64",
            "gateway.upstream_source",
            "gateway.listener.listen",
            "gateway.listener.protocol",
            "gateway.listener.deployment",
            "gateway.listener.proxy_protocol_from",
        ]);
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn its_defaults_are_the_programs() {
        let default = Config::default();
        let cases = [
            ("data_dir", default.data_dir.display().to_string()),
            ("role", default.role.to_string()),
            ("api.listen", default.api.listen.to_string()),
            ("api.allow_plain_http", default.api.allow_plain_http.to_string()),
            ("api.platform", default.api.platform.clone()),
            ("api.region", default.api.region.clone()),
            ("gateway.handshake_within", "10s".into()),
            ("gateway.connect_within", "10s".into()),
            ("gateway.prove_within", "60s".into()),
            ("gateway.drain", "30s".into()),
            ("gateway.stale_trust", "serve".into()),
            ("gateway.expired_sessions", "keep".into()),
            ("gateway.devices", "full".into()),
            ("limits.reads", default.limits.reads.to_string()),
            ("limits.changes", default.limits.changes.to_string()),
            ("limits.rollbacks", default.limits.rollbacks.to_string()),
            ("limits.client_cas", default.limits.client_cas.to_string()),
            ("limits.revocations", default.limits.revocations.to_string()),
            ("limits.window", "60m".into()),
            ("limits.deployments_per_project", default.limits.deployments_per_project.to_string()),
            ("log.level", "info".into()),
            ("log.format", "text".into()),
            ("metrics.per_deployment", default.metrics.per_deployment.to_string()),
        ];
        for (key, value) in cases {
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
            assert!(row.split('|').nth(2).unwrap().contains(&format!("`{value}`")), "{row}");
        }
    }

    #[test]
    fn it_names_the_variables_of_the_environment() {
        for name in ["CERTWARD_MASTER_KEY", "CERTWARD_API__LISTEN", "CERTWARD_DATA_DIR"] {
            assert!(PAGE.contains(name), "{name}");
        }
    }
}

#[test]
fn the_log_of_a_configuration_that_does_not_load_is_as_far_as_it_can_be_read() {
    let variable = [("CERTWARD_LOG__FORMAT".to_owned(), "json".to_owned())];
    for (file, variables, format, level) in [
        ("drian = 1\n[log]\nformat = \"json\"\nlevel = \"warn\"", &[][..], LogFormat::Json, LogLevel::Warn),
        ("[log]\nformat = \"xml\"\nlevel = \"debug\"", &[], LogFormat::Text, LogLevel::Debug),
        ("[log]\nformat = 7", &[], LogFormat::Text, LogLevel::Info),
        ("log = 1", &variable, LogFormat::Json, LogLevel::Info),
        ("no toml", &[], LogFormat::Text, LogLevel::Info),
        ("no toml", &variable, LogFormat::Json, LogLevel::Info),
    ] {
        let source = ConfigSource { variables: variables.to_vec(), ..source(file) };
        assert!(source.load().is_err(), "{file}");
        assert_eq!(source.log_section(), LogSection { level, format }, "{file}");
    }
}
