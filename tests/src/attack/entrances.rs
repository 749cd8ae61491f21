//! Attacks through other entry points: a load balancer's PROXY header, and WebSocket.

use super::{
    Attacker, Tally,
    handshakes::{brief, hello, hold, random, slowly},
    sealed::Sealed,
    sessions::{ROUND, flooded},
};
use crate::Packet;

pub(super) fn header_byte_by_byte(attacker: &Attacker) -> Tally {
    slowly(&attacker.as_balancer(), || b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 8883\r\n".to_vec())
}

pub(super) fn header_without_end(attacker: &Attacker) -> Tally {
    hold(&attacker.as_balancer(), || [b"PROXY TCP6 ", &b"f".repeat(90)[..]].concat())
}

pub(super) fn longest_header(attacker: &Attacker) -> Tally {
    brief(&attacker.as_balancer(), || {
        let mut header = version2([192, 0, 2, 1], u16::MAX);
        header.extend([0xee; 64 * 1024]);
        header
    })
}

pub(super) fn invented_devices(attacker: &Attacker) -> Tally {
    brief(&attacker.as_balancer(), || {
        let [address @ .., _, _, _, _] = random().to_be_bytes();
        [version2(address, 12), hello(&attacker.device, &attacker.host)].concat()
    })
}

pub(super) fn request_without_end(attacker: &Attacker) -> Tally {
    said_to_wss(attacker, &[b"GET /", &b"a".repeat(8000)[..]].concat())
}

pub(super) fn plain_mqtt_in_wss(attacker: &Attacker) -> Tally {
    said_to_wss(attacker, Packet::connect("plain").bytes())
}

pub(super) fn websocket_that_is_not_read(attacker: &Attacker) -> Tally {
    const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    flooded(&attacker.at_wss(), REQUEST, |_| Ok(()))
}

/// Sends these bytes after the handshake.
fn said_to_wss(attacker: &Attacker, words: &[u8]) -> Tally {
    let attacker = attacker.at_wss();
    attacker.keep(ROUND, || Sealed::saying(&attacker, &attacker.patient_host, words), Sealed::forget_answers)
}

/// Cut after the addresses; claims this length.
fn version2(from: [u8; 4], length: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(length.to_be_bytes());
    header.extend(from);
    header.extend([192, 0, 2, 2, 0xc3, 0x50, 0x22, 0xb3]);
    header
}
