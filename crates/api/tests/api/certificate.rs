//! The certificate's four methods, `/check`, `Prefer: wait`, and their bodies.

use std::time::{Duration, Instant};

use crate::support::{TLS, World, upload};
use certward_lifecycle::ProofFailure;
use certward_store::RequestLimit;
use serde_json::{Value, json};

async fn unlimited() -> World {
    World::with(|settings| {
        let limit = RequestLimit { requests: 1000, window: Duration::from_secs(3600) };
        settings.limits.changes = limit;
        settings.limits.reads = limit;
    })
    .await
}

#[tokio::test]
async fn the_life_of_a_certificate_is_told_in_the_contracts_words() {
    let world = unlimited().await;
    let node = world.node().await;
    let tls = |method: &str| world.request(method, TLS);
    assert_eq!(tls("GET").send().await.json(), json!({}));
    assert_eq!(tls("DELETE").outcome().await, (404, "TLS_NOT_FOUND".to_owned()));
    assert_eq!(tls("PUT").json(&upload()).outcome().await, (404, "TLS_NOT_FOUND".to_owned()));

    let made = tls("POST").json(&upload()).send().await;
    assert_eq!(made.status, 200);
    let made = made.json();
    assert_eq!(
        (&made["tlsType"], &made["expire"], &made["status"], &made["cn"]),
        (&json!("one-way"), &json!("2027-05-22 02:43:21"), &json!("pending"), &json!("ge6a1a75.example.com"))
    );
    assert!(made.get("reason").is_none());
    assert_eq!((&made["waitingFor"], made.get("leftOut")), (&json!([node.id.as_str()]), None));
    assert_ne!(made.get("warnings"), Some(&json!([])), "absent rather than empty");
    assert_eq!(tls("POST").json(&upload()).outcome().await, (422, "TLS_ALREADY_EXISTS".to_owned()));

    world.report(&node, Ok(())).await;
    let running = tls("GET").send().await.json();
    assert_eq!((&running["status"], running.get("waitingFor")), (&json!("running"), None));

    assert_eq!(tls("PUT").json(&upload()).send().await.json()["status"], "pending");
    world.report(&node, Err(ProofFailure::NoEntryPoint(certward_pki::NoEntryPoint::NoHost))).await;
    let failed = tls("GET").send().await.json();
    assert_eq!((&failed["status"], &failed["waitingFor"]), (&json!("failed"), &json!([node.id.as_str()])));
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()));

    let removed = tls("DELETE").send().await;
    assert_eq!((removed.status, removed.text.as_str()), (204, ""));
    assert_eq!(tls("GET").send().await.json(), json!({"status": "terminated"}));
    assert_eq!(tls("DELETE").outcome().await, (404, "TLS_NOT_FOUND".to_owned()));
    world.report(&node, Ok(())).await;
    assert_eq!(tls("GET").send().await.json(), json!({}));
}

#[tokio::test]
async fn no_answer_holds_a_part_of_what_was_uploaded() {
    let world = unlimited().await;
    let upload = upload();
    let made = world.request("POST", TLS).json(&upload).send().await;
    let mut crossed = upload.clone();
    crossed["key"] = crate::support::upload()["key"].clone();
    let refused = world.request("PUT", TLS).json(&crossed).send().await;
    assert_eq!((refused.status, refused.code()), (422, "KEY_MISMATCH".to_owned()));
    let checked = world.request("POST", &format!("{TLS}/check")).json(&crossed).send().await;
    for text in [&made.text, &refused.text, &checked.text] {
        for field in ["cert", "key"] {
            let second_line = upload[field].as_str().unwrap().lines().nth(1).unwrap();
            assert!(!text.contains(second_line), "{text}");
            let crossed_line = crossed[field].as_str().unwrap().lines().nth(1).unwrap();
            assert!(!text.contains(crossed_line), "{text}");
        }
    }
    let details = refused.json()["details"].as_array().unwrap().clone();
    assert_eq!(details[0]["code"], "KEY_MISMATCH");
    for name in ["severity", "field", "message", "remedy"] {
        assert!(details[0][name].is_string(), "{name}");
    }
}

#[tokio::test]
async fn the_seeds_own_examples_get_an_answer_that_says_where() {
    let world = unlimited().await;
    let broken = r#"{"tlsType": "one-way", "cert": "-----BEGIN CERTIFICATE-----\nMII...tH6j7afSg==\n-----END CERTIFICATE-----},"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA5bdg8Rt5A7...AjQzYRdov4inpzw==\n-----END RSA PRIVATE KEY-----""#;
    let answer =
        world.request("POST", TLS).header("Content-Type", "application/json").body(broken).send().await;
    assert_eq!((answer.status, answer.code()), (400, "INVALID_JSON".to_owned()));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("line 1 column 109"), "{message}");
    assert_eq!(answer.json()["details"], json!([]));

    let repaired = broken.replace("-----},", "-----\",") + "}";
    let answer =
        world.request("POST", TLS).header("Content-Type", "application/json").body(repaired).send().await;
    assert_eq!(answer.status, 422, "{}", answer.text);
}

