//! Request limits: exact, per key, deployment and method.

use std::time::Duration;

use certward_store::Scope;
use serde_json::json;

use crate::support::{Answer, TLS, World};

const MINUTE: Duration = Duration::from_secs(60);

fn left(answer: &Answer) -> [Option<&str>; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| answer.header(name))
}

#[tokio::test]
async fn of_fifty_puts_at_once_exactly_six_pass() {
    let world = World::new().await;
    let puts: Vec<_> =
        (0..50).map(|_| tokio::spawn(world.request("PUT", TLS).json(&json!({})).send())).collect();
    let mut outcomes = std::collections::BTreeMap::new();
    for put in puts {
        let answer = put.await.unwrap();
        if answer.status == 429 {
            assert_eq!(left(&answer), [Some("6"), Some("0"), Some("3600")]);
            assert_eq!(answer.header("retry-after"), Some("3600"));
        }
        *outcomes.entry((answer.status, answer.code())).or_insert(0) += 1;
    }
    let expected = [((404, "TLS_NOT_FOUND".to_owned()), 6), ((429, "RATE_LIMITED".to_owned()), 44)];
    assert_eq!(outcomes, expected.into());
}

#[tokio::test]
async fn the_window_slides_and_refused_bodies_count() {
    let world = World::new().await;
    let put = || world.request("PUT", TLS).body("not even JSON").send();
    for remaining in ["5", "4", "3", "2", "1", "0"] {
        let answer = put().await;
        assert_eq!((answer.status, answer.header("ratelimit-remaining")), (415, Some(remaining)));
        world.clock.advance(MINUTE);
    }
    assert_eq!(put().await.header("retry-after"), Some("3240"), "54 minutes until the first leaves");
    world.clock.advance(54 * MINUTE - Duration::from_millis(500));
    let refused = put().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "rounded up");
    world.clock.advance(Duration::from_millis(500));
    assert_eq!(put().await.status, 415, "the first has left");
    assert_eq!(put().await.status, 429, "and only the first");
}

#[tokio::test]
async fn each_key_deployment_and_method_has_its_own_window() {
    let world = World::new().await;
    world.deployment("other", "default").await;
    let key = world.key(&[Scope::Tls], None).await;
    for _ in 0..7 {
        world.request("DELETE", TLS).send().await;
    }
    assert_eq!(world.request("DELETE", TLS).send().await.status, 429);
    assert_eq!(world.request("PUT", TLS).body("").send().await.status, 415, "another method");
    assert_eq!(world.request("POST", TLS).body("").send().await.status, 415, "another method");
    assert_eq!(world.request("DELETE", TLS).login(&key).send().await.status, 404, "another key");
    assert_eq!(world.delete("/deployments/other/tls").send().await.status, 404, "another deployment");
}

#[tokio::test]
async fn what_never_reaches_a_deployment_costs_nothing() {
    let world = World::new().await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    for _ in 0..10 {
        let unknown = world.request("PUT", TLS).without("Authorization").send().await;
        let forbidden = world.request("PUT", TLS).login(&reader).send().await;
        let elsewhere = world.put("/deployments/nothere/tls").send().await;
        assert_eq!((unknown.status, forbidden.status, elsewhere.status), (401, 403, 404));
        for answer in [unknown, forbidden, elsewhere] {
            assert_eq!(left(&answer), [None; 3]);
        }
    }
    assert_eq!(left(&world.request("PUT", TLS).send().await), [Some("6"), Some("5"), Some("3600")]);
}

#[tokio::test]
async fn reads_are_limited_to_sixty_each() {
    let world = World::new().await;
    for path in ["/deployments/ge6a1a75/tls", "/projects", "/deployments", "/deployments/ge6a1a75"] {
        let first = world.get(path).send().await;
        assert_eq!(left(&first), [Some("60"), Some("59"), Some("3600")], "{path}");
        for _ in 1..60 {
            assert_eq!(world.get(path).send().await.status, 200, "{path}");
        }
        let refused = world.get(path).send().await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3600")), "{path}");
    }
}
