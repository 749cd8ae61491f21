//! A device's first bytes, from which the gateway reads its record size limit.
#![no_main]

use certward_gateway::offered_record_bytes;
use libfuzzer_sys::fuzz_target;

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: &[u8] = b"\x14\x03\x03\0\x01\x01";

fuzz_target!(|data: &[u8]| {
    let offered = offered_record_bytes(data);
    assert!(offered.is_none_or(|bytes| bytes >= 63));
    // Records may be split anywhere, and anything may follow.
    if let Some(message) = only_record(data) {
        let cut: Vec<u8> =
            message.chunks(7).flat_map(record).chain(CHANGE_CIPHER_SPEC.iter().copied()).collect();
        assert_eq!(offered_record_bytes(&cut), offered);
    }
});

fn only_record(data: &[u8]) -> Option<&[u8]> {
    let (&[HANDSHAKE, _, _, high, low], message) = data.split_first_chunk()? else { return None };
    (message.len() == usize::from(u16::from_be_bytes([high, low]))).then_some(message)
}

fn record(part: &[u8]) -> Vec<u8> {
    let len = u16::try_from(part.len()).expect("a piece of a record");
    [&[HANDSHAKE, 3, 1], len.to_be_bytes().as_slice(), part].concat()
}
