//! The API over HTTPS, and where plain HTTP is allowed.

use std::process::Command;

use certward_tests::{Authority, Certward, Setup, run};
use tempfile::TempDir;

fn start(folder: &TempDir, authority: &Authority) -> Certward {
    let files = authority.server_named("api", &["localhost"]).write(folder.path(), "api");
    Certward::start_with(Setup { api_certificate: Some(files), ..Setup::default() })
}

fn curl(folder: &TempDir, certward: &Certward, path: &str) -> (bool, String) {
    let api = certward.api();
    let output = run(Command::new("curl")
        .args(["-sS", "-w", "%{http_code} %{ssl_verify_result}", "-o", "/dev/null", "--cacert"])
        .arg(folder.path().join("ca.pem"))
        .args(["-u", &format!("{}:{}", api.key, api.secret)])
        .arg(format!("https://localhost:{}{path}", api.address.port())));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn curl_and_the_command_line_speak_https_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("API CA");
    let ca = authority.write(folder.path(), "ca.pem");
    let certward = start(&folder, &authority);
    assert_eq!(curl(&folder, &certward, "/public_api/v1/projects"), (true, "200 0".into()));

    let url = format!("https://localhost:{}/public_api/v1", certward.api().address.port());
    let mut command = certward.cli_command(&["project", "list", "--json"]);
    let output = run(command.env("CERTWARD_URL", &url).env("CERTWARD_CA_FILE", &ca));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = certward.cli_command(&["project", "list", "--json"]);
    assert!(
        !run(command.env("CERTWARD_URL", &url)).status.success(),
        "a CA that was not named is not trusted"
    );
}

/// Its basic constraints say CA:TRUE.
#[test]
fn a_certificate_of_openssl_req_is_its_own_ca() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(Command::new("openssl").current_dir(folder.path()).args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout api.key -out ca.pem \
         -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            .split_whitespace(),
    ));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let files = (folder.path().join("ca.pem"), folder.path().join("api.key"));
    let certward = Certward::start_with(Setup { api_certificate: Some(files), ..Setup::default() });
    assert_eq!(curl(&folder, &certward, "/public_api/v1/projects"), (true, "200 0".into()));
    let plain = Certward::start();
    let ca = folder.path().join("ca.pem");
    let ca = ["--ca", ca.to_str().unwrap()];
    for (host, server, flags, refusal) in [
        ("localhost", &certward, &ca[..], None),
        ("127.0.0.1", &certward, &ca, Some("certificate is for other names; use one of them (--url")),
        ("localhost", &certward, &[], Some("not from a trusted CA; name its CA")),
        ("localhost", &plain, &ca, Some("does not speak TLS on this port; use http://")),
    ] {
        let url = format!("https://{host}:{}/public_api/v1", server.api().address.port());
        let mut command = certward.cli_command(&["project", "list", "--json", "--url", &url]);
        let output = run(command.args(flags));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), refusal.is_none(), "{host}: {error}");
        assert!(refusal.is_none_or(|refusal| error.contains(refusal)), "{host}: {error}");
    }
}

#[test]
fn sighup_takes_up_a_renewed_certificate_and_keeps_the_old_one_when_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("API CA");
    authority.write(folder.path(), "ca.pem");
    let certward = start(&folder, &authority);
    let served = || {
        let address = format!("localhost:{}", certward.api().address.port());
        let output =
            run(Command::new("openssl").args(["s_client", "-servername", "localhost", "-connect", &address]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
    };
    assert!(served().ends_with("api"), "{}", served());
    authority.server_named("renewed", &["localhost"]).write(folder.path(), "api");
    certward.signal(rustix::process::Signal::HUP);
    certward_tests::wait_until("renewed certificate", || served().ends_with("renewed").then_some(()));

    std::fs::write(folder.path().join("api.pem"), "broken").unwrap();
    certward.signal(rustix::process::Signal::HUP);
    certward_tests::wait_until("word about it in the log", || {
        certward.log().lines().any(|line| line.contains("ERROR") || line.contains("WARN")).then_some(())
    });
    assert!(served().ends_with("renewed"));
}

#[test]
fn plain_http_on_another_address_than_loopback_stops_the_start() {
    let certward = Certward::prepare(Setup::default());
    let text = std::fs::read_to_string(certward.config()).unwrap();
    std::fs::write(certward.config(), text.replacen("127.0.0.1", "0.0.0.0", 1)).unwrap();
    let output = run(certward.cli_without_key(&["serve", "--config"]).arg(certward.config()));
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("allow_plain_http"), "{text}");
}
