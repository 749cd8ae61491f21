//! The client CAs of a deployment: listed, added, removed.

use std::sync::atomic::Ordering;

use certward_lifecycle::LiveEvidence;
use certward_pki::fingerprint;
use certward_store::{DeploymentId, Scope};
use certward_test_support::{Authority, Leaf};
use serde_json::{Value, json};

use crate::{
    devices,
    support::{TLS, World, upload},
};

const CAS: &str = "/deployments/ge6a1a75/tls/client-cas";
const HOST: &str = "ge6a1a75.example.com";

/// With these client CAs.
async fn world(cas: &[&Authority]) -> World {
    let world = World::new().await;
    let made = world.request("POST", TLS).json(&two_way(cas)).send().await;
    assert_eq!(made.status, 200, "{}", made.text);
    world
}

fn two_way(cas: &[&Authority]) -> Value {
    server().two_way(&cas.iter().map(|ca| ca.pem()).collect::<String>())
}

fn server() -> Leaf {
    Authority::new("Server CA").server(&[HOST])
}

fn cacert(ca: &Authority) -> Value {
    json!({"cacert": ca.pem()})
}

fn of(ca: &Authority) -> String {
    format!("{CAS}/{}", fingerprint(ca.der()))
}

#[tokio::test]
async fn a_ca_is_added_and_the_old_one_removed_without_an_upload_of_the_key() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old]).await;
    let expire = world.request("GET", TLS).send().await.json()["expire"].clone();
    let added = world.post(CAS).json(&cacert(&new)).send().await;
    assert_eq!((added.status, added.header("ratelimit-limit")), (200, Some("30")), "{}", added.text);
    let added = added.json();
    assert_eq!(
        (&added["status"], &added["tlsType"], &added["expire"]),
        (&json!("pending"), &json!("two-way"), &expire)
    );
    let listed = world.get(CAS).send().await.json();
    let subjects: Vec<_> = listed.as_array().unwrap().iter().map(|ca| ca["subject"].clone()).collect();
    assert_eq!(subjects, ["CN=Old", "CN=New"]);
    let again = world.post(CAS).json(&cacert(&new)).send().await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert!(again.text.contains("DUPLICATE_LEFT_OUT"), "{}", again.text);
    let versions = world.get("/deployments/ge6a1a75/tls/versions").send().await.json();
    assert_eq!(versions.as_array().unwrap().len(), 2, "nothing was changed by the second");

    let removed = world.delete(&of(&old)).send().await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let listed = world.get(CAS).send().await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["subject"]), (1, &json!("CN=New")));
    let audit = world.get("/audit?action=tls.&order=oldest").send().await.json();
    let actions: Vec<_> = audit.as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions, ["tls.create", "tls.client-ca-add", "tls.client-ca-remove"], "{audit}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_cause() {
    let (ca, other) = (Authority::new("A"), Authority::new("B"));
    let world = World::new().await;
    let refused = async |id: &str, ca: &Authority| {
        let cas = CAS.replace("ge6a1a75", id);
        let added = world.post(&cas).json(&cacert(ca)).outcome().await;
        (added, world.delete(&of(ca).replace("ge6a1a75", id)).outcome().await)
    };
    let both = |status: u16, code: &str| ((status, code.to_owned()), (status, code.to_owned()));
    assert_eq!(refused("unknown", &ca).await, both(404, "DEPLOYMENT_NOT_FOUND"));
    assert_eq!(refused("ge6a1a75", &ca).await, both(404, "TLS_NOT_FOUND"));
    let stragglers = format!("{}/stragglers", of(&other));
    for path in [CAS, &stragglers] {
        assert_eq!(world.get(path).outcome().await, (404, "TLS_NOT_FOUND".to_owned()));
    }
    world.request("POST", TLS).json(&upload()).send().await;
    assert_eq!(refused("ge6a1a75", &ca).await, both(422, "NOT_TWO_WAY"));
    assert_eq!(world.get(CAS).send().await.json(), json!([]));

    world.request("PUT", TLS).json(&two_way(&[&ca])).send().await;
    let unknown = (404, "CLIENT_CA_NOT_FOUND".to_owned());
    assert_eq!(world.delete(&of(&other)).outcome().await, unknown);
    assert_eq!(
        world.delete(&of(&ca).to_uppercase().replace(&CAS.to_uppercase(), CAS)).outcome().await,
        unknown
    );
    assert_eq!(world.get(&stragglers).outcome().await, unknown);
    // The first key's requests are used up: refused ones count.
    let another = world.key(&[Scope::Tls], None).await;
    let last = world.delete(&of(&ca)).login(&another).outcome().await;
    assert_eq!(last, (422, "CLIENT_CA_LAST".to_owned()));
    let leaf = server();
    for (body, code) in [
        (json!({}), "CA_MISSING"),
        (json!({"cacert": leaf.pem}), "CA_NOT_CA"),
        (json!({"cacert": leaf.key_pem}), "CA_HOLDS_KEY"),
        (json!({"cacert": 7}), "NOT_TEXT"),
    ] {
        let other = world.key(&[Scope::Tls], None).await;
        let refused = world.post(CAS).login(&other).json(&body).send().await;
        assert_eq!((refused.status, refused.code()), (422, code.to_owned()), "{}", refused.text);
        assert!(!refused.text.contains("BEGIN"), "{}", refused.text);
    }
    for query in ["limit=0", "after=x"] {
        let wrong = world.get(&format!("{}/stragglers?{query}", of(&ca))).outcome().await;
        assert_eq!(wrong, (422, "QUERY_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn a_strict_removal_of_severe_impact_stores_nothing() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old, &new]).await;
    let id = DeploymentId::parse("ge6a1a75").unwrap();
    let stored = world.lifecycle.store().read().deployment(&id).await.unwrap();
    *world.gateway.live.lock().unwrap() = LiveEvidence { sessions: 9, refused: 2, ..LiveEvidence::default() };
    let strict = |request: crate::support::Request| request.header("Prefer", "handling=strict");
    let refused = strict(world.delete(&of(&old))).send().await;
    assert_eq!((refused.status, refused.code()), (422, "IMPACT_SEVERE".to_owned()));
    assert_eq!(refused.json()["impact"]["connected"], json!({"refused": 2, "of": 9}));
    assert_eq!(world.lifecycle.store().read().deployment(&id).await.unwrap(), stored);
    let removed = world.delete(&of(&old)).send().await;
    assert_eq!((removed.status, &removed.json()["impact"]["severity"]), (200, &json!("severe")));
}

#[tokio::test]
async fn a_ca_is_listed_with_its_devices_and_its_stragglers_in_pages() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old, &new]).await;
    let old_fingerprint = fingerprint(old.der());
    devices::straggle(&world, &old_fingerprint).await;
    let listed = world.get(CAS).send().await;
    let expected = json!({
        "fingerprint": old_fingerprint,
        "subject": "CN=Old",
        "serial": listed.json()[0]["serial"],
        "notBefore": "2024-01-01 00:00:00",
        "notAfter": "2040-01-01 00:00:00",
        "admitted": {"lastDay": 1, "last7Days": 1, "last30Days": 1},
        "connected": 0,
        "lastSeenAt": "2026-11-25 11:00:00",
    });
    assert_eq!(listed.json()[0], expected);
    assert_eq!(listed.json()[1]["lastSeenAt"], Value::Null);
    assert_eq!(listed.header("certward-anonymous-nodes"), None);
    world.gateway.anonymous.store(true, Ordering::SeqCst);
    assert_eq!(world.get(CAS).send().await.header("certward-anonymous-nodes"), Some("node-1"));
    world.gateway.anonymous.store(false, Ordering::SeqCst);

    let renewed = old.renewed("Old");
    world.post(CAS).json(&cacert(&renewed)).send().await;
    let listed = world.get(CAS).send().await.json();
    assert_eq!(listed[0]["sameCA"], json!([fingerprint(renewed.der())]));
    assert_eq!(listed[2]["sameCA"], json!([old_fingerprint]));
    assert_eq!(listed[2]["admitted"]["lastDay"], 1);
    world.delete(&of(&renewed)).send().await;

    let page = world.get(&format!("{}/stragglers?limit=1", of(&old))).send().await;
    assert_eq!(page.json()[0]["name"], "meter-3");
    assert_eq!(page.json()[0]["connected"], false);
    let link = page.header("link").unwrap();
    let next = link.strip_prefix("</public_api/v1").unwrap().split_once('>').unwrap().0;
    let last = world.get(next).send().await;
    assert_eq!((last.json(), last.header("link")), (json!([]), None));
    assert_eq!(world.get(&format!("{}/stragglers", of(&new))).send().await.json(), json!([]));
}

