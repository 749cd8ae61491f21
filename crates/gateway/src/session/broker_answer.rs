//! Whether a broker's first bytes accept the device, which makes it a known one.
//!
//! MQTT: a CONNACK with code 0 (MQTT 5.0 §3.2, 3.1.1 §3.2), after any AUTH of an enhanced
//! authentication (MQTT 5.0 §4.12). WebSocket: HTTP status 101 (RFC 6455 §4.1). Read byte by byte,
//! so that nothing is buffered.

use crate::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokerAnswer {
    /// At the first byte of a packet.
    PacketType,
    /// In a packet's remaining length, with what was read of it.
    RemainingLength {
        is_auth: bool,
        value: u32,
        shift: u8,
    },
    /// Within an AUTH packet.
    Auth(u32),
    ConnackFlags,
    ConnackCode,
    /// Within the status line, with the bytes that were as expected.
    StatusLine(u8),
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
const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101";

impl BrokerAnswer {
    pub(crate) fn awaited(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Mqtts => Self::PacketType,
            Protocol::Wss => Self::StatusLine(0),
        }
    }

    /// `true` exactly once: with the bytes that accept.
    pub(crate) fn accepts_with(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !matches!(self, Self::Accepts | Self::Refuses) {
            let Some((&byte, behind)) = rest.split_first() else { return false };
            rest = behind;
            if let Self::Auth(left) = self {
                // The whole packet, or what there is of it.
                let skipped = u32::try_from(behind.len()).unwrap_or(u32::MAX).min(*left - 1);
                rest = &behind[skipped as usize..];
                *self = Self::auth(*left - 1 - skipped);
            } else {
                *self = self.after(byte);
            }
            if *self == Self::Accepts {
                return true;
            }
        }
        false
    }

    fn after(self, byte: u8) -> Self {
        match self {
            Self::PacketType => match byte {
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
            Self::ConnackFlags => Self::ConnackCode,
            Self::ConnackCode if byte == 0 => Self::Accepts,
            Self::StatusLine(right) if SWITCHING_PROTOCOLS.get(usize::from(right)) == Some(&byte) => {
                match usize::from(right) + 1 == SWITCHING_PROTOCOLS.len() {
                    true => Self::Accepts,
                    false => Self::StatusLine(right + 1),
                }
            }
            Self::ConnackCode | Self::StatusLine(_) | Self::Auth(_) | Self::Accepts | Self::Refuses => {
                Self::Refuses
            }
        }
    }

    /// `left`: bytes of the packet.
    fn auth(left: u32) -> Self {
        if left == 0 { Self::PacketType } else { Self::Auth(left) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_an_accepting_connack_or_a_status_of_101_accepts() {
        let mut long_auth = vec![0xf0, 0x80, 0x01];
        long_auth.extend([b'x'; 128]);
        long_auth.extend(b"\x20\x03\0\0\0");
        let cases: [(Protocol, &[u8], bool); 19] = [
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
            (Protocol::Wss, b"HTTP/1.1 101 Switching Protocols\r\n", true),
            (Protocol::Wss, b"HTTP/1.1 400 Bad Request\r\n", false),
            (Protocol::Wss, b"HTTP/1.1 10", false),
            (Protocol::Wss, b"\x20\x02\0\0", false),
            (Protocol::Wss, b"", false),
        ];
        for (protocol, bytes, accepts) in cases {
            let mut answer = BrokerAnswer::awaited(protocol);
            assert_eq!(answer.accepts_with(bytes), accepts, "{bytes:?}");
            assert!(!answer.accepts_with(b"\x20\x02\0\0"), "once: {bytes:?}");
            // However it is cut.
            let mut answer = BrokerAnswer::awaited(protocol);
            let times = bytes.chunks(1).filter(|byte| answer.accepts_with(byte)).count();
            assert_eq!(times, usize::from(accepts), "{bytes:?}");
        }
    }

    #[test]
    fn it_is_small() {
        // Paid for each connection.
        assert!(size_of::<BrokerAnswer>() <= 8, "{}", size_of::<BrokerAnswer>());
    }

    proptest! {
        #[test]
        fn the_way_the_bytes_are_cut_changes_nothing(
            auth in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
            rest in proptest::collection::vec(any::<u8>(), 0..40),
            is_connack: bool,
            cuts in proptest::collection::vec(1_usize..40, 1..20),
            protocol in prop_oneof![Just(Protocol::Mqtts), Just(Protocol::Wss)],
        ) {
            let mut bytes = Vec::new();
            if let Some(auth) = auth {
                bytes.extend([0xf0, u8::try_from(auth.len() % 128).unwrap()]);
                bytes.extend(&auth[..auth.len() % 128]);
            }
            if is_connack {
                bytes.extend(b"\x20\x02\0");
            }
            bytes.extend(rest);
            let whole = BrokerAnswer::awaited(protocol).accepts_with(&bytes);
            let mut answer = BrokerAnswer::awaited(protocol);
            let mut left = bytes.as_slice();
            let mut accepted = false;
            for cut in cuts.into_iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (now, later) = left.split_at(cut.min(left.len()));
                accepted |= answer.accepts_with(now);
                left = later;
            }
            prop_assert_eq!(accepted, whole);
        }
    }
}
