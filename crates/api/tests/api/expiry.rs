//! What ends, alerts and their channels.

use std::time::Duration;

use certward_store::{Scope, Timestamp};
use serde_json::{Value, json};

use crate::support::{Login, UPLOAD_ENDS, World, upload};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As the expiry task of a node.
async fn turn(world: &World) {
    let now = world.lifecycle.store().clock().now();
    world.lifecycle.expiry_watch().turn(now).await.unwrap();
    world.lifecycle.alert_delivery().turn().await.unwrap();
}

async fn with_certificate() -> World {
    let world = World::new().await;
    let set = world.post("/deployments/ge6a1a75/tls").json(&upload()).send().await;
    assert_eq!(set.status, 200, "{}", set.text);
    turn(&world).await;
    world
}

fn leaf_end() -> Timestamp {
    Timestamp::from_time(UPLOAD_ENDS)
}

#[tokio::test]
async fn what_is_left_and_the_warnings_are_as_of_now() {
    let world = with_certificate().await;
    let end = leaf_end();
    let shown = async |at: Timestamp| {
        world.clock.set(at);
        let tls = world.get("/deployments/ge6a1a75/tls").send().await.json();
        let listed = world.get("/deployments").send().await.json()[0]["tls"].clone();
        assert_eq!((&tls["daysLeft"], &tls["expire"]), (&listed["daysLeft"], &listed["expire"]));
        let warnings = tls["warnings"].as_array().cloned().unwrap_or_default();
        let codes: Vec<_> = warnings.iter().map(|warning| warning["code"].clone()).collect();
        (
            tls["daysLeft"].as_i64().unwrap(),
            codes.contains(&json!("EXPIRES_SOON")),
            codes.contains(&json!("LEAF_EXPIRED")),
        )
    };
    assert_eq!(shown(end.before(DAY * 31)).await, (31, false, false));
    assert_eq!(shown(end.before(DAY * 9)).await, (9, true, false));
    assert_eq!(shown(end.before(Duration::from_secs(1))).await, (0, true, false));
    assert_eq!(shown(end.after(Duration::from_secs(3))).await, (-1, false, true));
}

#[tokio::test]
async fn what_ends_is_listed_with_what_it_breaks() {
    let world = with_certificate().await;
    let none = world.get("/expiring").send().await;
    assert_eq!((none.status, none.json()), (200, json!([])));
    world.clock.set(leaf_end().before(DAY * 9));
    let end = world.get("/expiring?within=9d").send().await.json();
    assert_eq!(end[0]["kind"], "leaf");
    assert_eq!((&end[0]["deploymentID"], &end[0]["daysLeft"]), (&json!("ge6a1a75"), &json!(9)));
    assert_eq!(end[0]["breaks"], "Devices refuse to connect.");
    assert!(end[0]["remedy"].as_str().unwrap().contains("certward tls set ge6a1a75"));
    assert_eq!(world.get("/expiring?within=215h").send().await.json(), json!([]));
    for query in ["within=30", "within=x", "within=000000030d", "limit=0", "after=1", "within=1d&within=2d"] {
        let refused = world.get(&format!("/expiring?{query}")).send().await;
        assert_eq!((refused.status, refused.code()), (422, "QUERY_INVALID".to_owned()), "{query}");
    }
    assert_eq!(world.get("/expiring?unknown=1").send().await.status, 200);
}

#[tokio::test]
async fn a_long_list_of_ends_comes_in_pages() {
    let world = World::new().await;
    for number in 0..7 {
        let at = format!("2027-01-0{} 00:00:00", number % 3 + 1);
        let made = world
            .post("/keys")
            .json(&json!({"name": format!("k{number}"), "scopes": ["tls"], "expiresAt": at}));
        assert_eq!(made.send().await.status, 201);
    }
    let (mut path, mut names) = ("/expiring?within=90d&limit=3".to_owned(), Vec::new());
    loop {
        let page = world.get(&path).send().await;
        let list = page.json().as_array().unwrap().clone();
        names.extend(list.iter().map(|end| end["subject"].as_str().unwrap().to_owned()));
        let Some(link) = page.header("link") else { break };
        assert_eq!(list.len(), 3);
        let next = link.strip_prefix("</public_api/v1").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        next.clone_into(&mut path);
    }
    assert_eq!(names, ["k0", "k3", "k6", "k1", "k4", "k2", "k5"]);
}

