use std::fmt::Write as _;

use crate::{
    judge::figures::{Figures, digits},
    judge::targets::{Target, goals, is_rival},
    load::workload::Workload,
    measure::fleet::{self, Fleet},
    peers::Peer,
    process::machine,
};

pub(crate) struct Report {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) machine: String,
    pub(crate) figures: Figures,
    pub(crate) floor: Floor,
    pub(crate) fleet: Vec<Fleet>,
    pub(crate) troubles: Vec<String>,
}

pub(crate) struct Floor {
    /// rustls in memory, µs.
    pub(crate) handshakes: Vec<(Workload, f64)>,
    /// µs.
    pub(crate) p256_signature: f64,
    /// µs.
    pub(crate) rsa_signature: f64,
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let parts = [
            self.facts(),
            self.summary(),
            self.spread(),
            self.floor(),
            self.fleet(),
            self.versions(),
            self.troubles(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn facts(&self) -> String {
        let quick =
            if self.quick { " **A quick run (`--quick`), only to show what comes out.**" } else { "" };
        format!("{} {} rounds.{quick}\n", self.machine, self.rounds)
    }

    fn summary(&self) -> String {
        let mut out = "| workload | unit | best peer | best tuned | bare rustls | floor | certward | better than the best rival | must reach | aim for |\n\
                       |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for workload in Workload::ALL {
            let named = |among: fn(Peer) -> bool| {
                let best = self.figures.best(workload, among);
                best.map_or("–".to_owned(), |(peer, value)| format!("{} {}", plain(peer), digits(value)))
            };
            let own = self.figures.median(workload, Peer::Certward);
            let rival = self.figures.closest(workload, |peer| is_rival(workload, peer));
            let times = rival.map(|(_, times)| times);
            let beside = rival.map(|(rival, times)| format!("{times:.2} × {}", rival.title()));
            let (must, aim) = goals(workload)
                .map_or_else(Default::default, |(must, aim)| (must.cell(own, times), aim.cell(own, times)));
            line(
                &mut out,
                &[
                    workload.title().to_owned(),
                    workload.unit().to_owned(),
                    named(Peer::is_peer),
                    named(Peer::is_tuned),
                    cell(self.figures.median(workload, Peer::Rustls)),
                    cell(self.floor.of(workload).or(self.figures.median(workload, Peer::Plain))),
                    own.map_or("–".to_owned(), |value| format!("**{}**", digits(value))),
                    beside.unwrap_or_else(|| "–".to_owned()),
                    must,
                    aim,
                ],
            );
        }
        out
    }

    fn spread(&self) -> String {
        let peers: Vec<Peer> = Peer::ALL
            .into_iter()
            .filter(|peer| {
                Workload::ALL.into_iter().any(|workload| self.figures.series(workload, *peer).is_some())
            })
            .collect();
        let mut out = "Every server, median (smallest–largest round):\n\n".to_owned();
        line(
            &mut out,
            &[vec!["workload".to_owned()], peers.iter().map(|peer| peer.title().to_owned()).collect()]
                .concat(),
        );
        out.push_str(&"|---".repeat(peers.len() + 1));
        out.push_str("|\n");
        for workload in Workload::ALL {
            let mut cells = vec![format!("{}, {}", workload.title(), workload.unit())];
            cells.extend(peers.iter().map(|peer| {
                let series = self.figures.series(workload, *peer);
                let values = series.and_then(|series| Some((series.median()?, series.min()?, series.max()?)));
                values.map_or("–".to_owned(), |(median, least, most)| {
                    format!("{} ({}–{})", digits(median), digits(least), digits(most))
                })
            }));
            line(&mut out, &cells);
        }
        out
    }

    fn floor(&self) -> String {
        format!(
            "The floor of a handshake is the server's side of rustls in memory, AES-128-GCM and one ticket, without a socket or a \
             relay; of it, one P-256 signature takes {} µs and one RSA-2048 signature {} µs. The floor of relayed bytes and \
             idle connections is a relay of plain TCP that holds no buffers (no TLS).\n",
            digits(self.floor.p256_signature),
            digits(self.floor.rsa_signature)
        )
    }

    fn fleet(&self) -> String {
        if self.fleet.is_empty() {
            return String::new();
        }
        let mut out = format!("### {} certificates\n\n{}", fleet::COUNT, Fleet::HEAD);
        for fleet in &self.fleet {
            line(&mut out, &fleet.cells());
        }
        if let Some(own) = self.fleet.iter().find(|fleet| fleet.peer() == Peer::Certward) {
            out.push_str("\nWhat is wanted of certward: ");
            out.push_str(&fleet_goals(own));
        }
        out
    }

    fn versions(&self) -> String {
        let mut out = "Versions, as Debian packages them: ".to_owned();
        let peers = Peer::ALL.into_iter().filter(|peer| !peer.is_tuned() && *peer != Peer::Plain);
        out.push_str(&peers.map(|peer| peer.version()).collect::<Vec<_>>().join("; "));
        out.push_str(&format!(". Written on {}.\n", machine::today()));
        out
    }

    fn troubles(&self) -> String {
        if self.troubles.is_empty() {
            return String::new();
        }
        let mut out = "Not measured, and why:\n\n".to_owned();
        for trouble in &self.troubles {
            // Writing to a `String` does not fail.
            let _ = writeln!(out, "- {trouble}");
        }
        out
    }
}

impl Floor {
    fn of(&self, workload: Workload) -> Option<f64> {
        self.handshakes.iter().find(|(of, _)| *of == workload).map(|(_, value)| *value)
    }
}

fn fleet_goals(own: &Fleet) -> String {
    let goal = |name: &str, value: Option<f64>, must: f64, aim: f64| {
        let cell = |goal: f64| Target { value: Some(goal), times: None }.cell(value, None);
        format!("{name} must {}, aim {}", cell(must), cell(aim))
    };
    let goals = [
        goal("KiB per certificate", Some(own.kib()), 3.0, 1.5),
        goal("seconds to start", own.start_seconds(), 0.5, 0.1),
        goal("ms after the answer", own.old_until_ms(), 5.0, 0.0),
    ];
    format!("{}.\n", goals.join("; "))
}

fn plain(peer: Peer) -> &'static str {
    peer.title().trim_end_matches(" tuned")
}

fn cell(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), digits)
}

pub(crate) fn line(out: &mut String, cells: &[String]) {
    // Writing to a `String` does not fail.
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}
