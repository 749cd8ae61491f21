use std::{path::Path, sync::Arc};

use anyhow::Context;
use certward_pki::ClientRefusal;
use certward_store::Timestamp;
use rustls::{
    CertificateError, Error,
    client::danger::ServerCertVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;

use crate::{client::trusted_ca, connection::TrustedCa};

/// The CAs that a device is taken to trust.
pub(super) struct DeviceTrust {
    verifier: Arc<dyn ServerCertVerifier>,
    pub(super) is_of_file: bool,
}

impl DeviceTrust {
    /// Of a file, or of this machine.
    pub(super) fn read(file: Option<&Path>, provider: &Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let verifier = match file {
            Some(file) => {
                let ca = TrustedCa::read(file)?;
                trusted_ca::verifier(&ca, provider)?
            }
            None => {
                let verifier = Verifier::new(Arc::clone(provider));
                Arc::new(
                    verifier
                        .context("the CAs of this machine cannot be read; name some with --server-ca FILE")?,
                )
            }
        };
        Ok(Self { verifier, is_of_file: file.is_some() })
    }

    /// `Err`: why a device with these CAs would refuse the server.
    pub(super) fn verify(
        &self,
        chain: &[Vec<u8>],
        name: &ServerName<'static>,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut chain = chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = chain.next().ok_or("the server showed no certificate")?;
        let intermediates: Vec<_> = chain.collect();
        let now = UnixTime::since_unix_epoch(now.since(Timestamp(0)));
        match self.verifier.verify_server_cert(&leaf, &intermediates, name, &[], now) {
            Ok(_) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }
}

fn words(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for other names".to_owned()
        }
        error => match ClientRefusal::of(error) {
            ClientRefusal::UnknownIssuer | ClientRefusal::BadSignature => {
                "no trusted CA has issued it".to_owned()
            }
            ClientRefusal::IsCa => "it is a CA's certificate, which not all clients accept".to_owned(),
            refusal => refusal.to_string(),
        },
    }
}
