use zeroize::Zeroizing;

/// Wiped on drop, redacted in `Debug`.
#[derive(Clone, PartialEq)]
pub(crate) struct MasterKeyText(Zeroizing<String>);

impl MasterKeyText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for MasterKeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKeyText(redacted)")
    }
}
