//! What a revocation is asked for by, and what is stored of it: the texts that certificates are
//! looked up by.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
};

use certward_pki::{DeviceId, DeviceIdentity, RevokedCertificate, UnreadableCertificate, is_control};
use certward_store::{DeploymentId, Reader, RevokedWhat, SeenDevice, StoreError};
use thiserror::Error;

/// Characters of a reason.
pub const REVOCATION_REASON_MAX: usize = 200;
/// Bytes of a name, as a broker receives one.
const NAME_BYTES_MAX: usize = 1024;
/// As shown.
const ISSUER_BYTES_MAX: usize = 160;
/// RFC 5280 §4.1.2.2.
const SERIAL_BYTES_MAX: usize = 20;

/// A revocation that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevocation {
    /// What it refuses.
    pub target: RevocationTarget,
    /// For people; may be empty. At most [`REVOCATION_REASON_MAX`] characters.
    pub reason: String,
}

/// What a revocation refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationTarget {
    /// The certificate of a known device: SHA-256 of its DER, hexadecimal digits in any case, also
    /// with colons.
    Fingerprint(String),
    /// A certificate, PEM or DER.
    Certificate(Vec<u8>),
    /// What an issuer has issued with a serial number.
    Serial {
        /// As shown of a device or a failed handshake.
        issuer: String,
        /// Hexadecimal digits in any case, also with colons or leading zeros.
        serial: String,
    },
    /// Certificates with a name, exactly as the broker receives it.
    Name {
        /// The name.
        name: String,
        /// Of this issuer alone, as shown of a device or a failed handshake.
        issuer: Option<String>,
    },
}

/// A revocation that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRevocation {
    /// Which of those asked for, from 0.
    pub index: usize,
    /// Why.
    pub fault: RevocationFault,
}

/// Why a revocation cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RevocationFault {
    /// No known device of the deployment has it: then its issuer, serial number and key are not
    /// known, which are what is looked up.
    #[error("no known device has a certificate with this fingerprint")]
    UnknownFingerprint,
    /// Not 64 digits.
    #[error("a fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits")]
    BadFingerprint,
    /// Not one certificate.
    #[error("the certificate cannot be read: {0}")]
    BadCertificate(#[from] UnreadableCertificate),
    /// CA:TRUE, and no known device connects with it: it would refuse none.
    #[error("this is a CA's certificate")]
    CaCertificate,
    /// No serial number.
    #[error("a serial number is 1 to 20 bytes in hexadecimal digits")]
    BadSerial,
    /// Empty, too long, with control characters, or not shown whole: several issuers are shown so.
    #[error(
        "an issuer has 1 to 160 bytes and no control characters: it is matched as it is shown; one that is not shown whole is revoked by certificate"
    )]
    BadIssuer,
    /// Empty, too long, or with control characters.
    #[error("a name has 1 to 1024 bytes and no control characters: it is matched as the broker receives it")]
    BadName,
    /// The broker receives fingerprints: an ECDSA signature can be turned into a second valid one,
    /// which has another.
    #[error(
        "the broker receives fingerprints as names, and one certificate may have several: revoke it by fingerprint"
    )]
    NameIsFingerprint,
    /// Too long, or with control characters.
    #[error("a reason has at most 200 characters and no control characters")]
    BadReason,
}

/// One for each of `new`, or all that cannot be stored. `identity`: what the broker receives.
pub(crate) async fn resolve(
    store: &Reader,
    deployment: &DeploymentId,
    identity: DeviceIdentity,
    new: &[NewRevocation],
) -> Result<Result<Vec<RevokedWhat>, Vec<RefusedRevocation>>, StoreError> {
    let wanted: BTreeSet<String> = new.iter().filter_map(|new| new.target.fingerprint()).collect();
    let wanted: Vec<String> = wanted.into_iter().collect();
    let devices = store.devices_with(deployment, &wanted).await?;
    let devices = devices.into_iter().map(|device| (device.fingerprint.clone(), device)).collect();
    let resolved: Vec<_> = new.iter().map(|new| new.resolved(&devices, identity)).collect();
    let of_cas = resolved.iter().flatten().filter(|it| it.is_ca).map(|it| it.what.clone());
    let of_cas: Vec<RevokedWhat> = of_cas.collect();
    let limit = u32::try_from(of_cas.len()).unwrap_or(u32::MAX);
    let known: HashSet<DeviceId> =
        store.devices_refused_by(deployment, &of_cas, limit).await?.into_iter().collect();
    let (mut found, mut refused) = (Vec::with_capacity(new.len()), Vec::new());
    for (index, resolved) in resolved.into_iter().enumerate() {
        match resolved.and_then(|it| it.unless_ca(&known)) {
            Ok(what) => found.push(what),
            Err(fault) => refused.push(RefusedRevocation { index, fault }),
        }
    }
    Ok(if refused.is_empty() { Ok(found) } else { Err(refused) })
}

/// What is stored, unless it is a CA that is no device.
struct ResolvedRevocation {
    what: RevokedWhat,
    is_ca: bool,
}

