//! From the answer of a PUT to `running` on many nodes.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use certward_tests::{Api, Authority, Broker, Certward, Leaf, PostgresServer, Setup};
use clap::Args;

use crate::{
    judge::Series,
    results::{Report, Table, Value},
};

#[derive(Debug, Args)]
pub(crate) struct NodesOptions {
    /// How many nodes there are at most; half as many, and so on down to one, are measured before
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Changes a second
    #[arg(long, default_value_t = 5)]
    pace: u32,
    /// How long each number of nodes is measured
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// No change overtakes another.
const DEPLOYMENTS: usize = 40;
const WAIT: &str = "Prefer: wait=30\r\n";

#[derive(Default)]
struct Taken {
    answers: Vec<Duration>,
    proven: Vec<Duration>,
}

pub(crate) fn measure(options: &NodesOptions) -> Result<Report> {
    let mut report = Report::new("nodes");
    let &NodesOptions { nodes, pace, seconds } = options;
    ensure!(nodes > 0 && pace > 0 && seconds > 0, "there must be something to measure");
    let server = PostgresServer::start_durable();
    let store = server.database();
    let mut fleet = vec![Certward::start_with(setup(&store))];
    let broker = Broker::start(fleet[0].folder());
    let authority = Authority::new("Bench CA");
    for number in 0..DEPLOYMENTS {
        let host = host(number);
        fleet[0].api().create_deployment(&id(number), &broker.upstream(), &[&host]);
        fleet[0].api().post_tls(&id(number), &authority.server(&[&host]).one_way()).expect(200);
    }
    let counts = std::iter::successors(Some(nodes), |count| (*count > 1).then_some(count / 2));
    let counts: Vec<usize> = counts.collect();
    let mut table = Table::default();
    for nodes in counts.into_iter().rev() {
        while fleet.len() < nodes {
            let next = Certward::start_beside(&fleet[0], setup(&store));
            fleet.push(next);
        }
        (0..DEPLOYMENTS).for_each(|number| drop(fleet[0].api().wait_running(&id(number))));
        let Taken { answers, proven } = run(&fleet, &authority, pace, pace * seconds);
        eprintln!("{nodes} nodes measured");
        let [answers, proven] = [answers, proven].map(|times| Value::Percentiles(Series::ms(times)));
        table.row([
            ("nodes", nodes.into()),
            ("PUT to its answer, ms", answers),
            ("answer to `running`, ms", proven),
        ]);
    }
    report.text(format!("{pace} changes a second for {seconds} s."));
    report.table(table);
    Ok(report)
}

fn setup(store: &str) -> Setup {
    Setup { store: Some(store.to_owned()), log_level: "warn", ..Setup::default() }
}

fn id(number: usize) -> String {
    format!("d{number}")
}

fn host(number: usize) -> String {
    format!("d{number}.example.com")
}

/// A change per beat, whether earlier ones are proven or not.
fn run(fleet: &[Certward], authority: &Authority, pace: u32, changes: u32) -> Taken {
    let apis: Vec<Api> = fleet.iter().map(Certward::api).collect();
    // Not measured.
    let leaves: Vec<Leaf> =
        (0..changes as usize).map(|number| authority.server(&[&host(number % DEPLOYMENTS)])).collect();
    let taken = Arc::<Mutex<Taken>>::default();
    let begun = Instant::now();
    thread::scope(|scope| {
        for (number, leaf) in leaves.iter().enumerate() {
            let beat = begun + Duration::from_secs(1) * number as u32 / pace;
            thread::sleep(beat.saturating_duration_since(Instant::now()));
            let [by, from] = [&apis[number % apis.len()], &apis[(number + apis.len() / 2) % apis.len()]];
            let taken = Arc::clone(&taken);
            scope.spawn(move || {
                let (answer, proven) = change(by, from, &id(number % DEPLOYMENTS), leaf);
                let mut taken = taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                taken.answers.push(answer);
                taken.proven.push(proven);
            });
        }
    });
    Arc::into_inner(taken).and_then(|taken| taken.into_inner().ok()).expect("all changes have ended well")
}

/// To the answer, and from there to the proof.
fn change(by: &Api, from: &Api, id: &str, leaf: &Leaf) -> (Duration, Duration) {
    let asked = Instant::now();
    by.put_tls(id, &leaf.one_way()).expect(200);
    let answered = Instant::now();
    let told = from.try_send("GET", &format!("/deployments/{id}/tls"), WAIT, "").expect("an answer");
    assert_eq!(told.tls_status(), "running", "{told:?}");
    (answered - asked, answered.elapsed())
}
