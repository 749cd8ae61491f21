/// Sessions with one offer, weighed by network: each weighs 1, split by the sessions of its offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OfferWeight {
    pub(crate) sessions: u64,
    pub(crate) networks: u64,
    /// In millionths of a network.
    pub(crate) weight: u64,
    /// Of one network.
    pub(crate) largest: u64,
}

/// A network.
pub(crate) const WEIGHT: u64 = 1_000_000;

impl OfferWeight {
    /// A network that has `of_all` sessions, `sessions` of them with this offer.
    pub(crate) fn add_network(&mut self, sessions: u64, of_all: u64) {
        let weight = sessions * WEIGHT / of_all.max(1);
        self.sessions += sessions;
        self.networks += 1;
        self.weight += weight;
        self.largest = self.largest.max(weight);
    }
}
