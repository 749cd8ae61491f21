//! Tables, plots and the measured parts of the documents.

pub(crate) mod document;
pub(crate) mod performance;
pub(crate) mod plot;
pub(crate) mod worst_day;
