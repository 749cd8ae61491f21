//! Checks a device's first bytes, so that port scanners, browsers and wrong protocols reach no
//! broker. The broker judges the rest.

use crate::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPacketVerdict {
    /// Valid so far.
    Incomplete,
    /// The listener's protocol.
    Right,
    /// An unknown MQTT protocol level in a CONNECT.
    UnknownLevel(u8),
    /// Another protocol.
    Wrong,
}

/// Browsers and brokers also stop at 8 KiB.
const REQUEST_LINE_MAX: usize = 8 * 1024;
/// Client id, will topic and payload, user name and password of 64 KiB each, and properties; 1 MiB
/// is above every broker's default.
const CONNECT_LEN_MAX: u32 = 1024 * 1024;
/// Protocol name, level, flags, keep-alive, empty client id.
const CONNECT_LEN_MIN: u32 = 12;

pub(crate) fn judge(protocol: Protocol, bytes: &[u8]) -> FirstPacketVerdict {
    match protocol {
        Protocol::Mqtts => mqtt_connect(bytes),
        Protocol::Wss => websocket_request(bytes),
    }
}

/// MQTT 3.1 (`MQIsdp`, level 3), 3.1.1 (level 4) or 5 (OASIS MQTT 5.0 §3.1, 3.1.1 §3.1).
fn mqtt_connect(bytes: &[u8]) -> FirstPacketVerdict {
    let Some((&first, rest)) = bytes.split_first() else { return FirstPacketVerdict::Incomplete };
    if first != 0x10 {
        return FirstPacketVerdict::Wrong;
    }
    let Some((len, rest)) = (match remaining_length(rest) {
        Ok(found) => found,
        Err(()) => return FirstPacketVerdict::Wrong,
    }) else {
        return FirstPacketVerdict::Incomplete;
    };
    if !(CONNECT_LEN_MIN..=CONNECT_LEN_MAX).contains(&len) {
        return FirstPacketVerdict::Wrong;
    }
    // The level's high bit marks a bridge (mosquitto); an MQTT 3.1.1 server may refuse it.
    let names: [(&[u8], &[u8]); 2] =
        [(b"\0\x04MQTT", &[4, 5, BRIDGE | 4, BRIDGE | 5]), (b"\0\x06MQIsdp", &[3, BRIDGE | 3])];
    for (name, levels) in names {
        match rest.strip_prefix(name).map(<[u8]>::first) {
            Some(Some(level)) if levels.contains(level) => return FirstPacketVerdict::Right,
            Some(Some(level)) => return FirstPacketVerdict::UnknownLevel(*level),
            Some(None) => return FirstPacketVerdict::Incomplete,
            None if name.starts_with(rest) => return FirstPacketVerdict::Incomplete,
            None => {}
        }
    }
    FirstPacketVerdict::Wrong
}

const BRIDGE: u8 = 0x80;

/// CONNACK for an unknown level (MQTT-3.1.2-2): return code 1, or MQTT 5's 0x84 above level 5.
pub(crate) fn refusal_of_level(level: u8) -> &'static [u8] {
    if level & !BRIDGE > 5 { b"\x20\x03\0\x84\0" } else { b"\x20\x02\0\x01" }
}

/// Quotes none of the bytes: they may be a password.
pub(crate) fn describe(bytes: &[u8]) -> &'static str {
    const METHODS: [&[u8]; 7] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"PRI ", b"CONNECT "];
    match bytes {
        [0x10, ..] => "an MQTT CONNECT, or the beginning of one",
        [0x16, 3, ..] => "a TLS ClientHello inside TLS",
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => "an HTTP request",
        _ => "neither a CONNECT nor an HTTP request",
    }
}

/// A variable byte integer of at most four bytes, and the rest. `None`: incomplete.
fn remaining_length(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, ()> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[at + 1..])));
        }
    }
    if bytes.len() >= 4 { Err(()) } else { Ok(None) }
}

