use std::collections::BTreeMap;

use crate::{servers::Kind, test::Test};

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

/// By server, test and round.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<(Test, Kind), BTreeMap<usize, f64>>);

impl Figures {
    pub(crate) fn push(&mut self, test: Test, kind: Kind, round: usize, value: f64) {
        self.0.entry((test, kind)).or_default().insert(round, value);
    }

    pub(crate) fn series(&self, test: Test, kind: Kind) -> Option<Series> {
        Some(self.0.get(&(test, kind))?.values().copied().collect())
    }

    pub(crate) fn median(&self, test: Test, kind: Kind) -> Option<f64> {
        self.series(test, kind)?.median()
    }

    /// The smallest median among these servers.
    pub(crate) fn best(&self, test: Test, among: impl Fn(Kind) -> bool) -> Option<(Kind, f64)> {
        let medians = Kind::ALL.into_iter().filter(|kind| among(*kind));
        let medians = medians.filter_map(|kind| Some((kind, self.median(test, kind)?)));
        medians.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The median of the ratios per round: noise of the machine meets both within a round.
    pub(crate) fn times(&self, test: Test, other: Kind) -> Option<f64> {
        let (own, others) = (self.0.get(&(test, Kind::Certward))?, self.0.get(&(test, other))?);
        let ratios = own.iter().filter_map(|(round, own)| Some(others.get(round)? / own));
        ratios.collect::<Series>().median()
    }

    pub(crate) fn closest(&self, test: Test, among: impl Fn(Kind) -> bool) -> Option<(Kind, f64)> {
        let times = Kind::ALL.into_iter().filter(|kind| among(*kind));
        let times = times.filter_map(|kind| Some((kind, self.times(test, kind)?)));
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
        for (kind, value) in [(Kind::Nginx, 3.0), (Kind::Hitch, 2.0), (Kind::Certward, 1.0)] {
            figures.push(Test::Full, kind, 0, value);
        }
        assert_eq!(figures.best(Test::Full, Kind::is_peer), Some((Kind::Hitch, 2.0)));
        assert_eq!(figures.best(Test::Rsa, Kind::is_peer), None);
    }

    #[test]
    fn rounds_are_compared_within_themselves() {
        let mut figures = Figures::default();
        // Twice as slow in the second round; no nginx in the third.
        for (round, own, nginx) in [(0, 1.0, Some(3.0)), (1, 2.0, Some(6.0)), (2, 1.0, None)] {
            figures.push(Test::Full, Kind::Certward, round, own);
            if let Some(value) = nginx {
                figures.push(Test::Full, Kind::Nginx, round, value);
            }
            figures.push(Test::Full, Kind::Hitch, round, 4.0);
        }
        assert_eq!(figures.times(Test::Full, Kind::Nginx), Some(3.0));
        assert_eq!(figures.closest(Test::Full, Kind::is_peer), Some((Kind::Nginx, 3.0)));
        assert_eq!(figures.times(Test::Full, Kind::Haproxy), None);
    }
}
