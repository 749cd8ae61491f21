use std::sync::Arc;

use certward_pki::ClientOffer;
use quick_cache::sync::Cache;

/// A fleet has a few kinds of clients. About 0.6 KiB each.
const OFFERS_MAX: usize = 1024;

/// Equal offers share one value.
#[derive(Debug)]
pub(crate) struct SharedOffers(Cache<ClientOffer, Arc<ClientOffer>>);

impl Default for SharedOffers {
    fn default() -> Self {
        Self(Cache::new(OFFERS_MAX))
    }
}

impl SharedOffers {
    pub(crate) fn share(&self, offer: ClientOffer) -> Arc<ClientOffer> {
        if let Some(shared) = self.0.get(&offer) {
            return shared;
        }
        let shared = Arc::new(offer.clone());
        self.0.insert(offer, Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_offers_share_one_value() {
        let offers = SharedOffers::default();
        let offer = |version| ClientOffer { versions: vec![version], ..ClientOffer::default() };
        let first = offers.share(offer(0x0304));
        assert!(Arc::ptr_eq(&first, &offers.share(offer(0x0304))));
        let other = offers.share(offer(0x0303));
        assert_eq!((&*first, &*other), (&offer(0x0304), &offer(0x0303)));
    }
}
