//! Projects, deployments and keys, and a key's scopes and projects.

use std::time::Duration;

use certward_store::{NodeId, NodeProcess, Role, Scope};
use certward_test_support::unchunked;
use serde_json::{Value, json};

use crate::support::{Answer, BASE, Login, World, upload};

fn names(answer: &Answer, field: &str) -> Vec<String> {
    let list = answer.json();
    let items = list.as_array().expect("a bare array").iter();
    items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn projects_and_deployments_are_listed_in_the_contracts_words() {
    let world = World::with(|settings| {
        settings.platform = "here".to_owned();
        settings.region = "there".to_owned();
    })
    .await;
    let projects = world.get("/projects").send().await.json();
    assert_eq!(projects[0]["projectID"], "default");
    assert!(projects[0]["projectName"].is_string() && projects[0]["description"].is_string());

    let mut one = json!({
        "deploymentID": "ge6a1a75", "deploymentName": "", "deploymentType": "dedicated", "projectID": "default",
        "platform": "here", "region": "there", "status": "running", "connections": 0, "connectionRate": 0, "tps": 0,
        "recordBytes": 16384, "maxSessionAge": 0,
        "createAt": "2026-11-25 12:00", "upstream": "127.0.0.1:1883", "hosts": ["ge6a1a75.example.com"],
        "profile": "default", "proxyProtocol": "none", "proxyIdentity": "cn", "connected": 0,
        "lastFailure": {"at": "2026-11-25 11:58:20", "cause": "certificate_unknown_issuer"},
    });
    assert_eq!(world.get("/deployments/ge6a1a75").send().await.json(), one);
    one["projectName"] = projects[0]["projectName"].clone();
    one["version"] = json!("v5");
    assert_eq!(world.get("/deployments").send().await.json(), json!([one]));
}

#[tokio::test]
async fn a_long_list_comes_in_pieces_with_every_deployment_once() {
    let world = World::new().await;
    for project in ["a-few", "many", "none"] {
        world.post("/projects").json(&json!({"projectID": project})).send().await;
    }
    let ids = |project: &str, count| -> Vec<String> {
        (0..count).map(|number| format!("{project}-{number:04}")).collect()
    };
    // The first page of 500 has those of three projects.
    let (few, many) = (ids("a-few", 3), ids("many", 1203));
    let of_default: Vec<_> = ids("default", 500 - 4).into_iter().chain(["ge6a1a75".to_owned()]).collect();
    world.deployments(few.clone(), "a-few").await;
    world.deployments(many.clone(), "many").await;
    world.deployments(ids("default", 500 - 4), "default").await;

    for (projects, expected, in_pieces) in [
        (None, [few.clone(), of_default.clone(), many.clone()].concat(), true),
        (Some(&["many", "a-few"][..]), [few.clone(), many].concat(), true),
        (Some(&["default", "a-few"]), [few.clone(), of_default].concat(), true),
        (Some(&["none", "a-few"]), few, false),
        (Some(&["none"]), vec![], false),
    ] {
        let key = world.key(&[Scope::Tls], projects).await;
        let answer = world.get("/deployments").login(&key).send().await;
        assert_eq!(names(&answer, "deploymentID"), expected, "{projects:?}");
        assert_eq!(answer.header("content-length").is_none(), in_pieces, "{projects:?}");
    }
}

#[tokio::test]
async fn a_list_whose_rest_cannot_be_read_is_broken_off_and_a_beginning_that_cannot_be_is_a_plain_error() {
    let world = World::bound(|_| {}, |_| {}).await;
    world.deployments((0..700).map(|number| format!("d-{number:04}")), "default").await;
    world.damage("UPDATE host SET name = 'no name' WHERE deployment = 'd-0600'").await;
    let list = format!(
        "GET {BASE}/deployments HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        world.admin.0
    );
    let text = world.raw(&list).await;
    let (head, chunks) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("200 OK") && chunks.contains("d-0499") && !chunks.contains("d-0500"), "{head}");
    assert_eq!(unchunked(chunks), None, "a client must see that more should have come");

    world.damage("UPDATE host SET name = 'none either' WHERE deployment = 'd-0400'").await;
    assert_eq!(world.get("/deployments").outcome().await, (503, "STORE_UNAVAILABLE".to_owned()));
}

