use std::time::{Duration, SystemTime};

use certward_store::{MailAddress, MailSettings, Timestamp};
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailbox, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

use crate::SendFailure;

/// One mail.
#[derive(Debug, Clone, Copy)]
pub struct MailMessage<'a> {
    /// The same for each attempt; becomes the Message-ID.
    pub id: &'a str,
    /// Control characters become spaces; cut after 250 characters.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
    /// The header `Date`.
    pub at: Timestamp,
}

/// The last second that the header `Date` can show: 9999-12-31.
const DATE_SECONDS_MAX: i64 = 253_402_300_799;

/// One word is never folded, and a line has at most 998 bytes (RFC 5322 §2.1.1).
const SUBJECT_CHARS_MAX: usize = 250;

/// The mail in ASCII, which every server takes.
pub(crate) fn compose(settings: &MailSettings, message: &MailMessage<'_>) -> Result<Message, SendFailure> {
    let seconds = message.at.0.div_euclid(1000).clamp(0, DATE_SECONDS_MAX);
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    let envelope = Envelope::new(Some(address(settings.from())), settings.to().iter().map(address).collect())
        .map_err(|_| SendFailure::InvalidMessage)?;
    let subject: String = message.subject.chars().take(SUBJECT_CHARS_MAX).collect();
    let subject = subject.replace(char::is_control, " ");
    // Not a reply of a person, so no vacation notice answers it (RFC 3834 §5).
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    Message::builder()
        .from(mailbox(settings.from()))
        .subject(subject)
        .message_id(Some(message_id(message.id, settings.from())))
        .date(date)
        .raw_header(automatic)
        .raw_header(recipients(settings.to()))
        .envelope(envelope)
        .singlepart(SinglePart::plain(message.text.to_owned()))
        .map_err(|_| SendFailure::InvalidMessage)
}

/// One line each: lettre writes one line of any length.
fn recipients(to: &[MailAddress]) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("To");
    let written = |separator| to.iter().map(MailAddress::as_str).collect::<Vec<_>>().join(separator);
    HeaderValue::dangerous_new_pre_encoded(name, written(", "), written(",\r\n "))
}

fn address(address: &MailAddress) -> Address {
    let (local, domain) = address.parts();
    // Checked when it was parsed, more strictly than lettre does.
    Address::new_dangerous(local, domain)
}

fn mailbox(of: &MailAddress) -> Mailbox {
    Mailbox::new(None, address(of))
}

/// `<certward-ID@DOMAIN>` (RFC 5322 §3.6.4). Other characters than letters, digits, `-` and `_` are
/// written as `=XX`, so that two ids stay two.
fn message_id(id: &str, from: &MailAddress) -> String {
    let (_, domain) = from.parts();
    let mut local = String::from("certward-");
    for byte in id.bytes() {
        match byte {
            b'-' | b'_' => local.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => local.push(char::from(byte)),
            _ => local.push_str(&format!("={byte:02X}")),
        }
    }
    format!("<{local}@{domain}>")
}

#[cfg(test)]
mod tests {
    use certward_store::{MailSecurity, MailServer};

    use super::*;

    fn composed(message: MailMessage<'_>) -> String {
        let server = MailServer::parse("mail.example", 465, MailSecurity::Tls, None).unwrap();
        let longest = format!("{}@{}", "l".repeat(64), ["d"; 94].join("."));
        let to = vec![MailAddress::parse(&longest).unwrap(); MailSettings::RECIPIENTS_MAX];
        let from = MailAddress::parse("certward@example.net").unwrap();
        let settings = MailSettings::new(server, from, to).unwrap();
        String::from_utf8(compose(&settings, &message).unwrap().formatted()).unwrap()
    }

    #[test]
    fn a_mail_is_ascii_in_lines_that_every_server_takes() {
        let long = "ä".repeat(3000) + "\n.\nFrom x\rbare\n" + &"a".repeat(5000);
        for (id, subject, text, at) in [
            ("msg_1", "Läuft ab", "Größe", 1_700_000_000_123),
            ("a.b@c>\r\nX: y", "s\r\nBcc: evil@example.org\u{85}", &long, i64::MAX),
            ("", "", "", i64::MIN),
            ("é", &long, "t", -1),
        ] {
            let mail = composed(MailMessage { id, subject, text, at: Timestamp(at) });
            assert!(mail.is_ascii(), "{mail}");
            assert!(
                mail.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])),
                "{mail}"
            );
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.matches(&format!("@{}", ["d"; 94].join("."))).count(), 20, "{head}");
            for name in ["Bcc:", "X:"] {
                assert!(!head.contains(&format!("\n{name}")), "{head}");
            }
            for line in ["Auto-Submitted: auto-generated", "From: certward@example.net", "Date: "] {
                assert!(head.split("\r\n").any(|header| header.starts_with(line)), "{line} in {head}");
            }
        }
    }

    #[test]
    fn a_message_id_is_a_dot_atom_of_its_own() {
        let from = MailAddress::parse("certward@example.net").unwrap();
        for (id, expected) in [
            ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "<certward-msg_2KWPBgLlAfxdpx2AI54pPJ85f4W@example.net>"),
            ("", "<certward-@example.net>"),
            ("a.b@c", "<certward-a=2Eb=40c@example.net>"),
            ("a=2Eb", "<certward-a=3D2Eb@example.net>"),
            ("é\r\n>", "<certward-=C3=A9=0D=0A=3E@example.net>"),
        ] {
            assert_eq!(message_id(id, &from), expected, "{id:?}");
        }
    }
}
