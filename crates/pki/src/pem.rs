//! PEM text into blocks (RFC 7468), tolerant but without guessing.
//!
//! `rustls-pki-types` puts input into errors, and refuses repairable text. Linear: marks first,
//! then each BEGIN takes the next one.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::der::sequence;
use crate::text::{Repair, Repairs};
use crate::work;

/// 100 client CAs, each given twice, and some more.
pub(crate) const BLOCKS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Certificate,
    Pkcs8Key,
    Pkcs1Key,
    Sec1Key,
    EcParameters,
    EncryptedKey,
    DsaKey,
    OpensshKey,
    PublicKey,
    Csr,
    Pkcs7,
    Crl,
    Pgp,
    Other,
}

pub(crate) struct Block {
    /// The block's index in the field, from 0.
    pub(crate) index: usize,
    pub(crate) label: Label,
    /// Wiped: it may be a key.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Something was replaced by dots.
    Shortened,
    /// RFC 1421 headers.
    LegacyEncrypted,
    NoEnd,
    NoBegin,
    LabelsDiffer,
    Empty,
    Characters,
    /// `&#43;` and the like.
    HtmlEscaped,
    /// `%2B` and the like.
    UrlEncoded,
    /// Spaces for `+`, from a form decoder.
    FormDecoded,
    Length,
}

pub(crate) enum ReadBlock {
    Block(Block),
    Damaged { index: usize, label: Label, damage: Damage },
}

pub(crate) struct ReadPem {
    pub(crate) blocks: Vec<ReadBlock>,
    pub(crate) too_many: bool,
}

pub(crate) fn read(text: &str, repairs: &mut Repairs) -> ReadPem {
    let boundaries = boundaries(text);
    let mut reading = ReadPem { blocks: Vec::new(), too_many: false };
    let mut outside_from = 0;
    let mut boundaries = boundaries.into_iter().peekable();
    while let Some(boundary) = boundaries.next() {
        if reading.blocks.len() == BLOCKS_MAX {
            reading.too_many = true;
            return reading;
        }
        note_surroundings(&text[outside_from..boundary.start], repairs);
        outside_from = boundary.end;
        let index = reading.blocks.len();
        let label = boundary.label(repairs);
        let damaged = |damage| ReadBlock::Damaged { index, label, damage };
        if !boundary.begins {
            reading.blocks.push(damaged(Damage::NoBegin));
            continue;
        }
        let Some(end) = boundaries.next_if(|next| !next.begins) else {
            let body_end = boundaries.peek().map_or(text.len(), |next| next.start);
            let damage =
                if is_shortened(&text[boundary.end..body_end]) { Damage::Shortened } else { Damage::NoEnd };
            outside_from = body_end;
            reading.blocks.push(damaged(damage));
            continue;
        };
        outside_from = end.end;
        let body = &text[boundary.end..end.start];
        reading.blocks.push(match decode(body, repairs) {
            _ if boundary.name != end.name => damaged(Damage::LabelsDiffer),
            Ok(mut der) => {
                if boundary.name == TRUSTED_LABEL {
                    drop_trust(&mut der);
                }
                ReadBlock::Block(Block { index, label, der })
            }
            Err(damage) => damaged(damage),
        });
    }
    if !reading.blocks.is_empty() {
        note_surroundings(&text[outside_from..], repairs);
    }
    reading
}

/// Only to name the format.
pub(crate) fn raw_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    decode(text, &mut Repairs::default()).ok().filter(|der| der.len() >= RAW_BYTES_MIN)
}

/// Shorter base64 may be a word.
const RAW_BYTES_MIN: usize = 48;

/// A BEGIN or END line.
struct PemBoundary<'a> {
    begins: bool,
    name: &'a str,
    start: usize,
    end: usize,
}

const DASHES: &str = "-----";

/// Keeps the search linear.
const LABEL_BYTES_MAX: usize = 64;

fn boundaries(text: &str) -> Vec<PemBoundary<'_>> {
    let mut boundaries = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find(DASHES) {
        let start = from + found;
        // Skips a run of dashes at once, to stay linear.
        let word = text.len() - text[start..].trim_start_matches(['-', ' ']).len();
        work::bytes(word - from);
        match boundary_at(text, start, word) {
            Some(boundary) => {
                from = boundary.end;
                boundaries.push(boundary);
                if boundaries.len() > 2 * BLOCKS_MAX + 1 {
                    break;
                }
            }
            None => from = word,
        }
    }
    boundaries
}

fn boundary_at(text: &str, start: usize, word: usize) -> Option<PemBoundary<'_>> {
    let rest = &text[word..];
    let (begins, rest) = match rest.strip_prefix("BEGIN ") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("END ")?),
    };
    let label_bytes =
        rest.bytes().take(LABEL_BYTES_MAX).take_while(|b| matches!(b, b' '..=b'~' if *b != b'-')).count();
    let (name, after) = rest.split_at(label_bytes);
    let after = after.strip_prefix(DASHES)?;
    // Up to four more dashes belong to this boundary; five start the next, in files joined without
    // a line break.
    let further = after.trim_start_matches('-');
    let after = if after.len() - further.len() < DASHES.len() { further } else { after };
    Some(PemBoundary { begins, name: name.trim(), start, end: text.len() - after.len() })
}