impl ResolvedRevocation {
    /// A device may connect with a self-signed certificate that is its own CA.
    fn unless_ca(self, known: &HashSet<DeviceId>) -> Result<RevokedWhat, RevocationFault> {
        let is_known = match &self.what {
            RevokedWhat::Certificate { device, .. } => known.contains(device),
            RevokedWhat::Serial { .. } | RevokedWhat::Name { .. } => false,
        };
        if self.is_ca && !is_known { Err(RevocationFault::CaCertificate) } else { Ok(self.what) }
    }
}

impl NewRevocation {
    /// What is wrong with it whatever devices are known.
    pub fn fault(&self) -> Option<RevocationFault> {
        self.resolved(&HashMap::new(), DeviceIdentity::default())
            .err()
            .filter(|fault| *fault != RevocationFault::UnknownFingerprint)
    }

    fn resolved(
        &self,
        devices: &HashMap<String, SeenDevice>,
        identity: DeviceIdentity,
    ) -> Result<ResolvedRevocation, RevocationFault> {
        if self.reason.chars().count() > REVOCATION_REASON_MAX || self.reason.chars().any(is_control) {
            return Err(RevocationFault::BadReason);
        }
        let what = match &self.target {
            RevocationTarget::Fingerprint(text) => {
                let fingerprint = fingerprint(text).ok_or(RevocationFault::BadFingerprint)?;
                let device = devices.get(&fingerprint).ok_or(RevocationFault::UnknownFingerprint)?;
                RevokedWhat::Certificate {
                    device: device.id,
                    fingerprint,
                    issuer: device.issuer.clone(),
                    serial: device.serial.clone(),
                }
            }
            RevocationTarget::Certificate(input) => {
                let RevokedCertificate { device, issuer, serial, fingerprint, is_ca } =
                    RevokedCertificate::read(input)?;
                let (issuer, serial, fingerprint) = (issuer.into(), serial.into(), fingerprint.into());
                let what = RevokedWhat::Certificate { device, fingerprint, issuer, serial };
                return Ok(ResolvedRevocation { what, is_ca });
            }
            RevocationTarget::Serial { issuer: of, serial: text } => RevokedWhat::Serial {
                serial: serial(text).ok_or(RevocationFault::BadSerial)?,
                issuer: issuer(of)?,
            },
            RevocationTarget::Name { name, issuer: of } => {
                if !is_text(name, NAME_BYTES_MAX) {
                    return Err(RevocationFault::BadName);
                }
                if identity == DeviceIdentity::Fingerprint {
                    return Err(RevocationFault::NameIsFingerprint);
                }
                RevokedWhat::Name { name: name.clone(), issuer: of.as_deref().map(issuer).transpose()? }
            }
        };
        Ok(ResolvedRevocation { what, is_ca: false })
    }
}

impl RevocationTarget {
    /// If it is one.
    fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Fingerprint(text) => fingerprint(text),
            _ => None,
        }
    }
}

/// Lower-case digits without colons.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| digits.to_ascii_lowercase())
}

fn fingerprint(text: &str) -> Option<String> {
    digits(text).filter(|digits| digits.len() == 64)
}

/// As shown: whole bytes, and no zero byte first. One that is shown cut keeps its dots.
fn serial(text: &str) -> Option<String> {
    let (text, dots) = text.trim().strip_suffix("...").map_or((text, ""), |cut| (cut, "..."));
    let mut digits = digits(text).filter(|digits| !digits.is_empty())?;
    if digits.len() % 2 == 1 {
        digits.insert(0, '0');
    }
    while digits.len() > 2 && digits.starts_with("00") {
        digits.drain(..2);
    }
    let fits =
        digits.len() <= 2 * SERIAL_BYTES_MAX && (dots.is_empty() || digits.len() == 2 * SERIAL_BYTES_MAX);
    fits.then(|| digits + dots)
}

fn issuer(text: &str) -> Result<String, RevocationFault> {
    let text = as_shown(text);
    // Cut, undecodable or too long to be read.
    let is_whole = !text.ends_with("...") && !text.starts_with('(');
    if is_whole && is_text(&text, ISSUER_BYTES_MAX) {
        Ok(text.into_owned())
    } else {
        Err(RevocationFault::BadIssuer)
    }
}

/// openssl may print `O = Demo, CN = Meters` for `O=Demo, CN=Meters`. Only a text whose first
/// attribute is so is changed: no name is shown like that, but a value may have ` = ` in it.
fn as_shown(issuer: &str) -> Cow<'_, str> {
    if without_blanks(issuer).is_none() {
        return issuer.into();
    }
    let (mut shown, mut rest) = (String::new(), issuer);
    loop {
        if let Some((kind, value)) = without_blanks(rest) {
            shown.extend([kind, "="]);
            rest = value;
        }
        let ends = [", ", " + "].into_iter().filter_map(|between| Some(rest.find(between)? + between.len()));
        let Some((attribute, next)) = ends.min().and_then(|end| rest.split_at_checked(end)) else {
            return (shown + rest).into();
        };
        shown.push_str(attribute);
        rest = next;
    }
}