#[tokio::test]
async fn a_deployment_is_made_changed_and_removed() {
    let world = World::new().await;
    let body = json!({"upstream": "broker:1883,backup:1883", "wsUpstream": "broker:8083", "hosts": ["A.Example.COM."],
        "deploymentName": "Fleet", "status": "stopped"});
    let made = world.post("/deployments").json(&body).send().await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let id = made["deploymentID"].as_str().unwrap();
    assert_eq!(id.len(), 8);
    assert_eq!(
        (&made["hosts"], &made["wsUpstream"], &made["status"]),
        (&json!(["a.example.com"]), &json!("broker:8083"), &json!("running"))
    );

    let path = format!("/deployments/{id}");
    let changed = world.patch(&path).json(&json!({"wsUpstream": null, "hosts": []})).send().await;
    assert_eq!(changed.status, 200);
    let changed = changed.json();
    assert_eq!(
        (&changed["deploymentName"], &changed["upstream"], &changed["hosts"]),
        (&json!("Fleet"), &json!("broker:1883,backup:1883"), &json!([]))
    );
    assert!(changed.get("wsUpstream").is_none());

    let removed = world.delete(&path).send().await;
    assert_eq!((removed.status, removed.text.as_str()), (204, ""));
    for method in ["GET", "PATCH", "DELETE"] {
        let request = world.request(method, &format!("/public_api/v1{path}"));
        assert_eq!(request.outcome().await, (404, "DEPLOYMENT_NOT_FOUND".to_owned()), "{method}");
    }
}

#[tokio::test]
async fn a_wrong_deployment_is_refused_with_every_fault_named() {
    let world = World::new().await;
    world.post("/projects").json(&json!({"projectID": "other"})).send().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"upstream": "127.0.0.1:1883", "hosts": []});
        body[name] = value;
        body
    };
    for (body, status, code, field) in [
        (json!({}), 422, "UPSTREAM_INVALID", "upstream"),
        (with("upstream", json!("localhost")), 422, "UPSTREAM_INVALID", "upstream"),
        (with("upstream", json!(1883)), 422, "UPSTREAM_INVALID", "upstream"),
        (with("wsUpstream", json!("x:0")), 422, "UPSTREAM_INVALID", "wsUpstream"),
        (with("wsUpstream", json!("x:1,")), 422, "UPSTREAM_INVALID", "wsUpstream"),
        (with("deploymentID", json!("UPPER")), 422, "DEPLOYMENT_ID_INVALID", "deploymentID"),
        (with("deploymentName", json!("a\0b")), 422, "TEXT_INVALID", "deploymentName"),
        (with("projectID", json!("nothere")), 422, "PROJECT_UNKNOWN", "projectID"),
        (with("hosts", json!(["10.0.0.1"])), 422, "HOST_INVALID", "hosts"),
        (with("hosts", json!("a.example.com")), 422, "HOST_INVALID", "hosts"),
        (with("hosts", json!(["ge6a1a75.example.com"])), 422, "HOST_TAKEN", "hosts"),
        (with("deploymentID", json!("ge6a1a75")), 409, "DEPLOYMENT_EXISTS", ""),
    ] {
        let answer = world.post("/deployments").json(&body).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        if status == 422 {
            assert_eq!(answer.json()["details"][0]["field"], field, "{body}");
        }
    }
    let body = json!({"upstream": "h:1", "projectID": "other", "hosts": ["*.example.com"]});
    let taken = world.post("/deployments").json(&body).send().await;
    assert_eq!((taken.status, taken.code()), (422, "HOST_TAKEN".to_owned()), "it covers another project's");
    assert!(!taken.text.contains("ge6a1a75"), "the holder is not named: {}", taken.text);
}

/// The clock starts in November; of a validity until May less than 60 days are left after 150.
#[tokio::test]
async fn the_profile_of_a_deployment_decides_how_strictly_is_judged() {
    let world = World::new().await;
    let path = "/deployments/ge6a1a75";
    let check = async || world.post(&format!("{path}/tls/check")).json(&upload()).send().await.json();
    world.clock.advance(std::time::Duration::from_secs(150 * 24 * 3600));
    assert_eq!(check().await["accepted"], true);
    let changed = world.patch(path).json(&json!({"profile": "emqx-cloud"})).send().await.json();
    assert_eq!(changed["profile"], "emqx-cloud");
    let refused = check().await;
    assert_eq!(refused["accepted"], false);
    assert_eq!(refused["findings"][0]["code"], "PROFILE_VALIDITY_SHORT");
    let unchanged = world.patch(path).json(&json!({"deploymentName": "a"})).send().await.json();
    assert_eq!(unchanged["profile"], "emqx-cloud", "absent is unchanged");
    let unknown = world.patch(path).json(&json!({"profile": "strict"})).outcome().await;
    assert_eq!(unknown, (422, "PROFILE_INVALID".to_owned()));
    let made = json!({"deploymentID": "b", "upstream": "127.0.0.1:1883", "profile": "emqx-cloud"});
    assert_eq!(world.post("/deployments").json(&made).send().await.json()["profile"], "emqx-cloud");
    assert_eq!(world.get("/deployments/b").send().await.json()["profile"], "emqx-cloud");
}

