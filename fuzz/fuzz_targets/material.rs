//! Any DER as a key and certificates.
#![no_main]

use certward_fuzz::{judged, parts, pem, text};
use certward_pki::{Bundle, ClientTrust, PrivateKey, Profile, Text, Upload, describe};
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

fuzz_target!(|data: &[u8]| {
    let parts = parts(data);
    let Some((key, certificates)) = parts.split_first() else { return };
    let chain: Vec<_> = certificates.iter().map(|der| CertificateDer::from(der.to_vec())).collect();

    let _ = Bundle::new(chain.clone(), PrivateKey::from_pkcs8_der(Zeroizing::new(key.to_vec())));
    if let Ok(trust) = ClientTrust::new(chain) {
        assert_eq!(trust.subjects().len(), trust.anchors().len());
    }
    for der in certificates {
        if let Some(facts) = describe(der) {
            for shown in [&facts.subject, &facts.issuer].into_iter().chain(&facts.names) {
                assert!(
                    shown.chars().all(|c| matches!(c, ' '..='~')),
                    "what is shown is harmless: {shown:?}"
                );
            }
        }
    }

    let cert: String = certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
    let judgement = judged(
        &Upload {
            tls_type: text("two-way"),
            cacert: text(cert.clone()),
            cert: text(cert),
            key: text(pem("PRIVATE KEY", key)),
            ..Upload::default()
        },
        Profile::Default,
    );
    // Every node rebuilds accepted material from its bytes.
    if let Some(material) = judgement.material {
        let key = Zeroizing::new(material.bundle.key().expose_pkcs8_der().to_vec());
        let again = Bundle::new(material.bundle.chain().to_vec(), PrivateKey::from_pkcs8_der(key));
        assert!(again.is_ok(), "{again:?}");
    }
});
