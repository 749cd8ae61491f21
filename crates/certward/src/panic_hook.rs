//! What is said of a panic: where it happened, and nothing of its message, which may hold what a client sent.

use std::panic::{self, PanicHookInfo};

/// Replaces the standard hook, which prints the message.
pub(crate) fn install() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(panic.place = place, "a defect: a task has panicked; please report the place");
    } else {
        crate::output::complain_text(&format!("a defect: panicked at {place}; please report this place"));
    }
}
