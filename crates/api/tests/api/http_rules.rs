//! HTTP/1.1 by its RFCs, over a raw socket.

use crate::support::{Answer, TLS, World};

/// The only answer before the close, in the API's form if an error.
async fn only_answer(world: &World, request: &str) -> Answer {
    let text = world.raw(request).await;
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{request:?}: {text}");
    let answer = Answer::parse(&text);
    if answer.status >= 400 {
        let error = answer.json();
        assert!(error["message"].is_string() && error["details"].is_array(), "{text}");
    }
    answer
}

fn assert_closes(answer: &Answer, request: &str) {
    assert_eq!(answer.header("connection"), Some("close"), "{request:?}: {answer:?}");
}

#[tokio::test]
async fn a_request_is_for_exactly_one_host() {
    let world = World::new().await;
    for (version, hosts, expected) in [
        ("1.1", "", (400, "BAD_REQUEST")),
        ("1.1", "Host: a\r\nHost: a\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a\r\nhost: b\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a b\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a/b\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: me@a\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a:b\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a:65536\r\n", (400, "BAD_REQUEST")),
        ("1.1", "Host: a\r\n", (200, "-")),
        ("1.1", "Host: a:8080\r\n", (200, "-")),
        ("1.1", "Host: [2001:db8::1]:8080\r\n", (200, "-")),
        ("1.1", "Host:\r\n", (200, "-")),
        // HTTP/1.0 had none (RFC 9112 §3.2), and load balancers use it.
        ("1.0", "", (200, "-")),
        ("1.0", "Host: a\r\n", (200, "-")),
        ("1.0", "Host: a\r\nHost: a\r\n", (400, "BAD_REQUEST")),
    ] {
        for path in ["/healthz", TLS] {
            let login = format!("Authorization: {}\r\n", world.admin.0);
            let end = if expected.0 == 200 { "Connection: close\r\n\r\n" } else { "\r\n" };
            let request = format!("GET {path} HTTP/{version}\r\n{hosts}{login}{end}");
            let text = world.raw(&request).await.replacen("HTTP/1.0", "HTTP/1.1", 1);
            let answer = Answer::parse(&text);
            assert_eq!((answer.status, answer.code().as_str()), expected, "{request:?}");
            if expected.0 == 400 && version == "1.1" {
                assert_closes(&answer, &request);
            }
        }
    }
}

#[tokio::test]
async fn a_body_ends_in_one_way() {
    let world = World::new().await;
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    for framing in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n",
        "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 12\r\nX: y\r\ntransfer-encoding:chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        for method in ["GET", "POST"] {
            // No second request.
            let request = format!(
                "{method} {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
                 {framing}\r\n{chunks}GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n",
                world.admin.0
            );
            let answer = only_answer(&world, &request).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{request:?}");
            assert_closes(&answer, &request);
        }
    }
    let after_another = format!(
        "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n\
         POST /healthz HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{chunks}"
    );
    let text = world.raw(&after_another).await;
    let second = Answer::parse(&text[text.rfind("HTTP/1.1 ").unwrap()..]);
    assert_eq!((second.status, text.matches("HTTP/1.1 ").count()), (400, 2), "{text}");
}

#[tokio::test]
async fn an_answer_that_ends_the_connection_says_so() {
    let world = World::new().await;
    let put = |headers: &str, body: &str| {
        let login = &world.admin.0;
        format!("PUT {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {login}\r\n{headers}\r\n{body}")
    };
    let json = "Content-Type: application/json\r\n";
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n");
    let large = format!("40001\r\n{}\r\n", "x".repeat(0x40001));
    for (request, status) in [
        (put("Content-Length: 900000\r\n", ""), 413),
        (put(&chunked, &large), 413),
        (put(&chunked, "zz\r\n"), 400),
        (put(&chunked, "2\r\n{}x\r\n"), 400),
        (put(&chunked, "ffffffffffffffffff\r\n"), 400),
        (put("Content-Length: 1000\r\n", "{"), 415),
        (
            put(&format!("{json}Content-Length: 1000\r\nExpect: 100-continue\r\n"), "")
                .replace(TLS, "/nothing"),
            404,
        ),
        (put("Content-Length: 1000\r\n", "{").replace("Authorization", "X"), 401),
        (put("Content-Length: 1000\r\n", "{").replace("PUT", "BREW"), 405),
    ] {
        let answer = only_answer(&world, &request).await;
        assert_eq!(answer.status, status, "{request:.200?}");
        assert_closes(&answer, &request[..request.len().min(200)]);
    }
}

