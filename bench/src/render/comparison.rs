//! The tables of a comparison, with marks for the targets.

use super::format::{digits, median_and_range};
use crate::{
    judge::{Target, is_rival, targets},
    load::Workload,
    peers::Peer,
    results::{Comparison, Table, Value},
};

pub(crate) fn summary(comparison: &Comparison) -> Table {
    let mut table = Table::default();
    Workload::all().for_each(|workload| table.row(summary_row(comparison, workload)));
    table
}

fn summary_row(
    Comparison { figures, floor }: &Comparison,
    workload: Workload,
) -> [(&'static str, Value); 10] {
    let best = |among: fn(Peer) -> bool| {
        let best = figures.best(workload, among);
        best.map_or("–".to_owned(), |(peer, value)| {
            format!("{} {}", peer.title().trim_end_matches(" tuned"), digits(value))
        })
    };
    let own = figures.median(workload, Peer::Certward);
    let rival = figures.closest(workload, |peer| is_rival(workload, peer));
    let times = rival.map(|(_, times)| times);
    let targets = targets(workload);
    let target = |of: Option<Target>| of.map(|target| target_cell(target, own, times)).unwrap_or_default();
    let ratio = rival.map_or("–".to_owned(), |(rival, times)| format!("{times:.2} × {}", rival.title()));
    let floor = floor.iter().find(|(of, _)| *of == workload).map(|(_, value)| *value);
    [
        ("test", workload.title().into()),
        ("unit", workload.unit().into()),
        ("best peer", best(Peer::is_stock).into()),
        ("best tuned", best(Peer::is_tuned).into()),
        ("bare rustls", figures.median(workload, Peer::Rustls).into()),
        ("floor", floor.or(figures.median(workload, Peer::Plain)).into()),
        ("certward", own.map_or("–".to_owned(), |value| format!("**{}**", digits(value))).into()),
        ("ratio to the best rival", ratio.into()),
        ("required", target(targets.map(|(required, _)| required)).into()),
        ("desired", target(targets.map(|(_, desired)| desired)).into()),
    ]
}

/// With a mark whether it is reached.
fn target_cell(target: Target, value: Option<f64>, times: Option<f64>) -> String {
    let mark = |reached: Option<bool>| match reached {
        Some(true) => " ✓",
        Some(false) => " ✗",
        None => "",
    };
    let by_times = target.times.map(|least| format!("≥ {least:.2} ×{}", mark(target.times_reached(times))));
    let by_value = target.value.map(|most| format!("≤ {most}{}", mark(target.value_reached(value))));
    [by_times, by_value].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Every server, median (smallest–largest round).
pub(crate) fn every_server(Comparison { figures, .. }: &Comparison) -> Table {
    let measured = |peer: &Peer| Workload::all().any(|workload| figures.median(workload, *peer).is_some());
    let peers: Vec<Peer> = Peer::all().filter(measured).collect();
    let mut table = Table::default();
    for workload in Workload::all() {
        let name = format!("{}, {}", workload.title(), workload.unit()).into();
        let range = |peer: &Peer| (peer.title(), median_and_range(&figures.series(workload, *peer)).into());
        table.row([("median (smallest–largest round)", name)].into_iter().chain(peers.iter().map(range)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_shows_whether_it_is_reached() {
        let (required, desired) = targets(Workload::Full).unwrap();
        assert_eq!(target_cell(required, Some(140.0), Some(1.9)), "≥ 1.92 × ✗, ≤ 145 ✓");
        assert_eq!(target_cell(desired, None, None), "≥ 2.29 ×, ≤ 122");
    }
}
