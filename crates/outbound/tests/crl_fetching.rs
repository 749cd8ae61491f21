//! CRLs fetched from HTTP servers on the loopback address.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use certward_lifecycle::{CrlFetcher, Fetched, Unfetched};
use certward_outbound::{CrlTransport, CrlTransportSettings, FetchFailure, OutboundAllow};
use certward_pki::CRL_BYTES_MAX;
use certward_store::{CrlUrl, FetchConditions};
use certward_test_support::{Authority, CANARY, Receiver, free_port};
use serde_json::json;

/// Far above the need, as the cores are busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reads heads of requests, and answers each with what the test gives.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (Arc::clone(&heads), Arc::new(answer));
        // Ends with the test's process.
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut tcp = tcp.unwrap();
                    record.lock().unwrap().push(head(&mut tcp));
                    answer(&mut tcp);
                });
            }
        });
        Self { address, heads }
    }

    /// A server of one answer, after which it closes.
    fn of(answer: &[u8]) -> Self {
        let answer = answer.to_vec();
        Self::start(move |tcp| {
            let _ = tcp.write_all(&answer);
        })
    }

    fn url(&self) -> String {
        format!("http://{}/ca.crl?a=b", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn settings(networks: &[&str], authority: &Authority) -> CrlTransportSettings {
    let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
    let allow = OutboundAllow { networks, ..OutboundAllow::default() };
    // Tests do not need the system's roots.
    CrlTransportSettings { ca: Some(authority.pem().as_bytes().to_vec()), ..CrlTransportSettings::new(allow) }
}

fn transport(networks: &[&str]) -> CrlTransport {
    CrlTransport::new(settings(networks, &Authority::new("Outbound CA"))).unwrap()
}

async fn fetch_with(
    transport: &CrlTransport,
    url: &str,
    conditions: &FetchConditions,
) -> Result<Fetched, Unfetched> {
    let fetched = transport.fetch(&CrlUrl::parse(url).unwrap(), conditions).await;
    if let Err(unfetched) = &fetched {
        assert!(FetchFailure::CODES.contains(&unfetched.code), "{unfetched:?}");
        assert!(!format!("{unfetched:?}").contains(CANARY), "{unfetched:?}");
    }
    fetched
}

async fn fetch(transport: &CrlTransport, url: &str) -> Result<Fetched, Unfetched> {
    fetch_with(transport, url, &FetchConditions::default()).await
}

fn body(bytes: &[u8]) -> Result<Fetched, Unfetched> {
    Ok(Fetched::Body { bytes: bytes.to_vec(), conditions: FetchConditions::default() })
}

fn failure(failure: FetchFailure) -> Result<Fetched, Unfetched> {
    Err(failure.into())
}

#[tokio::test]
async fn a_request_asks_for_nothing_but_the_crl() {
    let server = Server::of(&answer("200 OK", b"crl"));
    assert_eq!(fetch(&transport(&["127.0.0.0/8"]), &server.url()).await, body(b"crl"));
    let head = &server.heads()[0];
    assert!(head.starts_with("get /ca.crl?a=b http/1.1\r\n"), "{head}");
    let mut names: Vec<&str> =
        head.lines().skip(1).filter_map(|line| line.split_once(": ").map(|it| it.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
}

#[tokio::test]
async fn what_the_server_said_of_the_last_body_is_sent_with_the_next_request() {
    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    let transport = transport(&["127.0.0.0/8"]);
    let headers = format!("200 OK\r\nETag: W/\"a1\"\r\nLast-Modified: {DATE}");
    let first = fetch(&transport, &Server::of(&answer(&headers, b"crl")).url()).await;
    let Ok(Fetched::Body { conditions, .. }) = first else { panic!("{first:?}") };
    assert_eq!(conditions, FetchConditions::of(Some("W/\"a1\""), Some(DATE)));

    let unmodified = Server::of(b"HTTP/1.1 304 Not Modified\r\n\r\n");
    assert_eq!(fetch_with(&transport, &unmodified.url(), &conditions).await, Ok(Fetched::Unmodified));
    let head = &unmodified.heads()[0];
    assert!(head.contains("if-none-match: w/\"a1\"\r\n"), "{head}");
    assert!(head.contains(&format!("if-modified-since: {}\r\n", DATE.to_ascii_lowercase())), "{head}");
    // Without conditions there is nothing that could be unmodified.
    assert_eq!(fetch(&transport, &unmodified.url()).await, failure(FetchFailure::Status(304)));
}

/// Python's, as an independent judge of the conditions.
struct FileServer(Child, u16);

impl FileServer {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let child = Command::new("/usr/bin/python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the server does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self(child, port)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_file_server_sends_a_crl_again_only_when_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crl");
    let write = |bytes: &[u8], seconds| {
        std::fs::write(&file, bytes).unwrap();
        let at = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
    };
    write(b"first", 1_700_000_000);
    let server = FileServer::start(folder.path());
    let url = format!("http://127.0.0.1:{}/ca.crl", server.1);
    let transport = transport(&["127.0.0.0/8"]);
    let Ok(Fetched::Body { bytes, conditions }) = fetch(&transport, &url).await else { panic!() };
    assert_eq!(bytes, b"first");
    assert_eq!(fetch_with(&transport, &url, &conditions).await, Ok(Fetched::Unmodified));
    write(b"second", 1_700_000_060);
    let again = fetch_with(&transport, &url, &conditions).await;
    assert!(matches!(again, Ok(Fetched::Body { bytes, .. }) if bytes == b"second"));
    let missing = fetch(&transport, &format!("{url}x")).await;
    assert_eq!(missing, failure(FetchFailure::Status(404)));
}

#[tokio::test]
async fn each_status_but_200_and_304_is_a_failure_and_no_redirect_is_followed() {
    let target = Server::of(&answer("200 OK", b"crl"));
    let transport = transport(&["127.0.0.0/8"]);
    for (status, expected) in [
        (201, FetchFailure::Status(201)),
        (204, FetchFailure::Status(204)),
        (206, FetchFailure::Status(206)),
        (300, FetchFailure::Status(300)),
        (301, FetchFailure::Redirect(301)),
        (302, FetchFailure::Redirect(302)),
        (303, FetchFailure::Redirect(303)),
        (307, FetchFailure::Redirect(307)),
        (308, FetchFailure::Redirect(308)),
        (404, FetchFailure::Status(404)),
        (429, FetchFailure::Status(429)),
        (503, FetchFailure::Status(503)),
    ] {
        let head = format!("{status} {CANARY}\r\nlocation: {}", target.url());
        // A 204 has no body.
        let text = if status == 204 { "" } else { CANARY };
        let server = Server::of(&answer(&head, text.as_bytes()));
        assert_eq!(fetch(&transport, &server.url()).await, failure(expected), "{status}");
        assert_eq!(server.heads().len(), 1, "{status}: one attempt, one request");
    }
    assert!(target.heads().is_empty(), "a redirect is followed");
}

#[tokio::test]
async fn a_body_has_at_most_16_mib_with_and_without_a_declared_length() {
    let transport = transport(&["127.0.0.0/8"]);
    let chunked = |bytes: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        answer.extend_from_slice(format!("{bytes:x}\r\n").as_bytes());
        answer.resize(answer.len() + bytes, b'a');
        answer.extend_from_slice(b"\r\n0\r\n\r\n");
        answer
    };
    let until_close = |bytes: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(answer.len() + bytes, b'a');
        answer
    };
    let declared = |bytes: usize| answer("200 OK", &vec![b'a'; bytes]);
    let forms: [&dyn Fn(usize) -> Vec<u8>; 3] = [&declared, &chunked, &until_close];
    for (at, form) in forms.into_iter().enumerate() {
        let server = Server::of(&form(CRL_BYTES_MAX));
        let fetched = fetch(&transport, &server.url()).await;
        let whole = matches!(fetched, Ok(Fetched::Body { bytes, .. }) if bytes.len() == CRL_BYTES_MAX);
        assert!(whole, "form {at}");
        let server = Server::of(&form(CRL_BYTES_MAX + 1));
        assert_eq!(fetch(&transport, &server.url()).await, failure(FetchFailure::TooLarge), "form {at}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_a_declared_length_reserves_nothing() {
    let transport = transport(&["127.0.0.0/8"]);
    let endless = Server::start(|tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while tcp.write_all(&[0; 65536]).is_ok() {}
    });
    assert_eq!(fetch(&transport, &endless.url()).await, failure(FetchFailure::TooLarge));
    // Refused by its head: the server sends no body, and keeps the connection.
    for length in ["16777217", "1099511627776"] {
        let server = Server::start(move |tcp| {
            let _ = write!(tcp, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let _ = tcp.read(&mut [0]);
        });
        assert_eq!(fetch(&transport, &server.url()).await, failure(FetchFailure::TooLarge), "{length}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_never_decompressed() {
    let transport = transport(&["127.0.0.0/8"]);
    // An empty file, by gzip.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    for encoding in
        ["gzip", "br", "deflate", "zstd", "GZIP", "identity, gzip", "identity\r\nContent-Encoding: gzip"]
    {
        let server = Server::of(&answer(&format!("200 OK\r\nContent-Encoding: {encoding}"), gzip));
        assert_eq!(fetch(&transport, &server.url()).await, failure(FetchFailure::Compressed), "{encoding}");
    }
    for encoding in ["identity", "Identity"] {
        let server = Server::of(&answer(&format!("200 OK\r\nContent-Encoding: {encoding}"), b"crl"));
        assert_eq!(fetch(&transport, &server.url()).await, body(b"crl"), "{encoding}");
    }
    let named_gz = Server::of(&answer("200 OK\r\nContent-Type: application/gzip", gzip));
    assert_eq!(fetch(&transport, &named_gz.url()).await, body(gzip));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_named() {
    let transport = transport(&["127.0.0.0/8"]);
    for bytes in [
        &b""[..],
        b"canary-7f3a is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ncrl",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ncrl\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ncanary-7f3a\r\n",
    ] {
        let server = Server::of(bytes);
        let fetched = fetch(&transport, &server.url()).await;
        assert_eq!(fetched, failure(FetchFailure::UnexpectedAnswer), "{}", String::from_utf8_lossy(bytes));
        assert_eq!(server.heads().len(), 1, "one attempt, one request");
    }
}

#[tokio::test]
async fn a_server_that_stalls_or_drips_is_given_up() {
    let hold = |tcp: &mut TcpStream| drop(tcp.read(&mut [0]));
    let silent = Server::start(hold);
    let after_the_head = Server::start(move |tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nc");
        hold(tcp);
    });
    let dripping = Server::start(|tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        while tcp.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let dripping_head = Server::start(|tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while tcp.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let authority = Authority::new("Outbound CA");
    let settings = CrlTransportSettings {
        fetch_timeout: Duration::from_millis(500),
        ..settings(&["127.0.0.0/8"], &authority)
    };
    let transport = CrlTransport::new(settings).unwrap();
    for server in [silent, after_the_head, dripping, dripping_head] {
        assert_eq!(fetch(&transport, &server.url()).await, failure(FetchFailure::TimedOut));
        assert_eq!(server.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_ends_with_the_time_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let authority = Authority::new("Outbound CA");
    let settings = CrlTransportSettings {
        connect_timeout: Duration::from_millis(300),
        fetch_timeout: 10 * DEADLINE,
        ..settings(&["127.0.0.0/8"], &authority)
    };
    let transport = CrlTransport::new(settings).unwrap();
    let fetched = tokio::time::timeout(DEADLINE, fetch(&transport, &url)).await;
    assert_eq!(fetched.unwrap(), failure(FetchFailure::TimedOut));
}

#[tokio::test]
async fn only_permitted_addresses_are_connected_to() {
    let server = Server::of(&answer("200 OK", b"crl"));
    let port = server.address.port();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (networks, host, refused) in [
        (&["127.0.0.0/8"][..], "127.0.0.1", None),
        (&["127.0.0.0/8", "::1/128"], "localhost", None),
        (&[], "127.0.0.1", Some(loopback)),
        (&["192.0.2.0/24"], "127.0.0.1", Some(loopback)),
        (&["192.0.2.0/24"], "0x7f000001", Some(loopback)),
        (&["::/0"], "[::ffff:127.0.0.1]", Some(loopback)),
    ] {
        let transport = transport(networks);
        assert_eq!(transport.may_reach_any(), !networks.is_empty());
        let before = server.heads().len();
        let fetched = fetch(&transport, &format!("http://{host}:{port}/")).await;
        let expected = refused.map_or_else(|| body(b"crl"), |ip| failure(FetchFailure::NotAllowed(ip)));
        assert_eq!(fetched, expected, "{host} by {networks:?}");
        assert_eq!(server.heads().len() - before, usize::from(refused.is_none()), "{host}");
    }
    // A name that the system resolves to a refused address, of either family.
    let fetched = fetch(&transport(&["192.0.2.0/24"]), &format!("http://localhost:{port}/")).await;
    assert_eq!(fetched.unwrap_err().code, "not_allowed");
}

#[tokio::test]
async fn a_certificate_must_be_of_a_trusted_ca_and_for_the_name() {
    let authority = Authority::new("Outbound CA");
    let transport = CrlTransport::new(settings(&["127.0.0.0/8"], &authority)).unwrap();
    let trusted = authority.server(&["localhost", "127.0.0.1"]);
    let stranger = Authority::new("Stranger CA").server(&["localhost", "127.0.0.1"]);
    let elsewhere = authority.server(&["crl.example"]);
    for (leaf, expected) in [
        // The receiver answers every GET so.
        (&trusted, FetchFailure::Status(502)),
        (&stranger, FetchFailure::Tls),
        (&elsewhere, FetchFailure::Tls),
    ] {
        let receiver = Receiver::http(Some(leaf), "", &json!({}));
        for host in ["127.0.0.1", "localhost"] {
            let fetched = fetch(&transport, &format!("https://{host}:{}/", receiver.port)).await;
            assert_eq!(fetched, failure(expected), "{host}");
        }
        assert_eq!(receiver.record().len(), if expected == FetchFailure::Tls { 0 } else { 2 });
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let transport = transport(&["127.0.0.0/8"]);
    let fetched = fetch(&transport, &format!("http://127.0.0.1:{}/", free_port())).await;
    assert_eq!(fetched, failure(FetchFailure::Connect));
    // No resolver asks for a label over 63 bytes.
    let fetched = fetch(&transport, &format!("http://{}.example/", "a".repeat(64))).await;
    assert_eq!(fetched, failure(FetchFailure::NameNotFound));
}
