//! Attacks on the gateway's listeners that try to stop service for other clients.
//!
//! Each row of [`ATTACKS`] keeps a bounded number of connections from one address for a bounded
//! time. The caller checks what a [`Victim`] noticed and what certward still holds.
//!
//! [`Victim`]: crate::Victim

mod entrances;
mod handshakes;
mod sealed;
mod sessions;

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{Device, connect_from};

/// An attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// A short description.
    pub name: &'static str,
    /// How far the attacker gets.
    pub stage: Stage,
    /// The victim's deployment.
    pub victim: Target,
    carry_out: fn(&Attacker) -> Tally,
}

/// How far an attacker gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Handshakes stay unfinished.
    Handshake,
    /// The handshake is done.
    Session,
}

/// The deployment of the victim's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One-way and without limits.
    Open,
    /// Two-way, with `connections`.
    FewAtOnce,
    /// Two-way, with `connectionRate`.
    FewASecond,
}

/// The target, source and size of an attack.
#[derive(Debug, Clone)]
pub struct Attacker {
    /// The `mqtts` listener.
    pub target: SocketAddr,
    /// The `wss` listener.
    pub wss: SocketAddr,
    /// A host for unfinished handshakes.
    pub host: String,
    /// The host of the deployment with `connections`.
    pub few_at_once_host: String,
    /// The host of the deployment with `connectionRate`.
    pub few_a_second_host: String,
    /// A host whose broker reads everything.
    pub patient_host: String,
    /// A host whose broker sends without pause.
    pub talkative_host: String,
    /// Source address.
    pub address: IpAddr,
    /// Source address in the load balancer's network, with a PROXY header.
    pub balancer: IpAddr,
    /// Its TLS settings.
    pub device: Device,
    /// Number of connections.
    pub connections: usize,
    /// Duration.
    pub span: Duration,
}

/// The result of an attack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections opened.
    pub opened: usize,
    /// Connections that failed before or in the handshake.
    pub refused: usize,
    /// Connections that closed early.
    pub ended: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsVersion {
    Tls12,
    Tls13,
}

/// All attacks.
pub const ATTACKS: [Attack; 35] = {
    const fn before(name: &'static str, carry_out: fn(&Attacker) -> Tally) -> Attack {
        Attack { name, stage: Stage::Handshake, victim: Target::Open, carry_out }
    }
    const fn after(name: &'static str, carry_out: fn(&Attacker) -> Tally) -> Attack {
        Attack { name, stage: Stage::Session, victim: Target::Open, carry_out }
    }
    const fn limited(name: &'static str, victim: Target, carry_out: fn(&Attacker) -> Tally) -> Attack {
        Attack { name, stage: Stage::Handshake, victim, carry_out }
    }
    [
        before("connections that say nothing", handshakes::silence),
        before("half-open handshakes", handshakes::half_open),
        before("one byte a second", handshakes::one_byte_a_second),
        before("a hello in records of one byte", handshakes::records_of_one_byte),
        before("records without content for a hello", handshakes::records_of_nothing),
        before("garbage", handshakes::garbage),
        before("plain MQTT", handshakes::plain_mqtt),
        before("plain HTTP", handshakes::plain_http),
        before("close_notify in the handshake", handshakes::close_notify),
        before("invented server names", handshakes::invented_names),
        before("a flood of connections", handshakes::connections),
        before("a PROXY header, a byte a second", entrances::header_byte_by_byte),
        before("a PROXY header that does not end", entrances::header_without_end),
        before("a PROXY header of 64 KiB", entrances::longest_header),
        before("PROXY headers of invented devices", entrances::invented_devices),
        limited("hellos against connections", Target::FewAtOnce, handshakes::held_hellos),
        limited("hellos against connectionRate", Target::FewASecond, handshakes::quick_hellos),
        after("key updates without end", sessions::key_updates),
        after("key updates that want an answer", sessions::answered_key_updates),
        after("key updates whose answers are not read", sessions::unread_key_updates),
        after("a slow reader of a fast broker", sessions::slow_reader),
        after("a fast reader of a fast broker that stops", sessions::reader_that_stops),
        after("a zero window before a fast broker", sessions::zero_window),
        after("a CONNECT that announces 256 MB", sessions::announced_connect),
        after("a CONNECT of a megabyte that does not end", sessions::endless_connect),
        after("silence after the handshake", sessions::silence),
        after("records without content", sessions::empty_records),
        after("the largest records for a byte each", sessions::padded_records),
        after("warning alerts", sessions::warnings),
        after("a handshake message that does not end", sessions::endless_message),
        after("handshake messages out of place", sessions::messages_out_of_place),
        after("renegotiation in TLS 1.2", sessions::renegotiation),
        after("a WebSocket request that does not end", entrances::request_without_end),
        after("MQTT without WebSocket on wss", entrances::plain_mqtt_in_wss),
        after("a WebSocket that is not read before a fast broker", entrances::websocket_that_is_not_read),
    ]
};

impl Attack {
    /// Runs the attack.
    pub fn carry_out(&self, attacker: &Attacker) -> Tally {
        (self.carry_out)(attacker)
    }
}

impl Attacker {
    const OPENED_A_SECOND: f64 = 1000.0;

    fn at_wss(&self) -> Self {
        Self { target: self.wss, ..self.clone() }
    }

    fn as_balancer(&self) -> Self {
        Self { address: self.balancer, ..self.clone() }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        connect_from(Some(self.address), self.target)
    }

    /// Each connection takes one step per round of at least `pace`; a closed one is replaced in the
    /// next round.
    fn keep<C>(
        &self,
        pace: Duration,
        open: impl Fn() -> io::Result<C>,
        step: impl FnMut(&mut C) -> io::Result<()>,
    ) -> Tally {
        Tally::of(self.connections, self.span, pace, open, step)
    }
}

impl Tally {
    /// See [`Attacker::keep`].
    pub(crate) fn of<C>(
        connections: usize,
        span: Duration,
        pace: Duration,
        open: impl Fn() -> io::Result<C>,
        mut step: impl FnMut(&mut C) -> io::Result<()>,
    ) -> Self {
        let begin = Instant::now();
        let mut held: Vec<Option<C>> = (0..connections).map(|_| None).collect();
        let mut tally = Self::default();
        loop {
            let round = Instant::now();
            for place in &mut held {
                if begin.elapsed() >= span {
                    return tally;
                }
                match place {
                    Some(connection) => {
                        if step(connection).is_err() {
                            tally.ended += 1;
                            *place = None;
                        }
                    }
                    None if tally.opened_too_fast(begin.elapsed()) => {}
                    None => match open() {
                        Ok(connection) => {
                            tally.opened += 1;
                            *place = Some(connection);
                        }
                        Err(_) => tally.refused += 1,
                    },
                }
            }
            thread::sleep(pace.saturating_sub(round.elapsed()).max(Duration::from_millis(1)));
        }
    }

    fn opened_too_fast(&self, since: Duration) -> bool {
        (self.opened + self.refused) as f64 > 50.0 + since.as_secs_f64() * Attacker::OPENED_A_SECOND
    }
}

/// Discards what has arrived; an error if the peer has closed.
pub(crate) fn forget_answers(socket: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
