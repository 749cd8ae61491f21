//! What somebody on the network does to a gateway who wants it to stop serving others.
//!
//! Every attack is a row of [`ATTACKS`]: from an address of its own it keeps a bounded number of connections open for a bounded
//! time, does its worst on each, makes a new one for each that was ended, and lets go of all of them. What a [`Victim`] noticed
//! meanwhile, and what certward still holds afterwards, is for the caller to look at.
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
    /// What it does, in a few words.
    pub name: &'static str,
    /// How far the attacker comes.
    pub stage: Stage,
    /// Whose device must not notice.
    pub victim: Target,
    carry_out: fn(&Attacker) -> Tally,
}

/// How far an attacker comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its handshakes are never done.
    Handshake,
    /// It has shaken hands and is relayed, or waits to be.
    Session,
}

/// Which deployment the victim is a device of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One-way and without limits.
    Open,
    /// Two-way, with `connections`.
    FewAtOnce,
    /// Two-way, with `connectionRate`.
    FewASecond,
}

/// Who attacks, what, and how much.
#[derive(Debug, Clone)]
pub struct Attacker {
    /// The `mqtts` listener.
    pub target: SocketAddr,
    /// The `wss` listener.
    pub wss: SocketAddr,
    /// A host whose handshakes begin and are never done.
    pub host: String,
    /// The host of the deployment with `connections`.
    pub few_at_once_host: String,
    /// The host of the deployment with `connectionRate`.
    pub few_a_second_host: String,
    /// A host whose broker takes everything.
    pub patient_host: String,
    /// A host whose broker sends as fast as it can.
    pub talkative_host: String,
    /// Where the attacker comes from.
    pub address: IpAddr,
    /// An address of the load balancer's network, whose connections begin with a PROXY header.
    pub balancer: IpAddr,
    /// How it speaks TLS when it does.
    pub device: Device,
    /// How many connections it keeps.
    pub connections: usize,
    /// For how long.
    pub span: Duration,
}

/// What an attack came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that it made.
    pub opened: usize,
    /// Those that did not come about, or no further than the handshake.
    pub refused: usize,
    /// Those that ended before the attack did.
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
        after("key updates whose answers nobody reads", sessions::unread_key_updates),
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
        after("a WebSocket that nobody reads before a fast broker", entrances::websocket_that_is_not_read),
    ]
};

impl Attack {
    /// Does it, and lets go.
    pub fn carry_out(&self, attacker: &Attacker) -> Tally {
        (self.carry_out)(attacker)
    }
}

impl Attacker {
    /// New connections a second at most.
    const OPENED_A_SECOND: f64 = 1000.0;

    /// The same at the `wss` listener.
    fn at_wss(&self) -> Self {
        Self { target: self.wss, ..self.clone() }
    }

    /// The same from the load balancer's network.
    fn as_balancer(&self) -> Self {
        Self { address: self.balancer, ..self.clone() }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        connect_from(Some(self.address), self.target)
    }

    /// Keeps the connections until the attack is over. In each round, every one of them takes a step; one that ended is made anew
    /// in the next. A round takes at least `pace`.
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
    /// What keeping so many connections for so long comes to; see [`Attacker::keep`].
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

/// Reads what is there and forgets it; an error when the other side has ended.
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
