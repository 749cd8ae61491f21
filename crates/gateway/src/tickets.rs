//! Session tickets (RFC 5077, RFC 8446 §4.6.1) that resume only within their trust scope.
//!
//! rustls resumes whatever its ticketer can open: with one ticketer for all, a client without certificate would resume into a
//! two-way deployment, and a revoked one would go on resuming. Here the trust scope is associated data of the sealed ticket, so a
//! ticket of another scope does not open, and the client makes a full handshake.
//!
//! A ticket is `key id (8) | nonce (12) | AES-256-GCM`. The key changes every six hours and two older ones are accepted. Keys
//! are derived from one secret that all nodes share through the store, and from the number of the six-hour period: a ticket
//! of one node resumes on another without a word between them. Who steals that secret could open the tickets of recorded TLS
//! 1.2 sessions; it is sealed in the store, and TLS 1.3 resumes with a fresh key exchange.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf,
};
use certward_store::{Clock, Timestamp, TrustScope};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// How long a key seals tickets.
const PERIOD_MS: i64 = 6 * 60 * 60 * 1000;
/// How many older keys still open tickets.
const OLDER_ACCEPTED: i64 = 2;
/// A ticket lives at least as long as the older keys, and is worthless after one period more.
const LIFETIME_S: u32 = (OLDER_ACCEPTED * PERIOD_MS / 1000) as u32;
const KEY_ID_LEN: usize = 8;
const FORMAT: u8 = 1;

/// The ticket keys of the process.
pub(crate) struct KeyRing {
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
}

struct State {
    secret: Zeroizing<[u8; 32]>,
    period: i64,
    keys: Vec<Arc<TicketKey>>,
}

struct TicketKey {
    period: i64,
    id: [u8; KEY_ID_LEN],
    key: RandomizedNonceKey,
}

impl KeyRing {
    pub(crate) fn new(clock: Arc<dyn Clock>, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { clock, state: RwLock::new(State { secret, period: i64::MIN, keys: Vec::new() }) }
    }

    /// Goes over to the secret that all nodes share. Tickets sealed before open no longer.
    pub(crate) fn install(&self, secret: Zeroizing<[u8; 32]>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State { secret, period: i64::MIN, keys: Vec::new() };
    }

    fn sealing(&self) -> Option<Arc<TicketKey>> {
        let period = self.period();
        self.keys(|keys| keys.iter().find(|key| key.period == period).cloned())
    }

    fn opening(&self, id: &[u8]) -> Option<Arc<TicketKey>> {
        self.keys(|keys| keys.iter().find(|key| key.id == id).cloned())
    }

    /// The keys of now; derived anew when a period has ended.
    fn keys<T>(&self, choose: impl Fn(&[Arc<TicketKey>]) -> T) -> T {
        let period = self.period();
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.period == period {
                return choose(&state.keys);
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // One period ahead is accepted too: another node's clock may be a little before this one's.
        state.keys = (period - OLDER_ACCEPTED..=period + 1)
            .filter_map(|period| TicketKey::derive(&state.secret, period).map(Arc::new))
            .collect();
        state.period = period;
        choose(&state.keys)
    }

    fn period(&self) -> i64 {
        let Timestamp(now) = self.clock.now();
        now.div_euclid(PERIOD_MS)
    }
}

impl TicketKey {
    fn derive(secret: &[u8; 32], period: i64) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32 + KEY_ID_LEN]);
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"certward session tickets");
        let info = period.to_be_bytes();
        salt.extract(secret).expand(&[&info], Length(bytes.len())).ok()?.fill(bytes.as_mut_slice()).ok()?;
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

/// The tickets of one trust scope: what a deployment's configuration holds.
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
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct HandClock(AtomicI64);

    impl HandClock {
        fn advance_hours(&self, hours: i64) {
            self.0.fetch_add(hours * 3_600_000, Ordering::Relaxed);
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    fn ring(clock: &Arc<HandClock>, secret: u8) -> Arc<KeyRing> {
        let clock: Arc<dyn Clock> = Arc::<HandClock>::clone(clock);
        Arc::new(KeyRing::new(clock, Zeroizing::new([secret; 32])))
    }

    fn tickets(ring: &Arc<KeyRing>, scope: u8) -> ScopedTickets {
        ScopedTickets::new(Arc::clone(ring), TrustScope([scope; 16]))
    }

    #[test]
    fn a_ticket_opens_in_its_scope_and_in_no_other() {
        let ring = ring(&Arc::default(), 1);
        let ticket = tickets(&ring, 1).encrypt(b"state").unwrap();
        assert_eq!(tickets(&ring, 1).decrypt(&ticket).as_deref(), Some(b"state".as_slice()));
        assert_eq!(tickets(&ring, 2).decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_opens_on_another_node_with_the_same_secret_and_on_no_other() {
        let clock = Arc::default();
        let ticket = tickets(&ring(&clock, 1), 1).encrypt(b"state").unwrap();
        assert!(tickets(&ring(&clock, 1), 1).decrypt(&ticket).is_some());
        assert!(tickets(&ring(&clock, 2), 1).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_opens_for_two_periods_more_and_not_longer() {
        let clock = Arc::default();
        let tickets = tickets(&ring(&clock, 1), 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        clock.advance_hours(12);
        assert!(tickets.decrypt(&ticket).is_some());
        clock.advance_hours(6);
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_of_a_clock_slightly_ahead_opens() {
        let (here, there) = (Arc::new(HandClock::default()), Arc::new(HandClock::default()));
        there.advance_hours(6);
        let ticket = tickets(&ring(&there, 1), 1).encrypt(b"state").unwrap();
        assert!(tickets(&ring(&here, 1), 1).decrypt(&ticket).is_some());
    }

    #[test]
    fn installing_the_shared_secret_ends_the_tickets_of_before() {
        let ring = ring(&Arc::default(), 1);
        let tickets = tickets(&ring, 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        ring.install(Zeroizing::new([2; 32]));
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn damaged_and_short_tickets_do_not_open() {
        let tickets = tickets(&ring(&Arc::default(), 1), 1);
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
