use crate::Code;
use crate::key_form::RSA_BITS;
use crate::public_key::KeyKind;

pub(crate) fn unserved_key(kind: KeyKind, whose: &str) -> (Code, String) {
    match kind {
        KeyKind::Rsa { bits } if bits < *RSA_BITS.start() => {
            (Code::KeyTooSmall, format!("{whose} is RSA with {bits} bits; 2048 are the least."))
        }
        KeyKind::Rsa { bits } => {
            (Code::KeyTooLarge, format!("{whose} is RSA with {bits} bits; 4096 are the most."))
        }
        KeyKind::ExplicitCurve => {
            (Code::KeyCurveExplicit, format!("{whose} spells out its elliptic curve instead of naming it."))
        }
        KeyKind::OtherCurve => {
            (Code::KeyCurveUnsupported, format!("{whose} is on a curve other than P-256, P-384 and P-521."))
        }
        kind => (Code::KeyKindUnsupported, format!("{whose} is {kind}, which is not served.")),
    }
}
