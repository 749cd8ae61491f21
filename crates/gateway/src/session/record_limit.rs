//! The largest TLS record that a ClientHello accepts: record_size_limit (RFC 8449) or
//! max_fragment_length (RFC 6066 §4).
//!
//! rustls knows neither. The gateway confirms neither but sends small records, which is always
//! allowed. Forbidden values are ignored like unknown extensions.

use crate::routing::client_hello::{ClientHello, first_message};

/// IANA extension types.
const MAX_FRAGMENT_LENGTH: u16 = 1;
const RECORD_SIZE_LIMIT: u16 = 28;
/// RFC 8449 §4.
const RECORD_SIZE_LIMIT_MIN: u16 = 64;

/// Plaintext bytes per record for the sender of `hello`: 63 or more; `None` without an offer.
///
/// Bytes after the ClientHello are ignored. A malformed or incomplete one offers nothing.
pub fn offered_record_bytes(hello: &[u8]) -> Option<u16> {
    record_bytes_of(&ClientHello::parse(&first_message(hello)?)?)
}

pub(crate) fn record_bytes_of(hello: &ClientHello<'_>) -> Option<u16> {
    // RFC 8449 §5: with both, max_fragment_length is ignored.
    hello
        .extension(RECORD_SIZE_LIMIT)
        .and_then(record_size_limit)
        .or_else(|| hello.extension(MAX_FRAGMENT_LENGTH).and_then(max_fragment_length))
}

/// 1 to 4 for 2^9 to 2^12 bytes.
fn max_fragment_length(body: &[u8]) -> Option<u16> {
    match body {
        [code @ 1..=4] => Some(1 << (8 + code)),
        _ => None,
    }
}

