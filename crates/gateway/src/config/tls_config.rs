use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use certward_pki::{ClientTrust, ClientTrustError, Material};
use certward_store::{Clock, RecordBytes, TrustScope, VersionId};
use rustls::{
    CipherSuite, NoKeyLog, ServerConfig,
    compress::CompressionCache,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;

use crate::{
    Protocol,
    config::{
        client_check::{ClientCheck, TrustStamp},
        deployment_revocations::DeploymentRevocations,
        tickets::{KeyRing, ScopedTickets},
        verified_chains::VerifiedChains,
    },
};

/// Immutable, so that leaf, key, trust and ticket scope of versions never mix.
pub(crate) struct Identity {
    pub(crate) version: VersionId,
    pub(crate) trust_scope: TrustScope,
    pub(crate) verifier: Option<Arc<ClientCheck>>,
    /// What it verifies against.
    pub(crate) client_trust: Option<Arc<ClientTrust>>,
    mqtts: Arc<ServerConfig>,
    /// Built on first use: few deployments need it, and it is as large as the other.
    wss: OnceLock<Arc<ServerConfig>>,
}

/// rustls' `max_fragment_size` includes the record header.
const RECORD_HEADER: usize = 5;

#[derive(Debug, Error)]
pub(crate) enum Unservable {
    #[error("the TLS library refuses the private key: {0}")]
    Key(rustls::Error),
    #[error("the client CAs cannot be used: {0}")]
    Trust(#[from] ClientTrustError),
    #[error("the TLS library refuses the configuration: {0}")]
    Configuration(#[from] rustls::Error),
}

impl Identity {
    /// They differ in ALPN only.
    pub(crate) fn config(&self, protocol: Protocol) -> &Arc<ServerConfig> {
        match protocol {
            Protocol::Mqtts => &self.mqtts,
            Protocol::Wss => self.wss.get_or_init(|| {
                let mut wss = ServerConfig::clone(&self.mqtts);
                wss.alpn_protocols = vec![b"http/1.1".to_vec()];
                Arc::new(wss)
            }),
        }
    }

    /// The same material with these revocations, if it verifies clients.
    pub(crate) fn with_revocations(
        self: &Arc<Self>,
        revocations: Option<&Arc<DeploymentRevocations>>,
        factory: &TlsConfigFactory,
    ) -> Result<Arc<Self>, Unservable> {
        let Some(verifier) = &self.verifier else { return Ok(Arc::clone(self)) };
        if verifier.revocations().map(Arc::as_ptr) == revocations.map(Arc::as_ptr) {
            return Ok(Arc::clone(self));
        }
        let verifier = Arc::new(verifier.with(revocations.cloned()));
        let (resolver, tickets) = (Arc::clone(&self.mqtts.cert_resolver), Arc::clone(&self.mqtts.ticketer));
        let mqtts = factory.config(resolver, Some(Arc::<ClientCheck>::clone(&verifier)), tickets)?;
        Ok(Arc::new(Self {
            version: self.version,
            trust_scope: self.trust_scope,
            verifier: Some(verifier),
            client_trust: self.client_trust.clone(),
            mqtts: Arc::new(mqtts),
            wss: OnceLock::new(),
        }))
    }

    /// What its sessions are verified by.
    pub(crate) fn stamp(&self) -> TrustStamp {
        TrustStamp::new(self.trust_scope, self.verifier.as_deref())
    }

    /// For records of at most `record_bytes` of plaintext.
    pub(crate) fn config_for(&self, protocol: Protocol, record_bytes: u16) -> Arc<ServerConfig> {
        let config = self.config(protocol);
        if record_bytes >= RecordBytes::MAX {
            return Arc::clone(config);
        }
        let mut small = ServerConfig::clone(config);
        small.max_fragment_size = Some(usize::from(record_bytes) + RECORD_HEADER);
        Arc::new(small)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("version", &self.version)
            .field("trust_scope", &self.trust_scope)
            .field("two_way", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}

/// Shares parts: 0.3 KiB per identity instead of 9 KiB with rustls' defaults.
#[derive(Debug)]
pub(crate) struct TlsConfigFactory {
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
    ring: Arc<KeyRing>,
    session_storage: Arc<NoServerSessionStorage>,
    no_compression: Arc<CompressionCache>,
    no_key_log: Arc<NoKeyLog>,
    no_client_auth: Arc<dyn ClientCertVerifier>,
    chains: Arc<VerifiedChains>,
}

impl TlsConfigFactory {
    pub(crate) fn new(clock: Arc<dyn Clock>, ring: Arc<KeyRing>) -> Self {
        Self {
            provider: Arc::new(provider()),
            time: Arc::new(RustlsTime(clock)),
            ring,
            session_storage: Arc::new(NoServerSessionStorage {}),
            no_compression: Arc::new(CompressionCache::Disabled),
            no_key_log: Arc::new(NoKeyLog {}),
            no_client_auth: WebPkiClientVerifier::no_client_auth(),
            chains: Arc::default(),
        }
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    pub(crate) fn ticket_keys(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn chains(&self) -> usize {
        self.chains.len()
    }

    pub(crate) fn now(&self) -> Option<UnixTime> {
        self.time.current_time()
    }

    pub(crate) fn identity(
        &self,
        material: &Material,
        version: VersionId,
        trust_scope: TrustScope,
    ) -> Result<Identity, Unservable> {
        let chain: Vec<CertificateDer<'static>> = material.bundle.chain().to_vec();
        let key = aws_lc_rs::sign::any_supported_type(&material.bundle.key().expose_rustls())
            .map_err(Unservable::Key)?;
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let verifier = match &material.client_trust {
            Some(trust) => Some(Arc::new(self.client_check(trust, trust_scope, None)?)),
            None => None,
        };
        let tickets = Arc::new(ScopedTickets::new(Arc::clone(&self.ring), trust_scope));
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mqtts = self.config(resolver, verifier.clone(), tickets)?;
        let client_trust = material.client_trust.clone().map(Arc::new);
        let (mqtts, wss) = (Arc::new(mqtts), OnceLock::new());
        Ok(Identity { version, trust_scope, verifier, client_trust, mqtts, wss })
    }

    pub(crate) fn client_check(
        &self,
        trust: &ClientTrust,
        scope: TrustScope,
        revocations: Option<Arc<DeploymentRevocations>>,
    ) -> Result<ClientCheck, ClientTrustError> {
        let paths = self.chains.remembering(trust.verifier(&self.provider)?, scope);
        Ok(ClientCheck::new(paths, revocations))
    }

    fn config(
        &self,
        resolver: Arc<dyn ResolvesServerCert>,
        verifier: Option<Arc<ClientCheck>>,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<ServerConfig, Unservable> {
        let builder = ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
        let verifier: Arc<dyn ClientCertVerifier> = match verifier {
            Some(verifier) => verifier,
            None => Arc::clone(&self.no_client_auth),
        };
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
        // Tickets are bound to a trust scope, session ids are not.
        config.session_storage = Arc::<NoServerSessionStorage>::clone(&self.session_storage);
        config.cert_compression_cache = Arc::clone(&self.no_compression);
        config.key_log = Arc::<NoKeyLog>::clone(&self.no_key_log);
        config.cert_compressors = Vec::new();
        config.cert_decompressors = Vec::new();
        config.ticketer = tickets;
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        // Needed to send an alert when a limit refuses a device (`last_alert.rs`).
        config.enable_secret_extraction = true;
        // One ticket is enough for occasional resumption, and saves bytes and a sealing.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

/// AES-128-GCM first: SHA-256 has CPU instructions where SHA-384 has none, which saves a seventh of
/// a handshake; 128 bits match P-256 and X25519.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

#[derive(Debug)]
struct RustlsTime(Arc<dyn Clock>);

impl TimeProvider for RustlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_and_nothing_is_lost() {
        let suites: Vec<_> = provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
    }
}
