//! Session tickets (RFC 5077, RFC 8446 §4.6.1) that resume only within their trust scope.
//!
//! rustls' ticketer would let a client without certificate resume into a two-way deployment. Here
//! the trust scope is associated data of the ticket; in another scope the handshake is a full one.
//! `key id (8) | nonce (12) | AES-256-GCM`, with a random key per six hours for all nodes
//! (`ticket_keys.rs`). Two older keys, and for faster clocks the next one, also open tickets. Older
//! ones are erased, so that recorded TLS 1.2 sessions stay secret.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf,
};
use certward_store::{Clock, Timestamp, TrustScope};
use parking_lot::RwLock;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

const PERIOD_MS: i64 = 6 * 60 * 60 * 1000;
const OLDER_ACCEPTED: i64 = 2;
/// Tickets open at least this long, at most one period more.
const LIFETIME_S: u32 = (OLDER_ACCEPTED * PERIOD_MS / 1000) as u32;
const KEY_ID_LEN: usize = 8;
const FORMAT: u8 = 1;

/// Without the current key no tickets are issued.
pub(crate) struct KeyRing {
    clock: Arc<dyn Clock>,
    keys: RwLock<Vec<Arc<TicketKey>>>,
}

/// The key of one period, counted from 1970.
pub(crate) struct TicketKey {
    period: i64,
    id: [u8; KEY_ID_LEN],
    key: RandomizedNonceKey,
}

impl KeyRing {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, keys: RwLock::default() }
    }

    pub(crate) fn period(&self) -> i64 {
        let Timestamp(now) = self.clock.now();
        now.div_euclid(PERIOD_MS)
    }

    pub(crate) fn periods(&self) -> RangeInclusive<i64> {
        let now = self.period();
        now - OLDER_ACCEPTED..=now + 1
    }

    pub(crate) fn hold(&self, keys: Vec<Arc<TicketKey>>) {
        *self.keys.write() = keys;
    }

    pub(crate) fn len(&self) -> usize {
        self.with(<[_]>::len)
    }

    /// Whether the current and the next key are present.
    pub(crate) fn forget_old(&self) -> bool {
        let (periods, now) = (self.periods(), self.period());
        let is_old = |key: &Arc<TicketKey>| !periods.contains(&key.period);
        let has_old = self.with(|keys| keys.iter().any(is_old));
        if has_old {
            self.keys.write().retain(|key| !is_old(key));
        }
        self.with(|keys| [now, now + 1].iter().all(|period| keys.iter().any(|key| key.period == *period)))
    }

    fn sealing(&self) -> Option<Arc<TicketKey>> {
        let now = self.period();
        self.with(|keys| keys.iter().find(|key| key.period == now).cloned())
    }

    fn opening(&self, id: &[u8]) -> Option<Arc<TicketKey>> {
        let periods = self.periods();
        self.with(|keys| keys.iter().find(|key| key.id == id && periods.contains(&key.period)).cloned())
    }

    fn with<T>(&self, look: impl FnOnce(&[Arc<TicketKey>]) -> T) -> T {
        look(&self.keys.read())
    }
}

