use std::time::{Duration, Instant};

use certward_alerts::{AlertTransport, AlertTransportSettings, MailMessage, SendFailure};
use certward_store::{MailAddress, MailPassword, MailSecurity, MailServer, MailSettings, Timestamp};
use certward_test_support::{Authority, free_port};
use serde_json::json;

use crate::receiver::{Receiver, authority, outbound, settings, without_canary};

const PASSWORD: &str = "correct horse";
const MESSAGE: MailMessage<'_> = MailMessage {
    id: "msg_1",
    subject: "Das Zertifikat für «Läufer» läuft ab",
    text: "Größe:\n.\nEnde\n",
    at: Timestamp(1_700_000_000_000),
};

fn mail_settings(host: &str, port: u16, security: MailSecurity, username: Option<&str>) -> MailSettings {
    let server = MailServer::parse(host, port, security, username).unwrap();
    let address = |text| MailAddress::parse(text).unwrap();
    let to = ["ops@example.com", "night@example.com"].map(address);
    MailSettings::new(server, address("certward@example.net"), to.to_vec()).unwrap()
}

async fn send(outbound: &AlertTransport, settings: &MailSettings) -> Result<(), SendFailure> {
    let password = MailPassword::parse(PASSWORD).unwrap();
    without_canary(outbound.mail(settings, Some(&password), &MESSAGE).await)
}

