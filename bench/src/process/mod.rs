//! Programs and the machine they run on: start and end, CPU time, memory.

pub(crate) mod machine;
pub(crate) mod meter;
pub(crate) mod program;
