use serde::Serialize;

/// What was looked at, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckKind {
    Configuration,
    ConfigurationFile,
    DataFolder,
    MasterKeyFile,
    ApiFiles,
    ListenAddress,
    OpenFiles,
    ProgramClock,
    Store,
    StoreSchema,
    StoreIntegrity,
    StoreDurability,
    DiskSpace,
    MasterKey,
    StoreClock,
    ApiCertificate,
    AlertChannel,
    Deployment,
    Certificate,
    HostCovered,
    HostName,
    Broker,
    LeftOut,
}

impl CheckKind {
    /// docs/doctor.md has a row for each.
    #[cfg(test)]
    pub(super) const ALL: [Self; 23] = [
        Self::Configuration,
        Self::ConfigurationFile,
        Self::DataFolder,
        Self::MasterKeyFile,
        Self::ApiFiles,
        Self::ListenAddress,
        Self::OpenFiles,
        Self::ProgramClock,
        Self::Store,
        Self::StoreSchema,
        Self::StoreIntegrity,
        Self::StoreDurability,
        Self::DiskSpace,
        Self::MasterKey,
        Self::StoreClock,
        Self::ApiCertificate,
        Self::AlertChannel,
        Self::Deployment,
        Self::Certificate,
        Self::HostCovered,
        Self::HostName,
        Self::Broker,
        Self::LeftOut,
    ];

    /// Stable, for programs.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Configuration => "CONFIGURATION",
            Self::ConfigurationFile => "CONFIGURATION_FILE",
            Self::DataFolder => "DATA_FOLDER",
            Self::MasterKeyFile => "MASTER_KEY_FILE",
            Self::ApiFiles => "API_FILES",
            Self::ListenAddress => "LISTEN_ADDRESS",
            Self::OpenFiles => "OPEN_FILES",
            Self::ProgramClock => "PROGRAM_CLOCK",
            Self::Store => "STORE",
            Self::StoreSchema => "STORE_SCHEMA",
            Self::StoreIntegrity => "STORE_INTEGRITY",
            Self::StoreDurability => "STORE_DURABILITY",
            Self::DiskSpace => "DISK_SPACE",
            Self::MasterKey => "MASTER_KEY",
            Self::StoreClock => "STORE_CLOCK",
            Self::ApiCertificate => "API_CERTIFICATE",
            Self::AlertChannel => "ALERT_CHANNEL",
            Self::Deployment => "DEPLOYMENT",
            Self::Certificate => "CERTIFICATE",
            Self::HostCovered => "HOST_COVERED",
            Self::HostName => "HOST_NAME",
            Self::Broker => "BROKER",
            Self::LeftOut => "LEFT_OUT",
        }
    }

    pub(super) fn area(self) -> &'static str {
        match self {
            Self::Configuration | Self::ConfigurationFile => "configuration",
            Self::DataFolder | Self::MasterKeyFile | Self::ApiFiles => "files",
            Self::ListenAddress => "ports",
            Self::OpenFiles => "limits",
            Self::ProgramClock | Self::StoreClock => "clock",
            Self::Store
            | Self::StoreSchema
            | Self::StoreIntegrity
            | Self::StoreDurability
            | Self::DiskSpace => "store",
            Self::MasterKey => "master key",
            Self::ApiCertificate => "API",
            Self::AlertChannel => "alerts",
            Self::Deployment | Self::LeftOut => "deployments",
            Self::Certificate | Self::HostCovered => "certificates",
            Self::HostName => "names",
            Self::Broker => "brokers",
        }
    }

    pub(super) fn is_of_deployment(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::Certificate
                | Self::HostCovered
                | Self::HostName
                | Self::Broker
                | Self::LeftOut
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Error,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) kind: CheckKind,
    pub(super) verdict: Verdict,
    /// Names what it is about.
    pub(super) sentence: String,
    /// A command to copy where there is one.
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn ok(kind: CheckKind, sentence: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict::Ok, sentence: sentence.into(), fix: None }
    }

    pub(super) fn warning(kind: CheckKind, sentence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict::Warning, sentence: sentence.into(), fix: Some(fix.into()) }
    }

    pub(super) fn error(kind: CheckKind, sentence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict::Error, sentence: sentence.into(), fix: Some(fix.into()) }
    }

    /// Not looked at, as the sentence says.
    pub(super) fn unknown(kind: CheckKind, sentence: impl Into<String>) -> Self {
        Self { kind, verdict: Verdict::Warning, sentence: sentence.into(), fix: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_row_for_each_check_in_the_order_of_the_report() {
        let page = include_str!("../../../../../docs/doctor.md");
        let rows: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(rows, CheckKind::ALL.map(CheckKind::code));
        assert!(CheckKind::ALL.is_sorted());
    }
}
