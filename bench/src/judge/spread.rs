use std::time::Duration;

pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// `median | 99 % | max` in milliseconds.
    pub(crate) fn cells(&self) -> String {
        let at = |share: f64| {
            let index = ((self.0.len() as f64 * share) as usize).min(self.0.len() - 1);
            self.0[index].as_secs_f64() * 1000.0
        };
        format!("{:.2} | {:.2} | {:.2}", at(0.5), at(0.99), at(1.0))
    }
}
