use thiserror::Error;
use x509_parser::extensions::BasicConstraints;
use x509_parser::prelude::FromDer as _;

use crate::client_certificate::{NAME_SHOWN_BYTES_MAX, shown_name, shown_serial};
use crate::display::{SUBJECT_CHARS_MAX, cut, escape};
use crate::pem::{self, Block, Label, ReadBlock};
use crate::tbs::{BASIC_CONSTRAINTS, Tbs};
use crate::text::{self, Repairs};
use crate::{DeviceId, fingerprint};

/// Far more than a client's certificate has.
const BYTES_MAX: usize = 64 * 1024;

/// What is needed to revoke a certificate: texts as in
/// [`DeviceCertificate`](crate::DeviceCertificate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Identifies issuer, serial number and public key.
    pub device: DeviceId,
    /// The issuer; at most 160 bytes.
    pub issuer: Box<str>,
    /// The serial number.
    pub serial: Box<str>,
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// basicConstraints with CA:TRUE. `false` if they cannot be read.
    pub is_ca: bool,
}

/// Why a certificate cannot be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnreadableCertificate {
    /// More than 64 KiB.
    #[error("it has more than 64 KiB")]
    TooLarge,
    /// Neither PEM nor DER of one.
    #[error("it is no X.509 certificate in PEM or DER")]
    NoCertificate,
    /// Which of them is not guessed.
    #[error("it holds more than one block: give the device's certificate alone")]
    Several,
}

impl RevokedCertificate {
    /// Of one certificate in PEM or DER. It is not verified: what it says is revoked.
    ///
    /// # Errors
    /// [`UnreadableCertificate`]; it holds no input.
    pub fn read(input: &[u8]) -> Result<Self, UnreadableCertificate> {
        if input.len() > BYTES_MAX {
            return Err(UnreadableCertificate::TooLarge);
        }
        let read = |der: &[u8]| Self::of(der).ok_or(UnreadableCertificate::NoCertificate);
        let Ok(text) = std::str::from_utf8(input) else { return read(input) };
        let mut repairs = Repairs::default();
        let text = text::clean(text, &mut repairs);
        let blocks = pem::read(&text, &mut repairs).blocks;
        match blocks.as_slice() {
            [] => read(input),
            [ReadBlock::Block(Block { label: Label::Certificate, der, .. })] => read(der),
            [_] => Err(UnreadableCertificate::NoCertificate),
            [..] => Err(UnreadableCertificate::Several),
        }
    }

    fn of(der: &[u8]) -> Option<Self> {
        let tbs = Tbs::read(der)?;
        Some(Self {
            device: DeviceId::of(&tbs)?,
            issuer: shown_name(tbs.issuer),
            serial: shown_serial(&tbs)?.into(),
            fingerprint: fingerprint(der).into(),
            is_ca: is_ca(&tbs),
        })
    }
}

fn is_ca(tbs: &Tbs<'_>) -> bool {
    let value = tbs.extension(BASIC_CONSTRAINTS).ok().flatten();
    value
        .and_then(|value| BasicConstraints::from_der(value).ok())
        .is_some_and(|(_, constraints)| constraints.ca)
}

/// The name that a broker receives, as [`DeviceCertificate`](crate::DeviceCertificate) shows it.
pub fn shown_device_name(name: &str) -> Box<str> {
    cut(escape(name, SUBJECT_CHARS_MAX), NAME_SHOWN_BYTES_MAX).into()
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;
    use rcgen::IsCa;

    use super::*;
    use crate::{ClientTrust, DeviceCertificate, DeviceIdentity};

    #[test]
    fn a_certificate_is_read_from_pem_and_der_as_a_device_shows_it() {
        let ca = Authority::new("clients");
        let leaf = ca.client("one");
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let shown = DeviceCertificate::read(&[leaf.der.clone().into()], &trust, DeviceIdentity::Cn).unwrap();
        for input in [leaf.der.clone(), leaf.pem.clone().into_bytes(), leaf.pem.replace('\n', "\r\n").into()]
        {
            let read = RevokedCertificate::read(&input).unwrap();
            assert_eq!((read.device, &read.issuer), (shown.id, &shown.issuer));
            assert_eq!((&read.serial, &read.fingerprint), (&shown.serial, &shown.fingerprint));
        }
        assert_eq!(shown_device_name("one"), shown.name);
    }

    #[test]
    fn a_ca_is_told_from_a_device() {
        let ca = Authority::new("clients");
        let intermediate = ca.intermediate("meters");
        let explicitly_none = ca.client_with("one", |params| params.is_ca = IsCa::ExplicitNoCa);
        let cases = [
            (ca.pem(), true),
            (intermediate.pem(), true),
            (&ca.client("one").pem, false),
            (&explicitly_none.pem, false),
        ];
        for (pem, expected) in cases {
            assert_eq!(RevokedCertificate::read(pem.as_bytes()).unwrap().is_ca, expected, "{pem}");
        }
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        use UnreadableCertificate::{NoCertificate, Several, TooLarge};
        let leaf = Authority::new("clients").client("one");
        let mut cut_off = leaf.der.clone();
        cut_off.pop();
        let twice = leaf.pem.repeat(2);
        let cases: [(&[u8], UnreadableCertificate); 7] = [
            (b"", NoCertificate),
            (b"one", NoCertificate),
            (&[0xff, 0x30], NoCertificate),
            (&cut_off, NoCertificate),
            (leaf.key_pem.as_bytes(), NoCertificate),
            (twice.as_bytes(), Several),
            (&[b' '; BYTES_MAX + 1], TooLarge),
        ];
        for (input, expected) in cases {
            assert_eq!(RevokedCertificate::read(input), Err(expected));
        }
    }
}
