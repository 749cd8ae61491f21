//! Probes and metrics, and internal failures.

use std::sync::atomic::Ordering;

use certward_store::Role;
use serde_json::json;

use crate::support::{BASE, TLS, World, upload};

#[tokio::test]
async fn health_and_readiness_need_no_key() {
    let world = World::new().await;
    let get = |path: &str| world.request("GET", path).without("Authorization").send();
    assert_eq!(get("/healthz").await.json(), json!({"status": "alive"}));
    let ready = get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"status": "ready", "role": "all", "gateway": true, "store": true}))
    );
    world.gateway.starting.store(true, Ordering::SeqCst);
    let starting = get("/readyz").await;
    assert_eq!(starting.status, 503);
    assert_eq!(
        starting.json(),
        json!({"status": "not ready", "role": "all", "gateway": false, "store": true})
    );
    assert_eq!(world.get("/deployments/ge6a1a75").send().await.json()["status"], "starting");
}

#[tokio::test]
async fn a_node_without_a_gateway_is_ready_when_its_store_is() {
    let world = World::with(|settings| settings.role = Role::Api).await;
    let get = |path: &str| world.request("GET", path).without("Authorization").send();
    let ready = get("/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready", "role": "api", "store": true})));
    assert_eq!(world.get(&TLS[BASE.len()..]).send().await.status, 200);
    world.gateway.absent.store(true, Ordering::SeqCst);
    let failures = world.get("/deployments/ge6a1a75/tls/failures").outcome().await;
    assert_eq!(failures, (404, "NOT_FOUND".to_owned()), "no false «none»");

    let world = World::with(|settings| settings.role = Role::Api).await;
    world.lifecycle.store().close().await;
    let away = world.request("GET", "/readyz").without("Authorization").send().await;
    assert_eq!(
        (away.status, away.json()),
        (503, json!({"status": "not ready", "role": "api", "store": false}))
    );
}

#[tokio::test]
async fn a_node_that_is_a_gateway_alone_says_how_it_is_and_nothing_else() {
    let world = World::bound(|settings| settings.role = Role::Gateway, |_| {}).await;
    let get = |path: &str| world.request("GET", path).without("Authorization").send();
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(
        get("/readyz").await.json(),
        json!({"status": "ready", "role": "gateway", "gateway": true, "store": true})
    );
    assert_eq!(get("/metrics").await.status, 200);
    for path in ["/public_api/v1/deployments", "/public_api/v1/nodes", TLS, "/public_api/v1", "/nothing"] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = world.request(method, path).outcome().await;
            assert_eq!(answer, (404, "NOT_FOUND".to_owned()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn metrics_need_a_key_unless_they_are_asked_for_on_this_machine() {
    let world = World::new().await;
    world.request("GET", TLS).send().await;
    let metrics = || world.request("GET", "/metrics");
    let local = metrics().without("Authorization").send().await;
    assert_eq!(local.status, 200);
    assert_eq!(local.header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    let line = r#"certward_api_requests_total{method="GET",route="/public_api/v1/deployments/{id}/tls",status="200"} 1"#;
    assert!(local.text.contains(line), "{}", local.text);
    assert!(!local.text.contains("# EOF"));
    let openmetrics = metrics().header("Accept", "application/openmetrics-text").send().await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(openmetrics.header("content-type"), Some(content_type));
    assert!(openmetrics.text.ends_with("# EOF\n"));

    let forwarded = || metrics().header("X-Forwarded-For", "192.0.2.1");
    assert_eq!(forwarded().without("Authorization").outcome().await, (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(forwarded().send().await.status, 200);
}

#[tokio::test]
async fn limits_and_faults_are_metrics_from_the_start_and_each_limit_hit_is_counted() {
    let world = World::new().await;
    let page = async || world.request("GET", "/metrics").send().await.text;
    let before = page().await;
    for limit in ["body", "connections", "deployments", "logins", "requests", "uploads"] {
        assert!(before.contains(&hits(limit, 0)), "{limit}: {before}");
    }
    for status in ["500", "503"] {
        let line = format!(
            "{{method=\"PUT\",route=\"/public_api/v1/deployments/{{id}}/tls\",status=\"{status}\"}} 0"
        );
        assert!(before.contains(&line), "{status}: {before}");
    }
    let large = json!({"cert": "x".repeat(300 * 1024)});
    assert_eq!(world.request("POST", TLS).json(&large).send().await.status, 413);
    let mut refused = 0;
    while refused == 0 {
        refused += u64::from(world.request("DELETE", TLS).send().await.status == 429);
    }
    let after = page().await;
    for (limit, count) in [("body", 1), ("requests", 1), ("logins", 0)] {
        assert!(after.contains(&hits(limit, count)), "{limit}: {after}");
    }
}

fn hits(limit: &str, count: u64) -> String {
    format!("certward_api_limits_hit_total{{limit=\"{limit}\"}} {count}\n")
}

#[tokio::test]
async fn a_stranger_cannot_make_the_list_of_metrics_grow() {
    let world = World::new().await;
    for number in 0..20 {
        world.request(&format!("WORD{number}"), &format!("/{number}")).send().await;
    }
    let text = world.request("GET", "/metrics").send().await.text;
    assert_eq!(text.matches("route=\"unmatched\"").count(), 1, "{text}");
    assert!(!text.contains("WORD"));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_details_and_ends_nothing_else() {
    let world = World::new().await;
    world.gateway.panics.store(true, Ordering::SeqCst);
    let answer = world.request("POST", TLS).json(&upload()).send().await;
    assert_eq!((answer.status, answer.code()), (500, "INTERNAL".to_owned()));
    assert!(!answer.text.contains("SECRET"), "{}", answer.text);
    world.gateway.panics.store(false, Ordering::SeqCst);
    assert_eq!(world.request("GET", TLS).send().await.json(), json!({}), "nothing was stored");
    assert_eq!(world.request("POST", TLS).json(&upload()).send().await.status, 200);
}

#[tokio::test]
async fn a_lost_store_is_503_and_asks_to_come_back() {
    let world = World::new().await;
    world.lifecycle.store().close().await;
    for (method, path) in [("GET", TLS), ("PUT", TLS), ("GET", "/public_api/v1/projects")] {
        let answer = world.request(method, path).send().await;
        assert_eq!((answer.status, answer.code()), (503, "STORE_UNAVAILABLE".to_owned()), "{method} {path}");
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    let ready = world.request("GET", "/readyz").send().await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"status": "ready", "role": "all", "gateway": true, "store": false}))
    );
    assert_eq!(world.request("GET", "/healthz").send().await.status, 200);
    assert_eq!(world.request("GET", "/metrics").without("Authorization").send().await.status, 200);
}
