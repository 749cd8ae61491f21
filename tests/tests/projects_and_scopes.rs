//! Scopes and projects of API keys.

use certward_tests::{Api, Scene};
use serde_json::{Value, json};

fn key(api: &Api, scopes: &[&str], projects: Option<&[&str]>) -> Api {
    let mut body = json!({"name": "test", "scopes": scopes});
    if let Some(projects) = projects {
        body["projects"] = json!(projects);
    }
    let made = api.send("POST", "/keys", Some(&body)).expect(201).json();
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name}: {made}")).to_owned();
    Api { key: text("apiKey"), secret: text("secretKey"), ..api.clone() }
}

fn ids(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

fn scene() -> Scene {
    let scene = Scene::new();
    let api = scene.api();
    api.send("POST", "/projects", Some(&json!({"projectID": "factory", "projectName": "Factory"})))
        .expect(201);
    api.create_deployment_with(json!({
        "deploymentID": "machines", "projectID": "factory", "upstream": scene.broker.upstream(),
        "hosts": ["machines.example"],
    }));
    scene
}

#[test]
fn a_deployment_outside_of_the_keys_projects_does_not_exist() {
    let scene = scene();
    let narrow = key(&scene.api(), &["tls", "deployments"], Some(&["factory"]));
    let leaf = scene.leaf();
    narrow.tls("machines").expect(200);
    for answer in [
        narrow.tls(Scene::DEPLOYMENT),
        narrow.post_tls(Scene::DEPLOYMENT, &leaf.one_way()),
        narrow.put_tls(Scene::DEPLOYMENT, &leaf.one_way()),
        narrow.delete_tls(Scene::DEPLOYMENT),
        narrow.get(&format!("/deployments/{}", Scene::DEPLOYMENT)),
        narrow.send("DELETE", &format!("/deployments/{}", Scene::DEPLOYMENT), None),
    ] {
        assert_eq!(answer.expect(404).code(), "DEPLOYMENT_NOT_FOUND");
    }
    assert_eq!(ids(&narrow.get("/deployments").expect(200).json(), "deploymentID"), ["machines"]);
    assert_eq!(ids(&narrow.get("/projects").expect(200).json(), "projectID"), ["factory"]);
}

#[test]
fn a_scope_admits_what_it_names_and_nothing_else() {
    let scene = scene();
    let api = scene.api();
    let leaf = scene.authority.server(&["machines.example"]);
    let reader = key(&api, &["tls:read"], None);
    reader.tls("machines").expect(200);
    assert_eq!(reader.post_tls("machines", &leaf.one_way()).expect(403).code(), "NO_ACCESS");
    reader.delete_tls("machines").expect(403);
    // The scope is checked before the deployment.
    reader.put_tls("nosuchid", &leaf.one_way()).expect(403);

    let renewer = key(&api, &["tls"], None);
    renewer.post_tls("machines", &leaf.one_way()).expect(200);
    renewer.send("DELETE", "/deployments/machines", None).expect(403);
    renewer.send("POST", "/keys", Some(&json!({"name": "more", "scopes": ["tls"]}))).expect(403);

    let nobody = Api { key: "nobody".into(), ..api };
    for path in ["/deployments/machines/tls", "/deployments", "/no/such/path", "/keys"] {
        let answer = nobody.get(path).expect(401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"certward\", charset=\"UTF-8\""),
            "{path}"
        );
    }
}

#[test]
fn a_host_of_another_project_is_taken_and_its_holder_is_not_named() {
    let scene = scene();
    let narrow = key(&scene.api(), &["deployments"], Some(&["default"]));
    for host in ["machines.example", "MACHINES.example.", "*.example"] {
        let hosts = json!({"upstream": "127.0.0.1:1883", "hosts": [host]});
        let answer = narrow.send("POST", "/deployments", Some(&hosts));
        // A wildcard over a single label is no host.
        let answer = answer.expect(422);
        if host != "*.example" {
            assert_eq!(answer.code(), "HOST_TAKEN", "{host}");
        }
        assert!(!answer.body.contains("machines\"") && !answer.body.contains("factory"), "{answer:?}");
    }
}

#[test]
fn what_is_still_in_use_is_not_removed() {
    let scene = scene();
    let api = scene.api();
    api.send("DELETE", "/projects/factory", None).expect(409);
    api.send("DELETE", "/deployments/machines", None).expect(204);
    api.send("DELETE", "/projects/factory", None).expect(204);
    api.send("DELETE", &format!("/keys/{}", api.key), None).expect(409);
    let exists = json!({"deploymentID": Scene::DEPLOYMENT, "upstream": "127.0.0.1:1883", "hosts": []});
    assert_eq!(api.send("POST", "/deployments", Some(&exists)).expect(409).code(), "DEPLOYMENT_EXISTS");
}

#[test]
fn the_checks_come_in_the_order_of_the_contract() {
    let scene = Scene::new();
    let api = scene.api();
    let path = format!("/deployments/{}/tls", Scene::DEPLOYMENT);
    let json = "Content-Type: application/json\r\n";
    let large = "x".repeat(256 * 1024 + 1);
    let cases = [
        ("PUT", "/deployments/nosuchid/tls", json, large.as_str(), 404, "DEPLOYMENT_NOT_FOUND"),
        ("PUT", "/deployments/No_Such/tls", json, "{}", 404, "DEPLOYMENT_NOT_FOUND"),
        ("PUT", "/deployments/%ff%zz/tls", json, "{}", 404, "DEPLOYMENT_NOT_FOUND"),
        ("PUT", &path, "Content-Type: text/plain\r\n", &large, 413, "BODY_TOO_LARGE"),
        ("PUT", &path, "Content-Type: text/plain\r\n", "{", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("PUT", &path, "", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "PUT",
            &path,
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "{}",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        ("PUT", &path, json, "{", 400, "INVALID_JSON"),
        ("PUT", &path, json, "", 400, "INVALID_JSON"),
        ("POST", &path, json, "{\"tlsType\":\"one-way\",\"tlsType\":\"one-way\"}", 400, "INVALID_JSON"),
        ("POST", &path, "Content-Type: Application/JSON; charset=utf-8\r\n", "{}", 422, ""),
        ("PATCH", &path, json, "{}", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/nothing/here", "", "", 404, "NOT_FOUND"),
    ];
    for (method, path, fields, body, status, code) in cases {
        let answer = api.try_send(method, path, fields, body).unwrap().expect(status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
        assert!(code.is_empty() || answer.code() == code, "{method} {path}: {answer:?}");
        assert!(!answer.code().is_empty() && !answer.json()["message"].as_str().unwrap().is_empty());
    }
    let answer = api.try_send("PATCH", &path, json, "{}").unwrap();
    let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST", "PUT"]);
}
