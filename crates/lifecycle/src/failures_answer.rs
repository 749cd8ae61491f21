//! What a node answers one that asks for its failed handshakes: JSON, in the store for a second.
//!
//! Nodes of two releases read each other: a newer one may add fields, which are ignored; what an
//! older one would misread gets a new version, and an unknown one is no answer.

use std::borrow::Cow;

use certward_pki::{ClientCertificate, ClientCertificateFacts, NeededCa};
use certward_store::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{FAILURES_KEPT, FailedHandshake};

const VERSION: u32 = 1;
/// [`FAILURES_KEPT`] of 2.3 KiB each: texts of 1.5 KiB at most, of which a stranger can have 0.5
/// KiB escaped to twice that, and 0.3 KiB of JSON.
const BYTES_MAX: usize = 128 * 1024;

/// An answer with a node's failed handshakes, which are newest first: as many as fit 128 KiB, more
/// than a node keeps.
pub fn failures_answer(failures: &[FailedHandshake]) -> String {
    let mut kept = failures.len().min(FAILURES_KEPT);
    loop {
        let failures = failures[..kept].iter().map(FailureRecord::from).collect();
        let answer = serde_json::to_string(&FailuresRecord { version: VERSION, failures });
        let answer = answer.expect("texts and numbers can be written as JSON");
        if answer.len() <= BYTES_MAX || kept == 0 {
            return answer;
        }
        kept -= 1;
    }
}

/// `None`: of another version, or unreadable.
pub(crate) fn read(answer: &str) -> Option<Vec<FailedHandshake>> {
    let Versioned { version } = serde_json::from_str(answer).ok()?;
    if version != VERSION {
        return None;
    }
    let FailuresRecord { failures, .. } = serde_json::from_str(answer).ok()?;
    failures.into_iter().take(FAILURES_KEPT).map(FailureRecord::into_failure).collect()
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct FailuresRecord<'a> {
    version: u32,
    failures: Vec<FailureRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureRecord<'a> {
    /// Milliseconds since 1970, by the node's clock.
    at: i64,
    peer: std::net::SocketAddr,
    cause: Cow<'a, str>,
    meaning: Cow<'a, str>,
    remedy: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<CertificateRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateRecord<'a> {
    fingerprint: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactsRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed_ca: Option<NeededCaRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FactsRecord<'a> {
    subject: Cow<'a, str>,
    issuer: Cow<'a, str>,
    serial: Cow<'a, str>,
    /// Seconds since 1970.
    not_after: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NeededCaRecord<'a> {
    name: Cow<'a, str>,
    is_name_known: bool,
}

impl<'a> From<&'a FailedHandshake> for FailureRecord<'a> {
    fn from(failure: &'a FailedHandshake) -> Self {
        Self {
            at: failure.at.0,
            peer: failure.peer,
            cause: Cow::Borrowed(&failure.cause),
            meaning: Cow::Borrowed(&failure.meaning),
            remedy: Cow::Borrowed(&failure.remedy),
            server_name: failure.server_name.as_deref().map(Cow::Borrowed),
            tls_version: failure.tls_version.as_deref().map(Cow::Borrowed),
            detail: failure.detail.as_deref().map(Cow::Borrowed),
            client_certificate: failure.client_certificate.as_deref().map(CertificateRecord::from),
        }
    }
}

impl<'a> From<&'a ClientCertificate> for CertificateRecord<'a> {
    fn from(certificate: &'a ClientCertificate) -> Self {
        let facts = |facts: &'a ClientCertificateFacts| FactsRecord {
            subject: Cow::Borrowed(&facts.subject),
            issuer: Cow::Borrowed(&facts.issuer),
            serial: Cow::Borrowed(&facts.serial),
            not_after: facts.not_after.unix_timestamp(),
        };
        let needed_ca = |needed: &'a NeededCa| NeededCaRecord {
            name: Cow::Borrowed(&needed.name),
            is_name_known: needed.is_name_known,
        };
        Self {
            fingerprint: Cow::Borrowed(&certificate.fingerprint),
            facts: certificate.facts.as_ref().map(facts),
            needed_ca: certificate.needed_ca.as_ref().map(needed_ca),
        }
    }
}

impl FailureRecord<'_> {
    /// `None`: a time that does not exist.
    fn into_failure(self) -> Option<FailedHandshake> {
        let client_certificate = match self.client_certificate {
            Some(certificate) => Some(Box::new(certificate.into_certificate()?)),
            None => None,
        };
        Some(FailedHandshake {
            at: Timestamp(self.at),
            peer: self.peer,
            cause: owned(self.cause),
            meaning: owned(self.meaning),
            remedy: owned(self.remedy),
            server_name: self.server_name.map(boxed),
            tls_version: self.tls_version.map(owned),
            detail: self.detail.map(boxed),
            client_certificate,
        })
    }
}

