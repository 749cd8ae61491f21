//! Reads each field of the upload.

use std::collections::HashSet;

use crate::certificate::{Certificate, Unreadable};
use crate::chain::GivenCertificate;
use crate::encrypted_key::{self, DecryptFault};
use crate::finding::{Field, Finding, Item};
use crate::key_form::{self, KeyFault, ReadKey};
use crate::pem::{Block, Label};
use crate::private_key::{KeyProof, PrivateKey, Signer};
use crate::public_key::KeyKind;
use crate::unserved_key::unserved_key;
use crate::{Code, Replaced, Text, TlsType, Upload, field};

pub(crate) struct GivenKey {
    pub(crate) key: PrivateKey,
    pub(crate) kind: KeyKind,
    /// `None` if the key's parts contradict each other.
    pub(crate) proof: Option<KeyProof>,
}

/// OpenSSL clients verify at most 10 by default.
const CERTIFICATES_MAX: usize = 10;

/// A larger handshake message exceeds small devices' memory.
const CHAIN_BYTES_MAX: usize = 32 * 1024;

const CLIENT_CAS_MAX: usize = 100;

pub(crate) fn tls_type(
    upload: &Upload,
    replaces: Option<Replaced<'_>>,
    findings: &mut Vec<Finding>,
) -> Option<TlsType> {
    let mut say = |message| findings.push(Finding::new(Code::TlsTypeInvalid, Field::TlsType, None, message));
    match &upload.tls_type {
        Text::Given(_) if upload.keeps_client_trust() => {
            if replaces.is_none() {
                say("tlsType is \"keep\", and there is no certificate yet whose type could be kept.");
            }
            replaces.map(|replaced| replaced.tls_type)
        }
        Text::Given(text) => {
            let tls_type = TlsType::parse(text);
            if tls_type.is_none() {
                say("tlsType is none of \"one-way\", \"two-way\" and \"keep\".");
            }
            tls_type
        }
        Text::Absent => {
            say("tlsType is missing.");
            None
        }
        Text::NotText => {
            say("tlsType is not a string.");
            None
        }
    }
}

pub(crate) struct Cert {
    pub(crate) certificates: Vec<GivenCertificate>,
    pub(crate) is_whole: bool,
}

pub(crate) fn cert(upload: &Upload, findings: &mut Vec<Finding>) -> Cert {
    let said_before = error_count(findings);
    let mut cert = Cert { certificates: Vec::new(), is_whole: false };
    if field::is_empty(&upload.cert) {
        findings.push(Finding::new(Code::CertMissing, Field::Cert, None, "cert is missing or empty."));
        return cert;
    }
    let mut blocks = field::read(&upload.cert, Field::Cert, findings);
    let holds_key = blocks.iter().find(|block| block.label.is_private_key()).map(|block| block.index);
    blocks.retain(|block| !block.label.is_private_key() && block.label != Label::EcParameters);
    let blocks = only_certificates(blocks, Field::Cert, findings);
    let blocks = unique(blocks, Field::Cert, findings);
    match holds_key {
        Some(_) if blocks.is_empty() => findings.push(Finding::new(
            Code::CertNotInField,
            Field::Cert,
            None,
            "cert holds a private key and no certificate; cert and key may have been swapped.",
        )),
        Some(index) => findings.push(Finding::new(
            Code::KeyInCertField,
            Field::Cert,
            Some(Item { index, subject: None }),
            "cert holds a private key beside the certificates; it was ignored.",
        )),
        None if blocks.is_empty() && error_count(findings) == said_before => {
            findings.push(Finding::new(
                Code::CertNotInField,
                Field::Cert,
                None,
                "cert holds no certificate.",
            ));
        }
        None => {}
    }
    if blocks.len() > CERTIFICATES_MAX {
        let message =
            format!("cert holds {} different certificates; {CERTIFICATES_MAX} are allowed.", blocks.len());
        findings.push(Finding::new(Code::TooManyCertificates, Field::Cert, None, message));
        return cert;
    }
    let bytes: usize = blocks.iter().map(|block| block.der.len()).sum();
    if bytes > CHAIN_BYTES_MAX {
        let message = format!("The certificates have {bytes} bytes together; {CHAIN_BYTES_MAX} are allowed.");
        findings.push(Finding::new(Code::ChainTooLarge, Field::Cert, None, message));
        return cert;
    }
    cert.certificates = read_certificates(&blocks, Field::Cert, findings);
    cert.is_whole = error_count(findings) == said_before;
    cert
}