#[tokio::test]
async fn an_error_that_leaves_nothing_unread_leaves_the_connection_open() {
    let world = World::new().await;
    let login = &world.admin.0;
    let wrong = format!(
        "PUT {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {login}\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{{"
    );
    let nothing = "GET /nothing HTTP/1.1\r\nHost: t\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let text = world.raw(format!("{wrong}{nothing}{wrong}{last}")).await;
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["400", "404", "400", "200"], "{text}");
}

#[tokio::test]
async fn metrics_without_a_key_are_for_loopback_hosts_only() {
    let world = World::new().await;
    for (target, host, expected) in [
        ("/metrics", "localhost", 200),
        ("/metrics", "LOCALHOST:8080", 200),
        ("/metrics", "localhost.", 200),
        ("/metrics", "127.0.0.1:8080", 200),
        ("/metrics", "127.9.9.9", 200),
        ("/metrics", "[::1]:8080", 200),
        ("/metrics", "[::ffff:127.0.0.1]", 200),
        ("http://localhost:8080/metrics", "evil.example", 200),
        ("http://evil.example/metrics", "localhost", 421),
        ("/metrics", "evil.example", 421),
        ("/metrics", "evil.example:8080", 421),
        ("/metrics", "localhost.evil.example", 421),
        ("/metrics", "127.0.0.1.evil.example", 421),
        ("/metrics", "192.0.2.1", 421),
        ("/metrics", "0.0.0.0", 421),
        ("/metrics", "", 421),
        // Load balancers use any name; the answers have no content.
        ("/healthz", "evil.example", 200),
        ("/readyz", "evil.example", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = Answer::parse(&world.raw(&request).await);
            assert_eq!(answer.status, expected, "{request:?}");
            if expected == 421 && method == "GET" {
                assert_eq!(answer.code(), "HOST_NOT_LOOPBACK", "{request:?}");
            }
        }
    }
    let by_key = |login: &str| {
        format!(
            "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nAuthorization: {login}\r\nConnection: close\r\n\r\n"
        )
    };
    for (login, status) in [(world.admin.0.as_str(), 200), ("Basic bm86bm8=", 401)] {
        assert_eq!(Answer::parse(&world.raw(by_key(login)).await).status, status, "{login}");
    }
    let without_host = world.raw("GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(without_host.starts_with("HTTP/1.0 421 "), "{without_host}");
}

#[tokio::test]
async fn what_changes_nothing_about_a_body_is_accepted_with_it() {
    let world = World::new().await;
    for (header, value, status) in [
        ("Content-Encoding", "identity", 200),
        ("Content-Encoding", "Identity, identity", 200),
        ("Content-Encoding", "gzip", 415),
        ("Content-Encoding", "identity, gzip", 415),
        ("Content-Encoding", "", 415),
        ("Content-Type", "application/json; charset=utf8", 200),
        ("Content-Type", "application/json; charset=UTF8", 200),
        ("Content-Type", "application/json; charset=\"utf-8\"", 200),
        ("Content-Type", "application/json; charset=utf-16", 415),
    ] {
        let request = world.request("POST", &format!("{TLS}/check")).body("{}");
        let request = match header {
            "Content-Type" => request,
            _ => request.header("Content-Type", "application/json"),
        };
        let answer = request.header(header, value).send().await;
        assert_eq!(answer.status, status, "{header}: {value}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_path_is_said() {
    let world = World::new().await;
    for (path, part) in [
        ("/public_api/v1/deployments/", "without the slash at its end"),
        ("/public_api/v1/deployments/ge6a1a75/tls/", "without the slash at its end"),
        ("/public_api/v1/public_api/v1/deployments", "/public_api/v1 twice"),
        ("/public_api/v1/deployment", "/docs lists all"),
        ("/public_api/v1/", "/docs lists all"),
        ("/public_api/v1", "/docs lists all"),
        ("/deployments", "begin with /public_api/v1"),
        ("/deployments/", "begin with /public_api/v1"),
        ("/api/v5/deployments", "begin with /public_api/v1"),
    ] {
        let answer = world.request("GET", path).send().await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND".to_owned()), "{path}");
        assert!(answer.json()["message"].as_str().unwrap().contains(part), "{path}: {}", answer.text);
    }
}