#[tokio::test]
async fn limits_of_connections_are_set_changed_and_taken_away() {
    let world = World::new().await;
    let limits = |answer: Value| (answer["connections"].clone(), answer["connectionRate"].clone());
    let made =
        json!({"deploymentID": "c", "upstream": "127.0.0.1:1883", "connections": 1000, "connectionRate": 50});
    assert_eq!(limits(world.post("/deployments").json(&made).send().await.json()), (json!(1000), json!(50)));
    let patch = async |change: Value| world.patch("/deployments/c").json(&change).send().await.json();
    assert_eq!(limits(patch(json!({"connections": 1})).await), (json!(1), json!(50)), "absent is unchanged");
    assert_eq!(limits(patch(json!({"connections": null})).await), (json!(1), json!(50)), "and so is null");
    assert_eq!(limits(patch(json!({"connectionRate": 0})).await), (json!(1), json!(0)), "0 is none");
    assert_eq!(limits(world.get("/deployments/c").send().await.json()), (json!(1), json!(0)));
    for wrong in [json!(-1), json!(1_000_001), json!(1.5), json!("10"), json!(true), json!(1e3)] {
        for field in ["connections", "connectionRate"] {
            let outcome = world.patch("/deployments/c").json(&json!({field: wrong})).outcome().await;
            assert_eq!(outcome, (422, "LIMIT_INVALID".to_owned()), "{field}: {wrong}");
        }
    }
}

#[tokio::test]
async fn the_size_of_records_is_set_changed_and_reset() {
    let world = World::new().await;
    let made = json!({"deploymentID": "c", "upstream": "127.0.0.1:1883", "recordBytes": 512});
    assert_eq!(world.post("/deployments").json(&made).send().await.json()["recordBytes"], 512);
    let patch = async |change: Value| world.patch("/deployments/c").json(&change).send().await.json();
    assert_eq!(patch(json!({"recordBytes": 4096})).await["recordBytes"], 4096);
    assert_eq!(patch(json!({"connections": 1})).await["recordBytes"], 4096, "absent is unchanged");
    assert_eq!(world.get("/deployments/c").send().await.json()["recordBytes"], 4096);
    for wrong in [json!(511), json!(16385), json!(0), json!(-512), json!(512.5), json!("512"), json!(66048)] {
        let outcome = world.patch("/deployments/c").json(&json!({"recordBytes": wrong})).outcome().await;
        assert_eq!(outcome, (422, "RECORD_BYTES_INVALID".to_owned()), "{wrong}");
    }
    assert_eq!(world.get("/deployments/c").send().await.json()["recordBytes"], 4096, "as it was");
    assert_eq!(patch(json!({"recordBytes": null})).await["recordBytes"], 16384, "null is the default");
}

#[tokio::test]
async fn how_long_sessions_may_last_is_set_changed_and_reset() {
    let world = World::new().await;
    let made = json!({"deploymentID": "c", "upstream": "127.0.0.1:1883", "maxSessionAge": 604_800});
    assert_eq!(world.post("/deployments").json(&made).send().await.json()["maxSessionAge"], 604_800);
    let patch = async |change: Value| world.patch("/deployments/c").json(&change).send().await.json();
    assert_eq!(patch(json!({"maxSessionAge": 10})).await["maxSessionAge"], 10);
    assert_eq!(patch(json!({"connections": 1})).await["maxSessionAge"], 10, "absent is unchanged");
    assert_eq!(world.get("/deployments/c").send().await.json()["maxSessionAge"], 10);
    for wrong in [json!(9), json!(31_536_001), json!(-10), json!(60.5), json!("7d"), json!("60"), json!([60])]
    {
        let outcome = world.patch("/deployments/c").json(&json!({"maxSessionAge": wrong})).outcome().await;
        assert_eq!(outcome, (422, "SESSION_AGE_INVALID".to_owned()), "{wrong}");
    }
    for none in [json!(0), Value::Null] {
        assert_eq!(patch(json!({"maxSessionAge": 31_536_000})).await["maxSessionAge"], 31_536_000);
        assert_eq!(patch(json!({"maxSessionAge": none})).await["maxSessionAge"], 0, "{none}");
    }
}

