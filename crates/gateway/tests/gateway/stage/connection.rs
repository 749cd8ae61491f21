use std::{io, net::SocketAddr};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::TEST_TIMEOUT;

pub(crate) const CONNECT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc";

pub(crate) struct Connection(pub(crate) TlsStream<TcpStream>);

impl Connection {
    pub(crate) async fn echo(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await?;
        let mut back = vec![0; bytes.len()];
        tokio::time::timeout(TEST_TIMEOUT, self.0.read_exact(&mut back)).await??;
        assert_eq!(back, bytes);
        Ok(())
    }

    pub(crate) fn leaf(&self) -> Vec<u8> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.0.get_ref().0.local_addr().unwrap()
    }

    /// close_notify, with nothing before it.
    pub(crate) async fn ends_cleanly(&mut self) {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(TEST_TIMEOUT, self.0.read_to_end(&mut rest)).await;
        assert!(matches!(read, Ok(Ok(0))), "{read:?} {rest:?}");
    }
}
