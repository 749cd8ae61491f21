//! Whether the time of a refused login reveals that its key exists.
//!
//! Welch's t-test over an unknown key, a wrong secret and an unreadable header of one length, in
//! turn on one connection, with |t| up to 4.5 as in leakage tests (TVLA, dudect): over all times,
//! and those below their 90 %, with less noise.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use certward_tests::{Api, Scene};
use clap::Args;

use crate::{
    judge::{Sample, Series, T_MAX, welch},
    results::{Report, Table, Value},
};

#[derive(Debug, Args)]
pub(crate) struct LoginsOptions {
    /// Refused logins of each kind
    #[arg(long, default_value_t = 100_000)]
    samples: usize,
}

/// Caches and pools are full then.
const WARM_UP: usize = 2_000;
const KINDS: [&str; 3] = ["unknown key", "wrong secret", "malformed header"];
/// Each kind equally often at each place and after each other.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1]];
const CROPPED: f64 = 0.9;

pub(crate) fn measure(options: &LoginsOptions) -> Result<Report> {
    ensure!(options.samples > 1, "a variance needs two samples");
    let mut report = Report::new("logins");
    let scene = Scene::new();
    let requests = requests(&scene.api());
    let mut connection = Connection::new(&scene.api());
    let mut times: [Vec<f64>; KINDS.len()] = Default::default();
    for round in 0..WARM_UP + options.samples {
        for kind in ORDERS[round % ORDERS.len()] {
            let time = connection.refused(&requests[kind])?;
            if round >= WARM_UP {
                times[kind].push(time.as_secs_f64() * 1e6);
            }
        }
    }
    let limit = times.concat().into_iter().collect::<Series>().within(CROPPED).unwrap_or(f64::INFINITY);
    let below = |times: &Vec<f64>| times.iter().copied().filter(|time| *time <= limit).collect::<Vec<_>>();
    let all = times.each_ref().map(|times| Sample::of(times));
    let cropped = times.each_ref().map(|times| Sample::of(&below(times)));
    report.text(format!("{} of each kind, µs.", options.samples));
    let mut table = Table::default();
    for ((kind, all), cropped) in KINDS.into_iter().zip(&all).zip(&cropped) {
        table.row([
            ("", kind.into()),
            ("mean", all.mean.into()),
            ("mean below the 90 %", cropped.mean.into()),
            ("standard deviation", all.variance.sqrt().into()),
        ]);
    }
    report.table(table);
    let mut table = Table::default();
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let t = |of: &[Sample]| Value::Limited { value: welch(&of[one], &of[other]), limit: T_MAX };
        table.row([
            ("Welch's t", format!("{}, {}", KINDS[one], KINDS[other]).into()),
            ("all", t(&all)),
            ("below the 90 %", t(&cropped)),
        ]);
    }
    report.table(table);
    Ok(report)
}

/// All of one length.
fn requests(api: &Api) -> [String; KINDS.len()] {
    let wrong = "0".repeat(api.secret.len());
    let unknown = "0".repeat(api.key.len());
    [format!("{unknown}:{wrong}"), format!("{}:{wrong}", api.key), format!("{unknown}0{wrong}")].map(|login| {
        let login = BASE64_STANDARD.encode(login);
        format!("GET /public_api/v1/projects HTTP/1.1\r\nHost: certward\r\nAuthorization: Basic {login}\r\n\r\n")
    })
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn new(api: &Api) -> Self {
        let stream = TcpStream::connect(api.address).expect("the API");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; 16 * 1024] }
    }

    fn refused(&mut self, request: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let length = self.stream.read(&mut self.buffer)?;
        let time = begun.elapsed();
        // A short answer arrives in one piece on loopback.
        let answer = &self.buffer[..length];
        ensure!(
            answer.starts_with(b"HTTP/1.1 401") && answer.ends_with(b"}"),
            "{}",
            String::from_utf8_lossy(answer)
        );
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_give_each_kind_each_place_and_each_neighbour() {
        for kind in 0..KINDS.len() {
            for place in 0..KINDS.len() {
                assert_eq!(ORDERS.iter().filter(|order| order[place] == kind).count(), 2);
            }
        }
        let row: Vec<usize> = ORDERS.iter().flatten().chain([&ORDERS[0][0]]).copied().collect();
        for (one, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            assert_eq!(row.windows(2).filter(|pair| *pair == [one, other]).count(), 3);
        }
    }
}
