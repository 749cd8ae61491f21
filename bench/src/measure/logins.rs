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

use anyhow::{Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use certward_tests::{Api, Scene};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Logins {
    /// Refused logins of each kind
    #[arg(long, default_value_t = 100_000)]
    samples: usize,
}

const T_MAX: f64 = 4.5;
/// Caches and pools are full then.
const WARM_UP: usize = 2_000;
const KINDS: [&str; 3] = ["unknown key", "wrong secret", "malformed header"];
/// Each kind equally often at each place and after each other.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1]];
const CROPPED: f64 = 0.9;

pub(crate) fn measure(logins: &Logins) -> Result<()> {
    ensure!(logins.samples > 1, "a variance needs two samples");
    let scene = Scene::new();
    let requests = requests(&scene.api());
    let mut connection = Connection::new(&scene.api());
    let mut times: [Vec<f64>; KINDS.len()] = Default::default();
    for round in 0..WARM_UP + logins.samples {
        for kind in ORDERS[round % ORDERS.len()] {
            let time = connection.refused(&requests[kind])?;
            if round >= WARM_UP {
                times[kind].push(time.as_secs_f64() * 1e6);
            }
        }
    }
    let all = times.each_ref().map(|times| Sample::of(times));
    let limit = quantile(&times.concat(), CROPPED);
    let cropped = times
        .each_ref()
        .map(|times| Sample::of(&times.iter().copied().filter(|time| *time <= limit).collect::<Vec<_>>()));
    println!("## Refused logins\n");
    println!("{} of each kind, µs:\n", logins.samples);
    println!("| | mean | mean below the {:.0} % | standard deviation |\n|---|---|---|---|", CROPPED * 100.0);
    for ((kind, all), cropped) in KINDS.iter().zip(&all).zip(&cropped) {
        println!("| {kind} | {:.2} | {:.2} | {:.2} |", all.mean, cropped.mean, all.variance.sqrt());
    }
    println!("\n| Welch's t | all | below the {:.0} % |\n|---|---|---|", CROPPED * 100.0);
    let mut worst = 0.0_f64;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let t = [&all, &cropped].map(|samples| welch(&samples[one], &samples[other]));
        println!("| {}, {} | {:.2} | {:.2} |", KINDS[one], KINDS[other], t[0], t[1]);
        worst = t.into_iter().fold(worst, |worst, t| worst.max(t.abs()));
    }
    println!();
    if worst >= T_MAX {
        bail!(
            "the time of a refused login tells what was wrong with it: |t| is {worst:.2}, and {T_MAX} is too much"
        );
    }
    Ok(())
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

#[derive(Debug)]
struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }
}

/// The means' difference in standard errors, for unequal variances.
fn welch(one: &Sample, other: &Sample) -> f64 {
    (one.mean - other.mean) / (one.variance / one.count + other.variance / other.count).sqrt()
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welchs_t_is_that_of_the_textbook() {
        // From Python's `statistics`.
        let a = Sample::of(&[
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4,
        ]);
        let b = Sample::of(&[
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.0, 23.9,
        ]);
        assert!((welch(&a, &b) + 2.8353).abs() < 0.0001, "{}", welch(&a, &b));
        assert_eq!(welch(&a, &a), 0.0);
    }

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
