//! Statistics of measured values, and the targets they must reach. No measuring, no formats.

pub(crate) mod figures;
pub(crate) mod spread;
pub(crate) mod targets;
