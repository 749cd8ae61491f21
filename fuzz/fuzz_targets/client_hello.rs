//! A device's first bytes, from which the gateway reads what the device offers.
#![no_main]

use std::collections::BTreeSet;

use certward_gateway::{client_offer, offered_record_bytes};
use certward_pki::{ClientOffer, OFFER_VALUES_MAX};
use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: &[u8] = b"\x14\x03\x03\0\x01\x01";

fuzz_target!(|data: &[u8]| {
    let offered = offered_record_bytes(data);
    assert!(offered.is_none_or(|bytes| bytes >= 63));
    let offer = client_offer(data);
    assert_eq!(offer.as_ref().and_then(|offer| offer.record_bytes), offered);
    if let Some(offer) = &offer {
        lists(offer).into_iter().for_each(check_list);
    }
    if let Some(read) = read_by_rustls(data) {
        let offer = offer.as_ref().expect("what rustls accepts is read");
        let own = [&offer.cipher_suites, &offer.signature_schemes, &offer.groups];
        for (own, read) in own.into_iter().zip(read) {
            // Of longer lists only some are kept.
            if read.len() <= OFFER_VALUES_MAX {
                assert_eq!(*own, read.into_iter().collect::<Vec<_>>());
            } else {
                assert!(own.iter().all(|value| read.contains(value)));
            }
        }
    }
    // Records may be split anywhere, and anything may follow.
    if let Some(message) = only_record(data) {
        let cut: Vec<u8> =
            message.chunks(7).flat_map(record).chain(CHANGE_CIPHER_SPEC.iter().copied()).collect();
        assert_eq!(offered_record_bytes(&cut), offered);
        assert_eq!(client_offer(&cut), offer);
    }
});

fn lists(offer: &ClientOffer) -> [&Vec<u16>; 5] {
    let ClientOffer { versions, signature_schemes, certificate_schemes, groups, cipher_suites, .. } = offer;
    [versions, signature_schemes, certificate_schemes, groups, cipher_suites]
}

fn check_list(list: &Vec<u16>) {
    assert!(list.len() <= OFFER_VALUES_MAX);
    assert!(list.is_sorted_by(|a, b| a < b));
    assert!(!list.iter().any(is_grease));
}

/// RFC 8701.
fn is_grease(value: &u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Suites, schemes and groups. `None`: it refuses the hello.
fn read_by_rustls(data: &[u8]) -> Option<[BTreeSet<u16>; 3]> {
    let mut acceptor = Acceptor::default();
    let mut rest = data;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            return Some([
                values(hello.cipher_suites()),
                values(hello.signature_schemes()),
                values(hello.named_groups().unwrap_or_default()),
            ]);
        }
    }
    None
}

fn values<T: Copy + Into<u16>>(list: &[T]) -> BTreeSet<u16> {
    list.iter().map(|value| (*value).into()).filter(|value| !is_grease(value)).collect()
}

fn only_record(data: &[u8]) -> Option<&[u8]> {
    let (&[HANDSHAKE, _, _, high, low], message) = data.split_first_chunk()? else { return None };
    (message.len() == usize::from(u16::from_be_bytes([high, low]))).then_some(message)
}

fn record(part: &[u8]) -> Vec<u8> {
    let len = u16::try_from(part.len()).expect("a piece of a record");
    [&[HANDSHAKE, 3, 1], len.to_be_bytes().as_slice(), part].concat()
}
