//! The deploy hooks in contrib/hooks, called by the ACME clients that they are for.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use certward_tests::{
    Authority, Broker, Certward, Device, Pebble, PostgresServer, Process, Setup, certward_binary, free_port,
    run, wait_until, workspace_root,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// A one-way and a two-way deployment, and what a hook finds in /etc/certward.
struct Stage {
    certward: Certward,
    broker: Broker,
    devices: Authority,
}

const ONE_WAY: &str = "one.example.com";
const TWO_WAY: &str = "two.example.com";
/// As a line of deploy.conf.
const BOTH: &str = "one.example.com = oneway twoway";

impl Stage {
    fn new() -> Self {
        Self::with(Setup::with_contract_limits())
    }

    fn with(setup: Setup) -> Self {
        let certward = Certward::start_with(setup);
        let broker = Broker::start(certward.folder());
        let devices = Authority::new("Device CA");
        for (id, host) in [("oneway", ONE_WAY), ("twoway", TWO_WAY)] {
            certward.api().create_deployment(id, &broker.upstream(), &[host]);
        }
        let first = Authority::new("The CA before").server(&[ONE_WAY, TWO_WAY]);
        for (id, upload) in [("oneway", first.one_way()), ("twoway", first.two_way(devices.pem()))] {
            certward.api().post_tls(id, &upload).expect(200);
            certward.api().wait_running(id);
        }
        let stage = Self { certward, broker, devices };
        stage.make_key();
        stage.configure(BOTH);
        stage
    }

    fn file(&self, name: &str) -> PathBuf {
        self.certward.folder().join(name)
    }

    /// A new key in the file of the hook, as docs/renewals.md prints the command.
    fn make_key(&self) {
        let output = self.certward.cli(&["key", "create", "--name", "renewals", "--scope", "tls", "--json"]);
        assert!(output.status.success(), "{}", text(&output));
        let file = self.file("renewals.json");
        fs::write(&file, &output.stdout).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn configure(&self, line: &str) {
        let text =
            format!("# The hook's deployments.\n\n{line}\nCERTWARD_URL = {}\n", self.certward.api().base());
        fs::write(self.file("deploy.conf"), text).unwrap();
    }

    /// A program that calls the hook. Its shell acts with another key, which the hook must not use.
    fn calling(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let folders =
            [certward_binary().parent().unwrap(), &hooks()].map(|folder| folder.display().to_string());
        command
            .current_dir(self.certward.folder())
            .env("PATH", format!("{}:{path}", folders.join(":")))
            .env("CERTWARD_DEPLOY_CONF", self.file("deploy.conf"))
            .env("CERTWARD_API_KEY", "another")
            .env("CERTWARD_SECRET_KEY", "another");
        command
    }

    /// Asserts that new handshakes of both deployments show this leaf, and that the two-way one
    /// still asks for a certificate of the device CA.
    fn serves(&self, leaf: &[u8], device: &Device) {
        let known = device.clone().with_identity(&self.devices.client("device-1"));
        let stranger = device.clone().with_identity(&Authority::new("Device CA").client("device-1"));
        for (device, host) in [(device, ONE_WAY), (&known, TWO_WAY)] {
            let session = device.connect(self.certward.mqtts(), host, "device").unwrap();
            assert_eq!(session.leaf(), leaf, "{host}");
        }
        for device in [device, &stranger] {
            device.connect(self.certward.mqtts(), TWO_WAY, "device").expect_err("no trusted certificate");
        }
        for (id, tls_type) in [("oneway", "one-way"), ("twoway", "two-way")] {
            let tls = self.certward.api().tls(id).json();
            assert_eq!((&tls["status"], &tls["tlsType"]), (&"running".into(), &tls_type.into()), "{id}");
        }
        assert!(self.broker.output().contains("device"), "the devices reach the broker");
    }
}

fn hooks() -> PathBuf {
    workspace_root().join("contrib/hooks")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The arguments of the command with these words in docs/renewals.md.
fn printed_arguments(words: &str) -> Vec<String> {
    let page = fs::read_to_string(workspace_root().join("docs/renewals.md")).unwrap();
    let command = page.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}"));
    let hook = hooks().join("certward-deploy").display().to_string();
    let command =
        command.replace("mqtt.example.com", ONE_WAY).replace("/usr/local/bin/certward-deploy", &hook);
    command.split(' ').skip(1).map(str::to_owned).collect()
}

fn leaf_of(chain: &Path) -> Vec<u8> {
    CertificateDer::from_pem_slice(&fs::read(chain).unwrap()).unwrap().to_vec()
}

/// Issues, renews, and fails to deploy. `issue` and `renew` are the client's commands with the
/// hook; `failed` is its exit code if the hook fails.
fn issue_and_renew(
    stage: &Stage,
    pebble: &Pebble,
    chain: &str,
    mut issue: impl FnMut() -> Command,
    mut renew: impl FnMut() -> Command,
    failed: i32,
) {
    let chain = stage.file(chain);
    let device = Device::trusting_der(pebble.root());
    let output = run(&mut issue());
    assert!(output.status.success(), "{}", text(&output));
    let first = leaf_of(&chain);
    stage.serves(&first, &device);

    let output = run(&mut renew());
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("twoway serves the new certificate of one.example.com"),
        "{}",
        text(&output)
    );
    let second = leaf_of(&chain);
    assert_ne!(second, first, "it is renewed");
    stage.serves(&second, &device);

