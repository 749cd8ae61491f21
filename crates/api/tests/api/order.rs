//! The order of checks, and the cost of each refusal.

use crate::support::{BASE, Login, TLS, World, upload};
use certward_store::Scope;
use serde_json::json;

#[tokio::test]
async fn of_two_faults_the_earlier_in_the_order_is_named() {
    let world = World::new().await;
    let reader = world.key(&[Scope::TlsRead], None).await;
    let nobody = Login::new("nobody", "nothing");
    let large = vec![b'x'; 256 * 1024 + 1];
    let put = || world.request("PUT", TLS);
    let elsewhere = || world.put("/deployments/nothere/tls");

    let cases = [
        ("401 before 403 and 404", elsewhere().login(&nobody), (401, "UNAUTHORIZED")),
        ("403 before 404", elsewhere().login(&reader).body("x"), (403, "NO_ACCESS")),
        ("404 before 415", elsewhere().body("x"), (404, "DEPLOYMENT_NOT_FOUND")),
        ("413 before 415", put().body(large), (413, "BODY_TOO_LARGE")),
        ("415 before 400", put().body("x"), (415, "UNSUPPORTED_MEDIA_TYPE")),
        (
            "400 before 404 of the certificate",
            put().header("Content-Type", "application/json").body("x"),
            (400, "INVALID_JSON"),
        ),
        ("404 of the certificate before 422", put().json(&json!({})), (404, "TLS_NOT_FOUND")),
        (
            "422 where all else is right",
            world.request("POST", TLS).json(&json!({})),
            (422, "TLS_TYPE_INVALID"),
        ),
    ];
    for (name, request, (status, code)) in cases {
        assert_eq!(request.outcome().await, (status, code.to_owned()), "{name}");
    }
    // Only the four PUTs that reached the deployment were counted.
    let answer = put().json(&json!({})).send().await;
    assert_eq!(answer.header("ratelimit-remaining"), Some("1"));
    put().body("x").send().await;
    let refused = put().body("x").outcome().await;
    assert_eq!(refused, (429, "RATE_LIMITED".to_owned()), "429 before 415");
}

#[tokio::test]
async fn everything_under_the_base_is_401_without_a_valid_key() {
    let world = World::new().await;
    let key = String::from_utf8(
        base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            world.admin.0.strip_prefix("Basic ").unwrap(),
        )
        .unwrap(),
    )
    .unwrap();
    let (key, _) = key.split_once(':').unwrap();
    let logins = [
        None,
        Some(Login::new("unknown", "secret")),
        Some(Login::new(key, "wrong")),
        Some(Login::new(&key.to_ascii_uppercase(), "wrong")),
        Some(Login("Bearer abc".to_owned())),
        Some(Login("Basic %%%".to_owned())),
        Some(Login("Basic".to_owned())),
        Some(Login::new("", "")),
        Some(Login::new("a\0b", "\0")),
    ];
    let mut bodies = std::collections::HashSet::new();
    for path in ["", "/", "/nothing", "/deployments", "/deployments/ge6a1a75/tls", "/deployments/%zz/tls"] {
        for login in &logins {
            let request = world.get(path).without("Authorization");
            let request = match login {
                Some(login) => request.login(login),
                None => request,
            };
            let answer = request.send().await;
            assert_eq!(answer.status, 401, "{path} {login:?}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, Some(r#"Basic realm="certward", charset="UTF-8""#));
            assert_eq!(answer.header("ratelimit-limit"), None);
            bodies.insert(answer.text);
        }
    }
    assert_eq!(bodies.len(), 1, "all get the same body: {bodies:?}");
}

