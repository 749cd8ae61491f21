use certward_store::{CrlContent, CrlFetchFailure, CrlFetching, DeploymentCrl, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::vocabulary::{
        ApiKeyText, CertificateNameText, CrlIdText, CrlNumberText, CrlUrlText, FetchFailureText,
        FingerprintText, SentenceText, StalePolicyWord, UtcTimeText,
    },
    wire_time,
};

/// A CRL of a deployment, without its entries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Crl)]
pub(crate) struct CrlBody {
    #[schema(value_type = CrlIdText)]
    id: String,
    /// Absent, as the other facts of its content, until it is fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    issuer: Option<String>,
    /// If it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CrlNumberText>)]
    number: Option<String>,
    /// How many certificates it revokes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    entries: Option<u64>,
    /// When it was made, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    this_update: Option<String>,
    /// When the next one is due, UTC; absent if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    next_update: Option<String>,
    /// SHA-256 of its DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint: Option<String>,
    #[schema(value_type = StalePolicyWord)]
    stale: &'static str,
    /// The next one was due before now.
    is_stale: bool,
    /// Where it is fetched from; absent if it is uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CrlUrlText>)]
    url: Option<String>,
    /// When the server last gave it, or said that there is no other, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    fetched_at: Option<String>,
    /// When it is asked for again, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    next_fetch_at: Option<String>,
    /// Why the last fetch failed, if it did. The CRL stays as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<FetchFailureBody>,
    /// The API key that set it, which may be revoked since.
    #[schema(value_type = ApiKeyText)]
    put_by: String,
    /// When, UTC.
    #[schema(value_type = UtcTimeText)]
    put_at: String,
}

/// Why a CRL could not be fetched, or was not accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CrlFetchFailure)]
pub(crate) struct FetchFailureBody {
    #[schema(value_type = FetchFailureText)]
    code: String,
    #[schema(value_type = SentenceText)]
    message: String,
    /// When the first of the failures in a row was, UTC.
    #[schema(value_type = UtcTimeText)]
    since: String,
}

impl CrlBody {
    pub(super) fn of(crl: DeploymentCrl, now: Timestamp) -> Self {
        let DeploymentCrl { id, generation: _, content, stale_policy, fetching, put_by, put_at } = crl;
        let is_stale = content.as_ref().and_then(|content| content.next_update).is_some_and(|end| end < now);
        let plain = Self {
            id: id.to_string(),
            issuer: None,
            number: None,
            entries: None,
            this_update: None,
            next_update: None,
            fingerprint: None,
            stale: stale_policy.as_str(),
            is_stale,
            url: None,
            fetched_at: None,
            next_fetch_at: None,
            failure: None,
            put_by: put_by.to_string(),
            put_at: shown(put_at),
        };
        let plain = match content {
            None => plain,
            Some(CrlContent { fingerprint, issuer, number, entries, this_update, next_update, .. }) => Self {
                issuer: Some(issuer),
                number,
                entries: Some(entries),
                this_update: Some(shown(this_update)),
                next_update: next_update.map(shown),
                fingerprint: Some(fingerprint),
                ..plain
            },
        };
        match fetching {
            None => plain,
            Some(CrlFetching { url, conditions: _, fetched_at, next_at, failure }) => Self {
                url: Some(url.to_string()),
                fetched_at: fetched_at.map(shown),
                next_fetch_at: Some(shown(next_at)),
                failure: failure.map(FetchFailureBody::from),
                ..plain
            },
        }
    }
}

impl From<CrlFetchFailure> for FetchFailureBody {
    fn from(CrlFetchFailure { code, sentence, count: _, since }: CrlFetchFailure) -> Self {
        Self { code, message: sentence, since: shown(since) }
    }
}

fn shown(at: Timestamp) -> String {
    wire_time::to_the_second(at.to_time())
}
