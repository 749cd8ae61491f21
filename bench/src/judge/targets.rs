use crate::{load::Workload, peers::Peer};

/// A figure, and a ratio to the best rival of the same run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) value: Option<f64>,
    pub(crate) times: Option<f64>,
}

/// Mosquitto relays nothing: only its RSA handshakes, which the targets name, and its memory
/// compare.
pub(crate) fn is_rival(workload: Workload, peer: Peer) -> bool {
    let among_all = workload.is_idle() || workload == Workload::Rsa;
    peer.is_tuned() || peer.is_stock() && (among_all || peer != Peer::Mosquitto)
}

/// Required and desired. The figures are of another machine, its best rivals in the comments: only
/// the ratio is portable.
pub(crate) fn targets(workload: Workload) -> Option<(Target, Target)> {
    let figure = |rival: f64, required: f64, desired: f64| {
        let target = |value: f64| Target { value: Some(value), times: Some(rival / value) };
        Some((target(required), target(desired)))
    };
    let times = |required: f64, desired: f64| {
        let target = |times: f64| Target { value: None, times: Some(times) };
        Some((target(required), target(desired)))
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
        Workload::Idle => Some(at_most(6.5, 4.5)),
        Workload::IdleTwoWay => Some(at_most(7.5, 5.0)),
        Workload::TwoWayFirst | Workload::Hybrid => None,
    }
}

/// Required and desired of one fleet: KiB per certificate, seconds to start, and ms that the old
/// certificate is served after the answer.
pub(crate) const FLEET_TARGETS: [(f64, f64); 3] = [(3.0, 1.5), (0.5, 0.1), (5.0, 0.0)];

/// Bound on a victim's delay, as a multiple of that without an attack.
pub(crate) const ATTACK_RATIO_MAX: f64 = 10.0;
/// Of Welch's |t| between two kinds of refused logins.
pub(crate) const T_MAX: f64 = 4.5;

fn at_most(required: f64, desired: f64) -> (Target, Target) {
    (Target { value: Some(required), times: None }, Target { value: Some(desired), times: None })
}

impl Target {
    /// `None` where there is no target or nothing measured.
    pub(crate) fn value_reached(self, value: Option<f64>) -> Option<bool> {
        Some(value? <= self.value?)
    }

    pub(crate) fn times_reached(self, times: Option<f64>) -> Option<bool> {
        Some(times? >= self.times?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_knows_whether_it_is_reached() {
        let (required, _) = targets(Workload::Full).unwrap();
        assert_eq!(required.value_reached(Some(140.0)), Some(true));
        assert_eq!(required.times_reached(Some(1.9)), Some(false));
        assert_eq!(required.times_reached(None), None);
        let (required, _) = targets(Workload::Idle).unwrap();
        assert_eq!(required.times_reached(Some(2.0)), None);
    }
}
