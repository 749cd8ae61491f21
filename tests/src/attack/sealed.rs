//! The client's half of a TLS session with records sealed here, for what no TLS library sends:
//! empty records, endless key updates, misplaced handshake messages (RFC 8446 §4.6.3, §5; RFC 5246
//! §6.2).

use std::{
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk},
};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, KeyLog, crypto::CryptoProvider};
use rustls_pki_types::ServerName;

use super::{Attacker, TlsVersion};
use crate::Device;

/// Content types (RFC 8446 §5.1).
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// Only the sending half.
pub(super) struct Sealed {
    socket: TcpStream,
    unsent: Vec<u8>,
    sealer: Sealer,
}

struct Sealer {
    version: TlsVersion,
    /// Of the next keys (TLS 1.3).
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealed {
    pub(super) fn open(attacker: &Attacker, host: &str, version: TlsVersion) -> io::Result<Self> {
        let secrets = Arc::<Secrets>::default();
        let mut socket = attacker.connect()?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = config(&attacker.device, version, &secrets);
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        let sealer = match version {
            TlsVersion::Tls13 => Sealer::of_secret(secrets.client()?),
            TlsVersion::Tls12 => Sealer::of_connection(tls)?,
        };
        Ok(Self { socket, unsent: Vec::new(), sealer })
    }

    /// TLS 1.3, and queues these bytes.
    pub(super) fn saying(attacker: &Attacker, host: &str, words: &[u8]) -> io::Result<Self> {
        let mut session = Self::open(attacker, host, TlsVersion::Tls13)?;
        session.seal(APPLICATION_DATA, words);
        session.send()?;
        Ok(session)
    }

    pub(super) fn seal(&mut self, kind: u8, content: &[u8]) {
        self.seal_padded(kind, content, 0);
    }

    /// TLS 1.3 only.
    pub(super) fn seal_padded(&mut self, kind: u8, content: &[u8], padding: usize) {
        let record = self.sealer.seal(kind, content, padding);
        self.unsent.extend(record);
    }

    /// RFC 8446 §4.6.3.
    pub(super) fn update_keys(&mut self, answer_wanted: bool) {
        const KEY_UPDATE: u8 = 24;
        self.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, u8::from(answer_wanted)]);
        self.sealer = Sealer::of_secret(expand(&self.sealer.secret, "traffic upd", 32));
    }

    /// Whether everything is sent: nothing piles up.
    pub(super) fn send(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn forget_answers(&mut self) -> io::Result<()> {
        super::forget_answers(&mut self.socket)
    }

    pub(super) fn forget_some_answers(&mut self, bytes: usize) -> io::Result<()> {
        match self.socket.read(&mut vec![0; bytes]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Sealer {
    fn of_secret(secret: Vec<u8>) -> Self {
        let (key, iv) = (expand(&secret, "key", 16), expand(&secret, "iv", 12));
        Self { version: TlsVersion::Tls13, key: aead(&key), iv: twelve(&iv), secret, sequence: 0 }
    }

    fn of_connection(tls: ClientConnection) -> io::Result<Self> {
        let secrets = tls.dangerous_extract_secrets().map_err(io::Error::other)?;
        let (sequence, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            return Err(io::Error::other("another cipher suite"));
        };
        let (key, iv) = (aead(key.as_ref()), twelve(iv.as_ref()));
        Ok(Self { version: TlsVersion::Tls12, secret: Vec::new(), key, iv, sequence })
    }

    fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        let mut sealed = content.to_vec();
        let length = |bytes: usize| u16::try_from(bytes).expect("a record").to_be_bytes();
        let (head, aad) = match self.version {
            TlsVersion::Tls13 => {
                sealed.push(kind);
                sealed.resize(sealed.len() + padding, 0);
                let [high, low] = length(sealed.len() + AES_128_GCM.tag_len());
                let head = vec![APPLICATION_DATA, 3, 3, high, low];
                (head.clone(), head)
            }
            TlsVersion::Tls12 => {
                let [high, low] = length(8 + sealed.len() + AES_128_GCM.tag_len());
                let head = [&[kind, 3, 3, high, low], &nonce[4..]].concat();
                let [high, low] = length(sealed.len());
                (head, [&self.sequence.to_be_bytes()[..], &[kind, 3, 3, high, low]].concat())
            }
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).expect("a record seals");
        self.sequence += 1;
        [head, sealed].concat()
    }
}

fn aead(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("sixteen bytes"))
}

fn twelve(bytes: &[u8]) -> [u8; 12] {
    bytes.try_into().expect("twelve bytes")
}

/// HKDF-Expand-Label without a context (RFC 8446 §7.1).
fn expand(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = format!("tls13 {label}");
    let byte = |length: usize| u8::try_from(length).expect("a short length");
    let info = [&[0, byte(length), byte(label.len())], label.as_bytes(), &[0]].concat();
    let mut out = vec![0; length];
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    secret.expand(&[&info], Length(length)).and_then(|okm| okm.fill(&mut out)).expect("a short output");
    out
}

/// With the suites sealed here, and key logging.
fn config(device: &Device, version: TlsVersion, secrets: &Arc<Secrets>) -> Arc<ClientConfig> {
    let device = match version {
        TlsVersion::Tls13 => device.clone().with_tls13(),
        TlsVersion::Tls12 => device.clone().with_tls12(),
    };
    let mut config = ClientConfig::clone(&device.with_provider(sealable()).config());
    config.key_log = Arc::clone(secrets) as Arc<dyn KeyLog>;
    config.enable_secret_extraction = true;
    Arc::new(config)
}

fn sealable() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| {
        matches!(
            suite.suite(),
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
                | rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<u8>>);

impl Secrets {
    fn client(&self) -> io::Result<Vec<u8>> {
        let secret = self.0.lock().unwrap().clone();
        if secret.is_empty() { Err(io::Error::other("no secret was told")) } else { Ok(secret) }
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}
