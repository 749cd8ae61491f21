//! Versions of a certificate: the list, rolling back, erasing a key.

use std::time::Duration;

use certward_store::{Scope, VersionId};
use serde_json::{Value, json};

use crate::support::{BASE, TLS, World, upload};

const VERSIONS: &str = "/deployments/ge6a1a75/tls/versions";
const ROLLBACK: &str = "/deployments/ge6a1a75/tls/rollback";

async fn versions(world: &World) -> Vec<Value> {
    let answer = world.get(VERSIONS).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_array().unwrap().clone()
}

/// Two that are proven, the older one first.
async fn two_versions(world: &World) -> [i64; 2] {
    let node = world.node().await;
    assert_eq!(world.request("POST", TLS).json(&upload()).send().await.status, 200);
    world.report(&node, Ok(())).await;
    assert_eq!(world.request("PUT", TLS).json(&upload()).send().await.status, 200);
    world.report(&node, Ok(())).await;
    let versions = versions(world).await;
    [1, 0].map(|index: usize| versions[index]["version"].as_i64().unwrap())
}

#[tokio::test]
async fn versions_are_listed_newest_first_without_any_key() {
    let world = World::new().await;
    assert_eq!(versions(&world).await, [] as [Value; 0]);
    let [first, second] = two_versions(&world).await;
    let answer = world.get(VERSIONS).send().await;
    assert!(!answer.text.contains("BEGIN"), "{}", answer.text);
    let listed = answer.json();
    let admin = world.lifecycle.store().read().api_keys().await.unwrap()[0].key.to_string();
    let mut expected = json!({
        "version": second, "status": "running", "tlsType": "one-way", "acceptedBy": admin,
        "acceptedAt": "2026-11-25 12:00:00",
    });
    for (version, status) in [(second, "running"), (first, "superseded")] {
        (expected["version"], expected["status"]) = (version.into(), status.into());
        let found = listed.as_array().unwrap().iter().find(|listed| listed["version"] == version).unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[name], value, "{name}");
        }
        assert_eq!(found["chain"][0]["fingerprint"], found["fingerprint"]);
        assert!(found["restores"].is_null() && found["clientCAs"] == json!([]));
    }

    let back = world.post(ROLLBACK).json(&json!({})).send().await;
    assert_eq!((back.status, back.json()["status"].as_str()), (200, Some("pending")), "{}", back.text);
    let listed = versions(&world).await;
    let statuses: Vec<_> = listed.iter().map(|listed| listed["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pending", "rolledBack", "superseded"]);
    assert_eq!(listed[0]["restores"], first);
    assert_eq!(listed[0]["serial"], listed[2]["serial"]);

    assert_eq!(world.request("DELETE", TLS).send().await.status, 204);
    let statuses: Vec<_> = versions(&world).await.iter().map(|listed| listed["status"].clone()).collect();
    assert_eq!(statuses, ["erased"; 3]);
}

#[tokio::test]
async fn a_rollback_that_cannot_be_is_refused_by_its_cause() {
    let world = World::new().await;
    let refused = async |body: Value| world.post(ROLLBACK).json(&body).outcome().await;
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused(json!({"version": 7})).await, is(404, "TLS_NOT_FOUND"));
    let [first, second] = two_versions(&world).await;
    for version in [json!("7"), json!(0), json!(-1), json!(1.5), json!([7]), json!(true)] {
        assert_eq!(refused(json!({ "version": version })).await.1, "VERSION_INVALID", "{version}");
        // Six an hour.
        world.clock.advance(Duration::from_secs(3600));
    }
    assert_eq!(refused(json!({"version": second})).await, is(409, "VERSION_IN_SERVICE"));
    assert_eq!(refused(json!({"version": 9_000})).await, is(404, "VERSION_NOT_FOUND"));
    let erase = format!("{VERSIONS}/{first}");
    assert_eq!(world.delete(&erase).send().await.status, 204);
    for body in [json!({"version": first}), json!({"version": null})] {
        assert_eq!(refused(body).await, is(422, "VERSION_ERASED"));
    }
}

#[tokio::test]
async fn an_expired_version_is_refused_with_the_finding() {
    let world = World::new().await;
    let [first, _] = two_versions(&world).await;
    world.clock.advance(Duration::from_secs(20 * 365 * 24 * 60 * 60));
    let answer = world.post(ROLLBACK).json(&json!({"version": first})).send().await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "LEAF_EXPIRED"));
    assert_eq!(answer.json()["details"][0]["field"], "cert");
}