    let key = stage.file("renewals.json");
    fs::rename(&key, stage.file("away")).unwrap();
    let output = run(&mut renew());
    assert_eq!(output.status.code(), Some(failed), "{}", text(&output));
    let third = leaf_of(&chain);
    assert_ne!(third, second, "it is renewed, and not deployed");
    stage.serves(&second, &device);

    // The remedy is a command to copy.
    fs::rename(stage.file("away"), key).unwrap();
    let text = text(&output);
    let (_, command) = text.split_once("once the cause is fixed: ").unwrap_or_else(|| panic!("{text}"));
    let output = run(stage.calling("sh").args(["-c", command.lines().next().unwrap()]).current_dir("/"));
    assert!(output.status.success(), "{}", self::text(&output));
    stage.serves(&third, &device);
}

#[test]
fn certbot_issues_and_renews_for_a_one_way_and_a_two_way_deployment() {
    let stage = Stage::new();
    let pebble = Pebble::start(stage.certward.folder());
    let certbot = |arguments: &[String]| {
        let mut command = stage.calling("certbot");
        command.args(arguments).args(["-n", "--config-dir", "le", "--work-dir", "le", "--logs-dir", "le"]);
        command.env("REQUESTS_CA_BUNDLE", pebble.ca_file());
        command
    };
    let issue = || {
        let mut command = certbot(&printed_arguments("certbot certonly"));
        command.args(["-d", TWO_WAY, "--agree-tos", "--register-unsafely-without-email"]);
        command.args(["--server", &pebble.directory(), "--http-01-address", "127.0.0.1"]);
        command.args(["--http-01-port", &free_port().to_string()]);
        command
    };
    let renew = ["renew", "--force-renewal", "--no-random-sleep-on-renew"].map(str::to_owned);
    let renew = || certbot(&renew);
    // certbot says that a deploy hook failed, and ends as if it had not.
    issue_and_renew(&stage, &pebble, "le/live/one.example.com/fullchain.pem", issue, renew, 0);

    // In certbot's folder it runs for the certificates of other programs, too.
    stage.configure("other.example.com = oneway");
    let mut hook = stage.calling("certward-deploy");
    let output = run(hook.env("RENEWED_LINEAGE", stage.file("le/live/one.example.com")));
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("names no deployment for one.example.com; nothing to do"),
        "{}",
        text(&output)
    );
}

#[test]
fn lego_issues_and_renews_for_a_one_way_and_a_two_way_deployment() {
    let stage = Stage::new();
    let pebble = Pebble::start(stage.certward.folder());
    let lego = |arguments: &[String]| {
        let mut command = stage.calling("lego");
        command.args(["--server", &pebble.directory(), "--path", "lego"]);
        command.args(["--http.port", &format!("127.0.0.1:{}", free_port()), "-d", ONE_WAY, "-d", TWO_WAY]);
        command.args(arguments).env("LEGO_CA_CERTIFICATES", pebble.ca_file());
        command
    };
    let issue = || lego(&printed_arguments("--run-hook"));
    let renew = || {
        let mut command = lego(&printed_arguments("--renew-hook"));
        command.args(["--days", "9999", "--no-random-sleep"]);
        command
    };
    issue_and_renew(&stage, &pebble, "lego/certificates/one.example.com.crt", issue, renew, 1);
}

