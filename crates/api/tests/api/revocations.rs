//! The deny-list of a deployment.

use std::sync::atomic::Ordering;

use certward_pki::DenyKey;
use certward_store::{AuditPage, Scope};
use certward_test_support::Authority;
use serde_json::{Value, json};

use crate::{
    devices,
    support::{Answer, World},
};

const REVOCATIONS: &str = "/deployments/ge6a1a75/tls/revocations";

fn by_name(name: &str) -> Value {
    json!({"revocations": [{"name": name}]})
}

async fn add(world: &World, body: &Value) -> Answer {
    world.post(REVOCATIONS).json(body).send().await
}

async fn added(world: &World, body: &Value) -> Value {
    let answer = add(world, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

async fn names(world: &World, path: &str) -> (Vec<String>, Answer) {
    let answer = world.get(path).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let listed = answer.json();
    let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
    (names.collect(), answer)
}

#[tokio::test]
async fn a_certificate_is_refused_by_what_it_says_and_not_by_its_bytes() {
    let world = World::new().await;
    let leaf = Authority::new("Meters").client("meter-7");
    let answer =
        added(&world, &json!({"revocations": [{"certificate": leaf.pem, "reason": "stolen"}]})).await;
    let revocation = &answer["revocations"][0];
    assert_eq!(
        (&revocation["by"], &revocation["reason"], &revocation["existing"]),
        (&json!("certificate"), &json!("stolen"), &json!(false))
    );
    for field in ["id", "device", "fingerprint", "issuer", "serial", "revokedBy"] {
        assert!(revocation[field].is_string(), "{field}: {answer}");
    }
    assert_eq!(revocation["revokedAt"], "2026-11-25 12:00:00");
    assert_eq!(answer["inEffect"], false, "there is no certificate that asks for one");

    let same = json!({"revocations": [{"certificate": leaf.pem.replace('\n', "\r\n"), "reason": "lost"}]});
    let again = add(&world, &same).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.json()["revocations"][0]["id"], revocation["id"]);
    assert_eq!(again.json()["revocations"][0]["reason"], "stolen");
    assert_eq!(again.json()["revocations"][0]["existing"], true);
}

#[tokio::test]
async fn each_kind_is_listed_as_what_it_is() {
    let world = World::new().await;
    devices::connect(&world).await;
    let fingerprint = "9F:86:".repeat(16);
    let new = json!({"revocations": [
        {"fingerprint": fingerprint.trim_end_matches(':')},
        {"issuer": "CN=Meters", "serial": "00:0A:02", "reason": null},
        {"name": "meter-3"},
        {"name": "meter-3", "issuer": "CN=Meters"},
    ]});
    // Devices of the stage share a fingerprint; one of them is found.
    let answer = added(&world, &new).await;
    let kinds: Vec<_> = answer["revocations"].as_array().unwrap().iter().map(|it| &it["by"]).collect();
    assert_eq!(kinds, ["certificate", "serial", "name", "name"]);
    assert_eq!(answer["revocations"][1]["serial"], "0a02");
    let listed = world.get(REVOCATIONS).send().await.json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 4);
    for of_answer in answer["revocations"].as_array().unwrap() {
        let mut shown = of_answer.clone();
        shown.as_object_mut().unwrap().remove("existing");
        assert!(listed.contains(&shown), "{shown}");
    }
}

