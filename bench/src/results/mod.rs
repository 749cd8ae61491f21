//! What a command measured, as values that are kept as JSON: texts, tables and the comparison.

mod comparison;
mod report;
mod table;

pub(crate) use self::{
    comparison::Comparison,
    report::{Part, Report},
    table::{Table, Value},
};
