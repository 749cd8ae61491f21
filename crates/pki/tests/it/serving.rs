//! Accepted material is served in a real handshake.

use std::sync::Arc;

use certward_pki::Material;
use certward_test_support::AnyServer;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(crate) fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    while server.is_handshaking() || client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// With TLS 1.2 and 1.3: the chain is sent, the key signs.
pub(crate) fn assert_served(material: &Material) {
    let bundle = &material.bundle;
    if let Some(trust) = &material.client_trust {
        trust.verifier(&provider()).unwrap();
    }
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(bundle.chain().to_vec(), bundle.key().expose_rustls().clone_key())
        .unwrap();
    let server = Arc::new(server);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider())))
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), "server".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        shake(&mut client, &mut server).unwrap();
        assert_eq!(client.peer_certificates().unwrap(), bundle.chain());
    }
}