#[tokio::test]
async fn what_is_not_a_json_object_is_400_and_never_5xx() {
    let world = unlimited().await;
    let deep = format!("{{\"key\":{}", "[".repeat(200_000));
    let bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":1}{",
        "{\"tlsType\":\"one-way\",\"tlsType\":\"one-way\"}",
        "{\"x\":1,\"x\":2}",
        "{\"a\":\"\\ud800\"",
        "{\"cert\":\"\\ud800\"}",
        "{\"cert\":\"\\udc00\\ud800\"}",
        "{\"\\ud800\":1}",
        "{\"key\":\"\u{1}\"}",
        "{\"key\":1e999}",
        "\u{feff}{}",
        &deep,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([b"{\"key\":\"\xff\"}".to_vec(), b"{\"x\":\"\xc3\x28\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec()])
    .collect();
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let request = world.request("POST", TLS).header("Content-Type", "application/json").body(body);
        assert_eq!(request.outcome().await, (400, "INVALID_JSON".to_owned()), "{shown}");
    }
}

#[tokio::test]
async fn wrong_properties_are_422_and_unknown_ones_nothing() {
    let world = unlimited().await;
    let with = |name: &str, value: Value| {
        let mut body = upload();
        body[name] = value;
        body
    };
    for (body, field) in [
        (json!({}), "tlsType"),
        (with("tlsType", json!("One-Way")), "tlsType"),
        (with("tlsType", json!(1)), "tlsType"),
        (with("tlsType", Value::Null), "tlsType"),
        (with("key", json!(["a", {"b": 1}])), "key"),
        (with("cert", json!(true)), "cert"),
        (with("cert", json!("\0")), "cert"),
        (with("cacert", json!(7)), "cacert"),
        (with("tlsType", json!("two-way")), "cacert"),
    ] {
        let answer = world.request("POST", TLS).json(&body).send().await;
        assert_eq!(answer.status, 422, "{field}: {}", answer.text);
        let details = answer.json()["details"].as_array().unwrap().clone();
        assert_eq!(details[0]["field"], field, "{}", answer.text);
        assert_eq!(answer.json()["code"], details[0]["code"]);
    }
    let mut body = with("status", json!("running"));
    body["expire"] = json!("2099-01-01 00:00:00");
    body["x"] = json!({"tlsType": 1, "y": [null]});
    let made = world.request("POST", TLS).json(&body).send().await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(made.json()["expire"], "2027-05-22 02:43:21");
}

#[tokio::test]
async fn only_json_in_utf_8_without_an_encoding_is_read() {
    let world = unlimited().await;
    let body = || world.request("PUT", TLS).body("{}");
    let wrong = [
        body(),
        body().header("Content-Type", "text/plain"),
        body().header("Content-Type", "application/x-www-form-urlencoded"),
        body().header("Content-Type", "application/json; charset=latin1"),
        body().header("Content-Type", "application/json").header("Content-Type", "application/json"),
        body().header("Content-Type", "application/json").header("Content-Encoding", "gzip"),
    ];
    for (index, request) in wrong.into_iter().enumerate() {
        assert_eq!(request.outcome().await, (415, "UNSUPPORTED_MEDIA_TYPE".to_owned()), "{index}");
    }
    for right in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        let outcome = body().header("Content-Type", right).outcome().await;
        assert_eq!(outcome, (404, "TLS_NOT_FOUND".to_owned()), "{right}");
    }
}

