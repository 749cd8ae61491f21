use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::Error;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use time::OffsetDateTime;

use crate::{ClientRefusal, ClientTrust, ClientTrustError};

/// Verifies clients' chains outside of handshakes, as the handshake would.
pub struct ClientChainJudge(Arc<dyn ClientCertVerifier>);

impl ClientChainJudge {
    /// # Errors
    /// A client CA is unusable.
    pub fn new(trust: &ClientTrust) -> Result<Self, ClientTrustError> {
        trust.verifier(&Arc::new(aws_lc_rs::default_provider())).map(Self)
    }

    /// Why the chain (DER, the client's certificate first) is refused at this time.
    ///
    /// # Errors
    /// The refusal, of which `Display` is a plain sentence without a full stop.
    pub fn verify(&self, chain: &[impl AsRef<[u8]>], now: OffsetDateTime) -> Result<(), ClientRefusal> {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| der.as_ref().into()).collect();
        let (end_entity, intermediates) = chain.split_first().ok_or(ClientRefusal::Encoding)?;
        // No certificate is valid before 1970.
        let now = Duration::from_secs(u64::try_from(now.unix_timestamp()).unwrap_or(0));
        let verdict = self.0.verify_client_cert(end_entity, intermediates, UnixTime::since_unix_epoch(now));
        verdict.map(|_| ()).map_err(|error| match &error {
            Error::InvalidCertificate(error) => ClientRefusal::of(error),
            _ => ClientRefusal::Other,
        })
    }
}

impl fmt::Debug for ClientChainJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientChainJudge").finish_non_exhaustive()
    }
}