impl PemBoundary<'_> {
    fn label(&self, repairs: &mut Repairs) -> Label {
        match self.name {
            "CERTIFICATE" => Label::Certificate,
            "X509 CERTIFICATE" | TRUSTED_LABEL => {
                repairs.note(Repair::Label);
                Label::Certificate
            }
            "PRIVATE KEY" => Label::Pkcs8Key,
            "RSA PRIVATE KEY" => Label::Pkcs1Key,
            "EC PRIVATE KEY" => Label::Sec1Key,
            "EC PARAMETERS" => Label::EcParameters,
            "ENCRYPTED PRIVATE KEY" => Label::EncryptedKey,
            "DSA PRIVATE KEY" => Label::DsaKey,
            "OPENSSH PRIVATE KEY" => Label::OpensshKey,
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "EC PUBLIC KEY" | "SSH2 PUBLIC KEY" => Label::PublicKey,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Label::Csr,
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Label::Pkcs7,
            "X509 CRL" => Label::Crl,
            name if name.starts_with("PGP ") => Label::Pgp,
            _ => Label::Other,
        }
    }
}

/// OpenSSL's label: a certificate, then trust settings.
const TRUSTED_LABEL: &str = "TRUSTED CERTIFICATE";

fn drop_trust(der: &mut Vec<u8>) {
    if let Some((trust, _)) = sequence(der) {
        let certificate_bytes = der.len() - trust.len();
        der.truncate(certificate_bytes);
    }
}

impl Label {
    pub(crate) fn is_private_key(self) -> bool {
        matches!(
            self,
            Self::Pkcs8Key
                | Self::Pkcs1Key
                | Self::Sec1Key
                | Self::EncryptedKey
                | Self::DsaKey
                | Self::OpensshKey
        )
    }
}

fn note_surroundings(outside: &str, repairs: &mut Repairs) {
    work::bytes(outside.len());
    if !outside.trim().is_empty() {
        repairs.note(Repair::Surroundings);
    } else if outside.lines().any(|line| !line.is_empty()) {
        repairs.note(Repair::Indentation);
    }
}

fn is_shortened(body: &str) -> bool {
    work::bytes(body.len());
    body.contains("...") || body.contains('\u{2026}') || body.contains("[snip]")
}

/// Some tools omit padding or set trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn decode(body: &str, repairs: &mut Repairs) -> Result<Zeroizing<Vec<u8>>, Damage> {
    work::bytes(body.len());
    if is_shortened(body) {
        return Err(Damage::Shortened);
    }
    if body.contains("Proc-Type:") && body.contains("ENCRYPTED") {
        return Err(Damage::LegacyEncrypted);
    }
    let content = body.trim();
    if content.is_empty() {
        return Err(Damage::Empty);
    }
    let one_line = !content.contains('\n');
    let spaces_inside = content.lines().any(|line| line.trim().contains(' '));
    let mut packed = Zeroizing::new(Vec::with_capacity(content.len()));
    packed.extend(content.bytes().filter(|b| !b.is_ascii_whitespace()));
    if !packed.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')) {
        return Err(foreign_characters(&packed));
    }
    let mut der = Zeroizing::new(vec![0_u8; packed.len().div_ceil(4) * 3]);
    // Spaces beside line breaks mean `+`, unless a whole SEQUENCE comes out.
    let is_form_decoded = spaces_inside && !one_line;
    let uneven = if is_form_decoded { Damage::FormDecoded } else { Damage::Length };
    let bytes = BASE64.decode_slice(packed.as_slice(), der.as_mut_slice()).map_err(|_| uneven)?;
    der.truncate(bytes);
    if is_form_decoded && !sequence(&der).is_some_and(|(rest, _)| rest.is_empty()) {
        return Err(Damage::FormDecoded);
    }
    note_layout(body, one_line, spaces_inside, packed.len(), repairs);
    Ok(der)
}

fn foreign_characters(packed: &[u8]) -> Damage {
    if packed.contains(&b'&') {
        Damage::HtmlEscaped
    } else if packed.contains(&b'%') {
        Damage::UrlEncoded
    } else {
        Damage::Characters
    }
}

/// PEM has 64 characters a line; OpenSSL reads 76.
const LINE_CHARS_MAX: usize = 76;

fn note_layout(body: &str, one_line: bool, spaces_inside: bool, packed_chars: usize, repairs: &mut Repairs) {
    if spaces_inside {
        repairs.note(Repair::SpacesForLineBreaks);
    } else if (one_line && packed_chars > LINE_CHARS_MAX) || !body.contains('\n') {
        repairs.note(Repair::OneLine);
    } else if body.lines().any(|line| line.trim() != line) {
        repairs.note(Repair::Indentation);
    }
}
