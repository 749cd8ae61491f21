//! Reads the revocations that are asked for. Faults of all entries are collected, then refused
//! together.

use certward_lifecycle::{
    NewRevocation, REVOKED_AT_ONCE_MAX, RefusedRevocation, RevocationFault, RevocationTarget,
};
use certward_pki::Text;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use utoipa::ToSchema;

use crate::{
    any_json::{OfAnyJson, any_json},
    detail::Detail,
    error::Error,
    json::{self, FromFields},
    openapi::vocabulary::{
        DeviceNameText, GivenFingerprintText, GivenSerialText, PemText, ReasonText, ShownIssuerText,
    },
    refusal_code::RefusalCode,
};

/// Revocations to add; all or none.
#[derive(ToSchema)]
#[schema(as = NewRevocations)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewRevocationsBody {
    #[schema(min_items = 1, max_items = 1000)]
    revocations: Vec<NewRevocationBody>,
}

/// What to refuse: `certificate`, `fingerprint`, `issuer` with `serial`, or `name`, which may have
/// an `issuer`.
#[derive(ToSchema)]
#[schema(as = NewRevocation)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewRevocationBody {
    /// A device's certificate. Certificates with its issuer, serial number and public key are
    /// refused.
    #[schema(value_type = Option<PemText>)]
    certificate: Option<String>,
    /// That of a known device's certificate, as in the list of devices: as if the certificate was
    /// given.
    #[schema(value_type = Option<GivenFingerprintText>)]
    fingerprint: Option<String>,
    /// As in the lists of devices and of failed handshakes.
    #[schema(value_type = Option<ShownIssuerText>)]
    issuer: Option<String>,
    #[schema(value_type = Option<GivenSerialText>)]
    serial: Option<String>,
    /// Exactly as the broker receives it.
    #[schema(value_type = Option<DeviceNameText>)]
    name: Option<String>,
    /// For people.
    #[schema(value_type = Option<ReasonText>)]
    reason: Option<String>,
}

/// Where the fault is not one entry's.
const LIST: &str = "revocations";
const LIST_REMEDY: &str = r#"Give a list of 1 to 1000, for example {"revocations": [{"name": "meter-7"}]}."#;
const ENTRY_REMEDY: &str =
    "Give one of certificate, fingerprint, issuer with serial, and name, which may have an issuer.";

pub(crate) fn read(bytes: &[u8]) -> Result<Vec<NewRevocation>, Error> {
    let entries = json::object::<RevocationsFields>(bytes)?.0.entries().map_err(wrong_list)?;
    let read: Vec<_> = entries.into_iter().map(RevocationEntry::read).collect();
    if read.iter().all(Result::is_ok) {
        return Ok(read.into_iter().flatten().collect());
    }
    let wrong = read.into_iter().enumerate().filter_map(|(index, entry)| {
        let detail = match entry {
            Ok(new) => of_fault(new.fault()?),
            Err(detail) => *detail,
        };
        Some(detail.at(index))
    });
    Err(Error::Unprocessable(wrong.collect()))
}

fn wrong_list(fault: &str) -> Error {
    let message = format!("The property revocations is wrong: {fault}.");
    let detail = Detail::property(RefusalCode::RevocationInvalid, LIST, message, LIST_REMEDY);
    Error::Unprocessable(vec![detail])
}

pub(crate) fn wrong_count() -> Error {
    wrong_list(TOO_MANY)
}

const TOO_MANY: &str = "it has more than 1000 items";

/// What the lifecycle refuses.
pub(crate) fn refused(refused: &[RefusedRevocation]) -> Error {
    Error::Unprocessable(refused.iter().map(|it| of_fault(it.fault).at(it.index)).collect())
}

fn of_fault(fault: RevocationFault) -> Detail {
    use RevocationFault as Fault;
    let invalid = RefusalCode::RevocationInvalid;
    let (code, field, remedy) = match fault {
        Fault::UnknownFingerprint => (
            RefusalCode::FingerprintUnknown,
            "fingerprint",
            "Give the certificate itself, or its issuer and serial: a fingerprint alone does not say what to refuse.",
        ),
        Fault::BadFingerprint => (
            invalid,
            "fingerprint",
            "Give it as `openssl x509 -noout -fingerprint -sha256` prints it after the equals sign, or as the list of devices has it.",
        ),
        Fault::BadCertificate(_) => (
            invalid,
            "certificate",
            "Give the device's certificate alone, in PEM, without its chain and key.",
        ),
        Fault::CaCertificate => (
            invalid,
            "certificate",
            "To refuse what a client CA issued, remove it (certward trust remove); what an intermediate issued, set a CRL of its CA.",
        ),
        Fault::BadSerial => (
            invalid,
            "serial",
            "Give it in hexadecimal digits, as the list of devices has it, or as `openssl x509 -noout -serial` prints it after the equals sign.",
        ),
        Fault::BadIssuer => (invalid, "issuer", "Copy it from the list of devices or of failed handshakes."),
        Fault::BadName => (invalid, "name", "Give the name as the broker receives it."),
        Fault::NameIsFingerprint => (invalid, "name", "Give it as fingerprint, of a known device."),
        Fault::BadReason => (RefusalCode::TextInvalid, "reason", "Give one line of up to 200 characters."),
    };
    Detail::property(code, field, format!("The property {field} is wrong: {fault}."), remedy)
}