pub(crate) fn cacert(
    upload: &Upload,
    tls_type: Option<TlsType>,
    replaces: Option<Replaced<'_>>,
    findings: &mut Vec<Finding>,
) -> Vec<GivenCertificate> {
    let is_empty = field::is_empty(&upload.cacert);
    match tls_type {
        _ if upload.keeps_client_trust() => {
            if !is_empty {
                let message = "tlsType is \"keep\", and cacert is set: it would be ignored.";
                findings.push(Finding::new(Code::CaUnexpected, Field::Cacert, None, message));
            }
            return kept_client_cas(replaces, findings);
        }
        Some(TlsType::OneWay) if !is_empty => {
            let message = "tlsType is one-way, and cacert is set: clients would not be verified.";
            findings.push(Finding::new(Code::CaUnexpected, Field::Cacert, None, message));
            return Vec::new();
        }
        Some(TlsType::TwoWay) if is_empty => {
            let message = "tlsType is two-way, and cacert is missing or empty.";
            findings.push(Finding::new(Code::CaMissing, Field::Cacert, None, message));
            return Vec::new();
        }
        _ if is_empty => return Vec::new(),
        _ => {}
    }
    let said_before = error_count(findings);
    let mut blocks = field::read(&upload.cacert, Field::Cacert, findings);
    for block in blocks.extract_if(.., |block| block.label.is_private_key()) {
        let item = Some(Item { index: block.index, subject: None });
        let message = format!("Block {} of cacert is a private key.", block.index);
        findings.push(Finding::new(Code::CaHoldsKey, Field::Cacert, item, message));
    }
    let added = only_certificates(blocks, Field::Cacert, findings);
    if added.is_empty() && error_count(findings) == said_before {
        findings.push(Finding::new(Code::CaMissing, Field::Cacert, None, "cacert holds no certificate."));
    }
    // In front, so that an added one that is there already is the duplicate.
    let first = added.iter().map(|block| block.index + 1).max().unwrap_or_default();
    let blocks = certificate_blocks(&upload.added_to, first).chain(added).collect();
    let blocks = unique(blocks, Field::Cacert, findings);
    if blocks.len() > CLIENT_CAS_MAX {
        let message = format!("cacert holds {} different CAs; {CLIENT_CAS_MAX} are allowed.", blocks.len());
        findings.push(Finding::new(Code::TooManyClientCas, Field::Cacert, None, message));
        return Vec::new();
    }
    read_certificates(&blocks, Field::Cacert, findings)
}

/// An unreadable one refuses the upload: leaving it out would change the trust.
fn kept_client_cas(replaces: Option<Replaced<'_>>, findings: &mut Vec<Finding>) -> Vec<GivenCertificate> {
    let client_cas = replaces.map_or(&[] as &[_], |replaced| replaced.client_cas);
    let blocks: Vec<Block> = certificate_blocks(client_cas, 0).collect();
    read_certificates(&blocks, Field::Cacert, findings)
}

fn certificate_blocks(ders: &[Vec<u8>], first: usize) -> impl Iterator<Item = Block> {
    ders.iter().enumerate().map(move |(index, der)| Block {
        index: first + index,
        label: Label::Certificate,
        der: der.clone().into(),
    })
}

