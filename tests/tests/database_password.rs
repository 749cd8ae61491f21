//! The database's password appears nowhere, at any log level.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use certward_tests::{Certward, PostgresServer, Scene, Setup, run, wait_until};
use rustix::process::Signal;

/// Plain, and encoded in a URL.
const PASSWORD: &str = "CANARY!of the@database";
const IN_URL: &str = "CANARY%21of%20the%40database";
/// Contained in its every form.
const NEEDLES: [&str; 2] = ["CANARY", "Q0FOQVJZ"];

#[derive(Default)]
struct Places(Vec<(String, Vec<u8>)>);

impl Places {
    fn add(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), bytes.into()));
    }

    /// A program must fail with a useful message.
    fn add_failure(&mut self, place: &str, output: &Output) {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(!output.status.success(), "{place}: {text}");
        assert!(text.trim().len() > 20 && !text.contains("panicked"), "{place}: {text}");
        self.add(place, said);
    }

    fn add_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                self.add(&path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    fn leak(&self) -> Option<String> {
        self.0.iter().find_map(|(place, bytes)| {
            let text = String::from_utf8_lossy(bytes);
            NEEDLES.iter().any(|needle| text.contains(needle)).then(|| format!("{place}: {text}"))
        })
    }
}

fn setup(store: &str) -> Setup {
    Setup { store: Some(store.to_owned()), log_level: "trace", ..Setup::default() }
}

/// As verbose as the environment allows.
fn verbose(command: &mut Command) -> &mut Command {
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("PGOPTIONS", "")
}

/// Every program that reads the URL; `embedded` is a store to migrate from.
fn everything_that_reads(url: &str, place: &str, embedded: &Certward, places: &mut Places) {
    let certward = Certward::prepare(setup(url));
    for name in ["init", "serve"] {
        let mut command = certward.cli_without_key(&[name, "--config"]);
        let output = run(verbose(command.arg(certward.config())));
        places.add_failure(&format!("{name}, {place}"), &output);
    }
    let output = run(migrate(embedded).env("CERTWARD_MIGRATE_TO", url));
    places.add_failure(&format!("migrate-store, {place}"), &output);
}

fn migrate(embedded: &Certward) -> Command {
    let mut command = embedded.cli_without_key(&["migrate-store", "--config"]);
    verbose(command.arg(embedded.config()));
    command
}

#[test]
fn the_password_of_the_database_comes_out_nowhere() {
    let mut server = PostgresServer::start_on_tcp();
    server.require_password(PASSWORD);
    let database = server.database();
    let database = database.rsplit('/').next().unwrap();
    let right = server.tcp_url(database).replace("certward@", &format!("certward:{IN_URL}@"));
    let mut places = Places::default();

    // The database goes away and comes back.
    let mut scene = Scene::with(setup(&right));
    scene.run_one_way();
    let api = scene.api();
    let ask = |places: &mut Places| {
        for path in ["/metrics", "/readyz", "/healthz", "/public_api/v1/nodes", "/public_api/v1/deployments"]
        {
            let answer = api.try_send_at("GET", path, "", "").unwrap();
            places.add(path, format!("{answer:?}"));
        }
        places.add("certward nodes", format!("{:?}", scene.certward.cli(&["nodes"])));
    };
    ask(&mut places);
    server.stop();
    wait_until("a refusal", || (api.tls(Scene::DEPLOYMENT).status == 503).then_some(()));
    ask(&mut places);
    scene.certward.signal(Signal::HUP);
    server.resume();
    wait_until("recovery", || (api.tls(Scene::DEPLOYMENT).status == 200).then_some(()));
    // Open connections stay, new ones are refused.
    server.require_password("another");
    server.query("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()");
    wait_until("a refusal", || (api.tls(Scene::DEPLOYMENT).status == 503).then_some(()));
    ask(&mut places);
    places.add_files(&scene.certward.data());
    assert!(scene.certward.stop().success());
    let log = scene.certward.log();
    assert!(log.contains("password authentication failed"), "the cause is reported: {log}");
    places.add("the log", log);
    places.add_files(&scene.certward.data());

    // The search works.
    let mut control = Places::default();
    control.add_files(scene.certward.folder());
    assert!(control.leak().is_some());

    let embedded = Certward::prepare(Setup { log_level: "trace", ..Setup::default() });
    assert!(embedded.run_init(&[]).status.success());
    let file = embedded.folder().join("url");
    fs::write(&file, &right).unwrap();
    places.add_failure("migrate-store --to", &run(migrate(&embedded).arg("--to").arg(&right)));
    places.add_failure("migrate-store --to-file", &run(migrate(&embedded).arg("--to-file").arg(&file)));
    let port = right.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    let missing = "/nowhere/CANARY.pem";
    for (place, url) in [
        ("wrong password", right.clone()),
        ("no database", right.replace(&format!("/{database}"), "/none")),
        ("no listener", right.replace(port, "1")),
        ("no such host", right.replace("127.0.0.1", "db.invalid")),
        ("no TLS", format!("{right}?sslmode=require")),
        ("no file", format!("{right}?sslmode=verify-full&sslrootcert={missing}")),
        ("unknown parameter", format!("{right}?pasword={IN_URL}")),
        ("password as a parameter", right.replace(&format!(":{IN_URL}"), "") + "?password=" + IN_URL),
        ("no host", format!("postgres://?user=certward&password={IN_URL}")),
        ("no port", right.replace(port, IN_URL)),
        ("no URL", format!("certward:{IN_URL}@127.0.0.1/{database}")),
        ("another database", right.replace("postgres://", "mysql://")),
        ("two of them", format!("{right} {right}?sslmode={IN_URL}")),
    ] {
        everything_that_reads(&url, place, &embedded, &mut places);
    }
    assert_eq!(places.leak(), None);
}

