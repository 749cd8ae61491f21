//! Below the requests: deadlines, bounds, shutdown, HTTPS.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use certward_api::{Api, ApiDeadlines, ApiError, ApiSettings, CertificateFiles};
use certward_test_support::{Leaf, server_params};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{TLS, World, read_to_end, upload};

const SHORT_DEADLINE: Duration = Duration::from_millis(400);
const LONG_DEADLINE: Duration = Duration::from_secs(60);

/// The answer, and whether it came within the long deadlines.
async fn slowly(world: &World, parts: &[&str]) -> String {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for part in parts {
        // Ignored: the server may have closed.
        let _closed = stream.write_all(part.as_bytes()).await;
        tokio::time::sleep(SHORT_DEADLINE / 4).await;
    }
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes).await;
    assert!(begun.elapsed() < LONG_DEADLINE / 4, "closed by the short deadline");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn slow_headers_are_closed() {
    let world = World::with(|settings| {
        settings.deadlines = ApiDeadlines {
            headers: SHORT_DEADLINE,
            body: LONG_DEADLINE,
            idle: LONG_DEADLINE,
            answer: LONG_DEADLINE,
            drain: LONG_DEADLINE,
        };
    })
    .await;
    assert_eq!(slowly(&world, &[]).await, "", "not a byte");
    assert_eq!(
        slowly(&world, &["GET / HTTP/1.1\r\n", "a: b\r\n", "c: d\r\n", "e: f\r\n", "g: h\r\n"]).await,
        ""
    );
    let second =
        slowly(&world, &["GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n", "GET /healthz HTTP/1.1\r\n"]).await;
    assert_eq!(second.matches("HTTP/1.1 200").count(), 1, "the headers of a later request: {second}");
}

