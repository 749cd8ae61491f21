use certward_store::Version;

/// Whether a client that `before` admitted may be one that `new` must refuse: one-way became two-way, or a client CA
/// is gone. Where the new version cannot be served, the old one must not be served either.
pub fn narrows(new: &Version, before: &Version) -> bool {
    if new.client_cas.is_empty() {
        return false;
    }
    before.client_cas.is_empty() || before.client_cas.iter().any(|ca| !new.client_cas.contains(ca))
}
