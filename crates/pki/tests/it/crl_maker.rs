//! Makes CRLs, right ones and wrong ones.

use certward_test_support::{Authority, Leaf};
use rcgen::{KeyPair, SigningKey as _};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::stage::{now, tlv};

/// The fields of a CRL, to be changed; signed with ECDSA, P-256 and SHA-256.
#[derive(Clone)]
pub(crate) struct CrlMaker {
    /// The INTEGER's content; `None`: version 1.
    pub(crate) version: Option<u8>,
    /// With its SEQUENCE header.
    pub(crate) issuer: Vec<u8>,
    pub(crate) this_update: Vec<u8>,
    pub(crate) next_update: Option<Vec<u8>>,
    pub(crate) entries: Vec<Vec<u8>>,
    /// An empty list of entries instead of none.
    pub(crate) with_empty_list: bool,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) outer_algorithm: Vec<u8>,
}

pub(crate) const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const ECDSA_SHA384: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];

impl CrlMaker {
    /// Version 2, of yesterday, for ten days, without a number and entries.
    pub(crate) fn of(ca: &Authority) -> Self {
        Self::named(&subject(ca.der()))
    }

    pub(crate) fn named(issuer: &[u8]) -> Self {
        Self {
            version: Some(1),
            issuer: issuer.to_vec(),
            this_update: time(now() - Duration::days(1)),
            next_update: Some(time(now() + Duration::days(9))),
            entries: Vec::new(),
            with_empty_list: false,
            extensions: Vec::new(),
            outer_algorithm: ECDSA_SHA256.to_vec(),
        }
    }

    /// Number 1, and the device revoked.
    pub(crate) fn revoking(ca: &Authority, device: &Leaf) -> Self {
        Self::of(ca).number(&[1]).entry(&serial(&device.der), &[])
    }

    pub(crate) fn number(self, content: &[u8]) -> Self {
        self.extension(20, false, &tlv(2, content))
    }

    pub(crate) fn extension(mut self, id_ce: u8, is_critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(&[0x55, 0x1d, id_ce], is_critical, value));
        self
    }

    /// issuingDistributionPoint.
    pub(crate) fn distribution_point(self, fields: &[u8]) -> Self {
        self.extension(28, true, &tlv(0x30, fields))
    }

    /// `serial`: an INTEGER's content.
    pub(crate) fn entry(mut self, serial: &[u8], extensions: &[Vec<u8>]) -> Self {
        let extensions = if extensions.is_empty() { Vec::new() } else { tlv(0x30, &extensions.concat()) };
        let fields = [tlv(2, serial), time(now() - Duration::days(2)), extensions];
        self.entries.push(tlv(0x30, &fields.concat()));
        self
    }

    pub(crate) fn from(self, this_update: OffsetDateTime) -> Self {
        Self { this_update: time(this_update), ..self }
    }

    pub(crate) fn until(self, next_update: OffsetDateTime) -> Self {
        Self { next_update: Some(time(next_update)), ..self }
    }

    /// Random: each signature is another.
    pub(crate) fn sign(&self, key: &KeyPair) -> Vec<u8> {
        let content = self.content();
        let signature = key.sign(&content).unwrap();
        let parts = [content, self.outer_algorithm.clone(), tlv(3, &[&[0], &signature[..]].concat())];
        long_tlv(0x30, &parts.concat())
    }

    /// TBSCertList.
    fn content(&self) -> Vec<u8> {
        let entries = match self.entries.is_empty() && !self.with_empty_list {
            true => Vec::new(),
            false => long_tlv(0x30, &self.entries.concat()),
        };
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xa0, &tlv(0x30, &self.extensions.concat())),
        };
        let fields = [
            self.version.map_or(Vec::new(), |version| tlv(2, &[version])),
            ECDSA_SHA256.to_vec(),
            self.issuer.clone(),
            self.this_update.clone(),
            self.next_update.clone().unwrap_or_default(),
            entries,
            extensions,
        ];
        long_tlv(0x30, &fields.concat())
    }
}

/// `oid`: its content.
pub(crate) fn extension(oid: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(1, &[0xff]) } else { Vec::new() };
    tlv(0x30, &[tlv(6, oid), critical, tlv(4, value)].concat())
}

/// reasonCode of an entry.
pub(crate) fn reason(code: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 21], false, &tlv(0x0a, &[code]))
}

/// The content of a certificate's serial number.
pub(crate) fn serial(certificate: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(certificate).unwrap().1.raw_serial().to_vec()
}

/// With its SEQUENCE header.
pub(crate) fn subject(certificate: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(certificate).unwrap().1.subject().as_raw().to_vec()
}

/// UTCTime until 2049.
pub(crate) fn time(time: OffsetDateTime) -> Vec<u8> {
    let (date, clock) = (time.date(), time.time());
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    match date.year() {
        year @ ..2050 => tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        year => tlv(0x18, format!("{year}{rest}").as_bytes()),
    }
}

/// Of up to 16 MiB.
pub(crate) fn long_tlv(identifier: u8, content: &[u8]) -> Vec<u8> {
    match content.len() {
        ..0x10000 => tlv(identifier, content),
        bytes => {
            let header = [identifier, 0x83, (bytes >> 16) as u8, (bytes >> 8) as u8, bytes as u8];
            [&header, content].concat()
        }
    }
}
