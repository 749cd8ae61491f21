use crate::EndingKind;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// Something ends.
    Ending(EndingKind),
    /// A strict change was refused for its impact on devices.
    StoppedChange,
    /// No device has used a client CA for long.
    UnusedClientCa,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Ending(EndingKind::Leaf),
        Self::Ending(EndingKind::Intermediate),
        Self::Ending(EndingKind::ClientCa),
        Self::Ending(EndingKind::Crl),
        Self::Ending(EndingKind::ApiKey),
        Self::Ending(EndingKind::ApiCertificate),
        Self::StoppedChange,
        Self::UnusedClientCa,
    ];

    /// Its name in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ending(kind) => kind.as_str(),
            Self::StoppedChange => "stoppedChange",
            Self::UnusedClientCa => "unusedClientCA",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_ending_is_a_kind_of_alert_and_is_read_by_its_name() {
        let endings = EndingKind::ALL.map(AlertKind::Ending);
        assert!(endings.iter().all(|kind| AlertKind::ALL.contains(kind)));
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(AlertKind::parse("StoppedChange"), None);
    }
}