/// As acme.sh does it: the file is sourced in a subshell, then the function is called with the
/// domain, key, certificate, CA and full chain.
#[test]
fn acme_sh_sources_its_hook_and_calls_its_function() {
    let stage = Stage::new();
    let authority = Authority::new("Test CA");
    let device = Device::trusting(&authority);
    for shell in ["dash", "bash"] {
        let leaf = authority.server(&[ONE_WAY, TWO_WAY]);
        let call =
            "if ! (. \"$1\" && certward_deploy one.example.com \"$2\" \"$3\" \"$4\" \"$5\"); then exit 1; fi";
        let (full_chain, key) = leaf.write(stage.certward.folder(), "fullchain");
        let certificate = stage.file("one.example.com.cer");
        fs::write(&certificate, "acme.sh's third argument is not used\n").unwrap();
        let ca = authority.write(stage.certward.folder(), "ca.cer");
        let mut command = stage.calling(shell);
        command.args(["-c", call, "acme.sh"]).arg(hooks().join("certward.sh"));
        let output = run(command.args([&key, &certificate, &ca, &full_chain]));
        assert!(output.status.success(), "{shell}: {}", text(&output));
        stage.serves(&leaf.der, &device);

        stage.configure("other.example.com = oneway");
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(1), "{shell}: {}", text(&output));
        assert!(text(&output).contains("add a line: one.example.com = DEPLOYMENT"), "{}", text(&output));
        stage.configure(BOTH);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy_and_changes_nothing() {
    let stage = Stage::new();
    let authority = Authority::new("Test CA");
    let leaf = authority.server(&[ONE_WAY, TWO_WAY]);
    let (chain, key) = leaf.write(stage.certward.folder(), "new");
    let (_, other_key) = authority.server(&[ONE_WAY]).write(stage.certward.folder(), "other");
    let before = stage.certward.api().tls("twoway").body;

    stage.certward.api().create_deployment("fresh", &stage.broker.upstream(), &["three.example.com"]);

    let cases: [(&str, &Path, i32, &str); 8] = [
        (
            "other.example.com = oneway",
            &key,
            2,
            "names no deployment for one.example.com; add a line: one.example.com = DEPLOYMENT",
        ),
        (
            "one.example.com =",
            &key,
            2,
            "line 3: nothing after one.example.com; write one.example.com = VALUE",
        ),
        (
            "CERTWARD_KEYFILE = x",
            &key,
            2,
            "line 3: unknown setting CERTWARD_KEYFILE; there are CERTWARD_KEY_FILE",
        ),
        (BOTH, &other_key, 1, "NOT deployed: oneway twoway. No ACME client runs this again"),
        ("one.example.com = unknown", &key, 1, "NOT deployed: unknown."),
        ("one.example.com = fresh", &key, 1, "fresh has no certificate yet"),
        ("one.example.com = oneway\nCERTWARD_KEY_FILE = /nowhere", &key, 1, "/nowhere"),
        // The others are still deployed to.
        ("one.example.com = unknown oneway", &key, 1, "oneway serves the new certificate"),
    ];
    let secret = fs::read_to_string(stage.file("renewals.json")).unwrap();
    let secret = serde_json::from_str::<serde_json::Value>(&secret).unwrap()["secretKey"].clone();
    let secret = secret.as_str().unwrap();
    for (line, key, code, said) in cases {
        stage.configure(line);
        let mut hook = stage.calling("certward-deploy");
        let output = run(hook.arg(ONE_WAY).args([&chain, key]));
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains(said), "{line}: {text}");
        assert!(!text.contains("PRIVATE KEY") && !text.contains(secret), "{text}");
    }
    assert_eq!(stage.certward.api().tls("twoway").body, before);
    stage.certward.api().wait_running("oneway");

    let missing = stage.file("missing.conf");
    let usage: [(&[&str], &str); 3] = [
        (&[], "neither certbot nor lego called it"),
        (&["one.example.com"], "usage: certward-deploy NAME CHAIN KEY"),
        (
            &["one.example.com", "chain", "key"],
            "missing.conf: write a line into it: one.example.com = DEPLOYMENT",
        ),
    ];
    for (arguments, said) in usage {
        let mut hook = stage.calling("certward-deploy");
        let output = run(hook.args(arguments).env("CERTWARD_DEPLOY_CONF", &missing));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{arguments:?}: {}", text(&output));
    }
}