/// The list.
#[derive(Default)]
struct RevocationsFields(RevocationList);

#[derive(Default)]
enum RevocationList {
    #[default]
    Absent,
    NoList,
    /// `entries` are the first of `count`.
    Read {
        entries: Vec<RevocationEntry>,
        count: usize,
    },
}

enum RevocationEntry {
    NoObject,
    Read(EntryFields),
}

#[derive(Default)]
struct EntryFields {
    certificate: Text,
    fingerprint: Text,
    issuer: Text,
    serial: Text,
    name: Text,
    reason: Text,
}

impl FromFields for RevocationsFields {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        if name != LIST {
            return Ok(false);
        }
        self.0 = map.next_value_seed(any_json())?;
        Ok(true)
    }
}

impl RevocationList {
    fn entries(self) -> Result<Vec<RevocationEntry>, &'static str> {
        match self {
            Self::Absent => Err("it is missing"),
            Self::NoList => Err("it must be a list"),
            Self::Read { count: 0, .. } => Err("it is empty"),
            Self::Read { entries, count } if count > entries.len() => Err(TOO_MANY),
            Self::Read { entries, .. } => Ok(entries),
        }
    }
}

impl OfAnyJson for RevocationList {
    fn not_understood() -> Self {
        Self::NoList
    }

    fn null() -> Self {
        Self::Absent
    }

    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < REVOKED_AT_ONCE_MAX
            && let Some(entry) = items.next_element_seed(any_json())?
        {
            entries.push(entry);
        }
        let mut count = entries.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Self::Read { entries, count })
    }
}

impl OfAnyJson for RevocationEntry {
    fn not_understood() -> Self {
        Self::NoObject
    }

    fn object<'de, A: MapAccess<'de>>(fields: A) -> Result<Self, A::Error> {
        json::fields(fields).map(Self::Read)
    }
}

impl FromFields for EntryFields {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match name {
            "certificate" => &mut self.certificate,
            "fingerprint" => &mut self.fingerprint,
            "issuer" => &mut self.issuer,
            "serial" => &mut self.serial,
            "name" => &mut self.name,
            "reason" => &mut self.reason,
            _ => return Ok(false),
        };
        *field = map.next_value_seed(any_json())?;
        Ok(true)
    }
}

impl RevocationEntry {
    fn read(self) -> Result<NewRevocation, Box<Detail>> {
        let invalid = |field: &str, message: &str| {
            Box::new(Detail::property(RefusalCode::RevocationInvalid, field, message, ENTRY_REMEDY))
        };
        let Self::Read(fields) = self else {
            return Err(invalid(LIST, "The revocation must be an object."));
        };
        let EntryFields { certificate, fingerprint, issuer, serial, name, reason } = fields;
        let given = |field: &str, text: &Text| match text {
            Text::Absent => Ok(None),
            Text::Given(text) => Ok(Some(text.to_string())),
            Text::NotText => Err(invalid(field, &format!("The property {field} is wrong: it must be text."))),
        };
        let certificate = given("certificate", &certificate)?;
        let fingerprint = given("fingerprint", &fingerprint)?;
        let issuer = given("issuer", &issuer)?;
        let serial = given("serial", &serial)?;
        let name = given("name", &name)?;
        let reason = given("reason", &reason)?.unwrap_or_default();
        let target = match (certificate, fingerprint, issuer, serial, name) {
            (Some(certificate), None, None, None, None) => {
                RevocationTarget::Certificate(certificate.into_bytes())
            }
            (None, Some(fingerprint), None, None, None) => RevocationTarget::Fingerprint(fingerprint),
            (None, None, Some(issuer), Some(serial), None) => RevocationTarget::Serial { issuer, serial },
            (None, None, issuer, None, Some(name)) => RevocationTarget::Name { name, issuer },
            (None, None, None, Some(_), None) => {
                return Err(invalid(
                    "issuer",
                    "The property issuer is missing: a serial number is one of an issuer.",
                ));
            }
            (None, None, _, None, None) => {
                return Err(invalid(LIST, "The revocation does not say what to refuse."));
            }
            _ => {
                return Err(invalid(LIST, "The revocation says in several ways what to refuse."));
            }
        };
        Ok(NewRevocation { target, reason })
    }
}
