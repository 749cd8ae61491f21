use std::{collections::BTreeSet, mem::discriminant};

use certward_pki::{HostName, ServedChain};

use super::{offer_share::OfferShare, verdict::KeyKindChange};

/// Those that the old leaf covers and the new one does not.
pub(super) fn hosts_lost(hosts: &[HostName], old: &ServedChain, new: &ServedChain) -> Vec<String> {
    let lost = hosts.iter().filter(|host| old.covers(host) && !new.covers(host));
    lost.map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}

/// RSA of another size is the same kind.
pub(super) fn key_kind_change(
    old: &ServedChain,
    new: &ServedChain,
    offers: &OfferShare,
) -> Option<KeyKindChange> {
    let is_same_kind = discriminant(&old.key_kind()) == discriminant(&new.key_kind());
    let share_millionths = offers.share_millionths();
    if is_same_kind && share_millionths == 0 {
        return None;
    }
    let described = |chain: &ServedChain| {
        let signatures: Vec<&str> = chain.signature_names().collect();
        match signatures[..] {
            [_, ..] if is_same_kind => {
                format!("{}, signed with {}", chain.key_kind(), signatures.join(" and "))
            }
            _ => chain.key_kind().to_string(),
        }
    };
    Some(KeyKindChange { from: described(old), to: described(new), share_millionths })
}
