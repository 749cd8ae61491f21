//! How much work a judgement does, counted in tests only: a bound on work holds on any machine, a bound on time on none.

/// A signature is verified.
pub(crate) fn signature() {
    #[cfg(test)]
    spent::SIGNATURES.set(spent::SIGNATURES.get() + 1);
}

/// So many bytes of text are looked at.
pub(crate) fn bytes(_count: usize) {
    #[cfg(test)]
    spent::BYTES.set(spent::BYTES.get() + _count);
}

#[cfg(test)]
pub(crate) mod spent {
    use std::cell::Cell;

    thread_local! {
        pub(crate) static SIGNATURES: Cell<usize> = const { Cell::new(0) };
        pub(crate) static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    /// What this thread has done since it was asked the last time: signatures verified, bytes looked at.
    pub(crate) fn take() -> (usize, usize) {
        (SIGNATURES.take(), BYTES.take())
    }
}