pub(crate) fn key(upload: &Upload, findings: &mut Vec<Finding>) -> Option<GivenKey> {
    let said_before = error_count(findings);
    if field::is_empty(&upload.key) {
        findings.push(Finding::new(Code::KeyMissing, Field::Key, None, "key is missing or empty."));
        return None;
    }
    let mut blocks = field::read(&upload.key, Field::Key, findings);
    let certificates = blocks.extract_if(.., |block| block.label == Label::Certificate).count();
    let parameters = blocks.extract_if(.., |block| block.label == Label::EcParameters).last();
    for block in
        blocks.extract_if(.., |block| !block.label.is_private_key() || block.label == Label::OpensshKey)
    {
        findings.push(foreign(&block, Field::Key));
    }
    if blocks.iter().any(|block| block.der != blocks[0].der) {
        let message = format!("key holds {} private keys; one is allowed.", blocks.len());
        findings.push(Finding::new(Code::MultipleKeys, Field::Key, None, message));
        return None;
    }
    let Some(block) = blocks.first() else {
        if error_count(findings) == said_before {
            let message = match certificates {
                0 => "key holds no private key.",
                _ => "key holds a certificate and no private key; cert and key may have been swapped.",
            };
            findings.push(Finding::new(Code::KeyNotInField, Field::Key, None, message));
        }
        return None;
    };
    if certificates > 0 {
        let message = "key holds certificates beside the private key; they were ignored.";
        findings.push(Finding::new(Code::CertificateInKeyField, Field::Key, None, message));
    }
    let password = key_password(upload, findings);
    let read = match key_form::read(block, parameters.as_ref().map(|block| block.der.as_slice())) {
        Err(KeyFault::Encrypted) if password.is_some() => {
            encrypted_key::open(&block.der, password.unwrap_or_default()).map_err(KeyFault::Decrypt).and_then(
                |der| {
                    // A wrong password can give valid padding by chance.
                    key_form::pkcs8(&der).unwrap_or(Err(KeyFault::Decrypt(DecryptFault::WrongPassword)))
                },
            )
        }
        read => {
            if password.is_some() && !matches!(read, Err(KeyFault::Encrypted)) {
                let message = "keyPassword is set, and the private key is not encrypted.";
                findings.push(Finding::new(Code::KeyPasswordUnused, Field::KeyPassword, None, message));
            }
            read
        }
    };
    match read {
        Ok(read) => Some(prove(read)),
        Err(fault) => {
            findings.push(key_fault(fault, block.index));
            None
        }
    }
}

const PASSWORD_BYTES_MAX: usize = 1024;

/// Not trimmed: white space may be the password.
fn key_password<'a>(upload: &'a Upload, findings: &mut Vec<Finding>) -> Option<&'a str> {
    let mut say = |code, message| findings.push(Finding::new(code, Field::KeyPassword, None, message));
    match &upload.key_password {
        Text::Absent => None,
        Text::NotText => {
            say(Code::NotText, "keyPassword is not a string.");
            None
        }
        Text::Given(password) if password.len() > PASSWORD_BYTES_MAX => {
            say(Code::FieldTooLarge, "keyPassword has more than 1 KiB.");
            None
        }
        Text::Given(password) => Some(password.as_str()).filter(|password| !password.is_empty()),
    }
}

fn prove(ReadKey { key, kind, public_key }: ReadKey) -> GivenKey {
    let signer = key.signer();
    let fits = |signer: &Signer, proof: &KeyProof| {
        signer.is_consistent(proof) && public_key.is_none_or(|public_key| signer.has_public_key(&public_key))
    };
    let proof = signer.and_then(|signer| signer.prove().filter(|proof| fits(&signer, proof)));
    GivenKey { key, kind, proof }
}

fn key_fault(fault: KeyFault, index: usize) -> Finding {
    let (code, message) = match fault {
        KeyFault::Encrypted => {
            (Code::KeyEncrypted, "The private key is encrypted with a passphrase.".to_owned())
        }
        KeyFault::Decrypt(DecryptFault::WrongPassword) => {
            (Code::KeyPasswordWrong, "keyPassword does not open the private key.".to_owned())
        }
        KeyFault::Decrypt(DecryptFault::Unsupported) => (
            Code::KeyEncryptionUnsupported,
            "The private key is encrypted in another way than PBES2 with AES and SHA-2 or scrypt.".to_owned(),
        ),
        KeyFault::Decrypt(DecryptFault::TooCostly) => (
            Code::KeyEncryptionUnsupported,
            "The private key's encryption asks for more work to open it than is spent on an upload."
                .to_owned(),
        ),
        KeyFault::Unreadable => {
            (Code::KeyUnreadable, "The private key's structure cannot be read.".to_owned())
        }
        KeyFault::NotAKey => (
            Code::KeyUnreadable,
            "The block is labelled as a private key and holds something else.".to_owned(),
        ),
        KeyFault::Kind(kind) => unserved_key(kind, "The private key"),
    };
    Finding::new(code, Field::Key, Some(Item { index, subject: None }), message)
}

