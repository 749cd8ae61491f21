//! Programs and the machine they run on: start and end, CPU time, memory.

mod machine;
mod meter;
mod program;

pub(crate) use self::{machine::Machine, meter::Meter, program::Program};