#[tokio::test]
async fn a_key_ends_and_its_creation_says_when() {
    let world = World::new().await;
    let make = async |expires_at: Value| {
        let body = json!({"name": "k", "scopes": ["tls:read"], "expiresAt": expires_at});
        world.post("/keys").json(&body).send().await
    };
    for wrong in ["2026-11-25 11:59:59", "2026-11-25T12:00:00Z", "tomorrow", "30d"] {
        let refused = make(json!(wrong)).await;
        assert_eq!((refused.status, refused.code()), (422, "TIME_INVALID".to_owned()), "{wrong}");
    }
    assert!(make(Value::Null).await.json()["expiresAt"].is_null());
    let made = make(json!("2026-11-26T13:00:00+01:00")).await.json();
    assert_eq!(made["expiresAt"], "2026-11-26 12:00:00");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let login = Login::new(&text("apiKey"), &text("secretKey"));
    let own = world.get("/expiring?within=2d").login(&login).send().await.json();
    assert_eq!(
        (own[0]["kind"].as_str(), own[0]["apiKey"].as_str()),
        (Some("apiKey"), made["apiKey"].as_str())
    );
    world.clock.advance(DAY);
    let refused = world.get("/expiring").login(&login).send().await;
    assert_eq!((refused.status, refused.code()), (401, "UNAUTHORIZED".to_owned()));
}

fn webhook() -> Value {
    json!({"type": "webhook", "name": "Chat", "url": "https://hooks.example.com/T0/canary-path"})
}

fn mail() -> Value {
    json!({"type": "mail", "host": "smtp.example.com", "username": "ops", "password": "canary-password",
        "from": "certward@example.com", "to": ["ops@example.com"]})
}

#[tokio::test]
async fn a_channel_is_shown_without_its_secrets() {
    let world = World::new().await;
    let made = world.post("/alert-channels").json(&webhook()).send().await;
    assert_eq!(made.status, 201);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made.json()["url"], "https://hooks.example.com/…");
    let made = world.post("/alert-channels").json(&mail()).send().await;
    assert_eq!(
        (made.status, &made.json()["port"], &made.json()["security"]),
        (201, &json!(587), &json!("starttls"))
    );
    assert!(made.json()["secret"].is_null());
    let list = world.get("/alert-channels").send().await;
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    for hidden in ["canary", &secret] {
        assert!(!list.text.contains(hidden) && !made.text.contains(hidden), "{hidden}");
    }
    let id = list.json()[0]["channelID"].as_str().unwrap().to_owned();
    let tested = world.post(&format!("/alert-channels/{id}/test")).send().await;
    assert_eq!((tested.status, &tested.json()["delivered"]), (200, &json!(true)));
    assert_eq!(world.delete(&format!("/alert-channels/{id}")).send().await.status, 204);
    for gone in [format!("/alert-channels/{id}"), "/alert-channels/UPPER".to_owned()] {
        assert_eq!(world.delete(&gone).send().await.code(), "NOT_FOUND", "{gone}");
    }
}

