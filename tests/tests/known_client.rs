//! The contract's public client: it works with a changed base address.

use std::time::{Duration, Instant};

use certward_tests::{Answer, Api, Scene, Setup};
use serde_json::{Value, json};

/// All that the client's user sees.
#[derive(Debug, PartialEq, Eq)]
struct Failure(String);

/// Reads are repeated, changes never.
struct KnownClient {
    api: Api,
    /// A minute in the real client.
    poll_every: Duration,
    poll_within: Duration,
    reads: usize,
}

impl KnownClient {
    fn new(api: Api) -> Self {
        Self { api, poll_every: Duration::from_millis(50), poll_within: Duration::from_secs(30), reads: 0 }
    }

    /// Repeated at most three times on 429, 502, 503 and 504; Retry-After up to five seconds.
    fn read(&mut self, id: &str) -> Answer {
        let mut answer = self.read_once(id);
        for _ in 0..3 {
            if !matches!(answer.status, 429 | 502 | 503 | 504) {
                break;
            }
            let wait = answer.header("retry-after").map_or(1, |text| text.parse().expect("seconds"));
            if wait > 5 {
                break;
            }
            std::thread::sleep(Duration::from_secs(wait));
            answer = self.read_once(id);
        }
        answer
    }

    fn read_once(&mut self, id: &str) -> Answer {
        self.reads += 1;
        checked(self.api.tls(id))
    }

    fn poll_until_running(&mut self, id: &str) -> Result<Value, Failure> {
        let begin = Instant::now();
        while begin.elapsed() < self.poll_within {
            let answer = self.read(id);
            if answer.status != 200 {
                return Err(failure(&answer));
            }
            match answer.tls_status().as_str() {
                "running" => return Ok(answer.json()),
                "pending" => std::thread::sleep(self.poll_every),
                other => return Err(Failure(other.to_owned())),
            }
        }
        Err(Failure("timeout".into()))
    }

    fn create(&mut self, id: &str, upload: &Value) -> Result<Value, Failure> {
        let answer = checked(self.api.post_tls(id, upload));
        if answer.status != 200 {
            return Err(failure(&answer));
        }
        self.poll_until_running(id)
    }

    fn update(&mut self, id: &str, upload: &Value) -> Result<Value, Failure> {
        let answer = checked(self.api.put_tls(id, upload));
        if answer.status != 200 {
            return Err(failure(&answer));
        }
        // Scripts parse the answer of PUT.
        assert!(answer.json()["status"].is_string());
        self.poll_until_running(id)
    }

    fn destroy(&mut self, id: &str) -> Result<(), Failure> {
        let answer = checked(self.api.delete_tls(id));
        match answer.status {
            204 => assert_eq!(answer.body, ""),
            // Another client may have been faster.
            404 => {}
            _ => return Err(failure(&answer)),
        }
        let begin = Instant::now();
        while begin.elapsed() < self.poll_within {
            let answer = self.read(id);
            let gone = answer.status == 404 || (answer.status == 200 && answer.json() == json!({}));
            if gone {
                return Ok(());
            }
            if answer.status != 200 {
                return Err(failure(&answer));
            }
            std::thread::sleep(self.poll_every);
        }
        Err(Failure("timeout".into()))
    }
}

fn checked(answer: Answer) -> Answer {
    assert!(answer.body.len() < 4 << 20);
    if answer.status != 204 {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        answer.json();
    }
    if let Some(status) = answer.body.starts_with('{').then(|| answer.json()["status"].clone()) {
        let known = ["running", "pending", "failed", "terminated"];
        assert!(status.is_null() || known.iter().any(|known| status == *known), "{answer:?}");
    }
    answer
}

fn failure(answer: &Answer) -> Failure {
    let code = answer.code();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    assert!(!code.is_empty() && code.len() <= 128 && code.bytes().all(fits), "{answer:?}");
    Failure(code)
}

