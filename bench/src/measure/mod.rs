//! The measurements: one file for each command, with its options and its result.

pub(crate) mod api_attacks;
pub(crate) mod attacks;
pub(crate) mod change;
pub(crate) mod comparison;
pub(crate) mod connack;
pub(crate) mod costly_uploads;
pub(crate) mod crowd;
pub(crate) mod device_records;
pub(crate) mod expiry;
pub(crate) mod fleet;
pub(crate) mod floor;
pub(crate) mod growth;
pub(crate) mod intake;
pub(crate) mod logins;
pub(crate) mod million;
pub(crate) mod nodes;
pub(crate) mod profile;
pub(crate) mod reads;
pub(crate) mod single;
pub(crate) mod soak;