fn only_certificates(mut blocks: Vec<Block>, field: Field, findings: &mut Vec<Finding>) -> Vec<Block> {
    for block in blocks.extract_if(.., |block| block.label != Label::Certificate) {
        findings.push(foreign(&block, field));
    }
    blocks
}

fn foreign(block: &Block, field: Field) -> Finding {
    let (code, is) = match block.label {
        Label::Csr => (Code::FormatCsr, "is a certificate signing request"),
        Label::Pkcs7 => (Code::FormatPkcs7, "is a PKCS#7 container"),
        Label::PublicKey => (Code::FormatPublicKey, "is a public key"),
        Label::OpensshKey => (Code::FormatOpenssh, "is an OpenSSH key"),
        Label::Crl => (Code::FormatCrl, "is a certificate revocation list"),
        Label::Pgp => (Code::FormatPgp, "belongs to PGP"),
        _ => (Code::PemUnknown, "is of a kind that does not belong here"),
    };
    let item = Some(Item { index: block.index, subject: None });
    Finding::new(code, field, item, format!("Block {} of {} {is}.", block.index, field.name()))
}

fn unique(mut blocks: Vec<Block>, field: Field, findings: &mut Vec<Finding>) -> Vec<Block> {
    let mut seen = HashSet::with_capacity(blocks.len());
    let again: HashSet<usize> =
        blocks.iter().filter(|block| !seen.insert(block.der.as_slice())).map(|block| block.index).collect();
    if let Some(first) = again.iter().min() {
        let message = match again.len() {
            1 => format!("Block {first} of {} is there twice; it is used once.", field.name()),
            count => format!("{count} blocks of {} repeat others; each is used once.", field.name()),
        };
        let item = Some(Item { index: *first, subject: None });
        findings.push(Finding::new(Code::DuplicateLeftOut, field, item, message));
    }
    blocks.retain(|block| !again.contains(&block.index));
    blocks
}

fn read_certificates(blocks: &[Block], field: Field, findings: &mut Vec<Finding>) -> Vec<GivenCertificate> {
    let mut certificates = Vec::with_capacity(blocks.len());
    for block in blocks {
        match Certificate::read(&block.der) {
            Ok(certificate) => certificates.push(GivenCertificate { index: block.index, certificate }),
            Err(fault) => findings.push(unreadable(fault, block, field)),
        }
    }
    certificates
}

fn unreadable(fault: Unreadable, block: &Block, field: Field) -> Finding {
    let index = block.index;
    let (code, why) = match fault {
        Unreadable::Structure if field::is_pkcs7(&block.der) => {
            (Code::FormatPkcs7, "is a PKCS#7 container by another label")
        }
        Unreadable::Structure if field::is_pkcs12(&block.der) => {
            (Code::FormatPkcs12, "is a PKCS#12 container by another label")
        }
        Unreadable::Validity => (Code::ValidityUnreadable, "has a notBefore or notAfter that is no time"),
        Unreadable::TrailingBytes => (Code::CertUnreadable, "has bytes behind its end"),
        Unreadable::Extension => (Code::CertUnreadable, "has an extension that is damaged or there twice"),
        Unreadable::Structure => (Code::CertUnreadable, "is no well-formed X.509 certificate"),
    };
    let item = Some(Item { index, subject: None });
    Finding::new(code, field, item, format!("Block {index} of {} {why}.", field.name()))
}

fn error_count(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.is_error()).count()
}
