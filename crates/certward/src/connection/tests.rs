use std::{collections::HashMap, ffi::OsString, fs, os::unix::fs::PermissionsExt};

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::{
    cli::{Cli, Command, TlsCommand},
    login::LoginFolder,
};

/// A home with key files and logins; the secret says which one was used.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for name in ["a.json", "b.json"] {
            let path = home.0.path().join(name);
            fs::write(&path, format!(r#"{{"apiKey":"k","secretKey":"of {name}"}}"#)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(home.0.path().join("ca.pem"), "PEM of a file").unwrap();
        home
    }

    /// Logins of these names, each for `http://NAME.example/`; `secure` has a CA.
    fn with_logins(self, names: &[&str]) -> Self {
        let folder = LoginFolder::of(None, Some(self.0.path().to_owned())).unwrap();
        for name in names {
            let key = ApiKeyPair {
                api_key: "k".to_owned(),
                secret_key: Zeroizing::new(format!("of the login {name}")),
            };
            let url = base_url(&format!("http://{name}.example/")).unwrap();
            let ca = (*name == "secure").then(|| "PEM of the login".to_owned());
            folder.write(&name.parse().unwrap(), &Login { url, key, ca }).unwrap();
        }
        self
    }

    /// `FILE:` in flags and variables is a path in this home.
    fn resolve(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Connection, String> {
        let path = |text: &str| match text.strip_prefix("FILE:") {
            Some(name) => self.0.path().join(name).to_str().unwrap().to_owned(),
            None => text.to_owned(),
        };
        let line = ["certward", "tls", "show", "d1"].iter().chain(flags).map(|word| path(word));
        let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Tls(args) = cli.command else { panic!("tls") };
        let TlsCommand::Show { connect, .. } = args.command else { panic!("show") };
        let variables: HashMap<&str, OsString> =
            variables.iter().map(|(name, value)| (*name, path(value).into())).collect();
        let home = Some(self.0.path().to_owned());
        ClientEnvironment::of(|name| variables.get(name).cloned(), home)
            .map_err(anyhow::Error::from)
            .and_then(|environment| Connection::resolve(&connect, &environment))
            .map_err(|error| format!("{error:#}"))
    }
}

type Words = &'static [&'static str];
type Variables = &'static [(&'static str, &'static str)];

const KEY: (&str, &str) = ("CERTWARD_API_KEY", "k");
const SECRET: (&str, &str) = ("CERTWARD_SECRET_KEY", "of variables");
const PAIR: [(&str, &str); 2] = [KEY, SECRET];
const CA: (&str, &str) = ("CERTWARD_CA_FILE", "FILE:ca.pem");
const KEY_FILE: (&str, &str) = ("CERTWARD_KEY_FILE", "FILE:a.json");
const PROD: (&str, &str) = ("CERTWARD_LOGIN", "prod");

#[test]
fn a_flag_goes_before_a_variable_and_both_before_the_default_login() {
    let home = Home::new().with_logins(&["default", "prod"]);
    let cases: [(Words, Variables, &str); 14] = [
        (&[], &[], "of the login default"),
        (&["--login", "prod"], &[], "of the login prod"),
        (&[], &[PROD], "of the login prod"),
        (&[], &PAIR, "of variables"),
        (&[], &[KEY_FILE], "of a.json"),
        (&["--key-file", "FILE:b.json"], &[KEY_FILE], "of b.json"),
        (&["--key-file", "FILE:b.json"], &PAIR, "of b.json"),
        (&["--key-file", "FILE:b.json"], &[PROD], "of b.json"),
        (&["--login", "default"], &[PROD], "of the login default"),
        (&["--login", "prod"], &PAIR, "of the login prod"),
        (&["--login", "prod"], &[KEY_FILE], "of the login prod"),
        (&["--api-key", "k", "--secret-key", "of flags"], &[PROD], "of flags"),
        // The key by its flag, the secret by its variable.
        (&["--api-key", "other"], &PAIR, "of variables"),
        (&[], &[("CERTWARD_API_KEY", ""), ("CERTWARD_LOGIN", "")], "of the login default"),
    ];
    for (flags, variables, secret) in cases {
        let found = home.resolve(flags, variables);
        let found = found.unwrap_or_else(|error| panic!("{flags:?} {variables:?}: {error}"));
        assert_eq!(found.key.secret_key.as_str(), secret, "{flags:?} {variables:?}");
        assert!(!format!("{found:?}").contains(secret));
    }
}

