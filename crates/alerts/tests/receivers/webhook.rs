use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use certward_alerts::{AlertTransport, SendFailure, WebhookMessage};
use certward_store::{Timestamp, WebhookSecret, WebhookUrl};
use certward_test_support::{Authority, free_port};
use serde_json::json;

use crate::receiver::{Receiver, authority, outbound, settings, without_canary};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MESSAGE: WebhookMessage<'_> = WebhookMessage {
    id: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
    at: Timestamp(1_674_087_231_999),
    body: r#"{"type":"certificate.expiring","data":{"name":"Läufer"}}"#,
};

pub(crate) async fn post(outbound: &AlertTransport, url: &str) -> Result<(), SendFailure> {
    let (url, secret) = (WebhookUrl::parse(url).unwrap(), WebhookSecret::parse(SECRET).unwrap());
    without_canary(outbound.post(&url, &secret, &MESSAGE).await)
}

#[tokio::test]
async fn a_receiver_verifies_the_signature() {
    let (authority, leaf) = authority();
    let outbound = outbound(&authority);
    for (tls, scheme) in [(Some(&leaf), "https"), (None, "http")] {
        let receiver = Receiver::http(tls, SECRET, &json!({}));
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("{scheme}://{host}:{}/hook?team=night", receiver.port);
            assert_eq!(post(&outbound, &url).await, Ok(()), "{url}");
        }
        let requests = receiver.record();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request["signed"], true, "{request}");
            assert_eq!(request["method"], "POST");
            assert_eq!(request["path"], "/hook?team=night");
            assert_eq!(request["body"], MESSAGE.body);
            let headers = request["headers"].as_object().unwrap();
            let agent = concat!("certward/", env!("CARGO_PKG_VERSION"));
            for (name, value) in [
                ("content-type", "application/json"),
                ("webhook-id", MESSAGE.id),
                ("webhook-timestamp", "1674087231"),
                ("user-agent", agent),
            ] {
                assert_eq!(headers[name], value, "{name}");
            }
            let unexpected = ["cookie", "authorization", "referer", "traceparent"];
            assert!(unexpected.iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn a_signature_by_another_secret_does_not_verify() {
    let (authority, _) = authority();
    let other = SECRET.replace('M', "N");
    let receiver = Receiver::http(None, &other, &json!({}));
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    assert_eq!(post(&outbound(&authority), &url).await, Ok(()));
    assert_eq!(receiver.record()[0]["signed"], false);
}

#[tokio::test]
async fn a_status_says_whether_it_is_delivered() {
    let (authority, _) = authority();
    let target = Receiver::http(None, SECRET, &json!({}));
    let location = format!("http://127.0.0.1:{}/elsewhere", target.port);
    for (answer, expected) in [
        (json!(200), Ok(())),
        (json!(202), Ok(())),
        (json!("endless"), Ok(())),
        (json!(301), Err(SendFailure::Redirect(301))),
        (json!(302), Err(SendFailure::Redirect(302))),
        (json!(307), Err(SendFailure::Redirect(307))),
        (json!(308), Err(SendFailure::Redirect(308))),
        (json!(400), Err(SendFailure::Status(400))),
        (json!(410), Err(SendFailure::Status(410))),
        (json!(503), Err(SendFailure::Status(503))),
        (json!("close"), Err(SendFailure::UnexpectedAnswer)),
        (json!("garbage"), Err(SendFailure::UnexpectedAnswer)),
    ] {
        let receiver = Receiver::http(None, SECRET, &json!({"answer": answer.clone(), "location": location}));
        let sent = post(&outbound(&authority), &format!("http://127.0.0.1:{}/", receiver.port)).await;
        assert_eq!(sent, expected, "{answer}");
        assert_eq!(receiver.record().len(), 1, "{answer}: one attempt, one request");
    }
    assert_eq!(target.record().len(), 0, "a redirect is followed");
}

#[tokio::test]
async fn only_permitted_addresses_are_connected_to() {
    let (authority, _) = authority();
    let receiver = Receiver::http(None, SECRET, &json!({}));
    let port = receiver.port;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (networks, host, expected) in [
        (&["127.0.0.0/8"][..], "127.0.0.1", true),
        (&["127.0.0.0/8"], "localhost", true),
        // The receiver does not listen on `::1`: the other address is tried.
        (&["127.0.0.0/8", "::1/128"], "localhost", true),
        (&["127.0.0.0/8"], "[::ffff:127.0.0.1]", true),
        (&["127.0.0.1/32"], "2130706433", true),
        (&[], "127.0.0.1", false),
        (&["192.0.2.0/24"], "127.0.0.1", false),
        (&["192.0.2.0/24"], "127.1", false),
        (&["192.0.2.0/24"], "0x7f000001", false),
        (&["192.0.2.0/24"], "127.0.0.1.", false),
        (&["192.0.2.0/24"], "[::ffff:127.0.0.1]", false),
        (&["::/0"], "[::ffff:127.0.0.1]", false),
        (&["::/0"], "[64:ff9b::127.0.0.1]", false),
    ] {
        let outbound = AlertTransport::new(settings(networks, &authority)).unwrap();
        let before = receiver.record().len();
        let sent = post(&outbound, &format!("http://{host}:{port}/")).await;
        match sent {
            Ok(()) => assert!(expected, "{host} by {networks:?}"),
            Err(SendFailure::NotAllowed(ip)) => {
                assert!(!expected, "{host} by {networks:?}");
                assert!(ip == loopback || host.starts_with("[64:"), "{ip}");
            }
            Err(other) => panic!("{other} for {host} by {networks:?}"),
        }
        assert_eq!(receiver.record().len() - before, usize::from(expected), "{host}");
    }
    // The system may know `localhost` by two addresses; neither is permitted.
    let outbound = AlertTransport::new(settings(&["192.0.2.0/24"], &authority)).unwrap();
    let sent = post(&outbound, &format!("http://localhost:{port}/")).await;
    assert!(matches!(sent, Err(SendFailure::NotAllowed(ip)) if ip.is_loopback()), "{sent:?}");
}

#[tokio::test]
async fn a_certificate_must_be_of_a_trusted_ca_and_for_the_name() {
    let (authority, leaf) = authority();
    let stranger = Authority::new("Stranger CA").server(&["localhost", "127.0.0.1"]);
    let elsewhere = authority.server(&["hooks.example"]);
    for (leaf, expected) in
        [(&leaf, Ok(())), (&stranger, Err(SendFailure::Tls)), (&elsewhere, Err(SendFailure::Tls))]
    {
        let receiver = Receiver::http(Some(leaf), SECRET, &json!({}));
        for host in ["127.0.0.1", "localhost"] {
            let sent = post(&outbound(&authority), &format!("https://{host}:{}/", receiver.port)).await;
            assert_eq!(sent, expected, "{host}");
        }
        assert_eq!(receiver.record().is_empty(), expected.is_err());
    }
    let plain = Receiver::http(None, SECRET, &json!({}));
    let sent = post(&outbound(&authority), &format!("https://127.0.0.1:{}/", plain.port)).await;
    assert_eq!(sent, Err(SendFailure::Tls), "HTTP where TLS is expected");
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_given_up() {
    let (authority, _) = authority();
    let receiver = Receiver::http(None, SECRET, &json!({"answer": "hang"}));
    let mut settings = settings(&["127.0.0.0/8"], &authority);
    settings.webhook_timeout = Duration::from_millis(500);
    let began = Instant::now();
    let sent =
        post(&AlertTransport::new(settings).unwrap(), &format!("http://127.0.0.1:{}/", receiver.port)).await;
    assert_eq!(sent, Err(SendFailure::TimedOut));
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < Duration::from_secs(10));
    assert_eq!(receiver.record().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (authority, _) = authority();
    let outbound = outbound(&authority);
    let sent = post(&outbound, &format!("http://127.0.0.1:{}/", free_port())).await;
    assert_eq!(sent, Err(SendFailure::Connect));
    // No resolver asks for a label over 63 bytes.
    let sent = post(&outbound, &format!("http://{}.example/", "a".repeat(64))).await;
    assert_eq!(sent, Err(SendFailure::NameNotFound));
}

#[tokio::test]
async fn an_id_that_is_no_header_value_is_not_sent() {
    let (authority, _) = authority();
    let receiver = Receiver::http(None, SECRET, &json!({}));
    let url = WebhookUrl::parse(&format!("http://127.0.0.1:{}/", receiver.port)).unwrap();
    let secret = WebhookSecret::parse(SECRET).unwrap();
    let message = WebhookMessage { id: "a\r\nx-more: b", ..MESSAGE };
    let sent = outbound(&authority).post(&url, &secret, &message).await;
    assert_eq!(sent, Err(SendFailure::InvalidMessage));
    assert!(receiver.record().is_empty());
}