/// Type and value, if the text begins with ` = ` after a type.
fn without_blanks(attribute: &str) -> Option<(&str, &str)> {
    let is_type =
        |kind: &str| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    attribute.split_once(" = ").filter(|(kind, _)| is_type(kind))
}

fn is_text(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_that_several_are_shown_as_is_refused() {
        let cut = format!("O={}...", "a".repeat(155));
        for text in [&cut, "(cannot be decoded)", "(a very long name)", "", "O=\n", &"a".repeat(161)] {
            assert_eq!(issuer(text), Err(RevocationFault::BadIssuer), "{text}");
        }
        assert_eq!(issuer("O=Demo, CN=Meters").unwrap(), "O=Demo, CN=Meters");
    }

    #[test]
    fn a_name_that_is_a_fingerprint_is_refused() {
        let target = RevocationTarget::Name { name: "0f".repeat(32), issuer: None };
        let new = NewRevocation { target, reason: String::new() };
        for identity in DeviceIdentity::ALL {
            let fault = new.resolved(&HashMap::new(), identity).err();
            let expected =
                (identity == DeviceIdentity::Fingerprint).then_some(RevocationFault::NameIsFingerprint);
            assert_eq!(fault, expected, "{identity}");
        }
    }

    #[test]
    fn a_serial_number_is_read_as_it_is_shown() {
        let longest = "0f".repeat(20);
        let cases = [
            ("7f", Some("7f")),
            ("7F:01", Some("7f01")),
            ("701", Some("0701")),
            ("0", Some("00")),
            ("00", Some("00")),
            ("0000007f", Some("7f")),
            (" 00:AB ", Some("ab")),
            (&longest, Some(&*longest)),
            ("", None),
            (":", None),
            ("0x7f", None),
            ("-1", None),
            ("7f...", None),
        ];
        for (text, expected) in cases {
            assert_eq!(serial(text).as_deref(), expected, "{text}");
        }
        assert_eq!(serial(&format!("{longest}0f")), None);
        assert_eq!(serial(&format!("{longest}...")), Some(format!("{longest}...")));
    }

    #[test]
    fn an_issuer_is_read_as_it_is_shown_and_as_openssl_prints_it() {
        let cases = [
            ("O = Demo, CN = Meters", "O=Demo, CN=Meters"),
            ("O=Demo, CN=Meters", "O=Demo, CN=Meters"),
            ("CN = Meters", "CN=Meters"),
            ("O = Demo + OU = North, CN = Meters", "O=Demo + OU=North, CN=Meters"),
            ("2.5.4.97 = 7, CN = ä", "2.5.4.97=7, CN=ä"),
            ("O = Demo, Inc., CN = a = b", "O=Demo, Inc., CN=a = b"),
            ("O = , CN = Meters", "O=, CN=Meters"),
            ("O=a, b = c, CN=Meters", "O=a, b = c, CN=Meters"),
            ("CN=a = b", "CN=a = b"),
            ("Demo Meters = CN", "Demo Meters = CN"),
            (" = ", " = "),
        ];
        for (text, expected) in cases {
            assert_eq!(issuer(text).as_deref(), Ok(expected));
            let named = RevocationTarget::Name { name: "one".to_owned(), issuer: Some(text.to_owned()) };
            let new = NewRevocation { target: named, reason: String::new() };
            let what = new.resolved(&HashMap::new(), DeviceIdentity::Cn).map(|it| it.what);
            let RevokedWhat::Name { issuer, .. } = what.unwrap() else { panic!("{text}") };
            assert_eq!(issuer.as_deref(), Some(expected));
        }
    }

    #[test]
    fn texts_that_no_certificate_has_are_refused() {
        use RevocationFault::{BadFingerprint, BadIssuer, BadName, BadReason, BadSerial, UnknownFingerprint};
        let name = |name: &str, issuer: Option<&str>| RevocationTarget::Name {
            name: name.to_owned(),
            issuer: issuer.map(str::to_owned),
        };
        let serial = |issuer: &str, serial: &str| RevocationTarget::Serial {
            issuer: issuer.to_owned(),
            serial: serial.to_owned(),
        };
        let fingerprint = |text: &str| RevocationTarget::Fingerprint(text.to_owned());
        let cases = [
            (name("d", None), "", None),
            (name("d", None), &*"ä".repeat(200), None),
            (name("d", None), &*"ä".repeat(201), Some(BadReason)),
            (name("d", None), "lost\non the way", Some(BadReason)),
            (name("", None), "", Some(BadName)),
            (name(&"d".repeat(1_025), None), "", Some(BadName)),
            (name("d\0", None), "", Some(BadName)),
            (name("d", Some("")), "", Some(BadIssuer)),
            (serial("CN=A", "no"), "", Some(BadSerial)),
            (serial(&"A".repeat(161), "01"), "", Some(BadIssuer)),
            (fingerprint("00"), "", Some(BadFingerprint)),
            (fingerprint(&"0A:".repeat(32)), "", Some(UnknownFingerprint)),
        ];
        for (target, reason, expected) in cases {
            let new = NewRevocation { target, reason: reason.to_owned() };
            assert_eq!(new.resolved(&HashMap::new(), DeviceIdentity::Cn).err(), expected, "{new:?}");
        }
    }
}
