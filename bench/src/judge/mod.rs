//! Statistics of measured values, and the targets they must reach. No measuring, no formats.

mod figures;
mod flatness;
mod series;
mod targets;
mod welch;

pub(crate) use self::{
    figures::Figures,
    flatness::Flatness,
    series::Series,
    targets::{ATTACK_RATIO_MAX, FLEET_TARGETS, T_MAX, Target, is_rival, targets},
    welch::{Sample, welch},
};
