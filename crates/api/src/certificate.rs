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
    current: RwLock<Arc<ServerConfig>>,
}

impl HttpsCertificate {
    pub(crate) fn read(files: CertificateFiles) -> Result<Self, ApiError> {
        let config = configuration(&files)?;
        Ok(Self { files, current: RwLock::new(config) })
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        // Nothing panics while the lock is held.
        Arc::clone(&self.current.read())
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
        let config = configuration(&self.0.files)?;
        *self.0.current.write() = config;
        Ok(())
    }
}

fn configuration(files: &CertificateFiles) -> Result<Arc<ServerConfig>, ApiError> {
    let chain = read_chain(&files.cert)?;
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
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ApiError::NoCertificate(file.to_owned()))?;
    if chain.is_empty() { Err(ApiError::NoCertificate(file.to_owned())) } else { Ok(chain) }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, ApiError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| ApiError::NoKey(file.to_owned()))
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    std::fs::read(file).map(Zeroizing::new).map_err(|source| ApiError::File { file: file.to_owned(), source })
}
