use std::collections::BTreeMap;

use crate::{load::workload::Workload, peers::Peer};

/// One measurement over all rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let (lower, upper) = (self.0.len().checked_sub(1)? / 2, self.0.len() / 2);
        Some((self.0.get(lower)? + self.0.get(upper)?) / 2.0)
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut series = Self::default();
        values.into_iter().for_each(|value| series.push(value));
        series
    }
}

/// By server, workload and round.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<(Workload, Peer), BTreeMap<usize, f64>>);

impl Figures {
    pub(crate) fn push(&mut self, workload: Workload, peer: Peer, round: usize, value: f64) {
        self.0.entry((workload, peer)).or_default().insert(round, value);
    }

    pub(crate) fn series(&self, workload: Workload, peer: Peer) -> Option<Series> {
        Some(self.0.get(&(workload, peer))?.values().copied().collect())
    }

    pub(crate) fn median(&self, workload: Workload, peer: Peer) -> Option<f64> {
        self.series(workload, peer)?.median()
    }

    /// The smallest median among these servers.
    pub(crate) fn best(&self, workload: Workload, among: impl Fn(Peer) -> bool) -> Option<(Peer, f64)> {
        let medians = Peer::ALL.into_iter().filter(|peer| among(*peer));
        let medians = medians.filter_map(|peer| Some((peer, self.median(workload, peer)?)));
        medians.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The median of the ratios per round: noise of the machine meets both within a round.
    pub(crate) fn times(&self, workload: Workload, other: Peer) -> Option<f64> {
        let (own, others) = (self.0.get(&(workload, Peer::Certward))?, self.0.get(&(workload, other))?);
        let ratios = own.iter().filter_map(|(round, own)| Some(others.get(round)? / own));
        ratios.collect::<Series>().median()
    }

    pub(crate) fn closest(&self, workload: Workload, among: impl Fn(Peer) -> bool) -> Option<(Peer, f64)> {
        let times = Peer::ALL.into_iter().filter(|peer| among(*peer));
        let times = times.filter_map(|peer| Some((peer, self.times(workload, peer)?)));
        times.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

pub(crate) fn digits(value: f64) -> String {
    match value {
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_knows_its_middle_and_its_ends() {
        let series: Series = [3.0, 1.0, 2.0, 10.0].into_iter().collect();
        assert_eq!((series.min(), series.median(), series.max()), (Some(1.0), Some(2.5), Some(10.0)));
        assert_eq!(Series::default().median(), None);
    }

    #[test]
    fn the_best_is_chosen_among_those_asked_for() {
        let mut figures = Figures::default();
        for (peer, value) in [(Peer::Nginx, 3.0), (Peer::Hitch, 2.0), (Peer::Certward, 1.0)] {
            figures.push(Workload::Full, peer, 0, value);
        }
        assert_eq!(figures.best(Workload::Full, Peer::is_peer), Some((Peer::Hitch, 2.0)));
        assert_eq!(figures.best(Workload::Rsa, Peer::is_peer), None);
    }

    #[test]
    fn rounds_are_compared_within_themselves() {
        let mut figures = Figures::default();
        // Twice as slow in the second round; no nginx in the third.
        for (round, own, nginx) in [(0, 1.0, Some(3.0)), (1, 2.0, Some(6.0)), (2, 1.0, None)] {
            figures.push(Workload::Full, Peer::Certward, round, own);
            if let Some(value) = nginx {
                figures.push(Workload::Full, Peer::Nginx, round, value);
            }
            figures.push(Workload::Full, Peer::Hitch, round, 4.0);
        }
        assert_eq!(figures.times(Workload::Full, Peer::Nginx), Some(3.0));
        assert_eq!(figures.closest(Workload::Full, Peer::is_peer), Some((Peer::Nginx, 3.0)));
        assert_eq!(figures.times(Workload::Full, Peer::Haproxy), None);
    }
}
