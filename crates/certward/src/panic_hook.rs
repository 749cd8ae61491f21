//! Reports only the place of a panic: the message may hold client data.

use std::panic::{self, PanicHookInfo};

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
