use std::fmt;

/// Of memory in MiB: means of the second and of the last sixth of equally spaced samples.
pub(crate) struct Flatness {
    early: f64,
    late: f64,
}

const GROWTH_PERCENT_MAX: f64 = 1.0;

impl Flatness {
    pub(crate) fn of(samples: &[f64]) -> Self {
        let sixth = (samples.len() / 6).max(1);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let early = &samples[sixth.min(samples.len())..(2 * sixth).min(samples.len())];
        Self { early: mean(early), late: mean(&samples[samples.len().saturating_sub(sixth)..]) }
    }

    fn growth_percent(&self) -> f64 {
        100.0 * (self.late - self.early) / self.early
    }

    pub(crate) fn is_flat(&self) -> bool {
        self.growth_percent() <= GROWTH_PERCENT_MAX
    }
}

impl fmt::Display for Flatness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_flat() { "flat" } else { "not flat" };
        write!(out, "{:.2} MiB, {:.2} MiB: {:+.2} %, {verdict}", self.early, self.late, self.growth_percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_sixth_is_compared_with_the_last() {
        let flat = Flatness::of(&[1.0, 100.0, 150.0, 150.0, 150.0, 101.0]);
        assert_eq!((flat.early, flat.late, flat.is_flat()), (100.0, 101.0, true));
        assert!(!Flatness::of(&[1.0, 100.0, 100.0, 100.0, 100.0, 102.0]).is_flat());
    }
}
