use crate::Code;
use crate::key_form::RSA_BITS;
use crate::public_key::KeyKind;

pub(crate) fn unserved_key(kind: KeyKind, key_name: &str) -> (Code, String) {
    match kind {
        KeyKind::Rsa { bits } if bits < *RSA_BITS.start() => {
            (Code::KeyTooSmall, format!("{key_name} is RSA with {bits} bits; 2048 are the least."))
        }
        KeyKind::Rsa { bits } => {
            (Code::KeyTooLarge, format!("{key_name} is RSA with {bits} bits; 4096 are the most."))
        }
        KeyKind::ExplicitCurve => (
            Code::KeyCurveExplicit,
            format!("{key_name} spells out its elliptic curve instead of naming it."),
        ),
        KeyKind::OtherCurve => (
            Code::KeyCurveUnsupported,
            format!("{key_name} is on a curve other than P-256, P-384 and P-521."),
        ),
        kind => (Code::KeyKindUnsupported, format!("{key_name} is {kind}, which is not served.")),
    }
}
