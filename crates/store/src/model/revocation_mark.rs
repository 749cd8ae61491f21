use std::ops::BitXor;

/// Identifies a deployment's set of revocations and CRLs: the XOR of the 16 random bytes that each
/// has. Zero: there is none. So a reader that knows the set before needs the new ones alone.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RevocationMark(pub [u8; 16]);

impl RevocationMark {
    /// Whether there is neither a revocation nor a CRL.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Adds one, or takes it away.
impl BitXor<[u8; 16]> for RevocationMark {
    type Output = Self;

    fn bitxor(self, id: [u8; 16]) -> Self {
        Self(std::array::from_fn(|at| self.0[at] ^ id[at]))
    }
}

impl std::fmt::Debug for RevocationMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_sets_apart_whatever_the_order() {
        let (a, b, none) = ([1; 16], [2; 16], RevocationMark::default());
        assert_eq!(none ^ a ^ b, none ^ b ^ a);
        assert_eq!(none ^ a ^ b ^ a, none ^ b);
        assert!((none ^ a ^ a).is_empty() && !(none ^ a).is_empty());
    }
}