#[tokio::test]
async fn a_slow_body_is_answered_and_closed() {
    let world = World::with(|settings| settings.deadlines.body = SHORT_DEADLINE).await;
    let head = format!(
        "PUT {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n",
        world.admin.0
    );
    let answer = slowly(&world, &[&head, "{", "\"a\"", ":"]).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_connection_without_a_further_request_is_closed() {
    let world = World::with(|settings| {
        settings.deadlines = ApiDeadlines {
            headers: LONG_DEADLINE,
            body: LONG_DEADLINE,
            idle: SHORT_DEADLINE,
            answer: LONG_DEADLINE,
            drain: LONG_DEADLINE,
        };
    })
    .await;
    let answer = slowly(&world, &["GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"]).await;
    assert!(answer.ends_with(r#"{"status":"alive"}"#), "{answer}");
}

#[tokio::test]
async fn headers_are_bounded() {
    let world = World::new().await;
    let large = format!("GET / HTTP/1.1\r\nHost: t\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert!(world.raw(large).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: t\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert!(world.raw(many).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn what_never_becomes_a_request_is_answered_in_json_as_well() {
    let world = World::new().await;
    let long = "y".repeat(20_000);
    for (bytes, status, code) in [
        ("GET\r\n\r\n".to_owned(), 400, "BAD_REQUEST"),
        (format!("GET {TLS} HTTP/1.1\r\nHost : t\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("GET {TLS} HTTP/1.1\r\nHost: t\r\n folded\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("GET {TLS} HTTP/1.1\r\nx: \0\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("PUT {TLS} HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("PUT {TLS} HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("PUT {TLS} HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"), 400, "BAD_REQUEST"),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), 431, "HEADERS_TOO_LARGE"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200)), 431, "HEADERS_TOO_LARGE"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431, "HEADERS_TOO_LARGE"),
        // After an answer with a body.
        ("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\nGET\r\n\r\n".to_owned(), 400, "BAD_REQUEST"),
    ] {
        let text = world.raw(&bytes).await;
        let last = text.rfind("HTTP/1.1 ").map_or("", |at| &text[at..]);
        assert!(last.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.60}: {text}");
        let (head, body) = last.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], code, "{bytes:.60}");
        assert_eq!(body["details"], serde_json::json!([]));
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_do_no_harm() {
    let world = World::new().await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00<\x00\x02id\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    ] {
        let answer = world.raw(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer}");
    }
    assert_eq!(world.request("GET", "/healthz").send().await.status, 200);
}

#[tokio::test]
async fn the_end_of_the_server_lets_requests_under_way_finish() {
    let world = World::new().await;
    let body = upload().to_string();
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    idle.read_u8().await.unwrap();
    let mut busy = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST {TLS} HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        world.admin.0,
        body.len()
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    busy.read_exact(&mut interim).await.unwrap();

    world.shutdown.cancel();
    read_to_end(&mut idle).await;
    assert!(!world.server.is_finished());
    busy.write_all(body.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let World { address, server, .. } = world;
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_end_of_the_server_answers_a_request_that_is_on_its_way() {
    let world = World::new().await;
    let mut new = TcpStream::connect(world.address).await.unwrap();
    world.request("GET", "/healthz").send().await;
    world.shutdown.cancel();
    new.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    wait_until_closed(world.address).await;
    let answer = read_to_end(&mut new).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let World { server, .. } = world;
    server.await.unwrap();
}

/// It closes at once, even while requests are served.
async fn wait_until_closed(address: std::net::SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_end_of_the_server_is_bounded_and_cuts_a_wait_short() {
    let world = World::with(|settings| settings.deadlines.drain = SHORT_DEADLINE).await;
    let _node = world.node().await;
    world.request("POST", TLS).json(&upload()).send().await;
    let held = tokio::spawn(world.request("GET", TLS).header("Prefer", "wait=60").send());
    while world.request("GET", TLS).send().await.header("ratelimit-remaining") != Some("50") {}
    let mut stuck = TcpStream::connect(world.address).await.unwrap();
    stuck.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    world.shutdown.cancel();
    assert_eq!(held.await.unwrap().json()["status"], "pending");
    let World { server, .. } = world;
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("ended").unwrap();
}

fn certificate(folder: &std::path::Path) -> (CertificateFiles, Vec<u8>) {
    let leaf = Leaf::self_signed(server_params("localhost", &["localhost"]));
    let (cert, key) = leaf.write(folder, "api");
    (CertificateFiles { cert, key }, leaf.der)
}

async fn over_tls(world: &World, trusted: &[u8]) -> Result<String, std::io::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(world.address).await?;
    let name = "localhost".try_into().unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn https_is_served_and_its_certificate_can_be_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = certificate(folder.path());
    let mut reloader = None;
    let world =
        World::bound(|settings| settings.tls = Some(files.clone()), |bound| reloader = bound.reloader())
            .await;
    let reloader = reloader.expect("there is a certificate to reload");
    assert!(over_tls(&world, &first).await.unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(reloader.leaf().as_ref(), first);
    assert!(!world.raw("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.contains("200"), "no plain HTTP");

    std::fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n").unwrap();
    let error = reloader.reload().unwrap_err();
    assert!(!format!("{error:?} {error}").contains("U0VDUkVU"), "{error:?}");
    assert!(over_tls(&world, &first).await.is_ok(), "the old one stays");

    let (_, second) = certificate(folder.path());
    assert_eq!(reloader.leaf().as_ref(), first);
    reloader.reload().unwrap();
    assert_eq!(reloader.leaf().as_ref(), second);
    assert!(over_tls(&world, &first).await.is_err());
    assert!(over_tls(&world, &second).await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_wrong_certificate_or_a_taken_address_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let bind = |files: &CertificateFiles| {
        let mut settings = ApiSettings::new("127.0.0.1:0".parse().unwrap());
        settings.tls = Some(files.clone());
        Api::bind(settings).err()
    };
    let (files, _) = certificate(folder.path());
    let gone = CertificateFiles { cert: folder.path().join("gone"), ..files.clone() };
    assert!(matches!(bind(&gone), Some(ApiError::File { .. })));
    let swapped = CertificateFiles { cert: files.key.clone(), key: files.key.clone() };
    assert!(matches!(bind(&swapped), Some(ApiError::NoCertificate(_))));
    let swapped = CertificateFiles { cert: files.cert.clone(), key: files.cert.clone() };
    assert!(matches!(bind(&swapped), Some(ApiError::NoKey(_))));
    let other = Leaf::self_signed(server_params("localhost", &["localhost"]));
    std::fs::write(&files.key, other.key_pem).unwrap();
    assert!(matches!(bind(&files), Some(ApiError::Unservable { .. })), "the key of another");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Api::bind(ApiSettings::new(taken.local_addr().unwrap())).err();
    assert!(matches!(error, Some(ApiError::Listen { .. })));
}
