use std::fmt::Write as _;

use crate::{
    figures::{Figures, digits},
    fleet::{self, Fleet},
    goal::{Goal, goals, is_rival},
    machine,
    servers::Kind,
    test::Test,
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
    pub(crate) handshakes: Vec<(Test, f64)>,
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
        let mut out = "| test | unit | best peer | best tuned | bare rustls | floor | certward | better than the best rival | must reach | aim for |\n\
                       |---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for test in Test::ALL {
            let named = |among: fn(Kind) -> bool| {
                let best = self.figures.best(test, among);
                best.map_or("–".to_owned(), |(kind, value)| format!("{} {}", plain(kind), digits(value)))
            };
            let own = self.figures.median(test, Kind::Certward);
            let rival = self.figures.closest(test, |kind| is_rival(test, kind));
            let times = rival.map(|(_, times)| times);
            let beside = rival.map(|(rival, times)| format!("{times:.2} × {}", rival.title()));
            let (must, aim) = goals(test)
                .map_or_else(Default::default, |(must, aim)| (must.cell(own, times), aim.cell(own, times)));
            line(
                &mut out,
                &[
                    test.title().to_owned(),
                    test.unit().to_owned(),
                    named(Kind::is_peer),
                    named(Kind::is_tuned),
                    cell(self.figures.median(test, Kind::Rustls)),
                    cell(self.floor.of(test).or(self.figures.median(test, Kind::Plain))),
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
        let kinds: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| Test::ALL.into_iter().any(|test| self.figures.series(test, *kind).is_some()))
            .collect();
        let mut out = "Every server, median (smallest–largest round):\n\n".to_owned();
        line(
            &mut out,
            &[vec!["test".to_owned()], kinds.iter().map(|kind| kind.title().to_owned()).collect()].concat(),
        );
        out.push_str(&"|---".repeat(kinds.len() + 1));
        out.push_str("|\n");
        for test in Test::ALL {
            let mut cells = vec![format!("{}, {}", test.title(), test.unit())];
            cells.extend(kinds.iter().map(|kind| {
                let series = self.figures.series(test, *kind);
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
        if let Some(own) = self.fleet.iter().find(|fleet| fleet.kind() == Kind::Certward) {
            out.push_str("\nWhat is wanted of certward: ");
            out.push_str(&fleet_goals(own));
        }
        out
    }

    fn versions(&self) -> String {
        let mut out = "Versions, as Debian packages them: ".to_owned();
        let kinds = Kind::ALL.into_iter().filter(|kind| !kind.is_tuned() && *kind != Kind::Plain);
        out.push_str(&kinds.map(|kind| kind.version()).collect::<Vec<_>>().join("; "));
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
    fn of(&self, test: Test) -> Option<f64> {
        self.handshakes.iter().find(|(of, _)| *of == test).map(|(_, value)| *value)
    }
}

fn fleet_goals(own: &Fleet) -> String {
    let goal = |name: &str, value: Option<f64>, must: f64, aim: f64| {
        let cell = |goal: f64| Goal { value: Some(goal), times: None }.cell(value, None);
        format!("{name} must {}, aim {}", cell(must), cell(aim))
    };
    let goals = [
        goal("KiB per certificate", Some(own.kib()), 3.0, 1.5),
        goal("seconds to start", own.start_seconds(), 0.5, 0.1),
        goal("ms after the answer", own.old_until_ms(), 5.0, 0.0),
    ];
    format!("{}.\n", goals.join("; "))
}

fn plain(kind: Kind) -> &'static str {
    kind.title().trim_end_matches(" tuned")
}

fn cell(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), digits)
}

pub(crate) fn line(out: &mut String, cells: &[String]) {
    // Writing to a `String` does not fail.
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}
