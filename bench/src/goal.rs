use crate::{servers::Kind, test::Test};

/// A figure, and a ratio to the best rival of the same run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) value: Option<f64>,
    pub(crate) times: Option<f64>,
}

/// Mosquitto relays nothing: only its RSA handshakes, which the goals name, and its memory compare.
pub(crate) fn is_rival(test: Test, kind: Kind) -> bool {
    let among_all = test.is_idle() || test == Test::Rsa;
    kind.is_tuned() || kind.is_peer() && (among_all || kind != Kind::Mosquitto)
}

/// Required and desired. The figures are of another machine, its best rivals in the comments: only
/// the ratio is portable.
pub(crate) fn goals(test: Test) -> Option<(Goal, Goal)> {
    let figure = |rival: f64, must: f64, aim: f64| {
        let goal = |value: f64| Goal { value: Some(value), times: Some(rival / value) };
        Some((goal(must), goal(aim)))
    };
    let times = |must: f64, aim: f64| {
        let goal = |times: f64| Goal { value: None, times: Some(times) };
        Some((goal(must), goal(aim)))
    };
    let memory = |must: f64, aim: f64| {
        let goal = |value: f64| Goal { value: Some(value), times: None };
        Some((goal(must), goal(aim)))
    };
    match test {
        // nginx tuned.
        Test::Full => figure(279.0, 145.0, 122.0),
        Test::Resumed => figure(247.0, 125.0, 102.0),
        Test::TwoWay => figure(710.0, 260.0, 195.0),
        // nginx.
        Test::Tls12 => figure(236.0, 125.0, 112.0),
        // mosquitto, without a relay.
        Test::Rsa => figure(569.0, 440.0, 415.0),
        Test::Throughput => times(1.2, 1.4),
        Test::Small => times(1.15, 1.3),
        Test::Idle => memory(6.5, 4.5),
        Test::IdleTwoWay => memory(7.5, 5.0),
        Test::TwoWayFirst | Test::Hybrid => None,
    }
}

impl Goal {
    pub(crate) fn cell(self, value: Option<f64>, times: Option<f64>) -> String {
        let mark = |reached: Option<bool>| match reached {
            Some(true) => " ✓",
            Some(false) => " ✗",
            None => "",
        };
        let by_value = self.value.map(|goal| format!("≤ {goal}{}", mark(value.map(|value| value <= goal))));
        let by_times =
            self.times.map(|goal| format!("≥ {goal:.2} ×{}", mark(times.map(|times| times >= goal))));
        let cells: Vec<String> = [by_times, by_value].into_iter().flatten().collect();
        cells.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_whether_it_is_reached() {
        let (must, aim) = goals(Test::Full).unwrap();
        assert_eq!(must.cell(Some(140.0), Some(1.9)), "≥ 1.92 × ✗, ≤ 145 ✓");
        assert_eq!(aim.cell(None, None), "≥ 2.29 ×, ≤ 122");
        let (must, _) = goals(Test::Idle).unwrap();
        assert_eq!(must.cell(Some(6.5), Some(2.0)), "≤ 6.5 ✓");
    }
}
