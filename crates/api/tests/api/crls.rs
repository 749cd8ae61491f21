//! The CRLs of a deployment: uploaded as they are, or fetched.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use certward_pki::CRL_BYTES_MAX;
use certward_store::{CloseRate, DeploymentId, Scope};
use certward_test_support::{Authority, Leaf, server_params};
use serde_json::{Value, json};

use crate::support::{Answer, Request, UPLOAD_ENDS, World};

const CRLS: &str = "/deployments/ge6a1a75/tls/crls";
const METERS: &str = "/deployments/ge6a1a75/tls/crls/meters";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DER: &str = "application/pkix-crl";
const PEM: &str = "application/x-pem-file";

struct Stage {
    world: World,
    ca: Authority,
    lost: Leaf,
}

impl Stage {
    /// Two-way.
    async fn new() -> Self {
        Self::of(World::new().await).await
    }

    async fn of(world: World) -> Self {
        let ca = Authority::new("Meters");
        let lost = ca.client("meter-7");
        let host = "ge6a1a75.example.com";
        let mut params = server_params(host, &[host]);
        params.not_after = UPLOAD_ENDS;
        let upload = Leaf::self_signed(params).two_way(ca.pem());
        let set = world.post("/deployments/ge6a1a75/tls").json(&upload).send().await;
        assert_eq!(set.status, 200, "{}", set.text);
        Self { world, ca, lost }
    }

    fn now(&self) -> time::OffsetDateTime {
        self.world.lifecycle.store().clock().now().to_time()
    }

    fn crl(&self, number: u64) -> Vec<u8> {
        self.ca.crl(number, &[&self.lost], self.now(), self.now() + 10 * DAY)
    }

    fn put(&self, path: &str, media_type: &str, crl: impl Into<Vec<u8>>) -> Request {
        self.world.put(path).header("Content-Type", media_type).body(crl)
    }