/// Runs the hook while it cannot succeed, until `fixed` after its first try.
///
/// No ACME client runs a failed hook again: a restart or a fail-over must not cost a renewal.
fn succeeds_after(mut stage: Stage, fixed: impl FnOnce(&mut Certward)) {
    let authority = Authority::new("Test CA");
    let leaf = authority.server(&[ONE_WAY, TWO_WAY]);
    let (chain, key) = leaf.write(stage.certward.folder(), "new");
    // Counts the hook's tries.
    let (real, wrapper) = (certward_binary().display(), stage.file("bin/certward"));
    fs::create_dir(stage.file("bin")).unwrap();
    fs::write(&wrapper, format!("#!/bin/sh\n{real} \"$@\" && exit 0\necho >> tries\nexit 1\n")).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = stage.calling("sh");
    command.args(["-c", "PATH=$PWD/bin:$PATH; exec certward-deploy \"$@\"", "hook", ONE_WAY]);
    let mut hook = Process::start("hook", stage.certward.folder(), command.args([&chain, &key]));
    wait_until("a try that fails", || stage.file("tries").exists().then_some(()));
    fixed(&mut stage.certward);
    let status = hook.wait();
    assert!(status.success(), "{}", hook.output());
    stage.serves(&leaf.der, &Device::trusting(&authority));
}

#[test]
fn a_hook_waits_for_a_certward_that_restarts() {
    let mut stage = Stage::new();
    stage.certward.stop();
    succeeds_after(stage, Certward::serve);
}

#[test]
fn a_hook_waits_for_a_database_that_is_away() {
    let mut server = PostgresServer::start();
    let stage = Stage::with(Setup { store: Some(server.database()), ..Setup::with_contract_limits() });
    server.stop();
    succeeds_after(stage, |_| server.resume());
}

/// With a program in certward's place, which says what it was given.
#[test]
fn the_hooks_key_goes_where_its_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("certward");
    fs::write(&program, "#!/bin/sh\nenv | grep ^CERTWARD_ | sort\necho \"$@\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let conf = folder.path().join("deploy.conf");
    let call = |settings: &str| {
        fs::write(&conf, format!("name = d1\n{settings}")).unwrap();
        let mut command = Command::new(hooks().join("certward-deploy"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["name", "/c.pem", "/k.pem"]).env("PATH", format!("{}:{path}", folder.path().display()));
        command.env_remove("CERTWARD_BIN").env("CERTWARD_DEPLOY_CONF", &conf);
        for name in ["API_KEY", "SECRET_KEY", "KEY_FILE", "LOGIN", "URL", "CA_FILE"] {
            command.env(format!("CERTWARD_{name}"), "of-the-caller");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let said = call("");
    assert!(!said.contains("of-the-caller"), "{said}");
    assert!(said.contains(&format!("--key-file {}/renewals.json", folder.path().display())), "{said}");
    let said = call(
        "CERTWARD_URL = https://certward.example\nCERTWARD_CA_FILE = /ca.pem\nCERTWARD_KEY_FILE = /key.json\n",
    );
    assert!(!said.contains("of-the-caller"), "{said}");
    for part in ["CERTWARD_URL=https://certward.example", "CERTWARD_CA_FILE=/ca.pem", "--key-file /key.json"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_call_that_hangs_is_ended_and_its_deployment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("certward");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    // The time of the hook, in place of the system's.
    fs::write(folder.path().join("timeout"), "#!/bin/sh\necho \"limit $1\"\nexit 124\n").unwrap();
    for file in ["certward", "timeout"] {
        fs::set_permissions(folder.path().join(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let conf = folder.path().join("deploy.conf");
    fs::write(&conf, "name = d1 d2\n").unwrap();
    let mut command = Command::new(hooks().join("certward-deploy"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.path().display())).env("CERTWARD_DEPLOY_CONF", &conf);
    command
        .env("LEGO_CERT_DOMAIN", "name")
        .env("LEGO_CERT_PATH", "/c.pem")
        .env("LEGO_CERT_KEY_PATH", "/k.pem");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("d1 was not served within 100 s") && said.contains("NOT deployed: d1 d2"),
        "{said}"
    );
}

#[test]
fn shellcheck_finds_nothing() {
    let files = fs::read_dir(hooks()).unwrap().map(|entry| entry.unwrap().path());
    let output = run(Command::new("shellcheck").args(files));
    assert!(output.status.success(), "{}", text(&output));
}
