//! RSASSA-PSS signatures with any salt length (RFC 4055 §3.1, RFC 8017 §8.1).
//!
//! webpki requires a salt as long as the hash; OpenSSL 3.0 by default uses the longest in
//! certificates. Otherwise webpki's policy: SHA-256, SHA-384 or SHA-512, the same in MGF1, RSA of
//! 2048 to 8192 bits.

use std::sync::OnceLock;

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPssSaltLength, VerificationAlgorithm as _,
};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pss {
    hash: Hash,
    salt_bytes: u16,
    identifier: AlgorithmIdentifier,
}

impl Pss {
    /// Without its SEQUENCE header.
    pub(crate) fn read(identifier: &[u8]) -> Option<Self> {
        let hash = Hash::ALL.into_iter().find(|hash| {
            let usual = hash.usual();
            [0..PARAMETERS_AT, HASHES_AT..SALT_AT]
                .into_iter()
                .all(|part| identifier.get(part.clone()) == usual.get(part))
        })?;
        let salt_bytes = match identifier.get(SALT_AT..)? {
            [] => SALT_BYTES_DEFAULT,
            [0xa2, 3, 2, 1, bytes] => u16::from(*bytes),
            [0xa2, 4, 2, 2, high, low] => u16::from_be_bytes([*high, *low]),
            _ => return None,
        };
        let known = hash.identifier(salt_bytes)?;
        // DER has one form per length.
        (known.as_ref() == identifier).then_some(Self { hash, salt_bytes, identifier: known })
    }

    /// A salt as long as the hash.
    pub(crate) fn is_usual(&self) -> bool {
        self.identifier == self.with_usual_salt()
    }

    /// The identifier with a salt as long as the hash.
    pub(crate) fn with_usual_salt(&self) -> AlgorithmIdentifier {
        self.hash.usual()
    }
}

impl SignatureVerificationAlgorithm for Pss {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let salt = RsaPssSaltLength::Custom(self.salt_bytes);
        let algorithm = self.hash.algorithm().with_pss_salt_length(salt);
        algorithm.verify_sig(public_key, message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.identifier
    }
}

/// RSA of 8192 bits with SHA-256 (RFC 8017 §9.1.1).
const SALT_BYTES_MAX: u16 = 1024 - 32 - 2;

/// Omitted in DER, as a default (RFC 4055 §3.1).
const SALT_BYTES_DEFAULT: u16 = 20;

/// Offsets: OID, parameters' header, the two hashes, salt length. The hashes' OIDs have equal
/// lengths.
const PARAMETERS_AT: usize = 11;
const HASHES_AT: usize = 13;
const SALT_AT: usize = 60;

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn algorithm(self) -> RsaParameters {
        match self {
            Self::Sha256 => RSA_PSS_2048_8192_SHA256,
            Self::Sha384 => RSA_PSS_2048_8192_SHA384,
            Self::Sha512 => RSA_PSS_2048_8192_SHA512,
        }
    }

    const fn usual(self) -> AlgorithmIdentifier {
        match self {
            Self::Sha256 => alg_id::RSA_PSS_SHA256,
            Self::Sha384 => alg_id::RSA_PSS_SHA384,
            Self::Sha512 => alg_id::RSA_PSS_SHA512,
        }
    }

    /// webpki needs a `'static` identifier, so each is built once and kept.
    fn identifier(self, salt_bytes: u16) -> Option<AlgorithmIdentifier> {
        const LENGTHS: usize = SALT_BYTES_MAX as usize + 1;
        static MADE: [[OnceLock<Vec<u8>>; LENGTHS]; 3] = [const { [const { OnceLock::new() }; LENGTHS] }; 3];
        let place = MADE[self as usize].get(usize::from(salt_bytes))?;
        let made: &'static Vec<u8> = place.get_or_init(|| self.encode(salt_bytes));
        Some(AlgorithmIdentifier::from_slice(made))
    }

    fn encode(self, salt_bytes: u16) -> Vec<u8> {
        let [high, low] = salt_bytes.to_be_bytes();
        let salt: &[u8] = match salt_bytes {
            SALT_BYTES_DEFAULT => &[],
            0..0x80 => &[0xa2, 3, 2, 1, low],
            _ => &[0xa2, 4, 2, 2, high, low],
        };
        let usual = self.usual();
        let parameters = [&usual[HASHES_AT..SALT_AT], salt].concat();
        // Below 128 bytes: a one-byte length.
        [&usual[..PARAMETERS_AT], &[0x30, parameters.len() as u8], &parameters].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_read_as_it_is_encoded_and_in_no_other_form() {
        for hash in Hash::ALL {
            for salt_bytes in 0..=SALT_BYTES_MAX {
                let identifier = hash.encode(salt_bytes);
                let read = Pss::read(&identifier).unwrap();
                assert_eq!((read.hash as u8, read.salt_bytes), (hash as u8, salt_bytes));
                assert!(Pss::read(&[&identifier[..], &[0]].concat()).is_none());
            }
            assert!(Pss::read(&hash.usual()).unwrap().is_usual());
            assert!(Pss::read(&hash.encode(SALT_BYTES_MAX + 1)).is_none());
        }
        let usual = Hash::Sha256.usual().to_vec();
        let with_salt = |salt: &[u8]| {
            let mut identifier = [&usual[..SALT_AT], salt].concat();
            identifier[PARAMETERS_AT + 1] = (identifier.len() - HASHES_AT) as u8;
            identifier
        };
        let two_hashes = [&usual[..HASHES_AT + 20], &Hash::Sha384.usual()[HASHES_AT + 20..]].concat();
        let others: [(&str, Vec<u8>); 8] = [
            ("the default written out", with_salt(&[0xa2, 3, 2, 1, SALT_BYTES_DEFAULT as u8])),
            ("one byte too many", with_salt(&[0xa2, 4, 2, 2, 0, 64])),
            ("a negative length", with_salt(&[0xa2, 3, 2, 1, 0xde])),
            ("a wrong length inside", with_salt(&[0xa2, 3, 2, 2, 64])),
            ("a trailer field", with_salt(&[0xa2, 3, 2, 1, 64, 0xa3, 3, 2, 1, 1])),
            ("another hash in MGF1", two_hashes),
            ("PKCS#1", alg_id::RSA_PKCS1_SHA256.to_vec()),
            ("nothing", Vec::new()),
        ];
        for (case, identifier) in others {
            assert!(Pss::read(&identifier).is_none(), "{case}");
        }
    }
}