/// Everything that came to the server's socket, outside and inside of TLS.
fn received(receiver: &Receiver) -> String {
    receiver.events("bytes").iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_refused_recipient_keeps_no_mail_from_the_others() {
    let (authority, leaf) = authority();
    let receiver = Receiver::smtp(&leaf, "plain", &json!({}));
    let server = MailServer::parse("127.0.0.1", receiver.port, MailSecurity::Plain, None).unwrap();
    let mail = async |to: &[&str]| {
        let to = to.iter().map(|text| MailAddress::parse(text).unwrap()).collect();
        let from = MailAddress::parse("certward@example.net").unwrap();
        let settings = MailSettings::new(server.clone(), from, to).unwrap();
        without_canary(outbound(&authority).mail(&settings, None, &MESSAGE).await)
    };
    assert_eq!(mail(&["unknown@example.com", "ops@example.com"]).await, Ok(()));
    assert_eq!(receiver.events("mail")[0]["rcpt_tos"], json!(["ops@example.com"]));
    assert_eq!(mail(&["unknown@example.com"]).await, Err(SendFailure::SmtpStatus(550)));
    assert_eq!(receiver.events("mail").len(), 1);
}

#[tokio::test]
async fn a_mail_arrives_whole() {
    use MailSecurity::{Plain, Starttls, Tls};
    let (authority, leaf) = authority();
    let outbound = outbound(&authority);
    let login = json!({"login": ["user", PASSWORD]});
    let login_only = json!({"login": ["user", PASSWORD], "excluded": ["PLAIN"]});
    for (security, name, username, more) in [
        (Tls, "tls", Some("user"), &login),
        (Tls, "tls", Some("user"), &login_only),
        (Tls, "tls", None, &json!({})),
        (Starttls, "starttls", Some("user"), &login),
        (Starttls, "starttls", None, &json!({})),
        (Plain, "plain", None, &json!({})),
    ] {
        let receiver = Receiver::smtp(&leaf, name, more);
        for host in ["127.0.0.1", "localhost"] {
            let settings = mail_settings(host, receiver.port, security, username);
            assert_eq!(send(&outbound, &settings).await, Ok(()), "{name} {host} {more}");
        }
        let mails = receiver.events("mail");
        assert_eq!(mails.len(), 2, "{name}");
        for mail in mails {
            assert_eq!(mail["mail_from"], "certward@example.net");
            assert_eq!(mail["rcpt_tos"], json!(["ops@example.com", "night@example.com"]));
            assert_eq!(mail["tls"], security != Plain);
            assert_eq!(mail["authenticated"], username.is_some(), "{mail}");
            assert_eq!(mail["text"].as_str().unwrap().replace("\r\n", "\n"), MESSAGE.text);
            assert_eq!(mail["defects"], json!([]));
            for (header, value) in [
                ("subject", MESSAGE.subject),
                ("from", "certward@example.net"),
                ("to", "ops@example.com, night@example.com"),
                ("message-id", "<certward-msg_1@example.net>"),
                ("date", "Tue, 14 Nov 2023 22:13:20 +0000"),
                ("auto-submitted", "auto-generated"),
                ("mime-version", "1.0"),
            ] {
                assert_eq!(mail["headers"][header], value, "{header}");
            }
        }
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let (authority, leaf) = authority();
    let outbound = outbound(&authority);
    for (security, behaviour, expected) in [
        ("plain", "good", SendFailure::StarttlsMissing),
        ("starttls", "starttls 454", SendFailure::SmtpStatus(454)),
        ("starttls", "starttls 502", SendFailure::SmtpStatus(502)),
    ] {
        let more = json!({"behaviour": behaviour, "login": ["user", PASSWORD]});
        let receiver = Receiver::smtp(&leaf, security, &more);
        let settings = mail_settings("127.0.0.1", receiver.port, MailSecurity::Starttls, Some("user"));
        assert_eq!(send(&outbound, &settings).await, Err(expected), "{behaviour}");
        nothing_went_out(&receiver);
    }
}

fn nothing_went_out(receiver: &Receiver) {
    let received = received(receiver);
    assert!(["AUTH", "MAIL", "RCPT", "DATA"].iter().all(|command| !received.contains(command)), "{received}");
    assert!(receiver.events("mail").is_empty() && receiver.events("auth").is_empty());
}

#[tokio::test]
async fn a_certificate_must_be_of_a_trusted_ca_and_for_the_name() {
    let (authority, leaf) = authority();
    let outbound = outbound(&authority);
    let stranger = Authority::new("Stranger CA").server(&["localhost", "127.0.0.1"]);
    let elsewhere = authority.server(&["mail.example"]);
    for (security, name) in [(MailSecurity::Tls, "tls"), (MailSecurity::Starttls, "starttls")] {
        for leaf in [&stranger, &elsewhere] {
            let receiver = Receiver::smtp(leaf, name, &json!({"login": ["user", PASSWORD]}));
            for host in ["127.0.0.1", "localhost"] {
                let settings = mail_settings(host, receiver.port, security, Some("user"));
                assert_eq!(send(&outbound, &settings).await, Err(SendFailure::Tls), "{name} {host}");
            }
            nothing_went_out(&receiver);
        }
    }
    let plain = Receiver::smtp(&leaf, "plain", &json!({}));
    let settings = mail_settings("127.0.0.1", plain.port, MailSecurity::Tls, None);
    assert_eq!(send(&outbound, &settings).await, Err(SendFailure::Tls), "SMTP where TLS is expected");
}

#[tokio::test]
async fn a_refusal_is_named_by_its_status() {
    use SendFailure::{AuthenticationMissing, AuthenticationRefused, SmtpStatus};
    let (authority, leaf) = authority();
    let outbound = outbound(&authority);
    let good = json!(["user", PASSWORD]);
    let none: [&str; 0] = [];
    for (behaviour, login, excluded, expected) in [
        ("good", json!(["user", "another"]), &none[..], AuthenticationRefused),
        ("good", json!(["other", PASSWORD]), &none, AuthenticationRefused),
        ("good", good.clone(), &["PLAIN", "LOGIN"], AuthenticationMissing),
        ("auth 454", good.clone(), &none, SmtpStatus(454)),
        ("mail 421", good.clone(), &none, SmtpStatus(421)),
        ("rcpt 550", good.clone(), &none, SmtpStatus(550)),
        ("data 452", good, &none, SmtpStatus(452)),
    ] {
        let more = json!({"behaviour": behaviour, "login": login, "excluded": excluded});
        let receiver = Receiver::smtp(&leaf, "starttls", &more);
        let settings = mail_settings("127.0.0.1", receiver.port, MailSecurity::Starttls, Some("user"));
        assert_eq!(send(&outbound, &settings).await, Err(expected), "{behaviour} {login}");
    }
}

#[tokio::test]
async fn a_reply_injected_before_tls_is_ignored() {
    let (authority, leaf) = authority();
    let receiver = Receiver::smtp(&leaf, "starttls", &json!({"behaviour": "inject"}));
    let settings = mail_settings("127.0.0.1", receiver.port, MailSecurity::Starttls, None);
    assert_eq!(send(&outbound(&authority), &settings).await, Ok(()));
    assert_eq!(receiver.events("mail").len(), 1);
}

#[tokio::test]
async fn only_permitted_addresses_are_connected_to() {
    let (authority, leaf) = authority();
    let receiver = Receiver::smtp(&leaf, "plain", &json!({}));
    for (networks, host) in [
        (&[][..], "127.0.0.1"),
        (&["192.0.2.0/24"], "127.0.0.1"),
        (&["192.0.2.0/24"], "localhost"),
        (&["192.0.2.0/24"], "::ffff:127.0.0.1"),
        (&["::ffff:0:0/96"], "::ffff:127.0.0.1"),
    ] {
        let outbound = AlertTransport::new(settings(networks, &authority)).unwrap();
        let settings = mail_settings(host, receiver.port, MailSecurity::Plain, None);
        let sent = send(&outbound, &settings).await;
        assert!(matches!(sent, Err(SendFailure::NotAllowed(ip)) if ip.is_loopback()), "{host}: {sent:?}");
    }
    assert!(receiver.record().is_empty());
    // The receiver does not listen on `::1`: the other address is tried.
    let outbound = AlertTransport::new(settings(&["127.0.0.0/8", "::1/128"], &authority)).unwrap();
    let settings = mail_settings("localhost", receiver.port, MailSecurity::Plain, None);
    assert_eq!(send(&outbound, &settings).await, Ok(()));
}

fn with_timeout(authority: &Authority, timeout: Duration) -> AlertTransport {
    let settings = settings(&["127.0.0.0/8"], authority);
    AlertTransport::new(AlertTransportSettings { mail_timeout: timeout, ..settings }).unwrap()
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let (authority, leaf) = authority();
    // The good part of a dialogue takes a while on busy cores.
    let outbound = with_timeout(&authority, Duration::from_secs(2));
    for (security, name, behaviour, mails) in [
        (MailSecurity::Plain, "plain", "silent", 0),
        (MailSecurity::Starttls, "plain", "silent", 0),
        (MailSecurity::Tls, "tls", "silent", 0),
        (MailSecurity::Plain, "plain", "hang at data", 0),
    ] {
        let receiver = Receiver::smtp(&leaf, name, &json!({"behaviour": behaviour}));
        let settings = mail_settings("127.0.0.1", receiver.port, security, None);
        let began = Instant::now();
        assert_eq!(send(&outbound, &settings).await, Err(SendFailure::TimedOut), "{name} {behaviour}");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(receiver.events("mail").len(), mails);
    }
}

#[tokio::test]
async fn a_delivered_mail_is_delivered_though_the_server_hangs_at_the_end() {
    let (authority, leaf) = authority();
    let receiver = Receiver::smtp(&leaf, "tls", &json!({"behaviour": "hang at quit"}));
    let settings = mail_settings("127.0.0.1", receiver.port, MailSecurity::Tls, None);
    let began = Instant::now();
    assert_eq!(send(&outbound(&authority), &settings).await, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(receiver.events("mail").len(), 1);
}

#[tokio::test]
async fn a_reply_without_end_is_cut() {
    let (authority, leaf) = authority();
    let outbound = with_timeout(&authority, Duration::from_secs(60));
    for (security, name) in [(MailSecurity::Plain, "plain"), (MailSecurity::Tls, "tls")] {
        let receiver = Receiver::smtp(&leaf, name, &json!({"behaviour": "endless"}));
        let settings = mail_settings("127.0.0.1", receiver.port, security, None);
        assert_eq!(send(&outbound, &settings).await, Err(SendFailure::UnexpectedAnswer), "{name}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (authority, _) = authority();
    let outbound = outbound(&authority);
    let nothing = mail_settings("127.0.0.1", free_port(), MailSecurity::Tls, Some("user"));
    assert_eq!(send(&outbound, &nothing).await, Err(SendFailure::Connect));
    assert_eq!(outbound.mail(&nothing, None, &MESSAGE).await, Err(SendFailure::PasswordMissing));
}
