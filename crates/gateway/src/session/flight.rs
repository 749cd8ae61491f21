//! Cuts handshake messages into small records, between messages where possible.
//!
//! rustls joins messages and cuts at full records; mbedTLS before 3.6.3 accepts no message across
//! records. So plaintext messages, all long ones of TLS 1.2, are cut again. Records are not in the
//! transcript (RFC 8446 §4.4.1).

/// Content type handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The record version after the ClientHello.
const RECORD_VERSION: [u8; 2] = [3, 3];

/// Cuts the plaintext handshake records at the start of `flight` again. A message that fits
/// `record_bytes` stays whole; a longer one gets its own records.
pub(crate) fn cut_between_messages(flight: &[u8], record_bytes: u16) -> Vec<u8> {
    // rustls sends no partial message.
    cut(flight, record_bytes).unwrap_or_else(|| flight.to_vec())
}

fn cut(flight: &[u8], record_bytes: u16) -> Option<Vec<u8>> {
    let (messages, behind) = joined(flight)?;
    let mut cut = Vec::with_capacity(flight.len() + 64);
    let (mut begin, mut end) = (0, 0);
    while end < messages.len() {
        let len = message_len(&messages[end..])?;
        if end + len - begin > record_bytes.into() {
            push_records(&mut cut, &messages[begin..end], record_bytes);
            begin = end;
        }
        end += len;
        if len > record_bytes.into() {
            push_records(&mut cut, messages.get(begin..end)?, record_bytes);
            begin = end;
        }
    }
    push_records(&mut cut, messages.get(begin..end)?, record_bytes);
    cut.extend_from_slice(behind);
    Some(cut)
}

/// The content of the leading handshake records, and the rest.
fn joined(mut flight: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut messages = Vec::with_capacity(flight.len());
    while let Some((&[HANDSHAKE, _, _, high, low], behind)) = flight.split_first_chunk() {
        let (content, behind) = behind.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        messages.extend_from_slice(content);
        flight = behind;
    }
    Some((messages, flight))
}

fn message_len(messages: &[u8]) -> Option<usize> {
    let [_, a, b, c] = *messages.first_chunk()?;
    Some(4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)))
}

fn push_records(records: &mut Vec<u8>, messages: &[u8], record_bytes: u16) {
    for content in messages.chunks(record_bytes.max(1).into()) {
        // No chunk exceeds `record_bytes`.
        let len = u16::try_from(content.len()).unwrap_or(record_bytes);
        records.push(HANDSHAKE);
        records.extend_from_slice(&RECORD_VERSION);
        records.extend_from_slice(&len.to_be_bytes());
        records.extend_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages of these lengths, header included, with distinct types and contents.
    fn messages(lens: &[usize]) -> Vec<u8> {
        let message = |(at, len): (usize, &usize)| {
            let body = u32::try_from(len - 4).unwrap().to_be_bytes();
            [&[at as u8], &body[1..], &vec![at as u8; len - 4]].concat()
        };
        lens.iter().enumerate().flat_map(message).collect()
    }

    fn records(messages: &[u8], record_bytes: u16) -> Vec<u8> {
        let mut records = Vec::new();
        push_records(&mut records, messages, record_bytes);
        records
    }

    fn record_lens(mut records: &[u8]) -> Vec<usize> {
        let mut lens = Vec::new();
        while let Some((&[_, _, _, high, low], behind)) = records.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            lens.push(len);
            records = &behind[len..];
        }
        lens
    }

    #[test]
    fn a_message_that_fits_is_not_cut() {
        let cases: [(&[usize], u16, &[usize]); 8] = [
            (&[], 512, &[]),
            (&[90, 300, 100, 4], 512, &[494]),
            (&[90, 460, 110, 4], 512, &[90, 460, 114]),
            (&[90, 422, 110, 4], 512, &[512, 114]),
            (&[90, 512, 512, 4], 512, &[90, 512, 512, 4]),
            (&[90, 1300, 110, 4], 512, &[90, 512, 512, 276, 114]),
            (&[513], 512, &[512, 1]),
            (&[90, 3990, 110, 4], 4096, &[4080, 114]),
        ];
        for (lens, record_bytes, wanted) in cases {
            let cut = cut_between_messages(&records(&messages(lens), record_bytes), record_bytes);
            assert_eq!(record_lens(&cut), wanted, "{lens:?}");
        }
    }

    #[test]
    fn what_follows_is_left_alone() {
        let behind = b"\x14\x03\x03\0\x01\x01\x16\x03\x03\0\x05sealed";
        let flight = [&records(&messages(&[90, 460, 110]), 512)[..], behind].concat();
        let cut = cut_between_messages(&flight, 512);
        assert!(cut.ends_with(behind));
        let alert = b"\x15\x03\x03\0\x02\x02\x28";
        assert_eq!(cut_between_messages(alert, 512), alert);
        let halved = &flight[..300];
        assert_eq!(cut_between_messages(halved, 512), halved);
    }

    proptest! {
        #[test]
        fn content_and_order_stay_and_no_record_is_too_long(
            lens in proptest::collection::vec(4_usize..1500, 0..8),
            record_bytes in 63_u16..1200,
        ) {
            let messages = messages(&lens);
            let cut = cut_between_messages(&records(&messages, record_bytes), record_bytes);
            let (content, behind) = joined(&cut).unwrap();
            prop_assert_eq!(content, messages);
            prop_assert!(behind.is_empty());
            let max = usize::from(record_bytes);
            prop_assert!(record_lens(&cut).iter().all(|len| *len <= max));
            // Each record starts with a message, or continues one longer than a record.
            let mut begins: Vec<usize> = lens.iter().scan(0, |at, len| {
                let begin = *at;
                *at += len;
                Some(begin)
            }).collect();
            begins.push(usize::MAX);
            let mut at = 0;
            for len in record_lens(&cut) {
                let which = begins.iter().rposition(|begin| *begin <= at).unwrap();
                prop_assert!(begins[which] == at || lens[which] > max);
                at += len;
            }
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            record_bytes: u16,
        ) {
            cut_between_messages(&bytes, record_bytes);
            cut_between_messages(&records(&bytes, 100), record_bytes);
        }
    }
}
