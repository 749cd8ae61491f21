//! Attacks on the API: clients that occupy its connections and finish no request.
//!
//! As in `attack.rs`, each keeps a bounded number of connections for a bounded time. The caller
//! checks what [`ApiVictims`] noticed.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Api, Noticed, Scene, Tally, Victim, attack::forget_answers, connect_from};

/// An attack on the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiAttack {
    /// A short description.
    pub name: &'static str,
    /// The first bytes; the argument is a valid login.
    begin: fn(&str) -> String,
    /// Whether a byte follows per second.
    drips: bool,
}

/// All attacks on the API.
pub const API_ATTACKS: [ApiAttack; 3] = [
    ApiAttack { name: "one byte", begin: |_| "G".to_owned(), drips: false },
    ApiAttack {
        name: "a head that drips",
        begin: |_| "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Drip: ".to_owned(),
        drips: true,
    },
    ApiAttack {
        name: "a body that drips, with a valid key",
        // The one body read before any request limit.
        begin: |login| {
            format!(
                "POST /public_api/v1/deployments HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\n\
                 Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n{{"
            )
        },
        drips: true,
    },
];

/// Source and size of an attack.
#[derive(Debug, Clone)]
pub struct ApiAttacker {
    /// The API's address.
    pub target: SocketAddr,
    /// The value of a valid `Authorization` header.
    pub login: String,
    /// Source addresses, in rotation.
    pub addresses: Vec<IpAddr>,
    /// Number of connections.
    pub connections: usize,
    /// Duration.
    pub span: Duration,
}

/// Shortest round.
const ROUND_MIN: Duration = Duration::from_millis(50);

impl ApiAttack {
    /// Runs the attack, then closes its connections.
    pub fn carry_out(&self, attacker: &ApiAttacker) -> Tally {
        raise_file_limit();
        let begin = (self.begin)(&attacker.login);
        let opened = AtomicUsize::new(0);
        let open = || {
            let nth = opened.fetch_add(1, Ordering::Relaxed) % attacker.addresses.len();
            let mut socket = connect_from(Some(attacker.addresses[nth]), attacker.target)?;
            socket.write_all(begin.as_bytes())?;
            socket.set_nonblocking(true)?;
            Ok((socket, Instant::now()))
        };
        Tally::of(attacker.connections, attacker.span, ROUND_MIN, open, |(socket, last)| {
            if self.drips && last.elapsed() >= Duration::from_secs(1) {
                *last = Instant::now();
                socket.write_all(b" ")?;
            }
            forget_answers(socket)
        })
    }
}

impl ApiAttacker {
    /// From `addresses` addresses.
    pub fn of(scene: &Scene, addresses: u8, connections: usize, span: Duration) -> Self {
        let api = scene.api();
        let addresses = (1..=addresses).map(|last| Ipv4Addr::new(127, 0, 3, last).into()).collect();
        Self { target: api.address, login: login(&api), addresses, connections, span }
    }
}

/// Clients at other addresses; a new connection per request.
#[derive(Debug)]
pub struct ApiVictims {
    probes: Victim,
    requests: Victim,
    local: Victim,
}

impl ApiVictims {
    const PROBE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// Starts the victims.
    pub fn start(scene: &Scene) -> Self {
        let (api, deployment) = (scene.api(), Scene::DEPLOYMENT);
        let path = format!("/public_api/v1/deployments/{deployment}/tls");
        let client = |from, paths: Vec<String>| {
            let api = api.clone();
            let mut paths = paths.into_iter().cycle();
            Victim::repeating(move || get(&api, from, &paths.next().unwrap_or_default()))
        };
        Self {
            probes: client(Self::PROBE, vec!["/healthz".to_owned(), "/readyz".to_owned()]),
            requests: client(Self::CLIENT, vec![path.clone()]),
            local: client(Ipv4Addr::LOCALHOST, vec![path]),
        }
    }

    /// Stops them and returns what each noticed.
    pub fn stop(self) -> [(&'static str, Noticed); 3] {
        [("probes", self.probes), ("requests", self.requests), ("requests from 127.0.0.1", self.local)]
            .map(|(name, victim)| (name, victim.stop()))
    }
}

fn login(api: &Api) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", api.key, api.secret)))
}

fn get(api: &Api, from: Ipv4Addr, path: &str) -> io::Result<()> {
    let mut socket: TcpStream = connect_from(Some(from.into()), api.address)?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        login(api)
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(io::Error::other(format!("{path}: {answer:?}"))),
    }
}

/// Both ends are descriptors of this process; 1,024 is a common limit.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("as far as it may be raised");
}
