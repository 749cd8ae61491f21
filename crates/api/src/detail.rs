use certward_lifecycle::{BoundaryWarning, OutOfBounds, UpstreamField};
use certward_pki::{Field, Finding, HostName, Severity};
use certward_store::HostSuffix;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::vocabulary::{CertificateNameText, CodeWord, SentenceText},
    refusal_code::RefusalCode,
};

/// One thing found about a request: a finding of the intake, or a wrong property of another
/// resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct Detail {
    /// Stable, for programs.
    #[schema(value_type = CodeWord)]
    pub(crate) code: String,
    /// `error` refuses the request, `warning` is accepted and reported, `notice` was repaired and
    /// is reported.
    pub(crate) severity: DetailSeverity,
    /// The field of the request that it is about.
    #[schema(example = "key", pattern = "^[A-Za-z]+$", max_length = 64)]
    pub(crate) field: String,
    /// Which item of the field, where it holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) item: Option<DetailItem>,
    /// What is wrong, in one plain sentence.
    #[schema(value_type = SentenceText)]
    pub(crate) message: String,
    /// What to do about it.
    #[schema(value_type = SentenceText)]
    pub(crate) remedy: String,
}

/// See [`Detail::severity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Severity)]
pub(crate) enum DetailSeverity {
    Error,
    Warning,
    Notice,
}

/// Which item of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FindingItem)]
pub(crate) struct DetailItem {
    /// Its place in the field, from 0.
    pub(crate) index: usize,
    /// The certificate's subject, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    pub(crate) subject: Option<String>,
}

impl Detail {
    pub(crate) fn list(findings: Vec<Finding>) -> Vec<Self> {
        findings.into_iter().map(Self::from).collect()
    }

    /// Refuses the request.
    pub(crate) fn property(code: RefusalCode, field: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            code: code.as_str().to_owned(),
            severity: DetailSeverity::Error,
            field: field.to_owned(),
            item: None,
            message: message.into(),
            remedy: remedy.to_owned(),
        }
    }

    pub(crate) fn at(mut self, index: usize) -> Self {
        self.item = Some(DetailItem { index, subject: None });
        self
    }

    pub(crate) fn unknown_project(field: &str) -> Self {
        let message = "The project does not exist.";
        Self::property(
            RefusalCode::ProjectUnknown,
            field,
            message,
            "Name a project that GET /projects lists.",
        )
    }

    /// Never names the owner.
    pub(crate) fn host_taken(host: &HostName) -> Self {
        let message =
            format!("The host {host} is taken by another deployment, or overlaps with one that is.");
        Self::property(
            RefusalCode::HostTaken,
            "hosts",
            message,
            "Choose another host, or free this one first.",
        )
    }

    /// Never names the owner.
    pub(crate) fn suffix_taken(suffix: &HostSuffix) -> Self {
        let message = format!("The suffix {suffix} overlaps with one of another project.");
        Self::property(
            RefusalCode::HostSuffixTaken,
            "hostSuffixes",
            message,
            "Choose a suffix that is neither another project's nor contains or is contained in one.",
        )
    }

    /// Never names the owner.
    pub(crate) fn out_of_bounds(why: &OutOfBounds) -> Self {
        match why {
            OutOfBounds::UpstreamTaken { list, upstream } => Self::property(
                RefusalCode::UpstreamTaken,
                name_of(*list),
                format!("The address {upstream} is used by a deployment of another project."),
                "Name a broker of this project's own, or let an admin whose key sees all projects set this address.",
            ),
            OutOfBounds::UpstreamNotAllowed { list, upstream } => Self::property(
                RefusalCode::UpstreamNotAllowed,
                name_of(*list),
                format!("The project may not relay to {upstream}."),
                NOT_ALLOWED_REMEDY,
            ),
            OutOfBounds::HostOfAnother(host) => Self::host_taken(host),
            OutOfBounds::HostNotAllowed(host) => Self::property(
                RefusalCode::HostNotAllowed,
                "hosts",
                format!("The host {host} is under none of the project's suffixes."),
                "Choose a host under one of the hostSuffixes that GET /projects shows, or let an admin add one.",
            ),
            OutOfBounds::HostPublicSuffix(host) => Self::property(
                RefusalCode::HostPublicSuffix,
                "hosts",
                format!(
                    "The wildcard {host} covers names of different owners: what it stands over is a public suffix."
                ),
                "Name a host under a domain of your own, or let an admin name the public suffix in the project's hostSuffixes.",
            ),
            // Answered as a conflict.
            OutOfBounds::Quota(max) => Self::property(
                RefusalCode::DeploymentQuota,
                "projectID",
                format!("The project may have {max} deployments."),
                "Remove one first.",
            ),
        }
    }

    pub(crate) fn boundary_warning(warning: &BoundaryWarning) -> Self {
        let detail = match warning {
            BoundaryWarning::UpstreamShared(list, upstream) => Self::property(
                RefusalCode::UpstreamShared,
                name_of(*list),
                format!("The address {upstream} is used by a deployment of another project, too."),
                "Where that is not meant, give each project a broker of its own.",
            ),
            BoundaryWarning::UpstreamNotAllowed(list, upstream) => Self::property(
                RefusalCode::UpstreamNotAllowed,
                name_of(*list),
                format!("The project may not relay to {upstream}: it is not connected to."),
                NOT_ALLOWED_REMEDY,
            ),
        };
        Self { severity: DetailSeverity::Warning, ..detail }
    }

    pub(crate) fn ends_in_the_past(field: &str) -> Self {
        Self::property(
            RefusalCode::TimeInvalid,
            field,
            format!("The property {field} is in the past."),
            TIME_REMEDY,
        )
    }

    pub(crate) fn nothing_allowed() -> Self {
        Self::property(
            RefusalCode::AlertAllowEmpty,
            "type",
            "Alerts may be sent nowhere: alert_allow of the configuration is empty.",
            "Let the operator set alert_allow in [alerts] of each node with the API, for example alert_allow = [\"192.0.2.0/24\"].",
        )
    }

    pub(crate) fn unexpected_query() -> Self {
        let message = "This method takes no query parameter but closeRate.";
        Self::property(RefusalCode::QueryUnexpected, "query", message, "Send the request without it.")
    }
}

pub(crate) const TIME_REMEDY: &str =
    "Give a time in the future, for example 2027-01-31T00:00:00Z or 2027-01-31 00:00:00 (UTC).";
const NOT_ALLOWED_REMEDY: &str = "Name a broker that the project's upstreamAllow, which GET /projects shows, has, or let an admin add this one.";

fn name_of(list: UpstreamField) -> &'static str {
    match list {
        UpstreamField::Upstream => "upstream",
        UpstreamField::WsUpstream => "wsUpstream",
    }
}

impl From<Finding> for Detail {
    fn from(finding: Finding) -> Self {
        let severity = match finding.severity {
            Severity::Error => DetailSeverity::Error,
            Severity::Warning => DetailSeverity::Warning,
            Severity::Notice => DetailSeverity::Notice,
        };
        let field = match finding.field {
            Field::TlsType => "tlsType",
            Field::Cert => "cert",
            Field::Key => "key",
            Field::KeyPassword => "keyPassword",
            Field::Cacert => "cacert",
            Field::Crl => "crl",
        };
        Self {
            code: finding.code.as_str().to_owned(),
            severity,
            field: field.to_owned(),
            item: finding.item.map(|item| DetailItem { index: item.index, subject: item.subject }),
            message: finding.message,
            remedy: finding.remedy,
        }
    }
}
