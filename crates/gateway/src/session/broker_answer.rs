//! Whether a broker's first bytes accept the device, which makes it a known one.
//!
//! A CONNACK with code 0 (MQTT 5.0 §3.2, 3.1.1 §3.2), after any AUTH of an enhanced authentication
//! (MQTT 5.0 §4.12); on a WebSocket it is in frames. Read byte by byte: nothing is
//! buffered.

use crate::{
    Protocol,
    session::web_socket::{ServerByte, WebSocketReader},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokerAnswer {
    web_socket: Option<WebSocketReader>,
    packet: AnswerPacket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerPacket {
    /// At the first byte of a packet.
    Type,
    /// In a packet's remaining length, with what was read of it.
    RemainingLength {
        is_auth: bool,
        value: u32,
        shift: u8,
    },
    /// Within an AUTH packet: the bytes left, at least one.
    Auth(u32),
    ConnackFlags,
    ConnackCode,
    Accepts,
    /// It refuses the device, or is something else.
    Refuses,
}

const CONNACK: u8 = 0x20;
const AUTH: u8 = 0xf0;
/// Flags and code; MQTT 5 adds properties.
const CONNACK_LEN_MIN: u32 = 2;
/// Four bytes at most (MQTT 5.0 §1.5.5).
const LAST_SHIFT: u8 = 21;

impl BrokerAnswer {
    pub(crate) fn awaited(protocol: Protocol) -> Self {
        let web_socket = match protocol {
            Protocol::Mqtts => None,
            Protocol::Wss => Some(WebSocketReader::new()),
        };
        Self { web_socket, packet: AnswerPacket::Type }
    }

    /// Nothing changes from now on.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.packet, AnswerPacket::Accepts | AnswerPacket::Refuses)
    }

    /// `true` exactly once: with the bytes that accept.
    pub(crate) fn accepts_with(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.is_decided() {
                return false;
            }
            self.packet = self.after(*byte);
            if self.packet == AnswerPacket::Accepts {
                return true;
            }
        }
        false
    }

    fn after(&mut self, byte: u8) -> AnswerPacket {
        match self.web_socket.as_mut().map_or(ServerByte::Data, |reader| reader.read(byte)) {
            ServerByte::Data => self.packet.after(byte),
            ServerByte::Framing => self.packet,
            ServerByte::Wrong => AnswerPacket::Refuses,
        }
    }
}