    async fn set(&self, path: &str, crl: Vec<u8>) -> Value {
        let answer = self.put(path, DER, crl).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn shown(&self) -> Value {
        let answer = self.world.get(METERS).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

fn pem(der: &[u8]) -> String {
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", lines.join("\n"))
}

fn without(mut answer: Value, fields: &[&str]) -> Value {
    fields.iter().for_each(|field| drop(answer.as_object_mut().unwrap().remove(*field)));
    answer
}

#[tokio::test]
async fn a_crl_is_set_as_der_or_pem_and_shown_without_its_entries() {
    let stage = Stage::new().await;
    let answer = stage.set(METERS, stage.crl(7)).await;
    for (field, expected) in [
        ("id", json!("meters")),
        ("issuer", json!("CN=Meters")),
        ("number", json!("7")),
        ("entries", json!(1)),
        ("thisUpdate", json!("2026-11-25 12:00:00")),
        ("nextUpdate", json!("2026-12-05 12:00:00")),
        ("stale", json!("soft")),
        ("isStale", json!(false)),
        ("url", Value::Null),
        ("warnings", json!([])),
        ("silentNodes", json!([])),
    ] {
        assert_eq!(answer[field], expected, "{field}: {answer}");
    }
    assert_eq!(stage.shown().await, without(answer.clone(), &["warnings", "silentNodes"]));
    assert_eq!(stage.world.get(CRLS).send().await.json(), json!([stage.shown().await]));
    // Clients confuse the media types.
    for (number, media_type, crl) in [
        (8, DER, pem(&stage.crl(8)).into_bytes()),
        (9, PEM, pem(&stage.crl(9)).into_bytes()),
        (10, PEM, stage.crl(10)),
    ] {
        let answer = stage.put(METERS, media_type, crl).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(stage.shown().await["number"], number.to_string());
    }
    stage.world.clock.advance(11 * DAY);
    assert_eq!(stage.shown().await["isStale"], true);
}

#[tokio::test]
async fn a_crl_that_cannot_be_used_is_refused_with_its_findings() {
    let stage = Stage::new().await;
    stage.set(METERS, stage.crl(7)).await;
    let other = Authority::new("Others").crl(8, &[], stage.now(), stage.now() + DAY);
    for (crl, code) in [
        (stage.crl(6), "CRL_OLDER"),
        (other, "CRL_ISSUER_UNKNOWN"),
        (stage.lost.der.clone(), "NOT_A_CRL"),
        (Vec::new(), "CRL_MISSING"),
    ] {
        let answer = stage.put(METERS, DER, crl).send().await;
        assert_eq!(answer.status, 422, "{code}: {}", answer.text);
        let body = answer.json();
        assert_eq!(body["details"][0]["field"], "crl", "{body}");
        assert!(body["details"][0]["remedy"].as_str().is_some_and(|it| !it.is_empty()), "{body}");
        assert_eq!((&body["code"], &body["details"][0]["code"]), (&json!(code), &json!(code)), "{body}");
    }
    assert_eq!(stage.shown().await["number"], "7");
}

#[tokio::test]
async fn a_warning_is_in_the_answer() {
    let stage = Stage::new().await;
    let stale = stage.ca.crl(7, &[], stage.now() - 10 * DAY, stage.now() - DAY);
    let answer = stage.put(METERS, DER, stale.clone()).send().await;
    assert_eq!((answer.status, &answer.json()["isStale"]), (200, &json!(true)), "{}", answer.text);
    assert_eq!(answer.json()["warnings"][0]["code"], "CRL_STALE");
    let hard = stage.put(&format!("{METERS}?stale=hard"), DER, stale).outcome().await;
    assert_eq!(hard, (422, "CRL_STALE_HARD".to_owned()));
}

#[tokio::test]
async fn a_newer_upload_does_not_weaken_a_hard_crl() {
    let stage = Stage::new().await;
    let hard = format!("{METERS}?stale=hard");
    assert_eq!(stage.set(&hard, stage.crl(7)).await["stale"], "hard");
    assert_eq!(stage.set(METERS, stage.crl(8)).await["stale"], "hard");
    assert_eq!(stage.set(&format!("{METERS}?stale=soft"), stage.crl(9)).await["stale"], "soft");
    for query in ["stale=", "stale=Hard", "stale=hard&stale=hard", "stale=0"] {
        let answer = stage.put(&format!("{METERS}?{query}"), DER, stage.crl(10)).outcome().await;
        assert_eq!(answer, (422, "STALE_POLICY_INVALID".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_crl_is_fetched_where_the_operator_permits_it() {
    let stage = Stage::new().await;
    let url = "http://pki.example.com/meters.crl";
    let put = |body: Value| stage.world.put(METERS).json(&body);
    let refused = put(json!({"url": url})).send().await;
    assert_eq!((refused.status, refused.code()), (422, "CRL_ALLOW_EMPTY".to_owned()));
    assert!(refused.text.contains("crl_allow"), "{}", refused.text);
    stage.world.gateway.fetches.store(true, Ordering::SeqCst);
    let answer = put(json!({"url": url, "stale": "hard"})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = stage.shown().await;
    assert_eq!((&shown["url"], &shown["stale"]), (&json!(url), &json!("hard")));
    assert!(shown["nextFetchAt"].is_string() && shown["issuer"].is_null(), "{shown}");
    for (body, code) in [
        (json!({}), "CRL_URL_INVALID"),
        (json!({"url": 7}), "CRL_URL_INVALID"),
        (json!({"url": "ldap://pki.example.com/meters"}), "CRL_URL_INVALID"),
        (json!({"url": "http://a:b@pki.example.com/"}), "CRL_URL_INVALID"),
        (json!({"url": url, "stale": "never"}), "STALE_POLICY_INVALID"),
    ] {
        assert_eq!(put(body.clone()).outcome().await, (422, code.to_owned()), "{body}");
    }
    // An upload ends the fetching.
    assert_eq!(stage.set(METERS, stage.crl(7)).await["url"], Value::Null);
}

#[tokio::test]
async fn only_this_route_takes_crls_and_it_takes_nothing_else() {
    let stage = Stage::new().await;
    let wrong = (415, "UNSUPPORTED_MEDIA_TYPE".to_owned());
    for media_type in ["application/octet-stream", "text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(stage.put(METERS, media_type, stage.crl(7)).outcome().await, wrong, "{media_type}");
    }
    assert_eq!(stage.world.put(METERS).body(stage.crl(7)).outcome().await, wrong, "none");
    let encoded = stage.put(METERS, DER, stage.crl(7)).header("Content-Encoding", "gzip");
    assert_eq!(encoded.outcome().await, wrong);
    for path in ["/deployments/ge6a1a75/tls", "/deployments/ge6a1a75/tls/check"] {
        let request = if path.ends_with("check") { stage.world.post(path) } else { stage.world.put(path) };
        assert_eq!(request.header("Content-Type", DER).body(stage.crl(7)).outcome().await, wrong, "{path}");
    }
    let revocations = stage.world.post("/deployments/ge6a1a75/tls/revocations").header("Content-Type", DER);
    assert_eq!(revocations.body(stage.crl(7)).outcome().await, wrong);
}

#[tokio::test]
async fn a_crl_may_have_sixteen_mebibytes_and_json_as_much_as_elsewhere() {
    let stage = Stage::new().await;
    // PEM may have text around its blocks.
    let mut largest = pem(&stage.crl(7)).into_bytes();
    largest.extend(vec![b'\n'; CRL_BYTES_MAX - largest.len()]);
    let answer = stage.put(METERS, PEM, largest).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (media_type, bytes, message) in [
        (DER, CRL_BYTES_MAX + 1, "The body is larger than 16384 KiB."),
        ("application/json", 256 * 1024 + 1, "The body is larger than 256 KiB."),
    ] {
        let answer = stage.world.declared("PUT", METERS, media_type, bytes).await;
        assert_eq!((answer.status, answer.code()), (413, "BODY_TOO_LARGE".to_owned()), "{media_type}");
        assert_eq!(answer.json()["message"], message);
    }
}

#[tokio::test]
async fn a_large_crl_is_listed_by_its_number_of_entries() {
    let stage = Stage::new().await;
    let others: Vec<Leaf> = (0..50).map(|n| stage.ca.client(&format!("meter-{n}"))).collect();
    let crl = stage.ca.crl(7, &others.iter().collect::<Vec<_>>(), stage.now(), stage.now() + DAY);
    assert_eq!(stage.set(METERS, crl).await["entries"], 50);
}

#[tokio::test]
async fn an_id_is_chosen_by_its_rule() {
    let stage = Stage::new().await;
    let longest = "a".repeat(63);
    for (id, is_right) in [
        ("m", true),
        (longest.as_str(), true),
        ("%6deters", true),
        ("Meters", false),
        ("-m", false),
        ("m.crl", false),
        ("%zz", false),
    ] {
        let path = format!("{CRLS}/{id}");
        let set = stage.put(&path, DER, stage.crl(7)).outcome().await;
        let expected = if is_right { (200, "-") } else { (422, "CRL_ID_INVALID") };
        assert_eq!(set, (expected.0, expected.1.to_owned()), "{id}");
        let shown = stage.world.get(&path).outcome().await.0;
        assert_eq!(shown, if is_right { 200 } else { 404 }, "{id}");
    }
}

#[tokio::test]
async fn a_crl_is_removed_once_and_twenty_may_be_there() {
    let stage = Stage::new().await;
    for n in 0..20 {
        stage.set(&format!("{CRLS}/c{n}"), stage.crl(7)).await;
    }
    let full = stage.put(&format!("{CRLS}/c20"), DER, stage.crl(7)).outcome().await;
    assert_eq!(full, (409, "CRL_QUOTA".to_owned()));
    let gone = (404, "CRL_NOT_FOUND".to_owned());
    assert_eq!(stage.world.delete(&format!("{CRLS}/c7")).send().await.status, 204);
    assert_eq!(stage.world.delete(&format!("{CRLS}/c7")).outcome().await, gone);
    assert_eq!(stage.world.get(&format!("{CRLS}/c7")).outcome().await, gone);
    assert_eq!(stage.world.get(CRLS).send().await.json().as_array().unwrap().len(), 19);
    stage.set(&format!("{CRLS}/c20"), stage.crl(7)).await;
}

#[tokio::test]
async fn nodes_that_are_behind_are_named_and_the_rate_is_kept() {
    let stage = Stage::new().await;
    stage.world.gateway.behind.store(true, Ordering::SeqCst);
    let answer = stage.set(&format!("{METERS}?closeRate=50"), stage.crl(7)).await;
    assert_eq!(answer["silentNodes"], json!(["node-1"]));
    let id = DeploymentId::parse("ge6a1a75").unwrap();
    let found = stage.world.lifecycle.store().read().deployment(&id).await.unwrap().unwrap();
    assert_eq!(CloseRate::number(found.close_rate), 50);
    let wrong = stage.put(&format!("{METERS}?closeRate=x"), DER, stage.crl(8)).outcome().await;
    assert_eq!(wrong, (422, "CLOSE_RATE_INVALID".to_owned()));
}

#[tokio::test]
async fn crls_have_limits_and_rights_of_their_own() {
    let stage = Stage::of(World::with(|settings| settings.limits.revocations.requests = 2).await).await;
    let remaining = |answer: &Answer| answer.header("ratelimit-remaining").map(str::to_owned);
    let first = stage.put(METERS, DER, stage.crl(7)).send().await;
    assert_eq!((first.status, remaining(&first)), (200, Some("1".to_owned())));
    assert_eq!(stage.world.delete(METERS).send().await.status, 204);
    assert_eq!(stage.put(METERS, DER, stage.crl(7)).send().await.status, 429);
    let reading = stage.world.get(CRLS).send().await;
    assert_eq!((reading.status, reading.header("ratelimit-limit")), (200, Some("60")));
    let revocation = json!({"revocations": [{"name": "a"}]});
    let revocation = stage.world.post("/deployments/ge6a1a75/tls/revocations").json(&revocation);
    assert_eq!(revocation.send().await.status, 201, "the deny-list has its own");

    let reader = stage.world.key(&[Scope::TlsRead], None).await;
    let denied = (403, "NO_ACCESS".to_owned());
    assert_eq!(stage.world.get(CRLS).login(&reader).send().await.status, 200);
    assert_eq!(stage.put(METERS, DER, stage.crl(7)).login(&reader).outcome().await, denied);
    assert_eq!(stage.world.delete(METERS).login(&reader).outcome().await, denied);
    let other = stage.world.key(&[Scope::Deployments], None).await;
    assert_eq!(stage.world.get(METERS).login(&other).outcome().await, denied);
}

/// Four bodies over 256 KiB are received at once; see `revocations.rs`.
#[tokio::test]
async fn a_crl_needs_a_place_only_if_it_is_large() {
    let stage = Stage::new().await;
    let large = |number: u64| {
        let mut crl = pem(&stage.crl(number)).into_bytes();
        crl.extend(vec![b'\n'; 300 * 1024]);
        crl
    };
    let mut held = Vec::new();
    for n in 0..4 {
        held.push(stage.put(&format!("{CRLS}/c{n}"), PEM, large(7)).send_held().await);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage.put(&format!("{CRLS}/c5"), PEM, large(7)).send().await.status != 429 {
        assert!(Instant::now() < deadline, "the places are not taken");
    }
    stage.set(&format!("{CRLS}/c6"), stage.crl(7)).await;
    for held in held {
        assert_eq!(held.finish().await.status, 200);
    }
}
