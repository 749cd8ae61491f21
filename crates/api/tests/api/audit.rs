//! The audit as programs read it, and what is recorded of requests.

use std::time::{Duration, Instant};

use certward_store::Scope;
use certward_test_support::{Leaf, server_params};
use serde_json::{Value, json};

use crate::support::{Login, TLS, World, upload};

/// `GET /audit`, oldest first, without the chain's first row.
async fn rows(world: &World, query: &str) -> Vec<Value> {
    let answer = world.get(&format!("/audit?order=oldest&limit=1000&{query}")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let rows = answer.json().as_array().unwrap().clone();
    rows.into_iter().filter(|row| row["action"] != "audit.start").collect()
}

/// Refusals are written after the answer.
async fn rows_of(world: &World, query: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = rows(world, query).await;
        if rows.len() >= count || Instant::now() > deadline {
            assert_eq!(rows.len(), count, "{rows:#?}");
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn leaf() -> Leaf {
    Leaf::self_signed(server_params("ge6a1a75.example.com", &["ge6a1a75.example.com"]))
}

#[tokio::test]
async fn each_change_says_who_what_from_where_and_which_certificate() {
    let world = World::new().await;
    let (first, second) = (leaf(), leaf());
    let fingerprint = |leaf: &Leaf| Some(certward_pki::fingerprint(&leaf.der));
    let key = world.get("/keys").send().await.json()[0]["apiKey"].as_str().unwrap().to_owned();
    for (method, body, action, before, after) in [
        ("POST", Some(&first), "tls.create", None, fingerprint(&first)),
        ("PUT", Some(&second), "tls.replace", fingerprint(&first), fingerprint(&second)),
        ("DELETE", None, "tls.delete", fingerprint(&second), None),
    ] {
        let request = world.request(method, TLS).from(7);
        let request = match body {
            Some(leaf) => request.json(&leaf.one_way()),
            None => request,
        };
        let answer = request.send().await;
        assert!((200..300).contains(&answer.status), "{}", answer.text);
        let rows = rows(&world, &format!("action={action}")).await;
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row["requestID"], answer.header("x-request-id").unwrap());
        assert_eq!((&row["address"], &row["result"]), (&json!("127.0.0.7"), &json!("ok")));
        assert_eq!((&row["actor"], &row["subject"]), (&json!(key), &json!("ge6a1a75")));
        assert_eq!((&row["deploymentID"], &row["projectID"]), (&json!("ge6a1a75"), &json!("default")));
        assert_eq!(row["fingerprintBefore"].as_str(), before.as_deref(), "{action}");
        assert_eq!(row["fingerprintAfter"].as_str(), after.as_deref(), "{action}");
        assert!(row["mac"].as_str().unwrap().len() == 64 && row["prev"].as_str().unwrap().len() == 64);
    }
}

#[tokio::test]
async fn every_answer_has_an_id_that_no_client_chooses() {
    let world = World::new().await;
    let mut seen = Vec::new();
    for request in
        [world.get("/deployments"), world.get("/none"), world.request("GET", "/healthz"), world.put("/none")]
    {
        let answer = request.header("X-Request-Id", "chosen").send().await;
        seen.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert!(seen.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_refused_change_is_a_row_with_its_code_and_reads_are_none() {
    let world = World::new().await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    let wrong = json!({"tlsType": "one-way", "cert": "none", "key": "none"});
    for (request, action, code) in [
        (world.put("/deployments/ge6a1a75/tls").json(&upload()), "tls.replace", "TLS_NOT_FOUND"),
        (world.post("/deployments/ge6a1a75/tls").json(&wrong), "tls.create", "CERT_NO_PEM"),
        (world.delete("/deployments/none/tls"), "tls.delete", "DEPLOYMENT_NOT_FOUND"),
        (world.delete("/deployments/ge6a1a75").login(&reader), "deployment.remove", "NO_ACCESS"),
        (world.delete("/projects/default"), "project.remove", "PROJECT_DEFAULT"),
        (
            world.post("/keys").body("{}").header("Content-Type", "text/plain"),
            "key.create",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ] {
        let answer = request.send().await;
        let row = rows_of(&world, &format!("result=refused&action={action}"), 1).await.remove(0);
        assert_eq!(row["result"], answer.code(), "{action}");
        if code != "CERT_NO_PEM" {
            assert_eq!(row["result"], code);
        }
        assert_eq!(row["requestID"], answer.header("x-request-id").unwrap());
        assert_eq!(row["address"], "127.0.0.1");
        assert_ne!(row["actor"], "unknown");
    }
    let known = rows(&world, "result=refused").await.len();
    for request in [
        world.get("/deployments/none/tls"),
        world.get("/audit").login(&reader),
        world.post("/deployments/ge6a1a75/tls/check").json(&wrong),
    ] {
        request.send().await;
    }
    // A later refusal is written after earlier ones.
    world.delete("/projects/none").send().await;
    assert_eq!(
        rows_of(&world, "result=refused", known + 1).await.last().unwrap()["action"],
        "project.remove"
    );
}

#[tokio::test]
async fn a_looping_script_and_strangers_do_not_flood_it() {
    let world = World::new().await;
    let stranger = Login::new("nokey", "wrong");
    for _ in 0..25 {
        world.put("/deployments/ge6a1a75/tls").json(&upload()).send().await;
        world.get("/deployments").login(&stranger).from(9).send().await;
        // The challenge of a client that does not send its key at first.
        world.get("/deployments").without("Authorization").send().await;
    }
    let rows = rows_of(&world, "result=refused", 2).await;
    let results: Vec<&str> = rows.iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["TLS_NOT_FOUND", "RATE_LIMITED"], "the first of each");
    world.shutdown.cancel();
    let lifecycle = world.lifecycle.clone();
    world.server.await.unwrap();
    let page = certward_store::AuditPage { refused: Some(true), limit: 100, ..Default::default() };
    let rows = lifecycle.store().read().audit(&page).await.unwrap();
    let mut summed: Vec<(String, String, Option<String>)> = rows
        .into_iter()
        .map(|row| (row.record.action, row.record.detail, row.record.address))
        .filter(|(_, detail, _)| !detail.is_empty())
        .collect();
    summed.sort();
    let row = |action: &str, detail: &str, address: &str| {
        (action.to_owned(), detail.to_owned(), Some(address.to_owned()))
    };
    assert_eq!(
        summed,
        [
            row("login", "25 failed logins within 60 s, addresses: 1", "127.0.0.9"),
            row("tls.replace", "18 more within 60 s: ge6a1a75 18", "127.0.0.1"),
            row("tls.replace", "5 more within 60 s: ge6a1a75 5", "127.0.0.1"),
        ],
        "the rest is written at the end"
    );
}

#[tokio::test]
async fn it_is_read_in_pages_by_admin_keys_of_the_projects_that_they_see() {
    let world = World::new().await;
    for scope in [Scope::Tls, Scope::TlsRead, Scope::Deployments] {
        let answer = world.get("/audit").login(&world.key(&[scope], None).await).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "NO_ACCESS"));
    }
    world.post("/projects").json(&json!({"projectID": "p1"})).send().await;
    world.deployment("north", "p1").await;
    let limited = world.key(&[Scope::Admin], Some(&["p1"])).await;
    let answer = world.get("/audit").login(&limited).send().await.json();
    let seen: Vec<&str> =
        answer.as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap()).collect();
    assert_eq!(seen, ["north", "p1"]);

    let all = rows(&world, "").await;
    let (mut paged, mut path) = (Vec::new(), "/audit?limit=2&since=2020-01-01%2000:00:00".to_owned());
    loop {
        let answer = world.get(&path).send().await;
        paged.extend(answer.json().as_array().unwrap().clone());
        let Some(link) = answer.header("link") else { break };
        path = link.trim_start_matches("</public_api/v1").split_once('>').unwrap().0.to_owned();
        assert!(path.contains("since=2020-01-01%2000:00:00"), "{path}");
    }
    paged.reverse();
    assert_eq!(paged[1..], all);
    for query in [
        "deployment=-",
        "actor=a-b",
        "action=TLS",
        "action=",
        "result=no",
        "since=now",
        "until=5",
        "order=up",
        "after=1.1",
        "limit=0",
        "since=2020-01-01",
    ] {
        let answer = world.get(&format!("/audit?{query}")).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "QUERY_INVALID"), "{query}");
    }
}
