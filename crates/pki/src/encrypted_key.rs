//! Opens encrypted private keys (RFC 5958 §3).
//!
//! Only PBES2 (RFC 8018 §6.2) with AES and SHA-2 or scrypt: older schemes do not protect, and need
//! more code. The upload sets the derivation's cost, so it is bounded first.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters, Pbkdf2Prf};
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecryptFault {
    Unsupported,
    TooCostly,
    /// Or the key is damaged, which looks the same.
    WrongPassword,
}

/// OWASP's value for SHA-256, and step-ca's; openssl writes 2048. Below 0.1 s of one core.
const PBKDF2_ITERATIONS_MAX: u32 = 600_000;

/// OWASP's value for SHA-512: an iteration costs three times as much.
const PBKDF2_SHA512_ITERATIONS_MAX: u32 = 210_000;

/// scrypt's N·r·p, twice openssl's 2^14 · 8 · 1: at 128 bytes each, 32 MiB, which openssl opens
/// too.
const SCRYPT_BLOCKS_MAX: u64 = 1 << 18;

/// Returns PrivateKeyInfo. The library does not wipe the derived key from its stack.
pub(crate) fn open(der: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, DecryptFault> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| DecryptFault::Unsupported)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(DecryptFault::Unsupported);
    };
    bound(parameters)?;
    let mut opened = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let bytes =
        parameters.decrypt_in_place(password, &mut opened).map_err(|_| DecryptFault::WrongPassword)?.len();
    opened.truncate(bytes);
    Ok(opened)
}

fn bound(parameters: &Parameters) -> Result<(), DecryptFault> {
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) if kdf.prf == Pbkdf2Prf::HmacWithSha1 => Err(DecryptFault::Unsupported),
        Kdf::Pbkdf2(kdf) => {
            let most = match kdf.prf {
                Pbkdf2Prf::HmacWithSha224 | Pbkdf2Prf::HmacWithSha256 => PBKDF2_ITERATIONS_MAX,
                _ => PBKDF2_SHA512_ITERATIONS_MAX,
            };
            match kdf.iteration_count {
                0 => Err(DecryptFault::Unsupported),
                count if count <= most => Ok(()),
                _ => Err(DecryptFault::TooCostly),
            }
        }
        Kdf::Scrypt(kdf) => {
            let [n, r, p] = [kdf.cost_parameter, kdf.block_size.into(), kdf.parallelization.into()];
            match n.saturating_mul(r).saturating_mul(p) {
                // The library takes the logarithm of N, and panics at 0.
                _ if n < 2 || !n.is_power_of_two() => Err(DecryptFault::Unsupported),
                0 => Err(DecryptFault::Unsupported),
                1..=SCRYPT_BLOCKS_MAX => Ok(()),
                _ => Err(DecryptFault::TooCostly),
            }
        }
        _ => Err(DecryptFault::Unsupported),
    }
}