#[tokio::test]
async fn a_key_is_erased_by_its_version() {
    let world = World::new().await;
    let erase = async |version: &str| world.delete(&format!("{VERSIONS}/{version}")).outcome().await;
    let is = |status: u16, code: &str| (status, code.to_owned());
    for nothing in ["7", "07", "-7", "x", "%zz", "9223372036854775808"] {
        assert_eq!(erase(nothing).await, is(404, "VERSION_NOT_FOUND"), "{nothing}");
    }
    let [first, second] = two_versions(&world).await;
    assert_eq!(erase(&second.to_string()).await, is(409, "VERSION_IN_SERVICE"));
    for _ in 0..2 {
        let erased = world.delete(&format!("{VERSIONS}/{first}")).send().await;
        assert_eq!((erased.status, erased.text.as_str()), (204, ""));
    }
    let id = certward_store::DeploymentId::parse("ge6a1a75").unwrap();
    let store = world.lifecycle.store().read();
    assert!(store.private_key(&id, VersionId(first)).await.unwrap().is_none());
    assert!(store.private_key(&id, VersionId(second)).await.unwrap().is_some());
}

#[tokio::test]
async fn rollbacks_have_a_limit_of_their_own() {
    let world = World::new().await;
    two_versions(&world).await;
    for _ in 0..5 {
        world.request("PUT", TLS).json(&upload()).send().await;
    }
    assert_eq!(world.request("PUT", TLS).json(&upload()).send().await.status, 429);
    for left in ["5", "4", "3", "2", "1", "0"] {
        let back = world.post(ROLLBACK).json(&json!({})).send().await;
        assert_eq!((back.status, back.header("ratelimit-remaining")), (200, Some(left)), "{}", back.text);
    }
    let refused = world.post(ROLLBACK).json(&json!({})).send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3600")));
    assert_eq!(world.get(VERSIONS).send().await.header("ratelimit-limit"), Some("60"));
    assert_eq!(world.request("GET", TLS).send().await.header("ratelimit-remaining"), Some("59"), "apart");
    let other = world.key(&[Scope::Tls], None).await;
    let back = world.post(ROLLBACK).login(&other).json(&json!({})).send().await;
    assert_eq!(back.status, 200, "another key: {}", back.text);

    let limits = |settings: &mut certward_api::ApiSettings| settings.limits.rollbacks.requests = 1;
    let world = World::with(limits).await;
    let back = world.post(ROLLBACK).json(&json!({})).send().await;
    assert_eq!((back.status, back.header("ratelimit-limit")), (404, Some("1")));
    assert_eq!(world.post(ROLLBACK).json(&json!({})).send().await.status, 429, "refused ones count");
}

#[tokio::test]
async fn scopes_and_the_order_of_checks_are_those_of_changes() {
    let world = World::new().await;
    let [first, _] = two_versions(&world).await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    let elsewhere = world.key(&[Scope::Tls], Some(&[])).await;
    let erase = format!("{VERSIONS}/{first}");
    assert_eq!(world.get(VERSIONS).login(&reader).send().await.status, 200);
    for request in [world.post(ROLLBACK), world.delete(&erase)] {
        assert_eq!(request.login(&reader).outcome().await, (403, "NO_ACCESS".to_owned()));
    }
    for request in [world.get(VERSIONS), world.post(ROLLBACK), world.delete(&erase)] {
        let outcome = request.login(&elsewhere).outcome().await;
        assert_eq!(outcome, (404, "DEPLOYMENT_NOT_FOUND".to_owned()));
    }
    for path in ["/tls/versions", "/tls/rollback", "/tls/versions/7"] {
        let method = match path {
            "/tls/versions" => "GET",
            "/tls/rollback" => "POST",
            _ => "DELETE",
        };
        for id in ["", "%zz", "nothere"] {
            let outcome = world.request(method, &format!("{BASE}/deployments/{id}{path}")).outcome().await;
            assert_eq!(outcome, (404, "DEPLOYMENT_NOT_FOUND".to_owned()), "{id} {path}");
        }
    }
    let large = vec![b'x'; 256 * 1024 + 1];
    let json = |body: &str| world.post(ROLLBACK).header("Content-Type", "application/json").body(body);
    for (request, expected) in [
        (world.post(ROLLBACK).body(large), (413, "BODY_TOO_LARGE")),
        (world.post(ROLLBACK), (415, "UNSUPPORTED_MEDIA_TYPE")),
        (json("[]"), (400, "INVALID_JSON")),
        (json(r#"{"version": 7, "version": 7}"#), (400, "INVALID_JSON")),
        (json(r#"{"version": 9000, "status": "running"}"#), (404, "VERSION_NOT_FOUND")),
    ] {
        let (status, code) = expected;
        assert_eq!(request.outcome().await, (status, code.to_owned()));
    }
}
