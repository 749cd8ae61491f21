//! Attacks that never complete the handshake.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io::{self, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use super::{Attacker, Tally, forget_answers};
use crate::{Device, Packet};

const HELD_ROUND: Duration = Duration::from_millis(50);
/// For connections that close after one answer.
const BRIEF_ROUND: Duration = Duration::from_millis(200);

pub(super) fn silence(attacker: &Attacker) -> Tally {
    hold(attacker, Vec::new)
}

pub(super) fn half_open(attacker: &Attacker) -> Tally {
    hold(attacker, || hello(&attacker.device, &attacker.host))
}

/// More than the deployment's connection limit.
pub(super) fn held_hellos(attacker: &Attacker) -> Tally {
    hold(attacker, || hello(&attacker.device, &attacker.few_at_once_host))
}

/// More than the deployment's connection rate.
pub(super) fn quick_hellos(attacker: &Attacker) -> Tally {
    // No second's worth is saved up between rounds.
    const ROUND: Duration = Duration::from_millis(20);
    let open = || say(attacker, &hello(&attacker.device, &attacker.few_a_second_host));
    attacker.keep(ROUND, open, |_| Err(io::ErrorKind::ConnectionAborted.into()))
}

pub(super) fn one_byte_a_second(attacker: &Attacker) -> Tally {
    slowly(attacker, || hello(&attacker.device, &attacker.host))
}

pub(super) fn records_of_one_byte(attacker: &Attacker) -> Tally {
    brief(attacker, || {
        let hello = hello(&attacker.device, &attacker.host);
        hello[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect()
    })
}

pub(super) fn records_of_nothing(attacker: &Attacker) -> Tally {
    brief(attacker, || [22, 3, 1, 0, 0].repeat(2000))
}

pub(super) fn garbage(attacker: &Attacker) -> Tally {
    brief(attacker, || (0..128).flat_map(|_| random().to_be_bytes()).collect())
}

pub(super) fn plain_mqtt(attacker: &Attacker) -> Tally {
    brief(attacker, || Packet::connect("plain").bytes().to_vec())
}

pub(super) fn plain_http(attacker: &Attacker) -> Tally {
    brief(attacker, || format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", attacker.host).into_bytes())
}

pub(super) fn close_notify(attacker: &Attacker) -> Tally {
    const CLOSE_NOTIFY: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];
    brief(attacker, || [&hello(&attacker.device, &attacker.host), &CLOSE_NOTIFY[..]].concat())
}

pub(super) fn invented_names(attacker: &Attacker) -> Tally {
    brief(attacker, || hello(&attacker.device, &format!("{:016x}.example.com", random())))
}

pub(super) fn connections(attacker: &Attacker) -> Tally {
    // A thousand steps a second, every second of which connects.
    let pace = Duration::from_millis(1) * u32::try_from(attacker.connections).unwrap_or(u32::MAX);
    attacker.keep(pace, || attacker.connect(), |_| Err(io::ErrorKind::ConnectionAborted.into()))
}

/// Sends one byte per second.
pub(super) fn slowly(attacker: &Attacker, bytes: impl Fn() -> Vec<u8>) -> Tally {
    struct Slow {
        socket: TcpStream,
        bytes: std::vec::IntoIter<u8>,
        next: Instant,
    }
    let open = || Ok(Slow { socket: say(attacker, &[])?, bytes: bytes().into_iter(), next: Instant::now() });
    attacker.keep(HELD_ROUND, open, |slow| {
        if Instant::now() >= slow.next {
            slow.next += Duration::from_secs(1);
            slow.socket.write_all(&slow.bytes.by_ref().take(1).collect::<Vec<u8>>())?;
        }
        forget_answers(&mut slow.socket)
    })
}

/// Then stays silent until the server closes.
pub(super) fn hold(attacker: &Attacker, bytes: impl Fn() -> Vec<u8>) -> Tally {
    attacker.keep(HELD_ROUND, || say(attacker, &bytes()), forget_answers)
}

/// Reads an answer and closes.
pub(super) fn brief(attacker: &Attacker, bytes: impl Fn() -> Vec<u8>) -> Tally {
    let open = || Ok((say(attacker, &bytes())?, 0));
    attacker.keep(BRIEF_ROUND, open, |(socket, rounds)| {
        forget_answers(socket)?;
        *rounds += 1;
        if *rounds < 2 { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    })
}

fn say(attacker: &Attacker, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut socket = attacker.connect()?;
    socket.write_all(bytes)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One record with a header of five bytes.
pub(super) fn hello(device: &Device, host: &str) -> Vec<u8> {
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(device.config(), name).expect("a configuration");
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).expect("memory takes everything");
    bytes
}

/// A fresh `RandomState` is random.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
