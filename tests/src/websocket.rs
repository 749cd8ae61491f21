use std::io;

use crate::Session;

/// MQTT over WebSocket (RFC 6455): binary frames below 126 bytes.
#[derive(Debug)]
pub struct WebSocket {
    session: Session,
}

impl WebSocket {
    /// Upgrades the session at the path `/mqtt`.
    ///
    /// # Errors
    ///
    /// If the server does not switch protocols.
    pub fn upgrade(mut session: Session, host: &str) -> io::Result<Self> {
        session.send(
            format!(
                "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Protocol: mqtt\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(session.receive(1)?);
        }
        if head.starts_with(b"HTTP/1.1 101") {
            Ok(Self { session })
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()))
        }
    }

    /// Sends one binary frame.
    ///
    /// # Errors
    ///
    /// If the connection has closed.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short frame");
        // A client must mask (RFC 6455 §5.3); zeros leave the bytes unchanged.
        let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
        frame.extend(payload);
        self.session.send(&frame)
    }

    /// Receives the payload of one frame.
    ///
    /// # Errors
    ///
    /// If the connection closes before.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let head = self.session.receive(2)?;
        self.session.receive(usize::from(head[1] & 0x7f))
    }
}