#[tokio::test]
async fn the_scheme_is_matched_in_any_case() {
    let world = World::new().await;
    for scheme in ["basic", "BASIC", "bAsIc"] {
        let login = Login(world.admin.0.replace("Basic", scheme));
        assert_eq!(world.get("/projects").login(&login).send().await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn an_unauthenticated_body_is_never_asked_for() {
    let world = World::new().await;
    let head = |login: &str| {
        format!(
            "PUT {TLS} HTTP/1.1\r\nHost: t\r\n{login}Content-Type: application/json\r\n\
                 Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let answer = world.raw(head("")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Nor one too large, even from a known client.
    let login = format!("Authorization: {}\r\n", world.admin.0);
    let answer = world.raw(head(&login).replace("100000", "900000")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_wanted() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let body = upload().to_string();
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        world.admin.0,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = crate::support::read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn an_id_that_cannot_be_is_a_deployment_that_does_not_exist() {
    let world = World::new().await;
    let long = "a".repeat(64);
    for id in [
        "nothere",
        "GE6A1A75",
        "-a",
        "a_b",
        "a.b",
        "a%2Fb",
        "%zz",
        "%",
        "%f",
        "%ff",
        "%c3%28",
        "%00",
        "a%20",
        "",
        "%2567e6a1a75",
        "ge6a1a75%20",
        "..",
        &long,
    ] {
        for suffix in ["/tls", ""] {
            if id.is_empty() && suffix.is_empty() {
                continue;
            }
            let outcome = world.get(&format!("/deployments/{id}{suffix}")).outcome().await;
            assert_eq!(outcome, (404, "DEPLOYMENT_NOT_FOUND".to_owned()), "{id:?}{suffix}");
        }
    }
    let encoded = world.get("/deployments/%67e6a1a75/tls").outcome().await;
    assert_eq!(encoded, (200, "-".to_owned()), "decoded once");
}

#[tokio::test]
async fn paths_are_matched_as_they_are() {
    let world = World::new().await;
    for path in [
        format!("{TLS}/"),
        format!("{BASE}/Deployments/ge6a1a75/tls"),
        format!("{BASE}/deployments/ge6a1a75/TLS"),
        format!("{BASE}//deployments/ge6a1a75/tls"),
        format!("{BASE}/deployments/ge6a1a75/%74ls"),
        format!("{BASE}/deployments/"),
        format!("{BASE}/nothing"),
        format!("{BASE}/"),
        BASE.to_owned(),
        "/".to_owned(),
        "/public_api".to_owned(),
        "/public%5Fapi/v1/projects".to_owned(),
    ] {
        assert_eq!(world.request("GET", &path).outcome().await, (404, "NOT_FOUND".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_with_those_it_has() {
    let world = World::new().await;
    let cases = [
        ("PATCH", TLS.to_owned(), vec!["GET", "HEAD", "POST", "PUT", "DELETE"]),
        ("OPTIONS", TLS.to_owned(), vec!["GET", "HEAD", "POST", "PUT", "DELETE"]),
        ("BREW", TLS.to_owned(), vec!["GET", "HEAD", "POST", "PUT", "DELETE"]),
        ("GET", format!("{TLS}/check"), vec!["POST"]),
        ("PUT", format!("{BASE}/projects"), vec!["GET", "HEAD", "POST"]),
        ("PUT", format!("{BASE}/projects/default"), vec!["GET", "HEAD", "PATCH", "DELETE"]),
        ("PUT", format!("{BASE}/deployments/ge6a1a75"), vec!["GET", "HEAD", "PATCH", "DELETE"]),
        ("POST", "/healthz".to_owned(), vec!["GET", "HEAD"]),
        ("POST", "/metrics".to_owned(), vec!["GET", "HEAD"]),
    ];
    for (method, path, mut expected) in cases {
        let answer = world.request(method, &path).send().await;
        assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED".to_owned()), "{method} {path}");
        let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected, "{method} {path}");
        if path.starts_with(BASE) {
            let unknown = world.request(method, &path).without("Authorization").send().await;
            assert_eq!(unknown.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn head_is_answered_as_get_and_counts_as_one() {
    let world = World::new().await;
    let get = world.request("GET", TLS).send().await;
    let head = world.request("HEAD", TLS).send().await;
    assert_eq!((get.status, head.status), (200, 200));
    assert_eq!((get.text.as_str(), head.text.as_str()), ("{}", ""));
    assert_eq!(head.header("content-length"), Some("2"));
    assert_eq!(get.header("ratelimit-remaining"), Some("59"));
    assert_eq!(head.header("ratelimit-remaining"), Some("58"));
    assert_eq!(world.request("HEAD", "/healthz").send().await.status, 200);
}

#[tokio::test]
async fn a_body_coded_below_its_chunks_is_not_read() {
    let world = World::new().await;
    for (coding, status) in [
        ("chunked", "422"),
        ("Chunked", "422"),
        ("gzip, chunked", "400"),
        ("chunked, chunked", "400"),
        ("identity, chunked", "400"),
    ] {
        let answer = world
            .raw(format!(
                "POST {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
                world.admin.0
            ))
            .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{coding}: {answer}");
    }
}