/// TLS 1.3 counts the content type (RFC 8449 §4). The version is unknown here: TLS 1.2 gets a byte
/// less.
fn record_size_limit(body: &[u8]) -> Option<u16> {
    let limit = u16::from_be_bytes(body.try_into().ok()?);
    (limit >= RECORD_SIZE_LIMIT_MIN).then(|| limit - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
        server::Acceptor,
        version::{TLS12, TLS13},
    };

    use super::*;
    use crate::routing::client_hello::shown_server_name;

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap();
        [&kind.to_be_bytes(), &len.to_be_bytes(), body].concat()
    }

    /// With `more` before its extensions.
    fn hello(version: &'static SupportedProtocolVersion, more: &[u8]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "a.test".try_into().unwrap()).unwrap();
        let mut record = Vec::new();
        client.write_tls(&mut record).unwrap();
        let mut message = record.split_off(5);
        let extensions = ClientHello::parse(&message).unwrap().extensions;
        let len: usize = extensions.iter().map(|(_, body)| 4 + body.len()).sum();
        let at = message.len() - len;
        let grown = u16::try_from(len + more.len()).unwrap();
        message[at - 2..at].copy_from_slice(&grown.to_be_bytes());
        message.splice(at..at, more.iter().copied());
        let len = u32::try_from(message.len() - 4).unwrap();
        message[1..4].copy_from_slice(&len.to_be_bytes()[1..]);
        message
    }

    /// In records of at most `piece` bytes.
    fn records(message: &[u8], piece: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let len = u16::try_from(part.len()).unwrap();
            [&[22, 3, 1], &len.to_be_bytes()[..], part].concat()
        };
        message.chunks(piece).flat_map(record).collect()
    }

    fn is_accepted_by_rustls(records: &[u8]) -> bool {
        let mut acceptor = Acceptor::default();
        let mut rest = records;
        while !rest.is_empty() {
            if acceptor.read_tls(&mut rest).is_err() {
                return false;
            }
            match acceptor.accept() {
                Ok(Some(_)) => return true,
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        false
    }

    #[test]
    fn a_limit_is_read_from_either_extension() {
        let fragment = |code: u8| extension(MAX_FRAGMENT_LENGTH, &[code]);
        let limit = |bytes: u16| extension(RECORD_SIZE_LIMIT, &bytes.to_be_bytes());
        let cases: [(&str, Vec<u8>, Option<u16>); 21] = [
            ("neither", vec![], None),
            ("2^9", fragment(1), Some(512)),
            ("2^10", fragment(2), Some(1024)),
            ("2^11", fragment(3), Some(2048)),
            ("2^12", fragment(4), Some(4096)),
            ("no code 0", fragment(0), None),
            ("no code 5", fragment(5), None),
            ("no code 255", fragment(255), None),
            ("an empty max_fragment_length", extension(MAX_FRAGMENT_LENGTH, &[]), None),
            ("a long max_fragment_length", extension(MAX_FRAGMENT_LENGTH, &[1, 1]), None),
            ("the smallest limit", limit(64), Some(63)),
            ("too small a limit", limit(63), None),
            ("no limit at all", limit(0), None),
            ("one that counts the content type", limit(513), Some(512)),
            ("TLS 1.2's largest", limit(16384), Some(16383)),
            ("TLS 1.3's largest", limit(16385), Some(16384)),
            ("beyond TLS", limit(u16::MAX), Some(u16::MAX - 1)),
            ("a short limit", extension(RECORD_SIZE_LIMIT, &[64]), None),
            ("a long limit", extension(RECORD_SIZE_LIMIT, &[0, 0, 64]), None),
            ("both", [fragment(1), limit(16385)].concat(), Some(16384)),
            ("both, the limit malformed", [limit(63), fragment(1)].concat(), Some(512)),
        ];
        for (what, more, offered) in cases {
            for version in [&TLS12, &TLS13] {
                for piece in [1, 100, 16384] {
                    let records = records(&hello(version, &more), piece);
                    assert_eq!(offered_record_bytes(&records), offered, "{what} {version:?} {piece}");
                    assert!(is_accepted_by_rustls(&records), "{what} {version:?} {piece}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_complete_client_hello_offers_nothing() {
        let message = hello(&TLS13, &extension(MAX_FRAGMENT_LENGTH, &[1]));
        let whole = records(&message, 200);
        for end in 0..whole.len() {
            assert_eq!(offered_record_bytes(&whole[..end]), None, "{end}");
        }
        let mut longer = message.clone();
        longer.push(0);
        longer[3] = longer[3].wrapping_add(1);
        for (what, bytes) in [
            ("a ServerHello", records(&[&[2], &message[1..]].concat(), 16384)),
            ("an alert", [&[21], &whole[1..]].concat()),
            ("a byte behind the extensions", records(&longer, 16384)),
            (
                "no extensions",
                records(&[&[1, 0, 0, 41, 3, 3], &[7; 32][..], &[0, 0, 2, 0x13, 1, 1, 0]].concat(), 99),
            ),
        ] {
            assert_eq!(offered_record_bytes(&bytes), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn the_way_a_hello_is_cut_and_what_follows_change_nothing(
            code in 1_u8..=4,
            piece in 1_usize..600,
            behind in proptest::collection::vec(any::<u8>(), 0..60),
            is_tls13: bool,
        ) {
            let version = if is_tls13 { &TLS13 } else { &TLS12 };
            let mut bytes = records(&hello(version, &extension(MAX_FRAGMENT_LENGTH, &[code])), piece);
            bytes.extend(behind);
            prop_assert_eq!(offered_record_bytes(&bytes), Some(1 << (8 + code)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            piece in 1_usize..600,
        ) {
            offered_record_bytes(&bytes);
            shown_server_name(&bytes);
            let mut hello = records(&hello(&TLS13, &extension(RECORD_SIZE_LIMIT, &[2, 1])), piece);
            for (at, byte) in flips {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            shown_server_name(&hello);
            let offered = offered_record_bytes(&hello);
            prop_assert!(offered.is_none_or(|bytes| bytes >= 63));
        }
    }
}
