use std::time::Duration;

/// How often the long loops run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Times that the program is killed under a load of changes.
    pub kills: usize,
    /// Certificates that are swapped under load.
    pub swaps: usize,
    /// Processes that take over from each other under load.
    pub takeovers: usize,
    /// Connections that ping during the swaps.
    pub pinging_connections: usize,
    /// Workers that do one handshake after the other during the swaps.
    pub handshake_workers: usize,
    /// Connections that an attack keeps.
    pub attack_connections: usize,
    /// Connections that an attack on the API keeps: more than it has places for.
    pub api_attack_connections: usize,
    /// How long an attack lasts.
    pub attack_span: Duration,
    /// Times that a node is killed, paused and cut off from the database, a lease each.
    pub outages: usize,
    /// Times that a primary database is lost in each way.
    pub failovers: usize,
    /// Devices of a fleet.
    pub fleet: usize,
}

/// The one place that every long loop takes its count from: small by default, so that `scripts/test` stays quick; in
/// full with `CERTWARD_SOAK=1`, as `scripts/soak` sets it.
pub fn effort() -> Effort {
    let full = std::env::var_os("CERTWARD_SOAK").is_some_and(|value| value == "1");
    let (kills, swaps, takeovers) = if full { (200, 200, 100) } else { (5, 10, 4) };
    let (attack_connections, attack_span) = if full { (200, 15) } else { (24, 1) };
    Effort {
        kills,
        swaps,
        takeovers,
        pinging_connections: 100,
        handshake_workers: 8,
        attack_connections,
        api_attack_connections: if full { 3_000 } else { 700 },
        attack_span: Duration::from_secs(attack_span),
        outages: if full { 10 } else { 1 },
        failovers: if full { 5 } else { 1 },
        fleet: if full { 5_000 } else { 300 },
    }
}
