//! Private keys that are encrypted with a password (RFC 5958 §3), opened when the uploader gives it.
//!
//! Only PBES2 (RFC 8018 §6.2) with AES and SHA-2 or scrypt is opened: whatever is older is no protection, and what it
//! takes to open it is code that nothing else here needs. The cost of deriving the key stands in the upload, so it is
//! looked at before anything is derived.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters, Pbkdf2Prf};
use zeroize::Zeroizing;

/// Why an encrypted key stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Not PBES2, or with algorithms that are not served.
    Unsupported,
    /// Deriving the key would cost more than is spent on an upload.
    TooCostly,
    /// The password is wrong; a damaged key looks the same.
    WrongPassword,
}

/// What OWASP recommends for SHA-256 and step-ca writes; openssl writes 2048. Less than 0.1 s of one core.
const PBKDF2_ITERATIONS_MAX: u32 = 600_000;

/// What OWASP recommends for SHA-512, an iteration of which costs three times as much.
const PBKDF2_SHA512_ITERATIONS_MAX: u32 = 210_000;

/// scrypt's N·r·p, twice what openssl writes (2^14 · 8 · 1): at 128 bytes each, the 32 MiB that openssl opens, too.
const SCRYPT_BLOCKS_MAX: u64 = 1 << 18;

/// Opens EncryptedPrivateKeyInfo into PrivateKeyInfo. The derived key is not wiped by the library: it lives on its stack
/// for the length of the call.
pub(crate) fn open(der: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| Closed::Unsupported)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(Closed::Unsupported);
    };
    bound(parameters)?;
    let mut opened = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let bytes = parameters.decrypt_in_place(password, &mut opened).map_err(|_| Closed::WrongPassword)?.len();
    opened.truncate(bytes);
    Ok(opened)
}

fn bound(parameters: &Parameters) -> Result<(), Closed> {
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) if kdf.prf == Pbkdf2Prf::HmacWithSha1 => Err(Closed::Unsupported),
        Kdf::Pbkdf2(kdf) => {
            let most = match kdf.prf {
                Pbkdf2Prf::HmacWithSha224 | Pbkdf2Prf::HmacWithSha256 => PBKDF2_ITERATIONS_MAX,
                _ => PBKDF2_SHA512_ITERATIONS_MAX,
            };
            match kdf.iteration_count {
                0 => Err(Closed::Unsupported),
                count if count <= most => Ok(()),
                _ => Err(Closed::TooCostly),
            }
        }
        Kdf::Scrypt(kdf) => {
            let [n, r, p] = [kdf.cost_parameter, kdf.block_size.into(), kdf.parallelization.into()];
            match n.saturating_mul(r).saturating_mul(p) {
                // The library takes the logarithm of N as it comes, and panics at 0.
                _ if n < 2 || !n.is_power_of_two() => Err(Closed::Unsupported),
                0 => Err(Closed::Unsupported),
                1..=SCRYPT_BLOCKS_MAX => Ok(()),
                _ => Err(Closed::TooCostly),
            }
        }
        _ => Err(Closed::Unsupported),
    }
}
