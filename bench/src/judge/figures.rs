use serde::{Deserialize, Serialize};

use super::Series;
use crate::{load::Workload, peers::Peer};

/// The values of all rounds of a comparison.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures(Vec<Figure>);

#[derive(Debug, Serialize, Deserialize)]
struct Figure {
    workload: Workload,
    peer: Peer,
    round: usize,
    value: f64,
}

impl Figures {
    pub(crate) fn push(&mut self, workload: Workload, peer: Peer, round: usize, value: f64) {
        self.0.push(Figure { workload, peer, round, value });
    }

    fn of(&self, workload: Workload, peer: Peer) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(move |figure| (figure.workload, figure.peer) == (workload, peer))
    }

    /// Empty if it was not measured.
    pub(crate) fn series(&self, workload: Workload, peer: Peer) -> Series {
        self.of(workload, peer).map(|figure| figure.value).collect()
    }

    pub(crate) fn median(&self, workload: Workload, peer: Peer) -> Option<f64> {
        self.series(workload, peer).median()
    }

    /// The smallest median among these servers.
    pub(crate) fn best(&self, workload: Workload, among: impl Fn(Peer) -> bool) -> Option<(Peer, f64)> {
        least(among, |peer| self.median(workload, peer))
    }

    /// The median of the ratios per round: noise of the machine meets both within a round.
    pub(crate) fn times(&self, workload: Workload, other: Peer) -> Option<f64> {
        let ratios = self.of(workload, Peer::Certward).filter_map(|own| {
            let other = self.of(workload, other).find(|figure| figure.round == own.round)?;
            Some(other.value / own.value)
        });
        ratios.collect::<Series>().median()
    }

    pub(crate) fn closest(&self, workload: Workload, among: impl Fn(Peer) -> bool) -> Option<(Peer, f64)> {
        least(among, |peer| self.times(workload, peer))
    }
}

fn least(among: impl Fn(Peer) -> bool, value: impl Fn(Peer) -> Option<f64>) -> Option<(Peer, f64)> {
    let values = Peer::all().filter(|peer| among(*peer)).filter_map(|peer| Some((peer, value(peer)?)));
    values.min_by(|(_, one), (_, other)| one.total_cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_chosen_among_those_asked_for() {
        let mut figures = Figures::default();
        for (peer, value) in [(Peer::Nginx, 3.0), (Peer::Hitch, 2.0), (Peer::Certward, 1.0)] {
            figures.push(Workload::Full, peer, 0, value);
        }
        assert_eq!(figures.best(Workload::Full, Peer::is_stock), Some((Peer::Hitch, 2.0)));
        assert_eq!(figures.best(Workload::Rsa, Peer::is_stock), None);
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
        assert_eq!(figures.closest(Workload::Full, Peer::is_stock), Some((Peer::Nginx, 3.0)));
        assert_eq!(figures.times(Workload::Full, Peer::Haproxy), None);
    }
}