#[tokio::test]
async fn a_wrong_channel_is_refused_with_every_fault_named() {
    let world = World::new().await;
    let changed = |body: Value, changes: Value| {
        let mut body = body;
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    for (body, codes) in [
        (json!({}), vec!["CHANNEL_TYPE_INVALID"]),
        (json!({"type": "Webhook"}), vec!["CHANNEL_TYPE_INVALID"]),
        (json!({"type": "webhook"}), vec!["WEBHOOK_URL_INVALID"]),
        (changed(webhook(), json!({"url": "ftp://a/"})), vec!["WEBHOOK_URL_INVALID"]),
        (changed(webhook(), json!({"url": "https://user:canary@a/"})), vec!["WEBHOOK_URL_INVALID"]),
        (changed(webhook(), json!({"secret": "canary"})), vec!["WEBHOOK_SECRET_INVALID"]),
        (changed(webhook(), json!({"projectID": "none"})), vec!["PROJECT_UNKNOWN"]),
        (
            json!({"type": "mail"}),
            vec!["MAIL_SERVER_INVALID", "MAIL_ADDRESS_INVALID", "MAIL_ADDRESS_INVALID"],
        ),
        (changed(mail(), json!({"port": 0})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"port": 65_536})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"security": "ssl"})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"security": "plain"})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"password": null})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"username": null})), vec!["MAIL_SERVER_INVALID"]),
        (changed(mail(), json!({"to": []})), vec!["MAIL_ADDRESS_INVALID"]),
        (changed(mail(), json!({"to": ["a@b", "canary"]})), vec!["MAIL_ADDRESS_INVALID"]),
        (changed(mail(), json!({"from": "Ops <ops@example.com>"})), vec!["MAIL_ADDRESS_INVALID"]),
    ] {
        let refused = world.post("/alert-channels").json(&body).send().await;
        let found: Vec<_> = refused.json()["details"].as_array().unwrap().clone();
        let found: Vec<_> = found.iter().map(|detail| detail["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            (refused.status, found),
            (422, codes.iter().map(|code| (*code).to_owned()).collect()),
            "{body}"
        );
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    assert_eq!(world.get("/alert-channels").send().await.json(), json!([]));
}

#[tokio::test]
async fn a_key_of_a_project_has_channels_and_alerts_of_its_own() {
    let world = World::new().await;
    world.post("/projects").json(&json!({"projectID": "other"})).send().await;
    let limited = world.key(&[Scope::Admin], Some(&["other"])).await;
    let everywhere = world.post("/alert-channels").json(&webhook()).login(&limited).send().await;
    assert_eq!((everywhere.status, everywhere.code()), (403, "NO_ACCESS".to_owned()));
    let mut of_other = webhook();
    of_other["projectID"] = json!("other");
    assert_eq!(world.post("/alert-channels").json(&of_other).login(&limited).send().await.status, 201);
    let operators = world.post("/alert-channels").json(&webhook()).send().await.json();
    let id = operators["channelID"].as_str().unwrap();
    let list = world.get("/alert-channels").login(&limited).send().await.json();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["projectID"]), (1, &json!("other")));
    for method in ["DELETE", "POST"] {
        let path = if method == "POST" {
            format!("/alert-channels/{id}/test")
        } else {
            format!("/alert-channels/{id}")
        };
        let path = format!("{}{path}", crate::support::BASE);
        assert_eq!(world.request(method, &path).login(&limited).send().await.status, 404, "{method}");
    }
    let reader = world.key(&[Scope::TlsRead], None).await;
    for path in ["/alert-channels", "/alerts"] {
        assert_eq!(world.get(path).login(&reader).send().await.status, 403, "{path}");
    }

    // An alert of the default project goes to the operator's channel alone.
    let set = world.post("/deployments/ge6a1a75/tls").json(&upload()).send().await;
    assert_eq!(set.status, 200, "{}", set.text);
    world.clock.set(leaf_end());
    turn(&world).await;
    let alerts = world.get("/alerts").send().await.json();
    assert_eq!((alerts.as_array().unwrap().len(), &alerts[0]["rule"]), (1, &json!("end")));
    assert_eq!(alerts[0]["deliveries"], json!([{"channelID": id, "state": "delivered", "attempts": 1}]));
    assert_eq!(world.get("/alerts").login(&limited).send().await.json(), json!([]));
    world.delete("/deployments/ge6a1a75").send().await;
    assert!(world.get("/alerts").send().await.json()[0]["withdrawnAt"].is_string());
}
