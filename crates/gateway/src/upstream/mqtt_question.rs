//! What is asked of a broker to learn whether it understands a connection, and what an answer is.
//!
//! Harmless: an MQTT 3.1.1 CONNECT with a clean session and no credentials, then DISCONNECT; or an
//! HTTP upgrade. Any answer counts, also a refusal: only a broker that understands one gives it.

use crate::Protocol;

/// MQTT 3.1.1 §3.14.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0x00];

/// The bytes of the question. `client_id`: 1 to 23 letters and digits, which every server takes
/// (MQTT-3.1.3-5). `host`: the upstream.
pub(super) fn question(protocol: Protocol, client_id: &str, host: &str) -> Vec<u8> {
    match protocol {
        Protocol::Mqtts => connect(client_id),
        Protocol::Wss => format!(
            "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: Y2VydHdhcmQgZG9jdG9yLg==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        .into_bytes(),
    }
}

/// MQTT 3.1.1 §3.1.
fn connect(client_id: &str) -> Vec<u8> {
    const CLEAN_SESSION: u8 = 0x02;
    const KEEP_ALIVE_SECONDS: u8 = 10;
    // At most 23 bytes: all lengths fit one byte.
    let id_bytes = u8::try_from(client_id.len()).unwrap_or(u8::MAX);
    let header = [0, 4, b'M', b'Q', b'T', b'T', 4, CLEAN_SESSION, 0, KEEP_ALIVE_SECONDS];
    let mut packet = vec![0x10, 12 + id_bytes];
    packet.extend_from_slice(&header);
    packet.extend_from_slice(&[0, id_bytes]);
    packet.extend_from_slice(client_id.as_bytes());
    packet
}

/// What the first bytes of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerSoFar {
    More,
    Understood,
    /// Not of this protocol.
    Foreign,
}

/// Looks at all bytes that have arrived.
pub(super) fn look_at(protocol: Protocol, bytes: &[u8]) -> AnswerSoFar {
    /// CONNACK: the type, and two bytes (MQTT 5 has more).
    const CONNACK: [u8; 1] = [0x20];
    const CONNACK_BYTES: usize = 4;
    let (beginning, whole): (&[u8], usize) = match protocol {
        Protocol::Mqtts => (&CONNACK, CONNACK_BYTES),
        Protocol::Wss => (b"HTTP/1.", b"HTTP/1.1 101".len()),
    };
    let compared = bytes.len().min(beginning.len());
    if bytes[..compared] != beginning[..compared] {
        AnswerSoFar::Foreign
    } else if bytes.len() < whole {
        AnswerSoFar::More
    } else {
        AnswerSoFar::Understood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_is_that_of_the_specification() {
        assert_eq!(
            question(Protocol::Mqtts, "ab", "h:1"),
            [0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 10, 0, 2, b'a', b'b']
        );
        let upgrade = question(Protocol::Wss, "ab", "h:1");
        let upgrade = String::from_utf8(upgrade).unwrap();
        assert!(upgrade.starts_with("GET /mqtt HTTP/1.1\r\nHost: h:1\r\n"), "{upgrade}");
        assert!(upgrade.ends_with("\r\n\r\n"), "{upgrade}");
    }

    #[test]
    fn an_answer_is_known_by_its_beginning() {
        use AnswerSoFar::{Foreign, More, Understood};
        let cases: [(Protocol, &[u8], AnswerSoFar); 12] = [
            (Protocol::Mqtts, b"", More),
            (Protocol::Mqtts, &[0x20], More),
            (Protocol::Mqtts, &[0x20, 2, 0], More),
            (Protocol::Mqtts, &[0x20, 2, 0, 0], Understood),
            // Refused: not authorised.
            (Protocol::Mqtts, &[0x20, 2, 0, 5], Understood),
            (Protocol::Mqtts, &[0x20, 3, 0, 0x84, 0], Understood),
            (Protocol::Mqtts, &[0x30], Foreign),
            (Protocol::Mqtts, b"HTTP/1.1 400", Foreign),
            (Protocol::Wss, b"HTTP", More),
            (Protocol::Wss, b"HTTP/1.1 101 Switching Protocols\r\n", Understood),
            (Protocol::Wss, b"HTTP/1.1 404 Not Found\r\n", Understood),
            (Protocol::Wss, &[0x20, 2, 0, 5], Foreign),
        ];
        for (protocol, bytes, so_far) in cases {
            assert_eq!(look_at(protocol, bytes), so_far, "{bytes:?}");
        }
    }
}
