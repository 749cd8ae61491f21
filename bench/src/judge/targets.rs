use crate::{load::workload::Workload, peers::Peer};

/// A figure, and a ratio to the best rival of the same run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) value: Option<f64>,
    pub(crate) times: Option<f64>,
}

/// Mosquitto relays nothing: only its RSA handshakes, which the goals name, and its memory compare.
pub(crate) fn is_rival(workload: Workload, peer: Peer) -> bool {
    let among_all = workload.is_idle() || workload == Workload::Rsa;
    peer.is_tuned() || peer.is_peer() && (among_all || peer != Peer::Mosquitto)
}

/// Required and desired. The figures are of another machine, its best rivals in the comments: only
/// the ratio is portable.
pub(crate) fn goals(workload: Workload) -> Option<(Target, Target)> {
    let figure = |rival: f64, must: f64, aim: f64| {
        let goal = |value: f64| Target { value: Some(value), times: Some(rival / value) };
        Some((goal(must), goal(aim)))
    };
    let times = |must: f64, aim: f64| {
        let goal = |times: f64| Target { value: None, times: Some(times) };
        Some((goal(must), goal(aim)))
    };
    let memory = |must: f64, aim: f64| {
        let goal = |value: f64| Target { value: Some(value), times: None };
        Some((goal(must), goal(aim)))
    };
    match workload {
        // nginx tuned.
        Workload::Full => figure(279.0, 145.0, 122.0),
        Workload::Resumed => figure(247.0, 125.0, 102.0),
        Workload::TwoWay => figure(710.0, 260.0, 195.0),
        // nginx.
        Workload::Tls12 => figure(236.0, 125.0, 112.0),
        // mosquitto, without a relay.
        Workload::Rsa => figure(569.0, 440.0, 415.0),
        Workload::Throughput => times(1.2, 1.4),
        Workload::Small => times(1.15, 1.3),
        Workload::Idle => memory(6.5, 4.5),
        Workload::IdleTwoWay => memory(7.5, 5.0),
        Workload::TwoWayFirst | Workload::Hybrid => None,
    }
}

impl Target {
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
        let (must, aim) = goals(Workload::Full).unwrap();
        assert_eq!(must.cell(Some(140.0), Some(1.9)), "≥ 1.92 × ✗, ≤ 145 ✓");
        assert_eq!(aim.cell(None, None), "≥ 2.29 ×, ≤ 122");
        let (must, _) = goals(Workload::Idle).unwrap();
        assert_eq!(must.cell(Some(6.5), Some(2.0)), "≤ 6.5 ✓");
    }
}
