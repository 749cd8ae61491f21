//! Carries the facts of a client's certificate from the verifier to the list of failures.
//!
//! rustls reports an error alone, whose kind decides the alert, and forgets the certificate. So the
//! facts wait in a slot of the thread, open for one call of rustls. A closed slot takes nothing.

use std::cell::RefCell;

use certward_pki::ClientCertificate;

#[derive(Debug)]
enum Slot {
    Closed,
    Open(Option<Box<ClientCertificate>>),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

/// Runs `work`, and returns what [`report`] was given within it. Not nested.
pub(crate) fn reported_by<T>(work: impl FnOnce() -> T) -> (T, Option<Box<ClientCertificate>>) {
    SLOT.set(Slot::Open(None));
    let done = work();
    match SLOT.replace(Slot::Closed) {
        Slot::Open(reported) => (done, reported),
        Slot::Closed => (done, None),
    }
}

/// `read` runs only if the slot is open.
pub(crate) fn report(read: impl FnOnce() -> ClientCertificate) {
    SLOT.with_borrow_mut(|slot| {
        if let Slot::Open(reported) = slot {
            *reported = Some(Box::new(read()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reported_within_the_call_comes_out_of_it() {
        let certificate = |der: &[u8]| ClientCertificate::of(der);
        report(|| unreachable!("the slot is closed"));
        let ((), reported) = reported_by(|| report(|| certificate(b"a")));
        assert_eq!(reported.as_deref(), Some(&certificate(b"a")));
        report(|| unreachable!("the slot is closed again"));
        assert_eq!(reported_by(|| 7), (7, None));
    }
}
