//! A newer release may store kinds that this program does not know: they are left to its nodes.

use crate::{AlertKind, EndingKind};

/// The condition that this program can read an alert, on its column `kind`.
pub(crate) fn is_known_alert(column: &str) -> String {
    condition(column, &AlertKind::ALL.map(AlertKind::as_str))
}

/// As [`is_known_alert`], of what ends.
pub(crate) fn is_known_ending(column: &str) -> String {
    condition(column, &EndingKind::ALL.map(EndingKind::as_str))
}

fn condition(column: &str, kinds: &[&'static str]) -> String {
    let quoted: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
    format!("{column} IN ({})", quoted.join(", "))
}