/// `GET target HTTP/1.1`, the start of a WebSocket handshake (RFC 6455 §4.1).
fn websocket_request(bytes: &[u8]) -> FirstPacketVerdict {
    const METHOD: &[u8] = b"GET /";
    if !bytes.starts_with(METHOD) {
        return if METHOD.starts_with(bytes) {
            FirstPacketVerdict::Incomplete
        } else {
            FirstPacketVerdict::Wrong
        };
    }
    let Some(end) = bytes.iter().take(REQUEST_LINE_MAX).position(|b| *b == b'\n') else {
        let printable = bytes.iter().all(|b| b.is_ascii_graphic() || matches!(b, b' ' | b'\r'));
        return if printable && bytes.len() < REQUEST_LINE_MAX {
            FirstPacketVerdict::Incomplete
        } else {
            FirstPacketVerdict::Wrong
        };
    };
    let line = &bytes[..end];
    let Some(target) = line.strip_prefix(b"GET ").and_then(|line| line.strip_suffix(b" HTTP/1.1\r")) else {
        return FirstPacketVerdict::Wrong;
    };
    if target.iter().all(u8::is_ascii_graphic) {
        FirstPacketVerdict::Right
    } else {
        FirstPacketVerdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MQTT_5: &[u8] = b"\x10\x0f\0\x04MQTT\x05\x02\0\x3c\0\0\x03abc";

    #[test]
    fn mqtt_connects_are_known_and_nothing_else() {
        let cases: [(&[u8], FirstPacketVerdict); 23] = [
            (b"", FirstPacketVerdict::Incomplete),
            (b"\x10", FirstPacketVerdict::Incomplete),
            (b"\x10\x0c\0\x04MQ", FirstPacketVerdict::Incomplete),
            (b"\x10\x0c\0\x04MQTT\x04", FirstPacketVerdict::Right),
            (MQTT_5, FirstPacketVerdict::Right),
            (b"\x10\x0e\0\x06MQIsdp\x03", FirstPacketVerdict::Right),
            (b"\x10\x0e\0\x06MQIsdp\x83", FirstPacketVerdict::Right),
            // Three bytes of remaining length.
            (b"\x10\x80\x80\x04\0\x04MQTT\x04", FirstPacketVerdict::Right),
            (b"\x10\x80\x80", FirstPacketVerdict::Incomplete),
            // Over 1 MiB, five length bytes, too short.
            (b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04", FirstPacketVerdict::Wrong),
            (b"\x10\xff\xff\xff\xff", FirstPacketVerdict::Wrong),
            (b"\x10\x04\0\x04MQTT\x04", FirstPacketVerdict::Wrong),
            (b"\x10\x0c\0\x04MQTT\x06", FirstPacketVerdict::UnknownLevel(6)),
            (b"\x10\x0c\0\x04MQTT", FirstPacketVerdict::Incomplete),
            (b"\x10\x0c\0\x04MQTT\0", FirstPacketVerdict::UnknownLevel(0)),
            (b"\x10\x0c\0\x04MQTT\x03", FirstPacketVerdict::UnknownLevel(3)),
            (b"\x10\x0c\0\x04MQTT\x83", FirstPacketVerdict::UnknownLevel(0x83)),
            (b"\x10\x0c\0\x04MQTT\x86", FirstPacketVerdict::UnknownLevel(0x86)),
            (b"\x10\x0e\0\x06MQIsdp\x04", FirstPacketVerdict::UnknownLevel(4)),
            (b"\x10\x0c\0\x04HTTP\x04", FirstPacketVerdict::Wrong),
            (b"\x11\x0c\0\x04MQTT\x04", FirstPacketVerdict::Wrong),
            (b"\x30\x0c", FirstPacketVerdict::Wrong),
            (b"GET / HTTP/1.1\r\n", FirstPacketVerdict::Wrong),
        ];
        for (bytes, expected) in cases {
            assert_eq!(judge(Protocol::Mqtts, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_level_is_refused_in_a_form_that_its_device_reads() {
        let (v3, v5): (&[u8], &[u8]) = (&[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0]);
        let cases =
            [(0, v3), (3, v3), (4, v3), (6, v5), (0x7f, v5), (0x80, v3), (0x83, v3), (0x86, v5), (0xff, v5)];
        for (level, connack) in cases {
            assert_eq!(refusal_of_level(level), connack, "{level}");
        }
    }

    #[test]
    fn what_came_instead_is_named() {
        let cases: [(&[u8], &str); 7] = [
            (b"GET / HTTP/1.1\r\n", "an HTTP request"),
            (b"PRI * HTTP/2.0", "an HTTP request"),
            (MQTT_5, "an MQTT CONNECT, or the beginning of one"),
            (b"\x30\x05\0\x01axy", "neither a CONNECT nor an HTTP request"),
            (b"\x16\x03\x01\0\x05", "a TLS ClientHello inside TLS"),
            (b"password", "neither a CONNECT nor an HTTP request"),
            (b"\0", "neither a CONNECT nor an HTTP request"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(describe(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn websocket_requests_are_known_and_nothing_else() {
        let cases: [(&[u8], FirstPacketVerdict); 12] = [
            (b"", FirstPacketVerdict::Incomplete),
            (b"GE", FirstPacketVerdict::Incomplete),
            (b"GET /mqtt HT", FirstPacketVerdict::Incomplete),
            (b"GET /mqtt HTTP/1.1\r", FirstPacketVerdict::Incomplete),
            (b"GET /mqtt HTTP/1.1\r\nHost", FirstPacketVerdict::Right),
            (b"GET /mqtt?a=b HTTP/1.1\r\n", FirstPacketVerdict::Right),
            (b"GET /mqtt HTTP/1.0\r\n", FirstPacketVerdict::Wrong),
            (b"GET /mqtt x HTTP/1.1\r\n", FirstPacketVerdict::Wrong),
            (b"GET /mqtt HTTP/1.1\n", FirstPacketVerdict::Wrong),
            (b"POST / HTTP/1.1\r\n", FirstPacketVerdict::Wrong),
            (b"GET /\0", FirstPacketVerdict::Wrong),
            (MQTT_5, FirstPacketVerdict::Wrong),
        ];
        for (bytes, expected) in cases {
            assert_eq!(judge(Protocol::Wss, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_line_without_end_is_not_waited_for() {
        let mut line = b"GET /".to_vec();
        line.resize(REQUEST_LINE_MAX - 1, b'a');
        assert_eq!(judge(Protocol::Wss, &line), FirstPacketVerdict::Incomplete);
        line.push(b'a');
        assert_eq!(judge(Protocol::Wss, &line), FirstPacketVerdict::Wrong);
    }

    proptest! {
        #[test]
        fn a_verdict_is_final(bytes in proptest::collection::vec(any::<u8>(), 0..64), more in any::<u8>()) {
            for protocol in [Protocol::Mqtts, Protocol::Wss] {
                let before = judge(protocol, &bytes);
                let mut longer = bytes.clone();
                longer.push(more);
                if before != FirstPacketVerdict::Incomplete {
                    prop_assert_eq!(judge(protocol, &longer), before);
                }
            }
        }

        #[test]
        fn a_right_beginning_is_waited_for_at_every_byte(cut in 0..10usize) {
            prop_assert_ne!(judge(Protocol::Mqtts, &MQTT_5[..cut]), FirstPacketVerdict::Wrong);
        }
    }
}
