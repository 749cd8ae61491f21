//! Any DER as a client's certificate, version 1 above all: the first part is the end entity, the second an
//! intermediate, the others are the client CAs.
#![no_main]

use std::sync::{Arc, LazyLock};

use certward_fuzz::{NOW, parts};
use certward_pki::ClientTrust;
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
    // Whom an anchor's signature vouches for is unchanged to the byte: nothing is added behind it or left out.
    if verdict.is_ok() {
        let again = verifier.verify_client_cert(
            &CertificateDer::from([end_entity, &[0][..]].concat()),
            &intermediates,
            now,
        );
        assert!(again.is_err(), "bytes behind the certificate");
    }
});
