/// The moments of many values.
#[derive(Debug)]
pub(crate) struct Sample {
    count: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

impl Sample {
    pub(crate) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }
}

/// The means' difference in standard errors, for unequal variances.
pub(crate) fn welch(one: &Sample, other: &Sample) -> f64 {
    (one.mean - other.mean) / (one.variance / one.count + other.variance / other.count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welchs_t_is_that_of_the_textbook() {
        // From Python's `statistics`.
        let a = Sample::of(&[
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4,
        ]);
        let b = Sample::of(&[
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.0, 23.9,
        ]);
        assert!((welch(&a, &b) + 2.8353).abs() < 0.0001, "{}", welch(&a, &b));
        assert_eq!(welch(&a, &a), 0.0);
    }
}
