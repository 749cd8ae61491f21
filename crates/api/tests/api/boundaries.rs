//! A project's boundaries, and their effect on its deployments' keys.

use certward_store::Scope;
use serde_json::{Value, json};

use crate::support::{Login, World};

async fn two_projects(world: &World) -> (Login, Login) {
    for id in ["ours", "theirs"] {
        world.post("/projects").json(&json!({"projectID": id})).send().await;
    }
    (
        world.key(&[Scope::Deployments], Some(&["ours"])).await,
        world.key(&[Scope::Deployments], Some(&["theirs"])).await,
    )
}

fn deployment(id: &str, project: &str, upstream: &str, hosts: &[&str]) -> Value {
    json!({"deploymentID": id, "projectID": project, "upstream": upstream, "hosts": hosts})
}

#[tokio::test]
async fn a_boundary_is_given_shown_changed_and_taken_away() {
    let world = World::new().await;
    let given = json!({"projectID": "fleet", "projectName": "Fleet", "description": "",
        "upstreamAllow": ["10.0.0.0/8", "broker.example:1883"], "hostSuffixes": ["fleet.example.com"]});
    assert_eq!(world.post("/projects").json(&given).send().await.json(), given);
    assert_eq!(world.get("/projects/fleet").send().await.json(), given);
    assert_eq!(world.get("/projects").send().await.json()[1], given);
    let change = json!({"description": "trucks", "upstreamAllow": null});
    let mut expected = given.clone();
    expected["description"] = json!("trucks");
    expected.as_object_mut().unwrap().remove("upstreamAllow");
    assert_eq!(world.patch("/projects/fleet").json(&change).send().await.json(), expected);
    let change = json!({"hostSuffixes": [], "projectName": "Trucks", "unknown": 7});
    let expected = json!({"projectID": "fleet", "projectName": "Trucks", "description": "trucks"});
    assert_eq!(world.patch("/projects/fleet").json(&change).send().await.json(), expected);
    for (path, status, code) in [
        ("/projects/nothere", 404, "NOT_FOUND"),
        ("/projects/No Id", 404, "NOT_FOUND"),
        ("/projects/%zz", 404, "NOT_FOUND"),
    ] {
        let path = path.replace(' ', "%20");
        assert_eq!(world.get(&path).outcome().await, (status, code.to_owned()), "{path}");
        assert_eq!(world.patch(&path).json(&json!({})).outcome().await, (status, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_boundary_is_refused_and_only_an_admin_of_all_sets_one() {
    let world = World::new().await;
    let (ours, _) = two_projects(&world).await;
    for (body, code) in [
        (json!({"upstreamAllow": "10.0.0.0/8"}), "UPSTREAM_ALLOW_INVALID"),
        (json!({"upstreamAllow": []}), "UPSTREAM_ALLOW_INVALID"),
        (json!({"upstreamAllow": ["10.0.0.1/8"]}), "UPSTREAM_ALLOW_INVALID"),
        (json!({"upstreamAllow": ["broker.example"]}), "UPSTREAM_ALLOW_INVALID"),
        (json!({"upstreamAllow": vec!["10.0.0.0/8"; 101]}), "UPSTREAM_ALLOW_INVALID"),
        (json!({"hostSuffixes": ["*.example.com"]}), "HOST_SUFFIX_INVALID"),
        (json!({"hostSuffixes": ["10.0.0.1"]}), "HOST_SUFFIX_INVALID"),
        (json!({"projectName": 7}), "TEXT_INVALID"),
    ] {
        let refused = world.patch("/projects/ours").json(&body).outcome().await;
        assert_eq!(refused, (422, code.to_owned()), "{body}");
    }
    let limited = world.key(&[Scope::Admin], Some(&["ours"])).await;
    for (login, body, status) in [
        (&ours, json!({"projectName": "x"}), 403),
        (&limited, json!({"projectName": "x"}), 200),
        (&limited, json!({"hostSuffixes": ["com"]}), 403),
        (&limited, json!({"upstreamAllow": null}), 403),
    ] {
        let answer = world.patch("/projects/ours").login(login).json(&body).send().await;
        assert_eq!(answer.status, status, "{body}");
    }
    let unseen = world.patch("/projects/theirs").login(&limited).json(&json!({"projectName": "x"}));
    assert_eq!(unseen.outcome().await, (404, "NOT_FOUND".to_owned()));
    assert_eq!(world.get("/projects/theirs").login(&ours).outcome().await, (404, "NOT_FOUND".to_owned()));
    assert_eq!(world.get("/projects/ours").login(&ours).send().await.status, 200);
}

#[tokio::test]
async fn an_upstream_of_another_project_is_refused_without_naming_it() {
    let world = World::new().await;
    let (ours, theirs) = two_projects(&world).await;
    let make = |login: &Login, body: Value| world.post("/deployments").login(login).json(&body);
    assert_eq!(
        make(&theirs, deployment("secret-name", "theirs", "10.0.0.1:1883", &[])).send().await.status,
        201
    );
    let mut taken = deployment("ours", "ours", "free:1", &[]);
    taken["wsUpstream"] = json!("free:2,10.0.0.1:1883");
    let refused = make(&ours, taken).send().await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "UPSTREAM_TAKEN"));
    assert_eq!(refused.json()["details"][0]["field"], "wsUpstream");
    assert!(!refused.text.contains("secret-name") && !refused.text.contains("theirs"), "{}", refused.text);
    assert_eq!(make(&ours, deployment("ours", "ours", "10.0.0.2:1883", &[])).send().await.status, 201);
    let change = json!({"upstream": "10.0.0.1:1883"});
    let patch = |login: &Login| world.patch("/deployments/ours").login(login).json(&change);
    assert_eq!(patch(&ours).outcome().await, (422, "UPSTREAM_TAKEN".to_owned()));
    assert_eq!(patch(&world.admin).send().await.status, 200);
    let shown = world.get("/deployments/ours").login(&ours).send().await.json();
    let warning = &shown["warnings"][0];
    assert_eq!((&warning["code"], &warning["severity"]), (&json!("UPSTREAM_SHARED"), &json!("warning")));
    assert_eq!(
        world.patch("/deployments/ours").json(&json!({"upstream": "free:1"})).send().await.status,
        200
    );
    assert!(world.get("/deployments/ours").send().await.json().get("warnings").is_none());
}

#[tokio::test]
async fn hosts_and_upstreams_are_held_to_the_boundary() {
    let world = World::new().await;
    let (ours, theirs) = two_projects(&world).await;
    let set = |project: &str, body: Value| world.patch(&format!("/projects/{project}")).json(&body);
    let rule = json!({"upstreamAllow": ["10.0.0.0/8"], "hostSuffixes": ["ours.example"]});
    assert_eq!(set("ours", rule).send().await.status, 200);
    let make = |login: &Login, id: &str, project: &str, upstream: &str, hosts: &[&str]| {
        world.post("/deployments").login(login).json(&deployment(id, project, upstream, hosts))
    };
    for (login, project, upstream, host, code) in [
        (&ours, "ours", "192.0.2.1:1883", "a.ours.example", "UPSTREAM_NOT_ALLOWED"),
        (&ours, "ours", "10.0.0.1:1883", "a.example", "HOST_NOT_ALLOWED"),
        (&theirs, "theirs", "192.0.2.1:1883", "a.ours.example", "HOST_TAKEN"),
        (&theirs, "theirs", "192.0.2.1:1883", "*.co.uk", "HOST_PUBLIC_SUFFIX"),
        (&world.admin, "theirs", "192.0.2.1:1883", "*.co.uk", "HOST_PUBLIC_SUFFIX"),
    ] {
        let refused = make(login, "d", project, upstream, &[host]).send().await;
        assert_eq!((refused.status, refused.code().as_str()), (422, code), "{upstream} {host}");
        assert!(!refused.text.contains("\"ours\"") && refused.json()["details"][0]["remedy"].is_string());
    }
    assert_eq!(make(&ours, "ours", "ours", "10.0.0.1:1883", &["a.ours.example"]).send().await.status, 201);
    assert_eq!(
        make(&theirs, "theirs", "theirs", "192.0.2.1:1883", &["*.factory.local"]).send().await.status,
        201
    );
    for (project, suffix, status, code) in [
        ("theirs", "a.ours.example", 422, "HOST_SUFFIX_TAKEN"),
        ("theirs", "example", 422, "HOST_SUFFIX_TAKEN"),
        ("theirs", "other.test", 409, "HOST_SUFFIX_IN_USE"),
        ("default", "factory.local", 409, "HOST_SUFFIX_IN_USE"),
    ] {
        let refused = set(project, json!({"hostSuffixes": [suffix]})).outcome().await;
        assert_eq!(refused, (status, code.to_owned()), "{project} {suffix}");
    }
    let made = world.post("/projects").json(&json!({"projectID": "late", "hostSuffixes": ["ours.example"]}));
    assert_eq!(made.outcome().await, (422, "HOST_SUFFIX_TAKEN".to_owned()));
    assert_eq!(world.get("/projects/late").outcome().await, (404, "NOT_FOUND".to_owned()));
}
