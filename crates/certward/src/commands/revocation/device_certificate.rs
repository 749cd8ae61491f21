//! The device's certificate in a file that may hold its chain and key too.

use std::path::Path;

use certward_pki::describe;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{input, usage::UsageError};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The PEM of the only certificate that is no CA's; of the first if all are. A file of one block is
/// left to the server, which knows more formats.
///
/// # Errors
/// [`UsageError`] if there are several: which of them is not guessed.
pub(super) fn device_certificate<'a>(file: &Path, text: &'a str) -> Result<&'a str, UsageError> {
    if text.matches("-----BEGIN ").count() < 2 {
        return Ok(text);
    }
    let certificates = certificates(text);
    let of_devices: Vec<&str> = certificates.iter().copied().filter(|pem| !is_ca(pem)).collect();
    match (of_devices.as_slice(), certificates.first()) {
        ([one], _) => Ok(one),
        ([], first) => Ok(first.copied().unwrap_or(text)),
        (several, _) => Err(UsageError::new(format!(
            "{} holds {} certificates that are no CA's: give each in a file of its own, with --cert for each",
            input::name(file),
            several.len()
        ))),
    }
}

/// The blocks, from BEGIN to END.
fn certificates(text: &str) -> Vec<&str> {
    let blocks = text.match_indices(BEGIN).map(|(at, _)| &text[at..]);
    blocks.map(|block| block.find(END).map_or(block, |end| &block[..end + END.len()])).collect()
}

/// What cannot be read is none: the server says what is wrong with it.
fn is_ca(pem: &str) -> bool {
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    der.ok().and_then(|der| describe(&der)).is_some_and(|facts| facts.is_ca)
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;

    use super::*;

    #[test]
    fn the_certificate_that_is_no_ca_is_taken_and_the_key_stays() {
        let (root, other) = (Authority::new("Meters"), Authority::new("Valves"));
        let (leaf, second) = (root.client("meter-7"), root.client("meter-8"));
        let (ca, pem) = (root.pem(), leaf.pem.trim_end());
        let file = Path::new("meter-7.pem");
        let one = |text: String| device_certificate(file, &text).map(str::to_owned);
        for (text, taken) in [
            (leaf.pem.clone(), leaf.pem.as_str()),
            (format!("subject=CN=meter-7\n{}{ca}", leaf.pem), pem),
            (format!("{ca}{}", leaf.pem), pem),
            (format!("{}{}", leaf.key_pem, leaf.pem), pem),
            (format!("{ca}{}", other.pem()), ca.trim_end()),
            ("no PEM".to_owned(), "no PEM"),
            (leaf.key_pem.repeat(2), &leaf.key_pem.repeat(2)),
        ] {
            assert_eq!(one(text.clone()).unwrap(), taken, "{text}");
        }
        let several = one(format!("{}{ca}{}", leaf.pem, second.pem)).unwrap_err().to_string();
        assert!(several.starts_with("meter-7.pem holds 2 certificates that are no CA's: "), "{several}");
    }
}
