//! Splits one field's text into PEM blocks.

use crate::finding::{Field, Finding, Item};
use crate::pem::{self, BLOCKS_MAX, Block, Damage, Label, ReadBlock};
use crate::text::{self, Repair, Repairs};
use crate::{Code, Text};

/// More than a whole request may have.
const FIELD_BYTES_MAX: usize = 256 * 1024;

impl Field {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TlsType => "tlsType",
            Self::Cert => "cert",
            Self::Key => "key",
            Self::KeyPassword => "keyPassword",
            Self::Cacert => "cacert",
            Self::Crl => "crl",
        }
    }
}

/// Absent, null, or white space only.
pub(crate) fn is_empty(text: &Text) -> bool {
    match text {
        Text::Absent => true,
        Text::NotText => false,
        Text::Given(text) => text.trim().is_empty(),
    }
}

/// Damage and repairs become findings.
pub(crate) fn read(text: &Text, field: Field, findings: &mut Vec<Finding>) -> Vec<Block> {
    let name = field.name();
    let mut say = |code, message: String| findings.push(Finding::new(code, field, None, message));
    let text = match text {
        Text::Given(text) => text,
        Text::NotText => {
            say(Code::NotText, format!("{name} is not a string."));
            return Vec::new();
        }
        Text::Absent => return Vec::new(),
    };
    if text.len() > FIELD_BYTES_MAX {
        say(Code::FieldTooLarge, format!("{name} has more than 256 KiB."));
        return Vec::new();
    }
    read_text(text, field, findings)
}

/// Of any size.
pub(crate) fn read_text(text: &str, field: Field, findings: &mut Vec<Finding>) -> Vec<Block> {
    let name = field.name();
    let mut say = |code, message: String| findings.push(Finding::new(code, field, None, message));
    if text::is_utf16(text) {
        say(Code::FormatUtf16, format!("{name} is UTF-16 text."));
        return Vec::new();
    }
    let mut repairs = Repairs::default();
    let text = text::clean(text, &mut repairs);
    let reading = pem::read(&text, &mut repairs);
    if reading.blocks.is_empty() {
        let (code, is) = name_whole(&text);
        say(code, format!("{name} {is}."));
        return Vec::new();
    }
    if reading.too_many {
        say(Code::TooManyBlocks, format!("{name} holds more than {BLOCKS_MAX} PEM blocks."));
        return Vec::new();
    }
    if !repairs.is_empty() && reading.blocks.iter().all(|block| matches!(block, ReadBlock::Block(_))) {
        say(Code::PemRepaired, format!("{name} was repaired: it had {}.", listed(&repairs)));
    }
    reading.blocks.into_iter().filter_map(|block| sound(block, field, findings)).collect()
}

fn sound(read: ReadBlock, field: Field, findings: &mut Vec<Finding>) -> Option<Block> {
    match read {
        // PEM in base64, put between BEGIN and END lines again.
        ReadBlock::Block(Block { index, der, .. }) if der.starts_with(PEM_BEGINNING) => {
            let message = format!("Block {index} of {} {IS_BASE64_PEM}.", field.name());
            let item = Some(Item { index, subject: None });
            findings.push(Finding::new(Code::FormatBase64Pem, field, item, message));
            None
        }
        ReadBlock::Block(block) => Some(block),
        ReadBlock::Damaged { index, label, damage } => {
            findings.push(damaged(field, index, label, damage));
            None
        }
    }
}

fn listed(repairs: &Repairs) -> String {
    repairs.iter().map(|repair: Repair| repair.to_string()).collect::<Vec<_>>().join(", ")
}

fn damaged(field: Field, index: usize, label: Label, damage: Damage) -> Finding {
    let block = format!("Block {index} of {}", field.name());
    let (code, rest) = match damage {
        Damage::Shortened => (Code::PemShortened, "was shortened: part of it is replaced by dots"),
        Damage::LegacyEncrypted => (
            Code::KeyEncrypted,
            "is a private key that is encrypted with a passphrase in OpenSSL's old form, which keyPassword does not open",
        ),
        Damage::NoEnd => (Code::PemUnreadable, "has no END line; it was cut off"),
        Damage::NoBegin => (Code::PemUnreadable, "has an END line and no BEGIN line"),
        Damage::LabelsDiffer => (Code::PemUnreadable, "begins with one label and ends with another"),
        Damage::Empty => (Code::PemUnreadable, "has nothing between its BEGIN and END lines"),
        Damage::Characters => (Code::PemUnreadable, "holds characters that are not base64"),
        Damage::HtmlEscaped => (Code::PemUnreadable, "is HTML-escaped (it holds '&')"),
        Damage::UrlEncoded => (Code::PemUnreadable, "is URL-encoded (it holds '%')"),
        Damage::FormDecoded => (
            Code::PemUnreadable,
            "has spaces where base64 has '+': it went through a form decoder (curl: use --data-binary or --json)",
        ),
        Damage::Length => (Code::PemUnreadable, "is not whole: characters are missing or were added"),
    };
    // A PGP block is not damaged base64.
    let (code, rest) = match (label, damage) {
        (Label::Pgp, Damage::Characters | Damage::Length) => (Code::FormatPgp, "belongs to PGP"),
        _ => (code, rest),
    };
    Finding::new(code, field, Some(Item { index, subject: None }), format!("{block} {rest}."))
}

