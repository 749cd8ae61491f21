//! The resource `emqxcloud_deployment_tls` of the public Terraform provider, as a state machine
//! over HTTPS: the same requests, in the same order, with the same reading of the answers.

use std::{
    cell::Cell,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use certward_tests::{Authority, Broker, Certward, Leaf, Setup};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tries of one GET.
const ATTEMPTS_MAX: u32 = 3;
/// Five seconds there.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(50);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// A minute there.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Half an hour there.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);

/// The text of an error that Terraform shows.
type Failure = String;

/// The computed attributes of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ResourceState {
    tls_type: String,
    status: String,
    expires_at: String,
    common_name: String,
}

struct Provider {
    endpoint: String,
    ca: PathBuf,
    key: String,
    secret: String,
    /// Requests so far.
    sent: Cell<u32>,
}

struct HttpAnswer {
    status: u16,
    retry_after: String,
    body: String,
}

impl Provider {
    fn send_once(&self, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        self.sent.set(self.sent.get() + 1);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30", "-w", "\n%{http_code}\n%header{retry-after}"]);
        curl.arg("--cacert").arg(&self.ca).args(["-X", method, "-H", "Accept: application/json"]);
        curl.args(["-u", &format!("{}:{}", self.key, self.secret)]);
        if body.is_some() {
            curl.args(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        curl.arg(format!("{}{path}", self.endpoint));
        let mut running = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        input.write_all(body.map(Value::to_string).unwrap_or_default().as_bytes()).unwrap();
        drop(input);
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success(), "{method} {path}: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let (text, retry_after) = text.rsplit_once('\n').unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        assert!(body.len() <= ANSWER_BYTES_MAX, "API response exceeds 4 MiB limit");
        HttpAnswer {
            status: status.parse().unwrap(),
            retry_after: retry_after.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Repeats reads alone; a body that is not JSON is an error, an empty one is none.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, (u16, Failure)> {
        for attempt in 1.. {
            let answer = self.send_once(method, path, body);
            let again = method == "GET" && matches!(answer.status, 429 | 502 | 503 | 504);
            if again && attempt < ATTEMPTS_MAX {
                let asked = answer.retry_after.parse().map(Duration::from_secs);
                std::thread::sleep(asked.unwrap_or(RETRY_WAIT_MAX).min(RETRY_WAIT_MAX));
                continue;
            }
            if answer.status >= 400 {
                return Err((answer.status, failure(&answer)));
            }
            return match answer.body.trim() {
                "" => Ok(Value::Null),
                text => serde_json::from_str(text).map_err(|error| (answer.status, error.to_string())),
            };
        }
        unreachable!("the last attempt returns")
    }

    /// A resource exists if it has a type or a status.
    fn read(&self, id: &str) -> Result<Option<ResourceState>, Failure> {
        let current = match self.send("GET", &path(id), None) {
            Ok(current) => current,
            Err((404, _)) => return Ok(None),
            Err((_, failure)) => return Err(failure),
        };
        let text = |name: &str| current[name].as_str().unwrap_or_default().to_owned();
        let state = ResourceState {
            tls_type: text("tlsType"),
            status: text("status"),
            expires_at: text("expire"),
            common_name: text("cn"),
        };
        Ok(Some(state).filter(|state| !state.tls_type.is_empty() || !state.status.is_empty()))
    }

    fn wait(&self, id: &str, deleting: bool) -> Result<Option<ResourceState>, Failure> {
        let begin = Instant::now();
        while begin.elapsed() < POLL_TIMEOUT {
            let current = self.read(id)?;
            match current.as_ref().map(|state| state.status.as_str()) {
                None if deleting => return Ok(None),
                Some("running") if !deleting => return Ok(current),
                Some("failed") => return Err("deployment TLS entered failed status".to_owned()),
                None | Some("running" | "pending" | "terminated") => {}
                Some(other) => return Err(format!("deployment TLS returned unknown status {other:?}")),
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err("wait for deployment TLS: context deadline exceeded".to_owned())
    }

    fn set(&self, method: &str, id: &str, upload: &Value) -> Result<ResourceState, Failure> {
        let answered = self.send(method, &path(id), Some(upload)).map_err(|(_, failure)| failure)?;
        // It becomes the state before the polling.
        assert!(answered["status"].is_string() && answered["expire"].is_string(), "{answered}");
        Ok(self.wait(id, false)?.unwrap())
    }

    fn destroy(&self, id: &str) -> Result<(), Failure> {
        match self.send("DELETE", &path(id), None) {
            Ok(_) => self.wait(id, true).map(drop),
            Err((404, _)) => match self.read(id)? {
                None => Ok(()),
                Some(_) => Err("deployment TLS still exists after DELETE returned 404".to_owned()),
            },
            Err((_, failure)) => Err(failure),
        }
    }
}

fn path(id: &str) -> String {
    format!("/deployments/{id}/tls")
}

/// All of the error that is shown.
fn failure(answer: &HttpAnswer) -> Failure {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default();
    let is_safe =
        code.len() <= 128 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
    assert!(is_safe && !code.is_empty(), "no code is shown of {}", answer.body);
    format!("HTTP {} (code {code})", answer.status)
}

struct Plan {
    provider: Provider,
    authority: Authority,
    _certward: Certward,
    _broker: Broker,
    _folder: TempDir,
}

const ID: &str = "ge6a1a75";
const HOST: &str = "localhost";

impl Plan {
    fn with(reads: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new("API CA");
        let ca = authority.write(folder.path(), "ca.pem");
        let files = authority.server_named("api", &[HOST]).write(folder.path(), "api");
        let setup = Setup { api_certificate: Some(files), reads, ..Setup::default() };
        let certward = Certward::start_with(setup);
        let broker = Broker::start(certward.folder());
        let api = certward.api();
        let endpoint = format!("https://{HOST}:{}/public_api/v1", api.address.port());
        let provider = Provider { endpoint, ca, key: api.key, secret: api.secret, sent: Cell::new(0) };
        let deployment = json!({"deploymentID": ID, "upstream": broker.upstream(), "hosts": [HOST]});
        provider.send("POST", "/deployments", Some(&deployment)).unwrap();
        Self { provider, authority, _certward: certward, _broker: broker, _folder: folder }
    }

    fn leaf(&self, common_name: &str) -> Leaf {
        self.authority.server_named(common_name, &[HOST])
    }
}

#[test]
fn create_update_replace_and_destroy_over_https() {
    let plan = Plan::with(1_000_000);
    let provider = &plan.provider;
    assert_eq!(provider.read(ID), Ok(None), "nothing is in the state");
    let first = provider.set("POST", ID, &plan.leaf("first").one_way()).unwrap();
    let expected = ResourceState {
        tls_type: "one-way".to_owned(),
        status: "running".to_owned(),
        expires_at: "2040-01-01 00:00:00".to_owned(),
        common_name: "first".to_owned(),
    };
    assert_eq!(first, expected);
    assert_eq!(provider.read(ID), Ok(Some(expected)), "a plan without changes is empty");

    let updated = provider.set("PUT", ID, &plan.leaf("second").one_way()).unwrap();
    assert_eq!((updated.common_name.as_str(), updated.status.as_str()), ("second", "running"));

    // Another type replaces the resource.
    provider.destroy(ID).unwrap();
    let devices = Authority::new("Devices");
    let two_way = provider.set("POST", ID, &plan.leaf("third").two_way(devices.pem())).unwrap();
    assert_eq!(two_way.tls_type, "two-way");

    provider.destroy(ID).unwrap();
    provider.destroy(ID).expect("it is gone already");
    provider.destroy("nosuchid").expect("the deployment is gone, too");
    assert_eq!(provider.read("nosuchid"), Ok(None));
}

#[test]
fn what_is_refused_is_shown_by_status_and_code() {
    let plan = Plan::with(1_000_000);
    let provider = &plan.provider;
    let (leaf, other) = (plan.leaf("a"), plan.leaf("b"));
    let mixed = json!({"tlsType": "one-way", "cert": leaf.chain_pem, "key": other.key_pem});
    for (method, id, upload, expected) in [
        ("PUT", ID, leaf.one_way(), "HTTP 404 (code TLS_NOT_FOUND)"),
        ("POST", "nosuchid", leaf.one_way(), "HTTP 404 (code DEPLOYMENT_NOT_FOUND)"),
        ("POST", ID, mixed, "HTTP 422 (code KEY_MISMATCH)"),
    ] {
        assert_eq!(provider.set(method, id, &upload), Err(expected.to_owned()), "{method} {id}");
    }
    // What the provider's emqxcloud_deployment sends.
    let bought = json!({"projectID": "default", "platform": "aws", "region": "eu-central-1", "connections": 1000,
        "tps": 1000, "deploymentType": "dedicatedFlex", "deploymentVersion": "v5", "freeTrial": false});
    let refused = provider.send("POST", "/deployments", Some(&bought));
    assert_eq!(refused, Err((422, "HTTP 422 (code UPSTREAM_INVALID)".to_owned())));
    provider.set("POST", ID, &leaf.one_way()).unwrap();
    let again = provider.set("POST", ID, &leaf.one_way());
    assert_eq!(again, Err("HTTP 422 (code TLS_ALREADY_EXISTS)".to_owned()), "there is no import");
}

#[test]
fn a_read_over_the_limit_is_tried_three_times_and_then_shown() {
    let plan = Plan::with(1);
    assert_eq!(plan.provider.read(ID), Ok(None));
    plan.provider.sent.set(0);
    let refused = plan.provider.read(ID);
    assert_eq!(refused, Err("HTTP 429 (code RATE_LIMITED)".to_owned()));
    assert_eq!(plan.provider.sent.get(), ATTEMPTS_MAX);
}

#[test]
fn the_data_sources_have_their_fields() {
    let plan = Plan::with(1_000_000);
    let read = |path: &str| plan.provider.send("GET", path, None).unwrap();
    let projects = read("/projects");
    assert_eq!(projects[0]["projectID"], "default");
    assert!(projects[0]["projectName"].is_string() && projects[0]["description"].is_string());
    let deployments = read("/deployments");
    let deployment = read(&format!("/deployments/{ID}"));
    for shown in [&deployments[0], &deployment] {
        assert_eq!(shown["deploymentID"], ID);
        assert!(["running", "starting"].contains(&shown["status"].as_str().unwrap()), "{shown}");
        for field in ["deploymentName", "deploymentType", "platform", "region", "projectID", "createAt"] {
            assert!(shown[field].is_string(), "{field}: {shown}");
        }
        assert!(shown["connections"].is_u64() && shown["tps"].is_u64(), "{shown}");
    }
    assert!(deployments[0]["projectName"].is_string() && deployments[0]["version"] == "v5");
}
