use std::time::Duration;

/// Counts of the long loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// `kill -9` under a load of changes.
    pub kills: usize,
    /// Backups under a load of changes, each restored.
    pub backups: usize,
    /// `kill -9` of `backup`, and of `restore`.
    pub backup_kills: usize,
    /// `kill -9` of `rekey`, and of the certward beside it, on each engine.
    pub rekey_kills: usize,
    /// Certificate swaps under load.
    pub swaps: usize,
    /// Generated requests for each operation of the API.
    pub api_examples: usize,
    /// Take-overs under load.
    pub takeovers: usize,
    /// Pinging connections during the swaps.
    pub pinging_connections: usize,
    /// Handshaking workers during the swaps.
    pub handshake_workers: usize,
    /// Connections of an attack.
    pub attack_connections: usize,
    /// Connections of an attack on the API, above its limit.
    pub api_attack_connections: usize,
    /// Duration of an attack.
    pub attack_span: Duration,
    /// Nodes killed, paused and cut off from the database, a lease each.
    pub outages: usize,
    /// Lost primary databases, in each way.
    pub failovers: usize,
    /// Random faults of four nodes and their database.
    pub random_faults: usize,
    /// Devices that a revocation does not concern.
    pub revocation_fleet: usize,
    /// Devices of a fleet.
    pub fleet: usize,
    /// Devices that are moved to another CA.
    pub rotation: usize,
    /// Connections of strangers from one network.
    pub strangers: usize,
    /// Until the real program's certificate ends.
    pub until_the_end: Duration,
    /// Random schedules of the membership model.
    pub schedules: u32,
    /// Deployments with certificates of 47 days, of 6 days, and the days of a simulated clock.
    pub expiry_walk: (usize, usize, u32),
}

/// The counts of every long loop: small by default, so that `scripts/test` stays quick; in full
/// with `CERTWARD_SOAK=1`, which `scripts/soak` sets.
pub fn effort() -> Effort {
    let full = std::env::var_os("CERTWARD_SOAK").is_some_and(|value| value == "1");
    let (kills, swaps, takeovers) = if full { (200, 200, 100) } else { (5, 10, 4) };
    let (attack_connections, attack_span) = if full { (200, 15) } else { (24, 1) };
    Effort {
        kills,
        backups: if full { 40 } else { 3 },
        backup_kills: if full { 300 } else { 12 },
        rekey_kills: if full { 100 } else { 6 },
        swaps,
        api_examples: if full { 300 } else { 5 },
        takeovers,
        pinging_connections: 100,
        handshake_workers: 8,
        attack_connections,
        api_attack_connections: if full { 3_000 } else { 700 },
        attack_span: Duration::from_secs(attack_span),
        outages: if full { 10 } else { 1 },
        failovers: if full { 5 } else { 1 },
        random_faults: if full { 98 } else { 7 },
        revocation_fleet: if full { 1_000 } else { 50 },
        fleet: if full { 5_000 } else { 300 },
        rotation: if full { 1_000 } else { 50 },
        strangers: if full { 10_000 } else { 500 },
        schedules: if full { 3_000 } else { 120 },
        until_the_end: Duration::from_secs(if full { 120 } else { 45 }),
        expiry_walk: if full { (500, 20, 3 * 365) } else { (20, 3, 150) },
    }
}