impl AnswerPacket {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Type => match byte {
                CONNACK => Self::RemainingLength { is_auth: false, value: 0, shift: 0 },
                AUTH => Self::RemainingLength { is_auth: true, value: 0, shift: 0 },
                _ => Self::Refuses,
            },
            Self::RemainingLength { is_auth, value, shift } => {
                let value = value | u32::from(byte & 0x7f) << shift;
                match (byte & 0x80, is_auth) {
                    (0, true) => Self::auth(value),
                    (0, false) if value >= CONNACK_LEN_MIN => Self::ConnackFlags,
                    (0, false) => Self::Refuses,
                    _ if shift == LAST_SHIFT => Self::Refuses,
                    _ => Self::RemainingLength { is_auth, value, shift: shift + 7 },
                }
            }
            Self::Auth(left) => Self::auth(left - 1),
            Self::ConnackFlags => Self::ConnackCode,
            Self::ConnackCode if byte == 0 => Self::Accepts,
            Self::ConnackCode | Self::Accepts | Self::Refuses => Self::Refuses,
        }
    }

    /// `left`: bytes of the packet.
    fn auth(left: u32) -> Self {
        if left == 0 { Self::Type } else { Self::Auth(left) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_an_accepting_connack_accepts() {
        let mut long_auth = vec![0xf0, 0x80, 0x01];
        long_auth.extend([b'x'; 128]);
        long_auth.extend(b"\x20\x03\0\0\0");
        let cases: [(Protocol, &[u8], bool); 31] = [
            (Protocol::Mqtts, b"\x20\x02\0\0", true),
            // The session is present.
            (Protocol::Mqtts, b"\x20\x02\x01\0", true),
            // MQTT 5, with properties, and bytes behind.
            (Protocol::Mqtts, b"\x20\x06\0\0\x03\x22\0\x0a\xd0\0", true),
            // 200 bytes of properties: a length of two bytes.
            (Protocol::Mqtts, b"\x20\xca\x01\0\0\xc6\x01", true),
            (Protocol::Mqtts, b"\xf0\x02\x18\0\x20\x03\0\0\0", true),
            (Protocol::Mqtts, b"\xf0\0\xf0\0\x20\x02\0\0", true),
            (Protocol::Mqtts, &long_auth, true),
            (Protocol::Mqtts, b"\xf0\x02\x18\0\x20\x03\0\x87\0", false),
            // Not authorised, in MQTT 3.1.1 and 5.
            (Protocol::Mqtts, b"\x20\x02\0\x05", false),
            (Protocol::Mqtts, b"\x20\x03\0\x87\0", false),
            (Protocol::Mqtts, b"\x20\x01\0\0\0", false),
            (Protocol::Mqtts, b"\x20\xff\xff\xff\xff\0\0\0", false),
            // A DISCONNECT, and an HTTP server.
            (Protocol::Mqtts, b"\xe0\x01\x8b", false),
            (Protocol::Mqtts, b"HTTP/1.1 101 Switching Protocols\r\n", false),
            // The upgrade alone comes before any authentication.
            (Protocol::Wss, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", false),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\na: b\r\n\r\n\x82\x04\x20\x02\0\0", true),
            // The blank line after a lone CR.
            (Protocol::Wss, b"HTTP/1.1 101 S\r\na:\r\r\n\r\n\x82\x04\x20\x02\0\0", true),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x82\x04\x20\x02\0\x05", false),
            // Lengths of 16 and 64 bits.
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x82\x7e\0\x04\x20\x02\0\0", true),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x82\x7f\0\0\0\0\0\0\0\x04\x20\x02\0\0", true),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x82\x7f\0\0\0\x01\0\0\0\x04\x20\x02\0\0", false),
            // After a ping, and an AUTH in a frame of its own, in two fragments.
            (
                Protocol::Wss,
                b"HTTP/1.1 101 S\r\n\r\n\x89\x02hi\x82\x02\xf0\0\x02\x01\x20\x80\x03\x02\0\0",
                true,
            ),
            // Masked, text, compressed, and a close.
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x82\x84\0\0\0\0\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x81\x04\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\xc2\x04\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 101 S\r\n\r\n\x88\0\x82\x04\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 101 \x82\x04\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 400 Bad Request\r\n\r\n\x82\x04\x20\x02\0\0", false),
            (Protocol::Wss, b"HTTP/1.1 10", false),
            (Protocol::Wss, b"\x20\x02\0\0", false),
            (Protocol::Wss, b"", false),
        ];
        for (protocol, bytes, accepts) in cases {
            let mut answer = BrokerAnswer::awaited(protocol);
            assert_eq!(answer.accepts_with(bytes), accepts, "{bytes:?}");
            assert!(answer.is_decided() || !accepts, "{bytes:?}");
            if accepts {
                assert!(!answer.accepts_with(b"\x20\x02\0\0"), "once: {bytes:?}");
            }
            // However it is cut.
            let mut answer = BrokerAnswer::awaited(protocol);
            let times = bytes.chunks(1).filter(|byte| answer.accepts_with(byte)).count();
            assert_eq!(times, usize::from(accepts), "{bytes:?}");
        }
    }

    /// Each piece in a frame of its own, behind a ping.
    fn framed(mqtt: &[u8], pieces: &[usize], ping: &[u8]) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let mut left = mqtt;
        for piece in pieces.iter().cycle() {
            bytes.extend([0x89, u8::try_from(ping.len()).unwrap()]);
            bytes.extend(ping);
            let (payload, later) = left.split_at(left.len().min(*piece));
            bytes.push(0x82);
            match u8::try_from(payload.len()).ok().filter(|len| *len < 126) {
                Some(len) => bytes.push(len),
                None => {
                    bytes.push(126);
                    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
                }
            }
            bytes.extend(payload);
            left = later;
            if left.is_empty() {
                return bytes;
            }
        }
        bytes
    }

    /// How often, cut in this way.
    fn accepts(protocol: Protocol, bytes: &[u8], cuts: &[usize]) -> usize {
        let mut answer = BrokerAnswer::awaited(protocol);
        let (mut left, mut accepted) = (bytes, 0);
        for cut in cuts.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (now, later) = left.split_at(left.len().min(*cut));
            accepted += usize::from(answer.accepts_with(now));
            left = later;
        }
        accepted
    }

    proptest! {
        #[test]
        fn frames_and_cuts_change_nothing(
            auths in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..128), 0..3),
            code in prop_oneof![Just(0), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..40),
            pieces in proptest::collection::vec(1_usize..200, 1..8),
            ping in proptest::collection::vec(any::<u8>(), 0..125),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let mut mqtt = Vec::new();
            for auth in auths {
                mqtt.extend([0xf0, u8::try_from(auth.len()).unwrap()]);
                mqtt.extend(auth);
            }
            mqtt.extend([0x20, 2, 0, code]);
            mqtt.extend(rest);
            let expected = usize::from(code == 0);
            prop_assert_eq!(accepts(Protocol::Mqtts, &mqtt, &cuts), expected);
            prop_assert_eq!(accepts(Protocol::Wss, &framed(&mqtt, &pieces, &ping), &cuts), expected);
        }

        #[test]
        fn any_bytes_are_read_the_same_however_they_are_cut(
            is_upgraded: bool,
            rest in proptest::collection::vec(prop_oneof![Just(0), Just(0x20), Just(0x82), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
            protocol in prop_oneof![Just(Protocol::Mqtts), Just(Protocol::Wss)],
        ) {
            let mut bytes = if is_upgraded { b"HTTP/1.1 101 x\r\n\r\n".to_vec() } else { Vec::new() };
            bytes.extend(rest);
            let whole = accepts(protocol, &bytes, &[usize::MAX]);
            prop_assert!(whole <= 1);
            prop_assert_eq!(accepts(protocol, &bytes, &cuts), whole);
        }
    }
}
