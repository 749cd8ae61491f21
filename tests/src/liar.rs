use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::{Leaf, Packet};

/// A server that shows one leaf for ever and answers each device as a broker would: the lie that a
/// checker of certificates has to find.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
}

impl Liar {
    /// Starts it on a free port; it ends with the test's process.
    pub fn showing(leaf: &Leaf) -> Self {
        let chain = std::iter::once(&leaf.der).chain(&leaf.intermediates);
        let chain = chain.map(|der| CertificateDer::from(der.clone())).collect();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that the provider has")
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(leaf.key_der.clone()).into())
            .expect("a leaf with its key");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let config = Arc::new(config);
        thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || answer(device, config));
            }
        });
        Self { address }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Errors are ignored: the device reports them.
fn answer(device: TcpStream, config: Arc<ServerConfig>) {
    let Ok(tls) = ServerConnection::new(config) else { return };
    let mut stream = StreamOwned::new(tls, device);
    if stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {
        let _ = stream.write_all(&Packet::CONNACK);
        let _ = stream.read(&mut [0; 1024]);
    }
}