impl CertificateRecord<'_> {
    fn into_certificate(self) -> Option<ClientCertificate> {
        let facts = match self.facts {
            Some(facts) => Some(ClientCertificateFacts {
                subject: boxed(facts.subject),
                issuer: boxed(facts.issuer),
                serial: boxed(facts.serial),
                not_after: OffsetDateTime::from_unix_timestamp(facts.not_after).ok()?,
            }),
            None => None,
        };
        let needed_ca = self
            .needed_ca
            .map(|needed| NeededCa { name: boxed(needed.name), is_name_known: needed.is_name_known });
        Some(ClientCertificate { fingerprint: boxed(self.fingerprint), facts, needed_ca })
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    fn full() -> FailedHandshake {
        let facts = ClientCertificateFacts {
            subject: r#"CN=\u{1b}[31m</script>'\"\\"#.into(),
            issuer: "CN=💥\0".into(),
            serial: "0a1b".into(),
            not_after: datetime!(9999-12-31 23:59:59 UTC),
        };
        let needed_ca = NeededCa { name: "CN=Meters".into(), is_name_known: true };
        FailedHandshake {
            at: Timestamp(1_700_000_000_123),
            peer: "[2001:db8::7]:50123".parse().unwrap(),
            cause: "certificate_unknown_issuer".into(),
            meaning: "No client CA issued it.".into(),
            remedy: "Add the CA.".into(),
            server_name: Some("a.example.com".into()),
            tls_version: Some("1.3".into()),
            detail: Some("MQTT level 6".into()),
            client_certificate: Some(Box::new(ClientCertificate {
                fingerprint: "9f86".into(),
                facts: Some(facts),
                needed_ca: Some(needed_ca),
            })),
        }
    }

    fn bare() -> FailedHandshake {
        let certificate = ClientCertificate { fingerprint: "9f86".into(), facts: None, needed_ca: None };
        FailedHandshake {
            server_name: None,
            tls_version: None,
            detail: None,
            client_certificate: Some(certificate.into()),
            ..full()
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_given() {
        let without = FailedHandshake { client_certificate: None, ..full() };
        for failures in [vec![], vec![full(), bare(), without]] {
            assert_eq!(read(&failures_answer(&failures)), Some(failures));
        }
    }

    /// The form that other releases read: a change of it needs a new version.
    #[test]
    fn an_answer_has_this_form() {
        let answer: Value = serde_json::from_str(&failures_answer(&[full()])).unwrap();
        let certificate = json!({
            "fingerprint": "9f86",
            "facts": {"subject": r#"CN=\u{1b}[31m</script>'\"\\"#, "issuer": "CN=💥\0", "serial": "0a1b",
                "notAfter": 253_402_300_799_i64},
            "neededCa": {"name": "CN=Meters", "isNameKnown": true},
        });
        let failure = json!({
            "at": 1_700_000_000_123_i64, "peer": "[2001:db8::7]:50123", "cause": "certificate_unknown_issuer",
            "meaning": "No client CA issued it.", "remedy": "Add the CA.", "serverName": "a.example.com",
            "tlsVersion": "1.3", "detail": "MQTT level 6", "clientCertificate": certificate,
        });
        assert_eq!(answer, json!({"version": 1, "failures": [failure]}));
    }

    #[test]
    fn fields_of_a_newer_release_are_ignored() {
        let mut answer: Value = serde_json::from_str(&failures_answer(&[full()])).unwrap();
        answer["node"] = json!({"region": "eu"});
        answer["failures"][0]["country"] = json!("CH");
        answer["failures"][0]["clientCertificate"]["facts"]["names"] = json!(["a"]);
        assert_eq!(read(&answer.to_string()), Some(vec![full()]));
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        let without_peer = json!({"version": 1, "failures": [{"at": 1, "cause": "timeout"}]}).to_string();
        let mut endless: Value = serde_json::from_str(&failures_answer(&[full()])).unwrap();
        endless["failures"][0]["clientCertificate"]["facts"]["notAfter"] = json!(i64::MAX);
        for answer in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"version": 2, "failures": []}"#,
            r#"{"version": 2, "list": "of another shape"}"#,
            r#"{"version": 1}"#,
            &without_peer,
            &endless.to_string(),
        ] {
            assert_eq!(read(answer), None, "{answer}");
        }
    }

    #[test]
    fn the_largest_failures_that_a_node_keeps_fit_and_what_does_not_is_left_out_from_the_end() {
        let text = |length| "\\".repeat(length);
        let largest = |name: usize| {
            let facts = ClientCertificateFacts {
                subject: text(name).into(),
                issuer: text(name).into(),
                serial: text(43).into(),
                not_after: datetime!(9999-12-31 23:59:59 UTC),
            };
            let needed_ca = NeededCa { name: text(name).into(), is_name_known: false };
            FailedHandshake {
                meaning: "m".repeat(250).into(),
                remedy: "r".repeat(350).into(),
                server_name: Some("s".repeat(253).into()),
                detail: Some(text(64).into()),
                client_certificate: Some(Box::new(ClientCertificate {
                    fingerprint: "f".repeat(64).into(),
                    facts: Some(facts),
                    needed_ca: Some(needed_ca),
                })),
                ..full()
            }
        };
        let kept = |failures: &[FailedHandshake]| {
            let answer = failures_answer(failures);
            assert!(answer.len() <= BYTES_MAX, "{}", answer.len());
            read(&answer).unwrap()
        };
        let all = vec![largest(160); FAILURES_KEPT];
        assert_eq!(kept(&all), all);
        assert_eq!(kept(&vec![bare(); FAILURES_KEPT + 1]).len(), FAILURES_KEPT);
        let mut larger = vec![largest(1_000); FAILURES_KEPT];
        larger[0] = bare();
        let newest = kept(&larger);
        assert!(
            (2..FAILURES_KEPT).contains(&newest.len()) && larger.starts_with(&newest),
            "{}",
            newest.len()
        );
    }
}