#[tokio::test]
async fn additions_and_removals_have_a_limit_of_their_own() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old]).await;
    for left in (1..30).step_by(2).rev() {
        let added = world.post(CAS).json(&cacert(&new)).send().await;
        assert_eq!(added.status, 200, "{}", added.text);
        assert_eq!(added.header("ratelimit-remaining"), Some(&*left.to_string()));
        let removed = world.delete(&of(&new)).send().await;
        assert_eq!(removed.status, 200, "{}", removed.text);
    }
    assert_eq!(world.post(CAS).json(&cacert(&new)).outcome().await.0, 429);
    assert_eq!(world.delete(&of(&old)).outcome().await.0, 429);
    let put = world.request("PUT", TLS).json(&two_way(&[&old])).send().await;
    assert_eq!((put.status, put.header("ratelimit-remaining")), (200, Some("5")), "apart");
    let read = world.get(CAS).send().await;
    assert_eq!(
        (read.header("ratelimit-limit"), read.header("ratelimit-remaining")),
        (Some("60"), Some("59"))
    );
}

#[tokio::test]
async fn reading_needs_tls_read_and_changing_tls() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old, &new]).await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    let elsewhere = world.key(&[Scope::Tls], Some(&[])).await;
    let stragglers = format!("{}/stragglers", of(&old));
    for path in [CAS, &stragglers] {
        assert_eq!(world.get(path).login(&reader).send().await.status, 200);
        assert_eq!(
            world.get(path).login(&elsewhere).outcome().await,
            (404, "DEPLOYMENT_NOT_FOUND".to_owned())
        );
    }
    for (login, expected) in [(&reader, (403, "NO_ACCESS")), (&elsewhere, (404, "DEPLOYMENT_NOT_FOUND"))] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(world.post(CAS).json(&cacert(&new)).login(login).outcome().await, expected);
        assert_eq!(world.delete(&of(&old)).login(login).outcome().await, expected);
    }
}