#[tokio::test]
async fn what_a_broker_is_told_of_its_devices_is_set_and_shown() {
    let world = World::new().await;
    let path = "/deployments/ge6a1a75";
    let told = |answer: serde_json::Value| (answer["proxyProtocol"].clone(), answer["proxyIdentity"].clone());
    let change = json!({"proxyProtocol": "mosquitto", "proxyIdentity": "san"});
    let changed = world.patch(path).json(&change).send().await.json();
    assert_eq!(told(changed), (json!("mosquitto"), json!("san")));
    let changed = world.patch(path).json(&json!({"proxyIdentity": "dn"})).send().await.json();
    assert_eq!(told(changed), (json!("mosquitto"), json!("dn")), "absent is unchanged");
    assert_eq!(told(world.get(path).send().await.json()), (json!("mosquitto"), json!("dn")));
    for wrong in [json!({"proxyProtocol": "V2"}), json!({"proxyIdentity": "uid"})] {
        assert_eq!(world.patch(path).json(&wrong).outcome().await, (422, "PROXY_INVALID".to_owned()));
    }
    let made = json!({"deploymentID": "c", "upstream": "127.0.0.1:1883", "proxyProtocol": "emqx"});
    assert_eq!(
        told(world.post("/deployments").json(&made).send().await.json()),
        (json!("emqx"), json!("cn"))
    );
}

