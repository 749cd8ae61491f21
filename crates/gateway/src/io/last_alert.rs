//! A fatal alert after the handshake.
//!
//! rustls sends alerts only for faults of the peer. A client that a deployment's limit refuses gets
//! `access_denied` (RFC 8446 §6.2), sealed here with the connection's keys, which are then dropped.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ProtocolVersion,
    crypto::cipher::{AeadKey, Iv, Nonce as RecordNonce},
};

const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const FATAL: u8 = 2;
/// The version in records of TLS 1.2 and 1.3.
const RECORD_VERSION: [u8; 2] = [3, 3];

/// As a record with this `sequence` number. `None`: an unsupported suite.
pub(crate) fn sealed(
    (sequence, secrets): (u64, ConnectionTrafficSecrets),
    version: ProtocolVersion,
    description: AlertDescription,
) -> Option<Vec<u8>> {
    let (algorithm, key, iv) = parts(&secrets)?;
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
    let nonce = RecordNonce::new(iv, sequence).0;
    let alert = [FATAL, description.into()];
    match version {
        ProtocolVersion::TLSv1_3 => sealed_1_3(&key, algorithm, nonce, alert),
        ProtocolVersion::TLSv1_2 => sealed_1_2(&key, algorithm, nonce, sequence, alert),
        _ => None,
    }
}

fn parts(secrets: &ConnectionTrafficSecrets) -> Option<(&'static Algorithm, &AeadKey, &Iv)> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => Some((&AES_128_GCM, key, iv)),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => Some((&AES_256_GCM, key, iv)),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Some((&CHACHA20_POLY1305, key, iv)),
        _ => None,
    }
}

/// Content type last; the header is additional data (RFC 8446 §5.2).
fn sealed_1_3(
    key: &LessSafeKey,
    algorithm: &Algorithm,
    nonce: [u8; 12],
    [level, description]: [u8; 2],
) -> Option<Vec<u8>> {
    let mut content = vec![level, description, ALERT];
    let header = header(APPLICATION_DATA, content.len() + algorithm.tag_len())?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut content).ok()?;
    Some([&header[..], &content].concat())
}

/// Additional data: sequence number and length (RFC 5246 §6.2.3.3). AES-GCM sends its nonce from
/// byte 4 on (RFC 5288 §3), ChaCha20-Poly1305 none (RFC 7905 §2).
fn sealed_1_2(
    key: &LessSafeKey,
    algorithm: &'static Algorithm,
    nonce: [u8; 12],
    sequence: u64,
    alert: [u8; 2],
) -> Option<Vec<u8>> {
    let explicit = if algorithm == &CHACHA20_POLY1305 { &[][..] } else { &nonce[4..] };
    let mut content = alert.to_vec();
    let mut beside = [0; 13];
    beside[..8].copy_from_slice(&sequence.to_be_bytes());
    beside[8..].copy_from_slice(&header(ALERT, content.len())?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(beside), &mut content)
        .ok()?;
    Some([&header(ALERT, explicit.len() + content.len())?[..], explicit, &content].concat())
}

fn header(content_type: u8, len: usize) -> Option<[u8; 5]> {
    let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
    Some([content_type, RECORD_VERSION[0], RECORD_VERSION[1], high, low])
}