#[test]
fn two_keys_are_wrong_usage_and_so_is_none() {
    let home = Home::new().with_logins(&["prod"]);
    let cases: [(Words, Variables, &[&str]); 12] = [
        (&["--key-file", "f", "--api-key", "k"], &[], &["--api-key", "--key-file", "one of them"]),
        (&["--key-file", "f", "--secret-key", "s"], &[], &["--secret-key", "--key-file"]),
        (&["--key-file", "f", "--login", "prod"], &[], &["--key-file", "--login"]),
        (&["--login", "prod", "--api-key", "k"], &PAIR, &["--api-key", "--login"]),
        (&[], &[KEY, SECRET, KEY_FILE], &["CERTWARD_API_KEY", "CERTWARD_KEY_FILE", "one of them"]),
        (&[], &[KEY_FILE, PROD], &["CERTWARD_KEY_FILE", "CERTWARD_LOGIN"]),
        (&[], &[SECRET, PROD], &["CERTWARD_SECRET_KEY", "CERTWARD_LOGIN"]),
        (&[], &[], &["no key is given", "--key-file", "`certward login`", "CERTWARD_API_KEY"]),
        (&[], &[KEY], &["no secret-key is given"]),
        (&["--secret-key", "s"], &[], &["no api-key is given"]),
        (&["--login", "other"], &[], &["no login other", "`certward login --name other`"]),
        (&[], &[("CERTWARD_LOGIN", "../x")], &["CERTWARD_LOGIN", "letters"]),
    ];
    for (flags, variables, says) in cases {
        let error = home.resolve(flags, variables).expect_err("no key");
        assert!(says.iter().all(|says| error.contains(says)), "{flags:?} {variables:?}: {error}");
    }
}

#[test]
fn the_key_of_a_login_goes_to_its_own_address_alone() {
    let home = Home::new().with_logins(&["default", "prod"]);
    let cases: [(Words, Variables, &str); 8] = [
        (&[], &PAIR, "http://127.0.0.1:8080/public_api/v1"),
        (&[], &[KEY, SECRET, ("CERTWARD_URL", "http://v.example/x")], "http://v.example/x"),
        (
            &["--url", "http://f.example/x"],
            &[KEY, SECRET, ("CERTWARD_URL", "http://v.example/x")],
            "http://f.example/x",
        ),
        (&[], &[], "http://default.example/"),
        (&["--url", "http://default.example"], &[], "http://default.example/"),
        (&["--login", "prod"], &[("CERTWARD_URL", "http://v.example/x")], "http://prod.example/"),
        (&["--key-file", "FILE:a.json", "--url", "http://f.example/x"], &[], "http://f.example/x"),
        (&[], &[PROD, ("CERTWARD_URL", "http://prod.example")], "http://prod.example/"),
    ];
    for (flags, variables, url) in cases {
        let found = home.resolve(flags, variables);
        let found = found.unwrap_or_else(|error| panic!("{flags:?} {variables:?}: {error}"));
        assert_eq!(found.base.as_str(), url, "{flags:?} {variables:?}");
    }
    let cases: [(Words, Variables, &str); 4] = [
        (&["--url", "http://evil.example/"], &[], "leave --url out"),
        (&["--url", "http://evil.example/", "--login", "prod"], &[], "leave --url out"),
        (&[], &[("CERTWARD_URL", "http://evil.example/")], "unset CERTWARD_URL"),
        (&[], &[PROD, ("CERTWARD_URL", "http://evil.example/")], "unset CERTWARD_URL"),
    ];
    for (flags, variables, remedy) in cases {
        let error = home.resolve(flags, variables).expect_err("another address");
        assert!(error.contains(remedy) && !error.contains("evil"), "{error}");
    }
}

#[test]
fn the_ca_of_a_flag_goes_before_that_of_the_login_and_that_before_the_variable() {
    let home = Home::new().with_logins(&["default", "secure"]);
    let cases: [(Words, Variables, Option<&str>); 6] = [
        (&[], &PAIR, None),
        (&[], &[KEY, SECRET, CA], Some("PEM of a file")),
        (&["--login", "secure"], &[CA], Some("PEM of the login")),
        (&["--login", "secure", "--ca", "FILE:ca.pem"], &[], Some("PEM of a file")),
        (&["--login", "default"], &[CA], Some("PEM of a file")),
        (&["--login", "default"], &[], None),
    ];
    for (flags, variables, pem) in cases {
        let ca = home.resolve(flags, variables).unwrap().ca;
        assert_eq!(ca.map(|ca| ca.pem.to_vec()), pem.map(|pem| pem.as_bytes().to_vec()), "{flags:?}");
    }
}

#[test]
fn a_key_file_is_private_and_holds_a_key_and_its_text_is_never_shown() {
    let home = Home::new();
    let path = home.0.path().join("a.json");
    let refused = || home.resolve(&["--key-file", "FILE:a.json"], &[]).expect_err("refused");
    fs::write(&path, "hunter2").unwrap();
    assert!(refused().contains("is no key file") && refused().contains("`certward init`"), "{}", refused());
    assert!(!refused().contains("hunter2"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused().contains(&format!("chmod 600 {}", path.display())), "{}", refused());
}
