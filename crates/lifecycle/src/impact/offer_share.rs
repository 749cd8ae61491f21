//! The share of what ClientHellos offer that can verify the old chain and not the new one.
//!
//! Each network counts once an hour, whatever it sends. Where no client certificate is asked for,
//! strangers may send hellos too: then one network decides nothing, unless nearly all that is known
//! comes from one.

use std::collections::BTreeMap;

use certward_pki::{ClientOffer, ServedChain};

use super::evidence::ImpactEvidence;

/// In millionths of a network's hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OfferShare {
    total: u128,
    /// Of offers that lose.
    lost: u128,
    /// Of these, without the largest network of each offer and hour.
    lost_elsewhere: u128,
    /// Hours of nodes, at least.
    hours: u128,
}

/// Per cent, of devices that have a certificate, or of many networks.
const SEVERE_PERCENT: u128 = 1;
/// Per cent, of one network that strangers may be in.
const SEVERE_PERCENT_OF_ONE_NETWORK: u128 = 5;
/// Per cent, of any networks: half of all that is known is no stranger's.
const SEVERE_PERCENT_OF_ALL: u128 = 50;
/// Networks in an hour, in hundredths: below it nearly all is of one.
const ONE_NETWORK_HUNDREDTHS: u128 = 125;
const MILLIONTHS: u128 = 1_000_000;

impl OfferShare {
    pub(super) fn of(evidence: &ImpactEvidence, old: &ServedChain, new: &ServedChain) -> Self {
        let mut share = Self { hours: evidence.live_nodes.into(), ..Self::default() };
        for live in &evidence.live.offers {
            share.add(live.weight, live.largest, loses(&live.offer, old, new));
        }
        let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
        for day in &evidence.offers {
            share.add(day.weight, day.largest, loses(&day.offer, old, new));
            let most = hours.entry(day.day).or_default();
            *most = day.hours.max(*most);
        }
        share.hours += hours.into_values().map(u128::from).sum::<u128>();
        share
    }

    fn add(&mut self, weight: u64, largest: u64, loses: bool) {
        let (weight, largest) = (u128::from(weight), u128::from(largest));
        self.total += weight;
        if loses {
            self.lost += weight;
            self.lost_elsewhere += weight.saturating_sub(largest);
        }
    }

    /// Zero without offers; at least one if any is lost.
    pub(super) fn share_millionths(&self) -> u32 {
        let share = (self.lost * MILLIONTHS).checked_div(self.total).unwrap_or(0);
        u32::try_from(share).unwrap_or(u32::MAX).max(u32::from(self.lost > 0))
    }

    /// Every session has a verified certificate.
    pub(super) fn is_severe_among_devices(&self) -> bool {
        self.is_lost(self.lost, SEVERE_PERCENT)
    }

    /// Sessions may be of strangers.
    pub(super) fn is_severe_among_strangers(&self) -> bool {
        if self.total * 100 < ONE_NETWORK_HUNDREDTHS * MILLIONTHS * self.hours {
            return self.is_lost(self.lost, SEVERE_PERCENT_OF_ONE_NETWORK);
        }
        self.is_lost(self.lost, SEVERE_PERCENT_OF_ALL)
            || self.is_lost(self.lost, SEVERE_PERCENT) && self.is_lost(self.lost_elsewhere, SEVERE_PERCENT)
    }

    fn is_lost(&self, weight: u128, percent: u128) -> bool {
        weight > 0 && weight * 100 >= percent * self.total
    }
}

fn loses(offer: &ClientOffer, old: &ServedChain, new: &ServedChain) -> bool {
    offer.can_verify(old) && !offer.can_verify(new)
}