#[test]
fn create_update_replace_and_destroy() {
    let scene = Scene::new();
    let mut client = KnownClient::new(scene.api());
    let id = Scene::DEPLOYMENT;
    assert_eq!(client.read(id).json(), json!({}), "nothing is set yet");

    let first = scene.authority.server_named("first", &[Scene::HOST]);
    let running = client.create(id, &first.one_way()).unwrap();
    assert_eq!(running["cn"], "first");
    assert_eq!(running["tlsType"], "one-way");
    assert_eq!(running["expire"], "2040-01-01 00:00:00");

    let second = scene.authority.server_named("second", &[Scene::HOST]);
    assert_eq!(client.update(id, &second.one_way()).unwrap()["cn"], "second");
    let session = scene.connect(&scene.device(), "after-update").unwrap();
    assert_eq!(session.leaf(), second.der);

    // This client replaces by destroy and create.
    client.destroy(id).unwrap();
    let third = scene.authority.server_named("third", &[Scene::HOST]);
    assert_eq!(client.create(id, &third.one_way()).unwrap()["cn"], "third");
    let session = scene.connect(&scene.device(), "after-replace").unwrap();
    assert_eq!(session.leaf(), third.der);

    client.destroy(id).unwrap();
    client.destroy(id).expect("a 404 on DELETE, verified by a GET, is done as well");
}

#[test]
fn what_is_refused_is_told_by_its_code_alone() {
    let scene = Scene::new();
    let mut client = KnownClient::new(scene.api());
    let id = Scene::DEPLOYMENT;
    let (leaf, other) = (scene.leaf(), scene.leaf());

    let refused = client.update(id, &leaf.one_way());
    assert_eq!(refused, Err(Failure("TLS_NOT_FOUND".into())));
    let refused = client.create("nosuchid", &leaf.one_way());
    assert_eq!(refused, Err(Failure("DEPLOYMENT_NOT_FOUND".into())));
    let mixed = json!({"tlsType": "one-way", "cert": leaf.chain_pem, "key": other.key_pem});
    assert_eq!(client.create(id, &mixed), Err(Failure("KEY_MISMATCH".into())));

    client.create(id, &leaf.one_way()).unwrap();
    assert_eq!(client.create(id, &leaf.one_way()), Err(Failure("TLS_ALREADY_EXISTS".into())));
    assert_eq!(client.update(id, &mixed), Err(Failure("KEY_MISMATCH".into())));
    assert_eq!(client.poll_until_running(id).unwrap()["cn"], Scene::HOST, "a refused change leaves what was");
    client.api.secret = "wrong".into();
    assert_eq!(client.update(id, &leaf.one_way()), Err(Failure("UNAUTHORIZED".into())));
}

#[test]
fn a_read_over_the_limit_is_429_with_the_seconds_to_wait() {
    let scene = Scene::with(Setup { reads: 3, ..Setup::default() });
    let mut client = KnownClient::new(scene.api());
    for left in [2, 1, 0] {
        let answer = client.read(Scene::DEPLOYMENT).expect(200);
        assert_eq!(answer.header("ratelimit-limit"), Some("3"));
        assert_eq!(answer.header("ratelimit-remaining"), Some(left.to_string().as_str()));
    }
    let answer = client.read(Scene::DEPLOYMENT).expect(429);
    assert_eq!(answer.code(), "RATE_LIMITED");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{answer:?}");
    assert_eq!(answer.header("ratelimit-reset"), answer.header("retry-after"));
    assert_eq!(client.reads, 4, "it does not come back before its time");
}

#[test]
fn a_waiting_read_counts_once_and_spares_the_polling() {
    let scene = Scene::with(Setup::with_contract_limits());
    let api = scene.api();
    api.post_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    let path = format!("/deployments/{}/tls", Scene::DEPLOYMENT);
    let answer = api.try_send("GET", &path, "Prefer: wait=30\r\n", "").unwrap().expect(200);
    assert_eq!(answer.tls_status(), "running");
    assert_eq!(answer.header("ratelimit-remaining"), Some("59"));
}
