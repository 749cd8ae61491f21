//! Any DER as a client certificate, mainly version 1: the end entity, an intermediate, then client
//! CAs.
#![no_main]

use std::sync::{Arc, LazyLock};

use certward_fuzz::{NOW, parts};
use certward_pki::{ClientTrust, without_critical_policies};
use libfuzzer_sys::fuzz_target;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

fuzz_target!(|data: &[u8]| {
    let parts = parts(data);
    let [end_entity, intermediate, anchors @ ..] = parts.as_slice() else { return };
    let anchors = anchors.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let Ok(trust) = ClientTrust::new(anchors) else { return };
    let verifier = trust.verifier(&PROVIDER).expect("the anchors have been looked at");
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unix_timestamp() as u64));
    let intermediates: Vec<_> =
        [*intermediate].into_iter().filter(|der| !der.is_empty()).map(CertificateDer::from).collect();
    let verdict = verifier.verify_client_cert(&CertificateDer::from(*end_entity), &intermediates, now);
    // The normal form of a normal form is itself.
    if let Some(normal) = without_critical_policies(&CertificateDer::from(*end_entity)) {
        assert!(without_critical_policies(&normal).is_none(), "policies that stay critical");
    }
    // Bytes signed by an anchor are unchanged.
    if verdict.is_ok() {
        let refused = |changed: Vec<u8>| {
            verifier.verify_client_cert(&CertificateDer::from(changed), &intermediates, now).is_err()
        };
        assert!(refused([end_entity, &[0][..]].concat()), "bytes behind the certificate");
        for place in (0..end_entity.len()).step_by(16).chain([end_entity.len() - 1]) {
            let mut changed = end_entity.to_vec();
            changed[place] ^= 1;
            assert!(refused(changed), "byte {place} is not signed");
        }
    }
});
