use std::fmt;

use crate::sealed::random;

/// Names one request of the API in answer, log and audit: 64 random bits, 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// A new one.
    pub fn draw() -> Self {
        let mut bytes = [0; 8];
        random::fill(&mut bytes);
        Self(u64::from_ne_bytes(bytes))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
