//! Counts work in tests: bounds on it hold on any machine, bounds on time do not.

pub(crate) fn signature() {
    #[cfg(test)]
    spent::SIGNATURES.set(spent::SIGNATURES.get() + 1);
}

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

    /// (signatures, bytes) of this thread since the last call.
    pub(crate) fn take() -> (usize, usize) {
        (SIGNATURES.take(), BYTES.take())
    }
}