#[tokio::test]
async fn a_project_lives_as_long_as_it_is_asked_to_and_has_deployments() {
    let world = World::new().await;
    let make = |id: &str| world.post("/projects").json(&json!({"projectID": id, "projectName": "Fleet"}));
    assert_eq!(
        make("fleet").send().await.json(),
        json!({"projectID": "fleet", "projectName": "Fleet", "description": ""})
    );
    assert_eq!(make("fleet").outcome().await, (409, "PROJECT_EXISTS".to_owned()));
    assert_eq!(make("No Id").outcome().await, (422, "PROJECT_ID_INVALID".to_owned()));
    world.deployment("d1", "fleet").await;
    let remove = |id: &str| world.delete(&format!("/projects/{id}"));
    assert_eq!(remove("fleet").outcome().await, (409, "PROJECT_NOT_EMPTY".to_owned()));
    assert_eq!(remove("default").outcome().await, (409, "PROJECT_DEFAULT".to_owned()));
    assert_eq!(world.delete("/deployments/d1").send().await.status, 204);
    assert_eq!(remove("fleet").outcome().await, (204, "-".to_owned()));
    assert_eq!(remove("fleet").outcome().await, (404, "NOT_FOUND".to_owned()));
    assert_eq!(remove("%zz").outcome().await, (404, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn failed_handshakes_are_shown_with_cause_and_remedy_and_counted_on_their_own() {
    let world = World::new().await;
    let answer = world.get("/deployments/ge6a1a75/tls/failures").send().await;
    assert_eq!((answer.status, answer.header("ratelimit-remaining")), (200, Some("59")));
    assert_eq!(answer.header("certward-silent-nodes"), None);
    let remedy = "Add the CA \"CN=Meters\" to the client CAs: certward trust add ge6a1a75 \
                  --client-ca FILE; or let the device send its intermediates too.";
    let certificate = json!({"subject": "CN=meter-7", "issuer": "CN=Meters", "serial": "0a1b",
        "notAfter": "2027-11-25 12:00:00", "fingerprint": "9f86".repeat(16)});
    let stranger = json!({"at": "2026-11-25 11:58:20", "node": "node-1", "address": "192.0.2.7:50123",
        "serverName": "mqtt.example.com", "tlsVersion": "1.3", "cause": "certificate_unknown_issuer",
        "message": "No client CA of the deployment issued the device's certificate.", "remedy": remedy, "clientCertificate": certificate,
        "neededCa": {"name": "CN=Meters", "nameKnown": false}});
    let too_new = json!({"at": "2026-11-25 11:57:19", "node": "node-1", "address": "192.0.2.7:50123",
        "cause": "wrong_protocol", "detail": "MQTT level 6", "message": "Inside TLS the device spoke another protocol than the listener's.",
        "remedy": "Point the device to the port of its protocol."});
    assert_eq!(answer.json(), json!([stranger, too_new]));
    let deployment = world.get("/deployments/ge6a1a75").send().await;
    assert_eq!(deployment.header("ratelimit-remaining"), Some("59"));
    let nothing = world.get("/deployments/nothere/tls/failures").outcome().await;
    assert_eq!(nothing, (404, "DEPLOYMENT_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn each_scope_opens_what_the_contract_says_and_nothing_else() {
    let world = World::new().await;
    let routes = [
        ("GET", "/deployments/ge6a1a75/tls"),
        ("POST", "/deployments/ge6a1a75/tls"),
        ("PUT", "/deployments/ge6a1a75/tls"),
        ("DELETE", "/deployments/ge6a1a75/tls"),
        ("POST", "/deployments/ge6a1a75/tls/check"),
        ("GET", "/deployments/ge6a1a75/tls/failures"),
        ("GET", "/deployments"),
        ("GET", "/deployments/ge6a1a75"),
        ("GET", "/projects"),
        ("POST", "/deployments"),
        ("PATCH", "/deployments/ge6a1a75"),
        ("POST", "/projects"),
        ("DELETE", "/projects/nothere"),
        ("PATCH", "/projects/nothere"),
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("DELETE", "/keys/nothere"),
        ("GET", "/nodes"),
    ];
    for (scope, open) in [
        (Scope::TlsRead, "x....xxxx........."),
        (Scope::Tls, "xxxxxxxxx........."),
        (Scope::Deployments, "......xxxxx......."),
        (Scope::Admin, "xxxxxxxxxxxxxxxxxx"),
    ] {
        let key = world.key(&[scope], None).await;
        let mut opened = String::new();
        for (method, path) in routes {
            let answer = world.request(method, &format!("/public_api/v1{path}")).login(&key).send().await;
            opened.push(if answer.status == 403 { '.' } else { 'x' });
            assert_eq!(answer.status == 403, answer.code() == "NO_ACCESS", "{method} {path}");
        }
        assert_eq!(opened, open, "{scope:?}");
    }
}

#[tokio::test]
async fn nodes_are_listed_with_what_waits_for_them_and_those_that_are_lost_for_an_hour() {
    let world = World::new().await;
    assert_eq!(world.get("/nodes").send().await.json(), json!([]));
    world.node().await;
    // Of a release that did not report its role.
    let counted = json!({
        "nodeID": "node-1", "status": "counted", "startedAt": "2026-11-25 12:00:00",
        "leaseUntil": "2026-11-25 12:00:15", "unproven": 0,
    });
    assert_eq!(world.get("/nodes").send().await.json(), json!([counted]));
    world.clock.advance(Duration::from_secs(5));
    let (api, process) = (NodeId::parse("api-1").unwrap(), NodeProcess { role: Role::Api, version: "1.2.3" });
    world.lifecycle.store().record_process(&api, process, None).await.unwrap();
    let mut uncounted = json!({
        "nodeID": "api-1", "status": "uncounted", "role": "api", "version": "1.2.3",
        "startedAt": "2026-11-25 12:00:05", "heardAt": "2026-11-25 12:00:05", "unproven": 0,
    });
    assert_eq!(world.get("/nodes").send().await.json(), json!([uncounted, counted]));
    world.clock.advance(Duration::from_secs(14));
    assert_eq!(world.get("/nodes").send().await.json(), json!([uncounted, counted]), "until it is swept");
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.get("/nodes").send().await.json(), json!([uncounted]), "the other's lease is over");
    world.clock.advance(Duration::from_secs(1));
    uncounted["status"] = json!("lost");
    assert_eq!(world.get("/nodes").send().await.json(), json!([uncounted]), "it was silent for 15 s");
    world.clock.advance(Duration::from_secs(60 * 60 - 15));
    assert_eq!(world.get("/nodes").send().await.json(), json!([]), "forgotten after an hour");
}

#[tokio::test]
async fn a_key_limited_to_projects_sees_nothing_else() {
    let world = World::new().await;
    world.post("/projects").json(&json!({"projectID": "mine"})).send().await;
    world.deployment("d-mine", "mine").await;
    let key = world.key(&[Scope::Admin], Some(&["mine"])).await;

    assert_eq!(names(&world.get("/projects").login(&key).send().await, "projectID"), ["mine"]);
    assert_eq!(names(&world.get("/deployments").login(&key).send().await, "deploymentID"), ["d-mine"]);
    assert_eq!(
        names(&world.get("/keys").login(&key).send().await, "name"),
        ["test"],
        "not the first admin's"
    );
    for (method, path) in [
        ("GET", "/deployments/ge6a1a75"),
        ("PATCH", "/deployments/ge6a1a75"),
        ("DELETE", "/deployments/ge6a1a75"),
        ("GET", "/deployments/ge6a1a75/tls"),
        ("PUT", "/deployments/ge6a1a75/tls"),
        ("POST", "/deployments/ge6a1a75/tls/check"),
        ("GET", "/deployments/ge6a1a75/tls/failures"),
    ] {
        let outcome = world.request(method, &format!("/public_api/v1{path}")).login(&key).outcome().await;
        assert_eq!(outcome, (404, "DEPLOYMENT_NOT_FOUND".to_owned()), "{method} {path}");
    }
    let outcome = |request: crate::support::Request| request.login(&key).outcome();
    let body = json!({"upstream": "h:1", "projectID": "default"});
    assert_eq!(outcome(world.post("/deployments").json(&body)).await, (422, "PROJECT_UNKNOWN".to_owned()));
    assert_eq!(outcome(world.post("/projects").json(&json!({}))).await, (403, "NO_ACCESS".to_owned()));
    assert_eq!(outcome(world.delete("/projects/default")).await, (404, "NOT_FOUND".to_owned()));
    let all = json!({"name": "x", "scopes": ["tls"]});
    assert_eq!(outcome(world.post("/keys").json(&all)).await, (403, "NO_ACCESS".to_owned()));
    let other = json!({"name": "x", "scopes": ["tls"], "projects": ["default"]});
    assert_eq!(outcome(world.post("/keys").json(&other)).await, (422, "PROJECT_UNKNOWN".to_owned()));
    let own = json!({"name": "x", "scopes": ["tls"], "projects": ["mine"]});
    assert_eq!(outcome(world.post("/keys").json(&own)).await.0, 201);
}

#[tokio::test]
async fn a_key_shows_its_secret_once_and_works_until_it_is_revoked() {
    let world = World::new().await;
    let body = json!({"name": "ci", "scopes": ["tls", "deployments", "tls"], "projects": ["default"]});
    let made = world.post("/keys").json(&body).send().await;
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
    let made = made.json();
    assert_eq!(
        (&made["name"], &made["scopes"], &made["projects"], &made["createAt"]),
        (&json!("ci"), &json!(["tls", "deployments"]), &json!(["default"]), &json!("2026-11-25 12:00"))
    );
    let (key, secret) = (made["apiKey"].as_str().unwrap(), made["secretKey"].as_str().unwrap());
    let login = Login::new(key, secret);
    assert_eq!(world.get("/projects").login(&login).send().await.status, 200);

    let listed = world.get("/keys").send().await;
    assert!(names(&listed, "apiKey").contains(&key.to_owned()));
    assert!(!listed.text.contains(secret) && !listed.text.contains("secretKey"));
    let listed = listed.json();
    let first = listed.as_array().unwrap().iter().find(|key| key["name"] == "admin").unwrap();
    let first = first["apiKey"].as_str().unwrap();

    assert_eq!(world.delete(&format!("/keys/{key}")).send().await.status, 204);
    assert_eq!(world.get("/projects").login(&login).send().await.status, 401);
    for gone in [key, "nothere", "%zz", "a-b"] {
        assert_eq!(
            world.delete(&format!("/keys/{gone}")).outcome().await,
            (404, "NOT_FOUND".to_owned()),
            "{gone}"
        );
    }
    assert_eq!(world.delete(&format!("/keys/{first}")).outcome().await, (409, "LAST_ADMIN_KEY".to_owned()));

    for (body, code) in [
        (json!({"scopes": ["tls"]}), "TEXT_INVALID"),
        (json!({"name": "x"}), "SCOPE_INVALID"),
        (json!({"name": "x", "scopes": []}), "SCOPE_INVALID"),
        (json!({"name": "x", "scopes": ["root"]}), "SCOPE_INVALID"),
        (json!({"name": "x", "scopes": ["tls"], "projects": []}), "PROJECT_ID_INVALID"),
        (json!({"name": "x", "scopes": ["tls"], "projects": ["nothere"]}), "PROJECT_UNKNOWN"),
    ] {
        assert_eq!(world.post("/keys").json(&body).outcome().await, (422, code.to_owned()), "{body}");
    }
}
