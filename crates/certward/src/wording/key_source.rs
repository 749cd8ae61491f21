use crate::login::LoginName;

/// Where the key of a request is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Flags or variables.
    #[default]
    Given,
    /// Typed on a terminal.
    Typed,
    /// A key file, by its name.
    File(String),
    Login(LoginName),
}