/// Names the format. Paths are never opened, URLs never fetched.
fn name_whole(text: &str) -> (Code, &'static str) {
    let text = text.trim();
    if ["http://", "https://", "file:"].iter().any(|scheme| starts_with(text, scheme)) {
        return (Code::FormatUrl, "is an address, not a PEM text");
    }
    if ["ssh-", "ecdsa-sha2-"].iter().any(|kind| starts_with(text, kind)) {
        return (Code::FormatOpenssh, "is an OpenSSH public key");
    }
    // DER starts with a SEQUENCE, 0x30 (`0`), and has characters that no text has.
    if text.starts_with('0')
        && text.contains(|c: char| c == '\u{fffd}' || (c.is_control() && !c.is_whitespace()))
    {
        if begins_like_pkcs12(text) {
            return (Code::FormatPkcs12, "is a PKCS#12 container");
        }
        return (Code::FormatDer, "is binary DER, not a PEM text");
    }
    if is_path(text) {
        return (Code::FormatPath, "is the path of a file, not its content");
    }
    if text.contains(PEM_BEGINNING_BASE64) {
        return (Code::FormatBase64Pem, IS_BASE64_PEM);
    }
    match pem::raw_base64(text) {
        Some(content) if holds_pem(&content) => (Code::FormatBase64Pem, IS_BASE64_PEM),
        Some(content) if holds_pem_base64(&content) => {
            (Code::FormatBase64Pem, "is PEM text that was encoded in base64 twice")
        }
        Some(der) if is_pkcs12(&der) => (Code::FormatPkcs12, "is a PKCS#12 container in base64"),
        Some(der) if der.first() == Some(&0x30) => {
            (Code::FormatRawBase64, "is base64 without BEGIN and END lines")
        }
        _ if text.contains("BEGIN+") || text.contains("BEGIN%20") => {
            (Code::PemUnreadable, "is URL-encoded; decode it first")
        }
        _ if text.contains("BEGIN ") => {
            (Code::PemMissing, "holds a damaged BEGIN line: five dashes stand on each side of the label")
        }
        _ => (Code::PemMissing, "holds no PEM block"),
    }
}

const PEM_BEGINNING: &[u8] = b"-----BEGIN ";

/// As far as following bytes cannot change it. Found anywhere, as in the YAML of a Kubernetes
/// secret.
const PEM_BEGINNING_BASE64: &str = "LS0tLS1CRUdJTi";

const IS_BASE64_PEM: &str = "is PEM text in base64, as in the data of a Kubernetes secret";

/// Text may precede the first block.
fn holds_pem(content: &[u8]) -> bool {
    content.windows(PEM_BEGINNING.len()).any(|window| window == PEM_BEGINNING)
}

fn holds_pem_base64(content: &[u8]) -> bool {
    content.windows(PEM_BEGINNING_BASE64.len()).any(|window| window == PEM_BEGINNING_BASE64.as_bytes())
}

/// For bytes decoded as text: non-UTF-8 is replaced or lost, but the version after the SEQUENCE's
/// length (up to four bytes) survives.
fn begins_like_pkcs12(text: &str) -> bool {
    text.chars().take(9).collect::<String>().contains("\u{2}\u{1}\u{3}")
}

/// PFX ::= SEQUENCE { version INTEGER 3, … } (RFC 7292 §4).
pub(crate) fn is_pkcs12(der: &[u8]) -> bool {
    crate::der::sequence(der).is_some_and(|(_, content)| content.starts_with(&[0x02, 0x01, 0x03]))
}

/// ContentInfo ::= SEQUENCE { contentType OID 1.2.840.113549.1.7.…, … } (RFC 5652 §3).
pub(crate) fn is_pkcs7(der: &[u8]) -> bool {
    const OID_BEGINNING: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
    crate::der::sequence(der).is_some_and(|(_, content)| content.starts_with(OID_BEGINNING))
}

const PATH_BYTES_MAX: usize = 1024;

fn is_path(text: &str) -> bool {
    const ENDINGS: [&str; 8] = [".pem", ".crt", ".cer", ".key", ".der", ".p12", ".pfx", ".p7b"];
    let looks_like_one = ENDINGS.iter().any(|ending| ends_with(text, ending))
        || ["c:\\", "./", "~/", "@"].iter().any(|beginning| starts_with(text, beginning));
    text.len() <= PATH_BYTES_MAX && !text.contains('\n') && looks_like_one
}

/// Without a copy: the text may be a key.
fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

fn ends_with(text: &str, ending: &str) -> bool {
    let start = text.len().checked_sub(ending.len());
    start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}