#[tokio::test]
async fn a_body_is_at_most_256_kib_declared_or_not() {
    let world = unlimited().await;
    let padded = |length: usize| {
        let mut body = b"{}".to_vec();
        body.resize(length, b' ');
        body
    };
    let put = |body| world.request("PUT", TLS).header("Content-Type", "application/json").body(body);
    assert_eq!(put(padded(262_144)).outcome().await.0, 404);
    assert_eq!(put(padded(262_145)).outcome().await, (413, "BODY_TOO_LARGE".to_owned()));

    let chunked = |length: usize| {
        let mut bytes = format!(
            "PUT {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{length:x}\r\n",
            world.admin.0
        )
        .into_bytes();
        bytes.extend(padded(length));
        bytes.extend(b"\r\n0\r\n\r\n");
        bytes
    };
    assert!(world.raw(chunked(262_144)).await.starts_with("HTTP/1.1 404 "));
    assert!(world.raw(chunked(262_145)).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn changes_that_disconnect_take_a_rate_and_a_wrong_one_changes_nothing() {
    let world = unlimited().await;
    let at = |method: &'static str, path: &str, query: &str| {
        world.request(method, &format!("{TLS}{path}?{query}"))
    };
    // The first certificate ends no session: nothing is read.
    assert_eq!(at("POST", "", "closeRate=x").json(&upload()).send().await.status, 200);
    for wrong in
        ["closeRate=0", "closeRate=1000001", "closeRate=5/s", "closeRate=", "closeRate=1&closeRate=1"]
    {
        let expected = (422, "CLOSE_RATE_INVALID".to_owned());
        assert_eq!(at("PUT", "", wrong).json(&upload()).outcome().await, expected, "{wrong}");
        assert_eq!(at("POST", "/rollback", wrong).json(&json!({})).outcome().await, expected, "{wrong}");
        assert_eq!(at("DELETE", "", wrong).outcome().await, expected, "{wrong}");
    }
    let kept = world.request("GET", &format!("{TLS}/versions")).send().await.json();
    assert_eq!(kept.as_array().unwrap().len(), 1);
    let rate = async || {
        let id = certward_store::DeploymentId::parse("ge6a1a75").unwrap();
        let found = world.lifecycle.store().read().deployment(&id).await.unwrap().unwrap();
        certward_store::CloseRate::number(found.close_rate)
    };
    assert_eq!(at("PUT", "", "closeRate=50&other=1").json(&upload()).send().await.status, 200);
    assert_eq!(rate().await, 50);
    assert_eq!(world.request("PUT", TLS).json(&upload()).send().await.status, 200);
    assert_eq!(rate().await, 0, "the next change has none");
    let first = json!({"version": kept[0]["version"]});
    assert_eq!(at("POST", "/rollback", "closeRate=7").json(&first).send().await.status, 200);
    assert_eq!(rate().await, 7);
    assert_eq!(at("DELETE", "", "closeRate=1000000").send().await.status, 204);
    assert_eq!(rate().await, 1_000_000);
}

#[tokio::test]
async fn delete_takes_no_query_parameter_but_the_rate() {
    let world = unlimited().await;
    world.request("POST", TLS).json(&upload()).send().await;
    for query in ["force=1", "closeRate=5&force=1"] {
        let refused = world.request("DELETE", &format!("{TLS}?{query}")).send().await;
        assert_eq!((refused.status, refused.code()), (422, "QUERY_UNEXPECTED".to_owned()));
        assert!(refused.header("ratelimit-remaining").is_some());
    }
    let refused = world.request("DELETE", &format!("{TLS}?force=1")).send().await;
    assert!(refused.header("ratelimit-remaining").is_some());
    assert_eq!(world.request("DELETE", &format!("{TLS}?")).send().await.status, 204);
}

#[tokio::test]
async fn a_check_says_all_and_stores_nothing() {
    let world = World::new().await;
    let check = format!("{TLS}/check");
    let good = world.request("POST", &check).json(&upload()).send().await;
    assert_eq!((good.status, good.header("ratelimit-limit")), (200, Some("60")));
    let good = good.json();
    assert_eq!(good["accepted"], true);
    assert_eq!(good["serves"]["expire"], "2027-05-22 02:43:21");
    assert_eq!((&good["serves"]["chainLength"], &good["serves"]["clientCas"]), (&json!(1), &json!(0)));

    let bad = world.request("POST", &check).json(&json!({"tlsType": "one-way"})).send().await;
    assert_eq!(bad.status, 200);
    assert_eq!(bad.json()["accepted"], false);
    assert!(bad.json().get("serves").is_none());
    assert!(bad.json()["findings"].as_array().unwrap().len() >= 2);
    assert_eq!(world.request("GET", TLS).send().await.json(), json!({}));
}

#[tokio::test]
async fn a_get_that_prefers_to_wait_is_held_until_the_status_settles() {
    let world = World::new().await;
    let node = world.node().await;
    world.request("POST", TLS).json(&upload()).send().await;

    let begun = Instant::now();
    let unsettled = world.request("GET", TLS).header("Prefer", "wait=1").send().await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(unsettled.json()["status"], "pending");
    assert_eq!(unsettled.header("preference-applied"), Some("wait=1"));
    assert_eq!(unsettled.header("ratelimit-remaining"), Some("59"));

    let held = tokio::spawn(world.request("GET", TLS).header("Prefer", "wait=600").send());
    while world.request("GET", TLS).send().await.header("ratelimit-remaining") != Some("50") {}
    world.report(&node, Ok(())).await;
    let settled = held.await.unwrap();
    assert_eq!(settled.json()["status"], "running");
    assert_eq!(settled.header("preference-applied"), Some("wait=60"));
}
