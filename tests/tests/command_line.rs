//! The command line over the life of a deployment, for people and for scripts.

use std::process::Output;

use certward_tests::{Authority, Broker, Certward, Setup, recipe, run};
use serde_json::{Value, json};

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn out_json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|error| panic!("no JSON ({error}): {}", out(output)))
}

/// Exit code and stderr.
fn refused(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn init_shows_the_first_key_once_and_changes_nothing_the_second_time() {
    let certward = Certward::prepare(Setup::default());
    let first = certward.run_init(&[]);
    let key = out_json(&first);
    let names: Vec<&String> = key.as_object().unwrap().keys().collect();
    assert_eq!(names, ["apiKey", "secretKey"]);
    assert_eq!(out(&first).lines().count(), 1, "the only thing on stdout");

    let files = || {
        let entries = std::fs::read_dir(certward.data()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.is_file()).map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = files();
    let (code, text) = refused(&certward.run_init(&[]));
    assert_eq!(code, 1);
    assert!(text.contains("--new-admin-key"), "it says what to do next: {text}");
    assert!(before == files(), "nothing changed");

    let another = out_json(&certward.run_init(&["--new-admin-key"]));
    assert_ne!(another["apiKey"], key["apiKey"]);
}

#[test]
fn serve_without_init_and_a_wrong_configuration_say_what_to_do() {
    let certward = Certward::prepare(Setup::default());
    let serve = || run(certward.cli_without_key(&["serve", "--config"]).arg(certward.config()));
    let (code, text) = refused(&serve());
    assert_eq!(code, 1);
    assert!(text.contains("certward init"), "{text}");

    std::fs::write(certward.config(), "[limits]\nreads = 60\nchangs = 6\n").unwrap();
    let (code, text) = refused(&serve());
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("certward.toml") && text.contains('3') && text.contains("changs"),
        "file, line, key: {text}"
    );
}

#[test]
fn a_configuration_is_checked_without_a_start() {
    let certward = Certward::prepare(Setup::default());
    let check = |more: &[&str]| {
        let mut command = certward.cli_without_key(&["config", "check", "--config"]);
        run(command.arg(certward.config()).args(more))
    };
    let text = out(&check(&[]));
    assert!(text.contains("certward.toml: no errors") && text.contains("mqtts 127.0.0.1:"), "{text}");
    let read = out_json(&check(&["--json"]));
    assert_eq!((&read["role"], &read["store"]), (&json!("all"), &json!("embedded")));
    assert_eq!(std::fs::read_dir(certward.data()).map_or(0, Iterator::count), 0, "nothing is made");

    std::fs::write(certward.config(), "role = \"all\"\n[gateway]\ndrain = 30\n").unwrap();
    let (code, text) = refused(&check(&[]));
    assert_eq!(code, 2, "{text}");
    let (_, of_serve) =
        refused(&run(certward.cli_without_key(&["serve", "--config"]).arg(certward.config())));
    let sentence = text.trim().trim_start_matches("certward: ");
    assert!(text.contains("line 3") && of_serve.contains(sentence), "as serve says it: {text}{of_serve}");

    std::fs::write(certward.config(), "[api]\ncert = \"none.pem\"\nkey = \"none.key\"\n").unwrap();
    let (code, text) = refused(&check(&[]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot read none.pem"), "{text}");
}

#[test]
fn a_deployment_lives_from_add_to_remove() {
    let certward = Certward::start();
    let broker = Broker::start(certward.folder());
    let (authority, clients) = (Authority::new("Test Server CA"), Authority::new("Device CA"));
    let cli = |line: &str| certward.cli(&line.split_whitespace().collect::<Vec<_>>());
    authority.server_named("first", &["localhost"]).write(certward.folder(), "first");
    authority.server_named("second", &["localhost"]).write(certward.folder(), "second");
    clients.write(certward.folder(), "clients.pem");

    out(&cli("project add factory --name Factory"));
    let upstream = broker.upstream();
    out(&cli(&format!("deployment add ge6a1a75 --upstream {upstream} --host localhost --project factory")));
    let list = out_json(&cli("deployment list --json"));
    assert_eq!(list[0]["deploymentID"], "ge6a1a75");
    let table = out(&cli("deployment list"));
    assert!(table.contains("ge6a1a75") && !table.contains('{'), "a table for people: {table}");
    assert_eq!(out_json(&cli("deployment show ge6a1a75 --json"))["hosts"], json!(["localhost"]));

    // `tls set` sends POST or PUT.
    let view = out_json(&cli("tls set ge6a1a75 --cert first.pem --key first.key --wait --json"));
    assert_eq!((&view["status"], &view["cn"]), (&json!("running"), &json!("first")));
    out(&cli("tls set ge6a1a75 --cert second.pem --key second.key --wait"));
    let view = out_json(&cli("tls show ge6a1a75 --json"));
    assert_eq!((&view["status"], &view["cn"]), (&json!("running"), &json!("second")));
    let shown = out(&cli("tls show ge6a1a75"));
    assert!(shown.contains("running") && shown.contains("second"), "{shown}");

    // Two-way stays two-way by default.
    out(&cli("tls set ge6a1a75 --cert second.pem --key second.key --client-ca clients.pem --wait"));
    let (code, text) = refused(&cli("tls set ge6a1a75 --cert first.pem --key first.key --wait"));
    assert_ne!(code, 0);
    assert!(text.contains("--client-ca") && text.contains("--one-way"), "{text}");
    assert_eq!(out_json(&cli("tls show ge6a1a75 --json"))["tlsType"], "two-way");
    out(&cli("tls set ge6a1a75 --cert first.pem --key first.key --keep-client-ca --wait"));
    let view = out_json(&cli("tls show ge6a1a75 --json"));
    assert_eq!((&view["tlsType"], &view["cn"]), (&json!("two-way"), &json!("first")));
    out(&cli("tls set ge6a1a75 --cert first.pem --key first.key --one-way --wait"));
    assert_eq!(out_json(&cli("tls show ge6a1a75 --json"))["tlsType"], "one-way");

    let (code, text) = refused(&cli("tls set ge6a1a75 --cert first.pem --key second.key"));
    assert_eq!(code, 1);
    assert!(text.contains("KEY_MISMATCH"), "{text}");
    let check = cli("tls check ge6a1a75 --cert first.pem --key second.key --json");
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(cli("tls check ge6a1a75 --cert first.pem --key first.key").status.code(), Some(0));

    out(&cli("deployment set ge6a1a75 --name Brokers"));
    assert_eq!(out_json(&cli("deployment show ge6a1a75 --json"))["deploymentName"], "Brokers");
    out(&cli("tls delete ge6a1a75 --wait"));
    assert_eq!(out_json(&cli("tls show ge6a1a75 --json")), json!({}));
    out(&cli("deployment remove ge6a1a75"));
    assert_eq!(out_json(&cli("deployment list --json")), json!([]));
    out(&cli("project remove factory"));
}

#[test]
fn a_project_is_given_a_boundary_and_it_holds_for_the_running_program() {
    let certward = Certward::start();
    let broker = Broker::start(certward.folder());
    let cli = |line: &str| certward.cli(&line.split_whitespace().collect::<Vec<_>>());
    let upstream = broker.upstream();
    out(&cli("project add factory --name Factory"));
    out(&cli(&format!(
        "project set factory --upstream-allow {upstream} --upstream-allow 10.0.0.0/8 --host-suffix factory.local"
    )));
    let shown = out_json(&cli("project show factory --json"));
    assert_eq!(shown["upstreamAllow"], json!([upstream, "10.0.0.0/8"]));
    for text in [out(&cli("project show factory")), out(&cli("project list"))] {
        assert!(text.contains("10.0.0.0/8") && text.contains("factory.local"), "{text}");
    }
    let add = |id: &str, project: &str, upstream: &str, host: &str| {
        cli(&format!("deployment add {id} --project {project} --upstream {upstream} --host {host}"))
    };
    for (project, upstream, host, code) in [
        ("factory", "192.0.2.1:1883", "a.factory.local", "UPSTREAM_NOT_ALLOWED"),
        ("factory", upstream.as_str(), "a.example.com", "HOST_NOT_ALLOWED"),
        ("default", "192.0.2.1:1883", "a.factory.local", "HOST_TAKEN"),
        ("default", "192.0.2.1:1883", "*.co.uk", "HOST_PUBLIC_SUFFIX"),
    ] {
        let (exit, text) = refused(&add("d", project, upstream, host));
        assert!(exit == 1 && text.contains(code), "{code}: {text}");
    }
    out(&add("line1", "factory", &upstream, "*.factory.local"));
    out(&add("other", "default", &upstream, "other.example.com"));
    assert!(out(&cli("deployment show other")).contains("UPSTREAM_SHARED"));
    let (exit, text) = refused(&cli("project set factory --host-suffix elsewhere.local"));
    assert!(exit == 1 && text.contains("HOST_SUFFIX_IN_USE") && text.contains("1 of this project"), "{text}");
    out(&cli("project set factory --no-upstream-allow --no-host-suffixes"));
    let shown = out_json(&cli("project show factory --json"));
    assert_eq!(shown, json!({"projectID": "factory", "projectName": "Factory", "description": ""}));
    assert_eq!(cli("project set factory").status.code(), Some(2), "nothing is named");
}

#[test]
fn keys_are_created_listed_used_and_revoked() {
    let certward = Certward::start();
    let cli = |arguments: &[&str]| certward.cli(arguments);
    let created = out_json(&cli(&["key", "create", "--name", "renewal script", "--scope", "tls", "--json"]));
    let (key, secret) = (created["apiKey"].as_str().unwrap(), created["secretKey"].as_str().unwrap());
    let list = out(&cli(&["key", "list"]));
    assert!(list.contains(key) && list.contains("renewal script") && !list.contains(secret), "{list}");

    let narrow = certward_tests::Api { key: key.into(), secret: secret.into(), ..certward.api() };
    narrow.tls("nosuchid").expect(404);
    assert_eq!(narrow.get("/keys").expect(403).code(), "NO_ACCESS");
    out(&cli(&["key", "revoke", key]));
    narrow.tls("nosuchid").expect(401);
    let (code, _) = refused(&cli(&["key", "revoke", &certward.api().key]));
    assert_eq!(code, 1, "the last admin key stays");
    certward.api().get("/keys").expect(200);
}

#[test]
fn a_key_of_any_scope_logs_in_and_a_revoked_one_names_its_login() {
    let certward = Certward::start();
    out(&certward.cli(&["project", "add", "lab"]));
    let created =
        certward.cli(&["key", "create", "--name", "n", "--scope", "tls:read", "--project", "lab", "--json"]);
    let key = out_json(&created)["apiKey"].as_str().unwrap().to_owned();
    let file = certward.folder().join("key.json");
    std::fs::write(&file, &created.stdout).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let logged_in = |arguments: &[&str]| {
        run(certward.cli_without_key(arguments).env("XDG_CONFIG_HOME", certward.folder().join("config")))
    };
    let base = certward.api().base();
    out(&logged_in(&["login", "--name", "lab", "--url", &base, "--key-file", "key.json"]));
    assert_eq!(out_json(&logged_in(&["--json", "--login", "lab", "deployment", "ls"])), json!([]));
    let (code, text) = refused(&logged_in(&["--login", "lab", "project", "add", "x"]));
    assert!(code == 1 && text.contains("NO_ACCESS"), "{text}");
    out(&certward.cli(&["key", "rm", &key]));
    let (code, text) = refused(&logged_in(&["--login", "lab", "deployment", "ls"]));
    assert!(code == 1 && text.contains("certward login --name lab"), "{text}");
    let (code, text) = refused(&logged_in(&["deployment", "ls"]));
    assert!(code == 2 && text.contains("no key is given"), "{text}");
}

#[test]
fn check_judges_offline_with_its_three_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe::make(folder.path());
    drop(recipe);
    let certward = Certward::prepare(Setup::default());
    let check = |arguments: &[&str]| {
        let mut command = certward.cli_without_key(&["check"]);
        run(command.args(arguments).current_dir(folder.path()))
    };
    let good =
        check(&["server.pem", "server.key", "--client-ca", "client-ca.pem", "--host", "localhost", "--json"]);
    out_json(&good);
    let bad = check(&["server.pem", "client.key"]);
    let text = [&bad.stdout[..], &bad.stderr[..]].concat();
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&text).contains("KEY_MISMATCH"));
    assert_eq!(check(&["server.pem", "missing.key"]).status.code(), Some(2));
    assert_eq!(check(&["server.pem"]).status.code(), Some(2));
}

#[test]
fn openapi_prints_the_document() {
    let certward = Certward::prepare(Setup::default());
    let document = out_json(&run(&mut certward.cli_without_key(&["openapi"])));
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.keys().any(|path| path.ends_with("/deployments/{id}/tls")), "{:?}", paths.keys());
}

#[test]
fn a_wrong_key_or_address_says_so() {
    let certward = Certward::start();
    let mut command = certward.cli_command(&["deployment", "list"]);
    let (code, text) = refused(&run(command.env("CERTWARD_SECRET_KEY", "wrong")));
    assert!(code == 1 && text.contains("UNAUTHORIZED"), "{code}: {text}");
    let mut command = certward.cli_command(&["deployment", "list"]);
    let (code, text) = refused(&run(command.env("CERTWARD_URL", "http://127.0.0.1:9/public_api/v1")));
    assert!(code == 1 && text.contains("127.0.0.1:9"), "{code}: {text}");
}