impl TicketKey {
    /// `None` unless `random` is 32 bytes.
    pub(crate) fn of(period: i64, random: &[u8]) -> Option<Self> {
        if random.len() != 32 {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32 + KEY_ID_LEN]);
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"certward session tickets");
        salt.extract(random).expand(&[], Length(bytes.len())).ok()?.fill(bytes.as_mut_slice()).ok()?;
        let (key, id) = bytes.split_at(32);
        Some(Self { period, id: id.try_into().ok()?, key: RandomizedNonceKey::new(&AES_256_GCM, key).ok()? })
    }

    fn aad(&self, scope: &TrustScope) -> Aad<[u8; 1 + KEY_ID_LEN + 16]> {
        let mut aad = [0; 1 + KEY_ID_LEN + 16];
        aad[0] = FORMAT;
        aad[1..=KEY_ID_LEN].copy_from_slice(&self.id);
        aad[1 + KEY_ID_LEN..].copy_from_slice(&scope.0);
        Aad::from(aad)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

pub(crate) struct ScopedTickets {
    ring: Arc<KeyRing>,
    scope: TrustScope,
}

impl ScopedTickets {
    pub(crate) fn new(ring: Arc<KeyRing>, scope: TrustScope) -> Self {
        Self { ring, scope }
    }
}

impl ProducesTickets for ScopedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.ring.sealing()?;
        let mut sealed = plain.to_vec();
        let nonce = key.key.seal_in_place_append_tag(key.aad(&self.scope), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(KEY_ID_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(KEY_ID_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.ring.opening(id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let len = key.key.open_in_place(nonce, key.aad(&self.scope), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(redacted)")
    }
}

impl fmt::Debug for ScopedTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTickets").field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certward_test_support::HandClock;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at_the_epoch() -> Arc<HandClock> {
        Arc::new(HandClock::at(Timestamp(0)))
    }

    /// Different by period and seed.
    fn ring(clock: &Arc<HandClock>, seed: u8) -> Arc<KeyRing> {
        let clock: Arc<dyn Clock> = Arc::<HandClock>::clone(clock);
        let ring = KeyRing::new(clock);
        let key = |period: i64| {
            let mut random = [seed; 32];
            random[0] = u8::try_from(period + 10).unwrap();
            Arc::new(TicketKey::of(period, &random).unwrap())
        };
        ring.hold((-2..=8).map(key).collect());
        Arc::new(ring)
    }

    fn tickets(ring: &Arc<KeyRing>, scope: u8) -> ScopedTickets {
        ScopedTickets::new(Arc::clone(ring), TrustScope([scope; 16]))
    }

    #[test]
    fn a_ticket_opens_in_its_scope_and_in_no_other() {
        let ring = ring(&at_the_epoch(), 1);
        let ticket = tickets(&ring, 1).encrypt(b"state").unwrap();
        assert_eq!(tickets(&ring, 1).decrypt(&ticket).as_deref(), Some(b"state".as_slice()));
        assert_eq!(tickets(&ring, 2).decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_opens_on_another_node_with_the_same_keys_and_on_no_other() {
        let clock = at_the_epoch();
        let ticket = tickets(&ring(&clock, 1), 1).encrypt(b"state").unwrap();
        assert!(tickets(&ring(&clock, 1), 1).decrypt(&ticket).is_some());
        assert!(tickets(&ring(&clock, 2), 1).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_opens_for_two_periods_more_and_not_longer() {
        let clock = at_the_epoch();
        let tickets = tickets(&ring(&clock, 1), 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        clock.advance(HOUR * 12);
        assert!(tickets.decrypt(&ticket).is_some());
        clock.advance(HOUR * 6);
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_of_a_clock_slightly_ahead_opens() {
        let (here, there) = (at_the_epoch(), at_the_epoch());
        there.advance(HOUR * 6);
        let ticket = tickets(&ring(&there, 1), 1).encrypt(b"state").unwrap();
        assert!(tickets(&ring(&here, 1), 1).decrypt(&ticket).is_some());
    }

    #[test]
    fn without_the_key_of_now_no_ticket_is_made_and_old_ones_open_still() {
        let clock = at_the_epoch();
        let ring = ring(&clock, 1);
        let tickets = tickets(&ring, 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        ring.keys.write().retain(|key| key.period == 0);
        clock.advance(HOUR * 6);
        assert!(tickets.encrypt(b"state").is_none());
        assert!(tickets.decrypt(&ticket).is_some());
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let clock = at_the_epoch();
        let ring = ring(&clock, 1);
        let periods = || ring.with(|keys| keys.iter().map(|key| key.period).collect::<Vec<_>>());
        assert!(ring.forget_old());
        assert_eq!(periods(), [-2, -1, 0, 1]);
        clock.advance(HOUR * 6);
        assert!(!ring.forget_old(), "the next key is missing");
        assert_eq!(periods(), [-1, 0, 1]);
        clock.advance(HOUR * 18);
        assert!(!ring.forget_old());
        assert_eq!(periods(), Vec::<i64>::new());
    }

    #[test]
    fn damaged_and_short_tickets_do_not_open() {
        let tickets = tickets(&ring(&at_the_epoch(), 1), 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        for len in 0..ticket.len() {
            assert!(tickets.decrypt(&ticket[..len]).is_none());
        }
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert!(tickets.decrypt(&damaged).is_none(), "byte {at}");
        }
    }
}