#[tokio::test]
async fn the_answer_counts_devices_and_names_nodes_that_are_behind() {
    let world = World::new().await;
    devices::connect(&world).await;
    *world.gateway.denied.lock().unwrap() = vec![DenyKey::named("meter-1")];
    let new = json!({"revocations": [{"name": "meter-1"}, {"name": "meter-2"}, {"name": "stranger"}]});
    let answer = added(&world, &new).await;
    assert_eq!(answer["matches"], json!({"known": 2, "connected": 1, "notCounted": []}));
    assert_eq!(answer["silentNodes"], json!([]));
    world.gateway.behind.store(true, Ordering::SeqCst);
    assert_eq!(added(&world, &by_name("meter-9")).await["silentNodes"], json!(["node-1"]));
    world.gateway.absent.store(true, Ordering::SeqCst);
    let answer = added(&world, &by_name("meter-10")).await;
    assert_eq!((&answer["silentNodes"], &answer["matches"]["connected"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_revocation_is_removed_once() {
    let world = World::new().await;
    let answer = added(&world, &by_name("meter-7")).await;
    let path = format!("{REVOCATIONS}/{}", answer["revocations"][0]["id"].as_str().unwrap());
    assert_eq!(world.delete(&path).send().await.status, 204);
    let gone = (404, "REVOCATION_NOT_FOUND".to_owned());
    assert_eq!(world.delete(&path).outcome().await, gone);
    for id in ["0", &"0A".repeat(16), "%zz"] {
        assert_eq!(world.delete(&format!("{REVOCATIONS}/{id}")).outcome().await, gone, "{id}");
    }
    assert_eq!(world.get(REVOCATIONS).send().await.json(), json!([]));
}

#[tokio::test]
async fn the_list_comes_in_pages_newest_first() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        added(&world, &by_name(name)).await;
    }
    let (first, answer) = names(&world, &format!("{REVOCATIONS}?limit=2")).await;
    assert_eq!(first, ["c", "b"]);
    let link = answer.header("link").unwrap();
    let next = link.strip_prefix("</public_api/v1").and_then(|it| it.split('>').next()).unwrap();
    let (second, answer) = names(&world, next).await;
    assert_eq!((second, answer.header("link")), (vec!["a".to_owned()], None));
    for after in ["1", "x.00", "1.0A"] {
        let answer = world.get(&format!("{REVOCATIONS}?after={after}")).outcome().await;
        assert_eq!(answer, (422, "QUERY_INVALID".to_owned()), "{after}");
    }
}

#[tokio::test]
async fn every_wrong_entry_is_named_and_nothing_is_stored() {
    let world = World::new().await;
    let leaf = Authority::new("Meters").client("meter-7");
    let cases = [
        (json!("meter-7"), "revocations", "REVOCATION_INVALID"),
        (json!({}), "revocations", "REVOCATION_INVALID"),
        (json!({"issuer": "CN=Meters"}), "revocations", "REVOCATION_INVALID"),
        (json!({"serial": "01"}), "issuer", "REVOCATION_INVALID"),
        (json!({"name": 7}), "name", "REVOCATION_INVALID"),
        (json!({"name": {"a": [1, null]}}), "name", "REVOCATION_INVALID"),
        (json!({"name": "a", "certificate": leaf.pem}), "revocations", "REVOCATION_INVALID"),
        (json!({"name": "a", "issuer": "b", "serial": "01"}), "revocations", "REVOCATION_INVALID"),
    ];
    let of_lifecycle = [
        (json!({"certificate": "meter-7"}), "certificate", "REVOCATION_INVALID"),
        (json!({"certificate": leaf.pem.repeat(2)}), "certificate", "REVOCATION_INVALID"),
        (json!({"certificate": Authority::new("Meters").pem()}), "certificate", "REVOCATION_INVALID"),
        (json!({"fingerprint": "9f86"}), "fingerprint", "REVOCATION_INVALID"),
        (json!({"fingerprint": "0a".repeat(32)}), "fingerprint", "FINGERPRINT_UNKNOWN"),
        (json!({"issuer": "CN=Meters", "serial": "0x01"}), "serial", "REVOCATION_INVALID"),
        (json!({"issuer": "", "serial": "01"}), "issuer", "REVOCATION_INVALID"),
        (json!({"name": ""}), "name", "REVOCATION_INVALID"),
        (json!({"name": "a", "reason": "a\nb"}), "reason", "TEXT_INVALID"),
    ];
    for cases in [cases.as_slice(), of_lifecycle.as_slice()] {
        // The first is right.
        let mut entries = vec![json!({"name": "meter-8"})];
        entries.extend(cases.iter().map(|(entry, ..)| entry.clone()));
        let answer = add(&world, &json!({"revocations": entries})).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        let details = answer.json()["details"].as_array().unwrap().clone();
        assert_eq!(details.len(), cases.len(), "{}", answer.text);
        for (place, (detail, (entry, field, code))) in details.iter().zip(cases).enumerate() {
            assert_eq!((&detail["field"], &detail["code"]), (&json!(field), &json!(code)), "{entry}");
            assert_eq!(detail["item"]["index"], place + 1, "{entry}");
        }
    }
    let mixed = json!({"revocations": [{"name": ""}, {}, {"name": "a"}, {"fingerprint": "9f86"}]});
    let answer = add(&world, &mixed).await.json();
    let details = answer["details"].as_array().unwrap().iter();
    let named: Vec<_> = details.map(|it| (it["item"]["index"].clone(), it["field"].clone())).collect();
    let expected = [(0, "name"), (1, "revocations"), (3, "fingerprint")];
    assert_eq!(named, expected.map(|(index, field)| (json!(index), json!(field))));
    assert_eq!(world.get(REVOCATIONS).send().await.json(), json!([]));
}

#[tokio::test]
async fn the_list_of_a_request_has_its_bounds() {
    let world = World::new().await;
    let entries = |count: usize| json!({"revocations": (0..count).map(|n| json!({"name": format!("d{n}")})).collect::<Vec<_>>()});
    for wrong in [
        json!({}),
        json!({"revocations": null}),
        json!({"revocations": []}),
        json!({"revocations": {"name": "a"}}),
        json!({"revocations": "a"}),
        entries(1_001),
    ] {
        let answer = add(&world, &wrong).await;
        assert_eq!((answer.status, answer.code()), (422, "REVOCATION_INVALID".to_owned()), "{}", answer.text);
        assert_eq!(answer.json()["details"][0]["field"], "revocations");
    }
    let answer = added(&world, &entries(1_000)).await;
    assert_eq!(answer["revocations"].as_array().unwrap().len(), 1_000);
    assert_eq!(answer["revocations"][999]["name"], "d999");
    let (listed, _) = names(&world, &format!("{REVOCATIONS}?limit=1000")).await;
    assert_eq!(listed.len(), 1_000);
}

#[tokio::test]
async fn a_field_given_twice_is_refused_in_an_entry_too() {
    let world = World::new().await;
    let request = |body: &str| world.post(REVOCATIONS).header("Content-Type", "application/json").body(body);
    for body in [
        r#"{"revocations":[{"name":"a","name":"b"}]}"#,
        r#"{"revocations":[{"name":"a","x":1,"x":2}]}"#,
        r#"{"revocations":[],"revocations":[]}"#,
        r#"{"revocations":[{"name":"a"}"#,
        r#"[{"name":"a"}]"#,
    ] {
        assert_eq!(request(body).outcome().await, (400, "INVALID_JSON".to_owned()), "{body}");
    }
    let unknown = request(r#"{"revocations":[{"name":"a","since":{"a":1,"a":2}}],"more":[1]}"#);
    assert_eq!(unknown.send().await.status, 201);
}

/// A thousand certificates do not fit in the usual 256 KiB.
#[tokio::test]
async fn a_body_may_have_four_mebibytes() {
    const BYTES_MAX: usize = 4 * 1024 * 1024;
    let world = World::new().await;
    let padded = |bytes: usize| {
        let body = by_name("meter-7").to_string();
        format!("{}{body}", " ".repeat(bytes - body.len()))
    };
    let request =
        |body: String| world.post(REVOCATIONS).header("Content-Type", "application/json").body(body);
    assert_eq!(request(padded(BYTES_MAX)).send().await.status, 201);
    let answer = world.declared("POST", REVOCATIONS, "application/json", BYTES_MAX + 1).await;
    assert_eq!((answer.status, answer.code()), (413, "BODY_TOO_LARGE".to_owned()));
    assert_eq!(answer.json()["message"], "The body is larger than 4096 KiB.");
    let of_tls = world.post("/deployments/ge6a1a75/tls").header("Content-Type", "application/json");
    assert_eq!(of_tls.body(padded(256 * 1024 + 1)).outcome().await.0, 413, "other bodies keep their limit");
}

#[tokio::test]
async fn large_bodies_have_four_places() {
    let world = World::new().await;
    let body = |name: &str| format!("{}{}", " ".repeat(300 * 1024), by_name(name));
    let request =
        |name: &str| world.post(REVOCATIONS).header("Content-Type", "application/json").body(body(name));
    let mut held = Vec::new();
    for name in ["a", "b", "c", "d"] {
        held.push(request(name).send_held().await);
    }
    // The server has read them when a further one finds no place.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let refused = loop {
        let answer = request("e").send().await;
        if answer.status == 429 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "{}", answer.text);
    };
    assert_eq!((refused.code(), refused.header("retry-after")), ("RATE_LIMITED".to_owned(), Some("5")));
    assert_eq!(add(&world, &by_name("small")).await.status, 201, "a small one needs no place");
    for held in held {
        assert_eq!(held.finish().await.status, 201);
    }
    assert!([200, 201].contains(&request("e").send().await.status));
}

#[tokio::test]
async fn changes_have_a_limit_of_their_own() {
    let world = World::with(|settings| settings.limits.revocations.requests = 2).await;
    let limit = |answer: &Answer| answer.header("ratelimit-remaining").map(str::to_owned);
    assert_eq!(limit(&add(&world, &by_name("a")).await), Some("1".to_owned()));
    let none = world.delete(&format!("{REVOCATIONS}/{}", "0a".repeat(16))).send().await;
    assert_eq!((none.status, limit(&none)), (404, Some("0".to_owned())));
    assert_eq!(add(&world, &by_name("b")).await.status, 429);
    let reading = world.get(REVOCATIONS).send().await;
    assert_eq!((reading.status, reading.header("ratelimit-limit")), (200, Some("600")));
    let put = world.put("/deployments/ge6a1a75/tls").json(&json!({})).send().await;
    assert_eq!((put.status, limit(&put)), (404, Some("5".to_owned())), "the six are others");
}

#[tokio::test]
async fn reading_needs_the_right_to_read_and_changing_that_to_change() {
    let world = World::new().await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    let other = world.key(&[Scope::Deployments], None).await;
    let denied = (403, "NO_ACCESS".to_owned());
    assert_eq!(world.get(REVOCATIONS).login(&reader).send().await.status, 200);
    assert_eq!(world.get(REVOCATIONS).login(&other).outcome().await, denied);
    let post = || world.post(REVOCATIONS).json(&by_name("a"));
    assert_eq!(post().login(&reader).outcome().await, denied);
    let delete = world.delete(&format!("{REVOCATIONS}/{}", "0a".repeat(16))).login(&reader);
    assert_eq!(delete.outcome().await, denied);
    let elsewhere = world.get("/deployments/nothere/tls/revocations").outcome().await;
    assert_eq!(elsewhere, (404, "DEPLOYMENT_NOT_FOUND".to_owned()));
    assert_eq!(post().send().await.status, 201);
}

#[tokio::test]
async fn the_rate_is_that_of_the_change() {
    let world = World::new().await;
    let at = |rate: &str| world.post(&format!("{REVOCATIONS}?closeRate={rate}"));
    assert_eq!(at("0").json(&by_name("a")).outcome().await, (422, "CLOSE_RATE_INVALID".to_owned()));
    assert_eq!(at("50").json(&by_name("a")).send().await.status, 201);
    let deployment = certward_store::DeploymentId::parse("ge6a1a75").unwrap();
    let close_rate = async || {
        let found = world.lifecycle.store().read().deployment(&deployment).await.unwrap().unwrap();
        (certward_store::CloseRate::number(found.close_rate), found.close_rate_number)
    };
    assert_eq!(close_rate().await, (50, 1));
    assert_eq!(add(&world, &by_name("b")).await.status, 201);
    assert_eq!(close_rate().await, (50, 1), "it leaves those that wait their turns");
    assert_eq!(at("20").json(&by_name("c")).send().await.status, 201);
    assert_eq!(close_rate().await, (20, 2));
}

#[tokio::test]
async fn the_audit_has_ids_and_no_names() {
    let world = World::new().await;
    let answer = added(&world, &by_name("the-name-of-a-person")).await;
    let id = answer["revocations"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.delete(&format!("{REVOCATIONS}/{id}")).send().await.status, 204);
    let page = AuditPage { limit: 100, ..AuditPage::default() };
    let rows = world.lifecycle.store().read().audit(&page).await.unwrap();
    let details: Vec<_> = rows
        .iter()
        .filter(|row| row.record.action.ends_with("revoke"))
        .map(|row| row.record.detail.clone())
        .collect();
    assert_eq!(details.len(), 2, "{rows:?}");
    assert!(details.iter().all(|detail| detail.contains(&id) && !detail.contains("person")), "{details:?}");
}
