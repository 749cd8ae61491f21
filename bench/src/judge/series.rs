use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Measured values of one kind, in ascending order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    pub(crate) fn ms(times: impl IntoIterator<Item = Duration>) -> Self {
        times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect()
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let (lower, upper) = (self.0.len().checked_sub(1)? / 2, self.0.len() / 2);
        Some((self.0.get(lower)? + self.0.get(upper)?) / 2.0)
    }

    /// The value that this share of all is not above.
    pub(crate) fn within(&self, share: f64) -> Option<f64> {
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index.min(self.0.len().checked_sub(1)?)).copied()
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_knows_its_middle_and_its_ends() {
        let series: Series = [3.0, 1.0, 2.0, 10.0].into_iter().collect();
        assert_eq!((series.min(), series.median(), series.max()), (Some(1.0), Some(2.5), Some(10.0)));
        assert_eq!((series.within(0.5), series.within(1.0)), (Some(3.0), Some(10.0)));
        assert_eq!((Series::default().median(), Series::default().within(0.5)), (None, None));
    }
}
