use time::{Date, Month, OffsetDateTime};

use super::crl_entries::CrlEntries;
use super::crl_extensions::CrlExtensions;
use super::crl_fault::CrlFault;
use super::der_reader::{BIT_STRING, DerReader, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
use crate::normal_name::normal_name;
use crate::signed::Signed;

/// A CRL (RFC 5280 §5.1), read from its bytes without its entries.
pub(super) struct CertificateList<'a> {
    pub(super) signed: Signed<'a>,
    /// 1 or 2.
    pub(super) version: u8,
    /// The content of the name.
    pub(super) issuer: &'a [u8],
    pub(super) this_update: OffsetDateTime,
    pub(super) next_update: Option<OffsetDateTime>,
    pub(super) extensions: CrlExtensions<'a>,
    /// The content of `revokedCertificates`.
    entries: &'a [u8],
}

/// `[0]`: crlExtensions.
const CRL_EXTENSIONS: u8 = 0xa0;

/// More than any CA's; to compare names takes several times their memory.
const ISSUER_BYTES_MAX: usize = 16 * 1024;

impl<'a> CertificateList<'a> {
    /// Strict DER. An empty list of entries is taken, though RFC 5280 wants it absent.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, CrlFault> {
        let unreadable = CrlFault::Unreadable;
        let outer = DerReader::new(der).take_last(SEQUENCE).ok_or(unreadable("its structure"))?;
        let mut outer = DerReader::new(outer);
        let (content, tbs) = outer.take_with_header(SEQUENCE).ok_or(unreadable("its structure"))?;
        let algorithm = outer.take(SEQUENCE).ok_or(unreadable("its structure"))?;
        let signature =
            outer.take_last(BIT_STRING).and_then(whole_bytes).ok_or(unreadable("its signature"))?;

        let mut tbs = DerReader::new(tbs);
        let version = match tbs.is_next(INTEGER) {
            true => tbs.take(INTEGER).filter(|version| *version == [1]).map(|_| 2),
            false => Some(1),
        };
        let version = version.ok_or(unreadable("its version"))?;
        if tbs.take(SEQUENCE) != Some(algorithm) {
            return Err(unreadable("its two signature algorithms differ"));
        }
        let issuer = tbs.take(SEQUENCE).filter(|name| !name.is_empty() && name.len() <= ISSUER_BYTES_MAX);
        let issuer = issuer.ok_or(unreadable("its issuer"))?;
        let this_update = take_time(&mut tbs).ok_or(unreadable("its thisUpdate"))?;
        let next_update = match tbs.is_next(UTC_TIME) || tbs.is_next(GENERALIZED_TIME) {
            true => Some(take_time(&mut tbs).ok_or(unreadable("its nextUpdate"))?),
            false => None,
        };
        let entries = match tbs.is_next(SEQUENCE) {
            true => tbs.take(SEQUENCE).ok_or(unreadable("its entries"))?,
            false => &[],
        };
        let extensions = match tbs.is_empty() {
            true => CrlExtensions::default(),
            false => {
                let extensions = tbs.take_last(CRL_EXTENSIONS).filter(|_| version > 1);
                let extensions = extensions.and_then(|tagged| DerReader::new(tagged).take_last(SEQUENCE));
                CrlExtensions::read(extensions.ok_or(unreadable("its extensions"))?)?
            }
        };
        let signed = Signed { content, algorithm, signature };
        Ok(Self { signed, version, issuer, this_update, next_update, extensions, entries })
    }

    pub(super) fn entries(&self) -> CrlEntries<'a> {
        CrlEntries::new(self.entries, self.version > 1)
    }

    /// As names are compared.
    pub(super) fn normal_issuer(&self) -> Vec<u8> {
        comparable_name(self.issuer)
    }

    /// Of one issuer and one scope: their numbers can be compared.
    pub(super) fn is_of_one_series_with(&self, other: &CertificateList<'_>) -> bool {
        self.normal_issuer() == other.normal_issuer()
            && self.extensions.distribution_point == other.extensions.distribution_point
    }
}

/// Whether two CRLs (DER) are of one issuer and one scope, so that the newer one takes the place of
/// the other. Partitions differ in their scope. `false` if one cannot be read.
pub fn are_of_one_crl_series(crl: &[u8], other: &[u8]) -> bool {
    match (CertificateList::read(crl), CertificateList::read(other)) {
        (Ok(crl), Ok(other)) => crl.is_of_one_series_with(&other),
        _ => false,
    }
}

/// The normal form of a name's content, or the content where it has none.
pub(super) fn comparable_name(content: &[u8]) -> Vec<u8> {
    normal_name(content).unwrap_or_else(|| content.to_vec())
}

fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    let (unused_bits, bytes) = bits.split_first()?;
    (*unused_bits == 0).then_some(bytes)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §5.1.2.4).
fn take_time(left: &mut DerReader<'_>) -> Option<OffsetDateTime> {
    let (text, year_digits) = match left.take(UTC_TIME) {
        Some(text) => (text, 2),
        None => (left.take(GENERALIZED_TIME)?, 4),
    };
    let (year, rest) = text.split_at_checked(year_digits)?;
    let year = match (decimal(year)?, year_digits) {
        (year @ ..50, 2) => 2000 + year,
        (year, 2) => 1900 + year,
        (year, _) => year,
    };
    let (fields, b"Z") = rest.split_at_checked(10)? else { return None };
    let field = |at: usize| decimal(&fields[2 * at..2 * at + 2]).and_then(|field| u8::try_from(field).ok());
    let date = Date::from_calendar_date(year.into(), Month::try_from(field(0)?).ok()?, field(1)?).ok()?;
    Some(date.with_hms(field(2)?, field(3)?, field(4)?).ok()?.assume_utc())
}

/// Of at most four digits.
fn decimal(digits: &[u8]) -> Option<u16> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(*digit - b'0')))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::der::wrap;

    #[test]
    fn a_time_has_two_forms() {
        let cases = [
            (UTC_TIME, "260601120000Z", Some(datetime!(2026-06-01 12:00 UTC))),
            (UTC_TIME, "491231235959Z", Some(datetime!(2049-12-31 23:59:59 UTC))),
            (UTC_TIME, "500101000000Z", Some(datetime!(1950-01-01 0:00 UTC))),
            (GENERALIZED_TIME, "99991231235959Z", Some(datetime!(9999-12-31 23:59:59 UTC))),
            (GENERALIZED_TIME, "260601120000Z", None),
            (UTC_TIME, "20260601120000Z", None),
            (UTC_TIME, "2606011200Z", None),
            (UTC_TIME, "260601120000+0100", None),
            (UTC_TIME, "2606011200000", None),
            (UTC_TIME, "260631120000Z", None),
            (UTC_TIME, "260601240000Z", None),
            (UTC_TIME, "26 601120000Z", None),
            (GENERALIZED_TIME, "20260601120000.5Z", None),
            (UTC_TIME, "", None),
        ];
        for (identifier, text, expected) in cases {
            let der = wrap(identifier, text.as_bytes());
            assert_eq!(take_time(&mut DerReader::new(&der)), expected, "{text}");
        }
    }
}
