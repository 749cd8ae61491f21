//! Any bytes are judged without a panic, and no changed CRL is accepted.

use std::sync::LazyLock;

use certward_pki::{Crl, CrlCircumstances, CrlTable, StalePolicy, judge_crl};
use certward_test_support::Authority;
use proptest::prelude::*;

use crate::crl_maker::{CrlMaker, reason};
use crate::stage::{encode_pem, now};

static FLEET: LazyLock<Authority> = LazyLock::new(|| Authority::new("Fleet"));

/// With all that a reader can meet.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let crl = CrlMaker::of(&FLEET).number(&[1]).distribution_point(&[0x81, 1, 0xff]).extension(
        35,
        false,
        &[0x30, 0],
    );
    let crl = (1..9)
        .fold(crl, |crl, serial| crl.entry(&[serial], &[reason(serial)]).entry(&[0, 0x80, serial], &[]));
    crl.sign(FLEET.key())
});

fn judged(upload: &[u8]) -> Option<Crl> {
    let client_cas = [FLEET.der().to_vec()];
    let circumstances = CrlCircumstances {
        now: now(),
        client_cas: &client_cas,
        in_service: Some(&WHOLE),
        stale: StalePolicy::Hard,
    };
    let judgement = judge_crl(upload, &circumstances);
    assert_eq!(judgement.crl.is_none(), judgement.findings.iter().any(|finding| finding.is_error()));
    // What is stored is only read; it must not panic either.
    CrlTable::of_accepted(upload, FLEET.der(), StalePolicy::Soft);
    judgement.crl
}

#[test]
fn it_is_accepted_whole_and_in_no_part() {
    assert_eq!(judged(&WHOLE).unwrap().entries, 16);
    for length in 0..WHOLE.len() {
        assert!(judged(&WHOLE[..length]).is_none(), "{length}");
        assert!(CrlTable::of_accepted(&WHOLE[..length], &[], StalePolicy::Soft).is_none(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Of an ECDSA signature alone there is a second form; no single change leads to it.
    #[test]
    fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut changed = WHOLE.clone();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(judged(&changed).is_none());
    }

    #[test]
    fn pieces_are_judged_without_a_panic(
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..60), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let piece = |(at, length): &(prop::sample::Index, usize)| {
            let at = at.index(WHOLE.len());
            WHOLE[at..(at + length).min(WHOLE.len())].to_vec()
        };
        let mut upload: Vec<u8> = pieces.iter().flat_map(piece).collect();
        upload.extend(noise);
        prop_assert!(judged(&upload).is_none());
        prop_assert!(judged(encode_pem("X509 CRL", &upload).as_bytes()).is_none());
    }
}