#[test]
fn a_configuration_that_holds_the_password_in_a_wrong_place_is_refused_without_it() {
    let url = format!("postgres://certward:{IN_URL}@127.0.0.1/certward");
    let mut places = Places::default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("certward.toml");
    for text in [
        format!("store = \"{url}"),
        format!("store = {url}"),
        format!("store = '{url}' '{url}'"),
        format!("store = [\"{url}\", 5]"),
        format!("store = [[\"{url}\"]]"),
        format!("store = {{ url = \"{url}\" }}"),
        format!("[store]\nurl = \"{url}\""),
        format!("stores = \"{url}\""),
        format!("\"{url}\" = \"store\""),
        format!("store = \"{url}\"\nstore = \"{url}\""),
        format!("api = \"{url}\""),
        format!("gateway = \"{url}\""),
        format!("limits = [\"{url}\"]"),
        format!("[api]\nlisten = \"{url}\""),
        format!("[api]\nallow_plain_http = \"{url}\""),
        format!("[gateway]\ndrain = \"{url}\""),
        format!("[gateway]\ndefault_deployment = \"{url}\""),
        format!("[gateway]\nupstream_allow = [\"{url}\"]"),
        format!("[gateway]\nconnections_per_address = \"{url}\""),
        format!("[[gateway.listener]]\nlisten = \"{url}\"\nprotocol = \"mqtts\""),
        format!("[[gateway.listener]]\nlisten = \"127.0.0.1:1\"\nprotocol = \"{url}\""),
        format!("[limits]\nreads = \"{url}\""),
        format!("[log]\nlevel = \"{url}\""),
        format!("[log]\nformat = \"{url}\""),
    ] {
        fs::write(&file, &text).unwrap();
        let mut command = Command::new(certward_tests::certward_binary());
        let output = run(verbose(command.args(["serve", "--config"]).arg(&file).current_dir(folder.path())));
        places.add_failure(&text, &output);
    }
    for variable in [
        "CERTWARD_API__LISTEN",
        "CERTWARD_GATEWAY__DRAIN",
        "CERTWARD_GATEWAY__DEFAULT_DEPLOYMENT",
        "CERTWARD_LIMITS__READS",
        "CERTWARD_LOG__LEVEL",
        "CERTWARD_MASTER_KEY",
    ] {
        let mut command = Command::new(certward_tests::certward_binary());
        command.args(["init"]).env(variable, &url).current_dir(folder.path());
        fs::remove_file(&file).ok();
        places.add_failure(variable, &run(verbose(&mut command)));
    }
    assert_eq!(places.leak(), None);
}
