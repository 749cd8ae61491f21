use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::{ApiError, CertificateFiles};

/// A reload swaps one pointer; open connections keep their configuration.
#[derive(Debug)]
pub(crate) struct HttpsCertificate {
    files: CertificateFiles,
    current: RwLock<HttpsIdentity>,
}

#[derive(Debug)]
struct HttpsIdentity {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
}

impl HttpsCertificate {
    pub(crate) fn read(files: CertificateFiles) -> Result<Self, ApiError> {
        let served = HttpsIdentity::read(&files)?;
        Ok(Self { files, current: RwLock::new(served) })
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        // Nothing panics while the lock is held.
        Arc::clone(&self.current.read().config)
    }
}

/// Reads the certificate files again.
#[derive(Debug, Clone)]
pub struct Reloader(pub(crate) Arc<HttpsCertificate>);

impl Reloader {
    /// Uses the files for new connections.
    ///
    /// # Errors
    /// [`ApiError`]; the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), ApiError> {
        let served = HttpsIdentity::read(&self.0.files)?;
        *self.0.current.write() = served;
        Ok(())
    }

    /// The leaf in use, DER.
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.0.current.read().leaf.clone()
    }
}

impl CertificateFiles {
    /// The leaf, DER, if it can be served.
    ///
    /// # Errors
    /// [`ApiError`], as at a start.
    pub fn leaf(&self) -> Result<CertificateDer<'static>, ApiError> {
        HttpsIdentity::read(self).map(|identity| identity.leaf)
    }
}

impl HttpsIdentity {
    fn read(files: &CertificateFiles) -> Result<Self, ApiError> {
        let chain = read_chain(&files.cert)?;
        let leaf = chain.first().cloned().ok_or_else(|| ApiError::NoCertificate(files.cert.clone()))?;
        let config = configuration(files, chain)?;
        Ok(Self { config, leaf })
    }
}

fn configuration(
    files: &CertificateFiles,
    chain: Vec<CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, ApiError> {
    let key = read_key(&files.key)?;
    // Not another crate's process default.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| ApiError::Unservable { file: files.cert.clone(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, ApiError> {
    let text = read(file)?;
    // The dropped PEM error holds bytes of the file, possibly of a key.
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| ApiError::NoCertificate(file.to_owned()))
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, ApiError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| ApiError::NoKey(file.to_owned()))
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    std::fs::read(file).map(Zeroizing::new).map_err(|source| ApiError::File { file: file.to_owned(), source })
}
