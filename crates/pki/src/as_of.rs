//! The findings of a stored upload, judged again: what depends on the time is found again from the
//! certificates; the rest stays.

use time::{Duration, OffsetDateTime};

use crate::certificate::Certificate;
use crate::display::shown_time;
use crate::{Code, Field, Finding, Item};

/// The findings as a check would report them at `now`, most important first.
///
/// `chain` and `client_cas` are DER, as served. An unreadable certificate adds nothing.
pub fn findings_as_of(
    stored: &[Finding],
    chain: &[Vec<u8>],
    client_cas: &[Vec<u8>],
    now: OffsetDateTime,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        stored.iter().filter(|finding| !depends_on_time(finding)).cloned().collect();
    for (index, certificate) in read(chain) {
        findings.extend(match index {
            0 => of_leaf(&certificate, now),
            _ => of_intermediate(index, &certificate, now),
        });
    }
    for (index, certificate) in read(client_cas) {
        findings.extend(of_client_ca(index, &certificate, now));
    }
    findings.sort_by_key(|finding| finding.code);
    findings
}

/// A CA that was left out at the upload stays left out.
fn depends_on_time(finding: &Finding) -> bool {
    matches!(finding.code, Code::ExpiresSoon | Code::CaNotYetValid)
}

fn read(ders: &[Vec<u8>]) -> impl Iterator<Item = (usize, Certificate)> {
    ders.iter().enumerate().filter_map(|(index, der)| Some((index, Certificate::read(der).ok()?)))
}

fn of_leaf(leaf: &Certificate, now: OffsetDateTime) -> Option<Finding> {
    let ends = shown_time(leaf.not_after);
    let say = |code, message| Some(Finding::new(code, Field::Cert, item(0, leaf), message));
    if now > leaf.not_after {
        return say(Code::LeafExpired, format!("The leaf expired at {ends}."));
    }
    match ends_soon(leaf, now) {
        true => say(Code::ExpiresSoon, format!("The leaf expires at {ends}.")),
        false => None,
    }
}

/// Below a third of the lifetime (when ACME clients renew), and below 30 days.
pub(crate) fn ends_soon(leaf: &Certificate, now: OffsetDateTime) -> bool {
    leaf.not_after - now < Duration::min((leaf.not_after - leaf.not_before) / 3, Duration::days(30))
}

fn of_intermediate(index: usize, intermediate: &Certificate, now: OffsetDateTime) -> Option<Finding> {
    let message = || {
        let ended = shown_time(intermediate.not_after);
        format!("The certificate {} expired at {ended} and is still sent.", intermediate.subject)
    };
    let item = item(index, intermediate);
    (now > intermediate.not_after)
        .then(|| Finding::new(Code::ChainCertificateExpired, Field::Cert, item, message()))
}

fn of_client_ca(index: usize, ca: &Certificate, now: OffsetDateTime) -> Option<Finding> {
    let say = |code, message| Some(Finding::new(code, Field::Cacert, item(index, ca), message));
    if now > ca.not_after {
        let message = format!("The client CA {} expired at {}.", ca.subject, shown_time(ca.not_after));
        return say(Code::CaExpired, message);
    }
    if now < ca.not_before {
        let from = shown_time(ca.not_before);
        return say(Code::CaNotYetValid, format!("The client CA {} is valid from {from} on.", ca.subject));
    }
    None
}

fn item(index: usize, certificate: &Certificate) -> Option<Item> {
    Some(Item { index, subject: Some(certificate.subject.clone()) })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use time::macros::datetime;

    use super::*;

    const BEGIN: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn certificate(from: OffsetDateTime, days: i64) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from, from + Duration::days(days));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn codes(day: i64, stored: &[Finding]) -> Vec<&'static str> {
        let chain = [certificate(BEGIN, 47), certificate(BEGIN, 60)];
        let client_cas = [certificate(BEGIN, 70), certificate(BEGIN + Duration::days(10), 100)];
        let findings = findings_as_of(stored, &chain, &client_cas, BEGIN + Duration::days(day));
        findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn what_depends_on_the_time_is_judged_as_of_now() {
        let finding = |code| Finding::new(code, Field::Cert, None, "stored");
        let stored =
            [finding(Code::ExpiresSoon), finding(Code::HostNotCovered), finding(Code::CaNotYetValid)];
        for (day, expected) in [
            (0, vec!["HOST_NOT_COVERED", "CA_NOT_YET_VALID"]),
            (11, vec!["HOST_NOT_COVERED"]),
            (31, vec!["HOST_NOT_COVERED"]),
            (32, vec!["HOST_NOT_COVERED", "EXPIRES_SOON"]),
            (48, vec!["LEAF_EXPIRED", "HOST_NOT_COVERED"]),
            (61, vec!["LEAF_EXPIRED", "HOST_NOT_COVERED", "CHAIN_CERTIFICATE_EXPIRED"]),
            (71, vec!["LEAF_EXPIRED", "CA_EXPIRED", "HOST_NOT_COVERED", "CHAIN_CERTIFICATE_EXPIRED"]),
        ] {
            assert_eq!(codes(day, &stored), expected, "on day {day}");
        }
    }

    #[test]
    fn an_unreadable_certificate_adds_nothing() {
        assert_eq!(findings_as_of(&[], &[vec![1, 2, 3]], &[vec![]], BEGIN), []);
    }
}
