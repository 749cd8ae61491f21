/// A source of random bytes; deterministic in tests.
pub trait Entropy: Send + Sync + std::fmt::Debug + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random bytes, by aws-lc.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // aws-lc aborts the process instead of failing.
        aws_lc_rs::rand::fill(bytes)
            .expect("the system's source of randomness never fails once it has started");
    }
}
