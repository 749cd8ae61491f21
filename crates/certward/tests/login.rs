//! Logins and key files, against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use stage::{Answer, Run, Script, certward, finish, pseudo_terminal::PseudoTerminal};

const NOTHING: Answer = (200, "", "[]");
const UNAUTHORIZED: Answer = (401, "", r#"{"code":"UNAUTHORIZED","message":"No."}"#);
const VERIFY: &str = "GET /public_api/v1/expiring?within=1d&limit=1";
const LIST: &str = "GET /public_api/v1/keys";
/// "key1:hunter2"
const BASIC: &str = "Basic a2V5MTpodW50ZXIy";

fn key_file(folder: &Path, mode: u32) {
    let path = folder.join("key.json");
    fs::write(&path, r#"{"apiKey":"key1","name":"n","secretKey":"hunter2"}"#).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn url(api: &Script) -> String {
    format!("http://{}/public_api/v1", api.address)
}

fn log_in(folder: &Path, api: &Script, flags: &[&str]) -> Run {
    finish(certward(folder).args(["login", "--key-file", "key.json", "--url", &url(api)]).args(flags))
}

#[test]
fn a_key_file_gives_the_key_by_flag_variable_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let text = fs::File::open(folder.path().join("key.json")).unwrap();
    let client = |api: &Script| {
        let mut command = certward(folder.path());
        command.args(["key", "list", "--url", &url(api)]);
        command
    };
    let ways: [&dyn Fn(&Script) -> Run; 3] = [
        &|api| finish(client(api).args(["--key-file", "key.json"])),
        &|api| finish(client(api).env("CERTWARD_KEY_FILE", "key.json")),
        &|api| {
            let output =
                client(api).args(["--key-file", "-"]).stdin(text.try_clone().unwrap()).output().unwrap();
            Run {
                code: output.status.code().unwrap(),
                stdout: String::from_utf8(output.stdout).unwrap(),
                stderr: String::from_utf8(output.stderr).unwrap(),
            }
        },
    ];
    for way in ways {
        let api = Script::new(vec![NOTHING]);
        let run = way(&api);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let asked = api.asked();
        assert!(asked[0].starts_with(LIST) && asked[0].contains(BASIC), "{asked:?}");
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o644);
    let api = Script::new(vec![]);
    for run in [
        finish(certward(folder.path()).args(["key", "list", "--key-file", "key.json", "--url", &url(&api)])),
        log_in(folder.path(), &api, &[]),
    ] {
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(
            run.stderr.contains("chmod 600 key.json") && !run.stderr.contains("hunter2"),
            "{}",
            run.stderr
        );
    }
    assert!(api.asked().is_empty());
}

#[test]
fn a_login_is_verified_stored_used_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let api = Script::new(vec![NOTHING, NOTHING, NOTHING, NOTHING]);
    let run = log_in(folder.path(), &api, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("API key key1"), "{}", run.stdout);
    let run = log_in(folder.path(), &api, &["--name", "prod", "--json"]);
    assert_eq!(run.stdout.trim(), format!(r#"{{"name":"prod","url":"{}","apiKey":"key1"}}"#, url(&api)));
    fs::remove_file(folder.path().join("key.json")).unwrap();

    for flags in [&[][..], &["--login", "prod"]] {
        let run = finish(certward(folder.path()).args(["key", "list"]).args(flags));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let asked = api.asked();
    let lines: Vec<&str> = asked.iter().map(|request| request.split(" HTTP").next().unwrap()).collect();
    assert_eq!(lines, [VERIFY, VERIFY, LIST, LIST]);
    assert!(asked.iter().all(|request| request.contains(BASIC)), "{asked:?}");

    let run = finish(certward(folder.path()).arg("logins"));
    let table = format!(
        "NAME     URL{}API KEY\ndefault  {1}  key1\nprod     {1}  key1\n",
        " ".repeat(url(&api).len() - 1),
        url(&api)
    );
    assert_eq!((run.code, run.stdout), (0, table), "{}", run.stderr);
    let run = finish(certward(folder.path()).args(["logins", "--json"]));
    assert!(run.stdout.contains(r#""name":"prod""#) && !run.stdout.contains("hunter2"), "{}", run.stdout);

    let logout = |name: &str| finish(certward(folder.path()).args(["logout", "--name", name]));
    let run = logout("prod");
    assert!(run.code == 0 && run.stdout.contains("`certward key revoke key1`"), "{}", run.stderr);
    let run = logout("prod");
    assert!(run.code == 1 && run.stderr.contains("`certward logins`"), "{}", run.stderr);
    let run = finish(certward(folder.path()).args(["key", "list", "--login", "prod"]));
    assert!(run.code == 2 && run.stderr.contains("certward login --name prod"), "{}", run.stderr);
}

#[test]
fn a_wrong_key_is_not_stored_and_a_revoked_one_names_its_login() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let api = Script::new(vec![UNAUTHORIZED, NOTHING, UNAUTHORIZED]);
    let run = log_in(folder.path(), &api, &["--name", "prod"]);
    assert!(run.code == 1 && run.stderr.contains("The key in key.json"), "{}", run.stderr);
    assert!(!folder.path().join("config").exists(), "nothing is stored");
    assert_eq!(log_in(folder.path(), &api, &["--name", "prod"]).code, 0);
    let run = finish(certward(folder.path()).args(["key", "list", "--login", "prod"]));
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("the login prod") && run.stderr.contains("`certward login --name prod"),
        "{}",
        run.stderr
    );
    // The scripted API has ended.
    let run = finish(certward(folder.path()).args(["key", "list", "--login", "prod"]));
    assert!(run.code == 1 && run.stderr.contains("public_api/v1 (the login prod): "), "{}", run.stderr);
}

#[test]
fn a_damaged_login_is_named_and_the_others_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let api = Script::new(vec![NOTHING, NOTHING]);
    assert_eq!(log_in(folder.path(), &api, &[]).code, 0);
    assert_eq!(log_in(folder.path(), &api, &["--name", "open"]).code, 0);
    let open = folder.path().join("config/certward/logins/open.json");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let run = finish(certward(folder.path()).arg("logins"));
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("default") && !run.stdout.contains("open"), "{}", run.stdout);
    assert!(run.stderr.contains("the login open") && run.stderr.contains("chmod 600"), "{}", run.stderr);
}

#[test]
fn a_person_is_asked_and_the_secret_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let api = Script::new(vec![NOTHING, NOTHING, NOTHING]);
    let mut terminal = PseudoTerminal::start(certward(folder.path()).arg("login"));
    terminal.answer("URL [http://127.0.0.1:8080/public_api/v1]: ", &url(&api));
    terminal.answer("API key: ", "key1");
    terminal.answer("Secret key (not shown): ", "hunter2");
    let run = terminal.finish();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(terminal.is_echoing(), "as before");
    assert!(run.stderr.contains("key1") && !run.stderr.contains("hunter2"), "{}", run.stderr);
    let run = finish(certward(folder.path()).args(["key", "list"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Only for what is missing.
    let mut login = certward(folder.path());
    let mut terminal = PseudoTerminal::start(login.args(["login", "--url", &url(&api), "--api-key", "key1"]));
    terminal.answer("Secret key (not shown): ", "hunter2");
    let run = terminal.finish();
    assert!(run.code == 0 && !run.stderr.contains("URL"), "{}", run.stderr);
    assert!(api.asked().iter().all(|request| request.contains(BASIC)));
}

#[test]
fn without_an_answer_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let ask =
        || PseudoTerminal::start(certward(folder.path()).args(["login", "--url", "http://127.0.0.1:9/"]));
    let mut terminal = ask();
    terminal.answer("API key: ", "key1");
    terminal.answer("Secret key (not shown): ", "");
    let run = terminal.finish();
    assert!(run.code == 1 && run.stderr.contains("nothing is stored"), "{}", run.stderr);
    let mut terminal = ask();
    let ctrl_d = "\u{4}";
    terminal.types("API key: ", ctrl_d);
    let run = terminal.finish();
    assert!(run.code == 1 && run.stderr.contains("no answer was given"), "{}", run.stderr);
    let mut terminal = ask();
    let ctrl_c = "\u{3}";
    terminal.answer("API key: ", "key1");
    terminal.types("Secret key (not shown): ", &format!("hunter{ctrl_c}"));
    let run = terminal.finish();
    assert!(run.code == 1 && run.stderr.contains("interrupted"), "{}", run.stderr);
    assert!(terminal.is_echoing() && !run.stderr.contains("hunter"), "{}", run.stderr);
    // A script is not asked.
    let run = finish(certward(folder.path()).arg("login"));
    assert!(run.code == 2 && run.stderr.contains("--key-file"), "{}", run.stderr);
    assert!(!folder.path().join("config").exists());
}

#[test]
fn a_login_keeps_the_text_of_its_ca() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let leaf = certward_test_support::Leaf::self_signed(certward_test_support::server_params("c", &["c"]));
    leaf.write(folder.path(), "ca");
    let api = Script::new(vec![NOTHING, NOTHING]);
    assert_eq!(log_in(folder.path(), &api, &["--ca", "ca.pem"]).code, 0);
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let run = finish(certward(folder.path()).args(["key", "list"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_folder_that_others_can_write_to_gives_no_login() {
    let folder = tempfile::tempdir().unwrap();
    key_file(folder.path(), 0o600);
    let api = Script::new(vec![NOTHING]);
    assert_eq!(log_in(folder.path(), &api, &[]).code, 0);
    let logins = walk(folder.path()).expect("the folder of the logins");
    fs::set_permissions(&logins, fs::Permissions::from_mode(0o777)).unwrap();
    let run = finish(certward(folder.path()).args(["key", "list"]));
    assert_eq!(run.stdout, "");
    assert!(run.code != 0 && run.stderr.contains("can be written by others"), "{}", run.stderr);
}

/// The folder named `logins` below this one.
fn walk(folder: &Path) -> Option<std::path::PathBuf> {
    let mut below =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    below.find_map(|path| if path.ends_with("logins") { Some(path) } else { walk(&path) })
}
