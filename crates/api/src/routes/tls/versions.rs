use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{ListedCertificate, VersionView};
use certward_store::{Method, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    detail::Detail,
    error::Error,
    openapi::vocabulary::{
        ApiKeyText, CertificateNameText, DeploymentIdText, FingerprintText, KeyKindText, TlsTypeWord,
        UtcTimeText, VersionStatusWord,
    },
    path_id::PathId,
    wire_time,
};

/// An accepted upload. Never holds a key or a whole certificate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TlsVersion)]
pub(crate) struct VersionBody {
    /// Its number; a later one has a greater one.
    #[schema(minimum = 1, example = 7)]
    version: i64,
    /// When it was accepted, UTC.
    #[schema(value_type = UtcTimeText)]
    accepted_at: String,
    /// The API key that sent it, which may be revoked since; absent for one of an older release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ApiKeyText>)]
    accepted_by: Option<String>,
    #[schema(value_type = VersionStatusWord)]
    status: &'static str,
    /// Whether it was `running` once.
    proven: bool,
    /// The version that it brought back, if it is a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, example = 5)]
    restores: Option<i64>,
    #[schema(value_type = TlsTypeWord)]
    tls_type: &'static str,
    /// The leaf's common name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    cn: Option<String>,
    /// The leaf's DNS names, sorted, at most 50.
    #[schema(value_type = Vec<CertificateNameText>)]
    names: Vec<String>,
    /// The leaf's issuer.
    #[schema(value_type = CertificateNameText)]
    issuer: String,
    /// The leaf's: lower-case hexadecimal digits, two for each byte.
    #[schema(example = "4d0b6a1f", pattern = "^([0-9a-f]{2})*(\\.\\.\\.)?$", max_length = 64)]
    serial: String,
    /// The leaf's.
    #[schema(value_type = FingerprintText)]
    fingerprint: String,
    /// The kind of the leaf's key.
    #[schema(value_type = KeyKindText)]
    key_kind: String,
    /// SHA-256 of the leaf's public key (SubjectPublicKeyInfo): versions of one key have the same.
    #[schema(value_type = FingerprintText)]
    key_fingerprint: String,
    /// The leaf's notBefore, UTC.
    #[schema(value_type = UtcTimeText)]
    not_before: String,
    /// The leaf's notAfter, UTC.
    #[schema(value_type = UtcTimeText)]
    not_after: String,
    /// What is served, leaf first.
    chain: Vec<ListedCertificateBody>,
    /// The client CAs; empty for one-way.
    #[serde(rename = "clientCAs")]
    client_cas: Vec<ListedCertificateBody>,
    /// What a check of the upload would find today; absent when nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Detail>,
}

/// A certificate of a chain, or a client CA.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedCertificate)]
pub(crate) struct ListedCertificateBody {
    #[schema(value_type = CertificateNameText)]
    subject: String,
    #[schema(value_type = FingerprintText)]
    fingerprint: String,
    /// Its notAfter, UTC.
    #[schema(value_type = UtcTimeText)]
    not_after: String,
}

/// The accepted uploads that are kept, newest first: the newest 10, also after the certificate was
/// deleted. Counted on its own.
#[utoipa::path(get, path = "/deployments/{id}/tls/versions", tag = "tls", operation_id = "listTlsVersions",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 200, description = "The versions, newest first.", body = Vec<VersionBody>)))]
pub(crate) async fn versions(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    // Counted apart, so that looking for the way back uses up no other limit.
    let subject = format!("{}/tls/versions", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        let versions = api.lifecycle.tls_versions(&deployment.reference()).await?;
        let versions = versions.ok_or(Error::DeploymentNotFound)?;
        Ok(Json(versions.into_iter().map(VersionBody::from).collect::<Vec<_>>()).into_response())
    })
    .await
}

impl From<VersionView> for VersionBody {
    fn from(
        VersionView { version, status, leaf, fingerprint, chain, client_cas, warnings }: VersionView,
    ) -> Self {
        let list = |certificates: Vec<ListedCertificate>| {
            certificates.into_iter().map(ListedCertificateBody::from).collect()
        };
        Self {
            version: version.version.0,
            accepted_at: wire_time::to_the_second(version.created_at.to_time()),
            accepted_by: version.accepted_by.map(|key| key.to_string()),
            status: status.as_str(),
            proven: version.proven,
            restores: version.restores.map(|restored| restored.0),
            tls_type: version.tls_type.as_str(),
            cn: version.common_name,
            names: leaf.names,
            issuer: leaf.issuer,
            serial: leaf.serial,
            fingerprint,
            key_kind: leaf.key_kind.to_string(),
            key_fingerprint: leaf.key_fingerprint,
            not_before: wire_time::to_the_second(leaf.not_before),
            not_after: wire_time::to_the_second(leaf.not_after),
            chain: list(chain),
            client_cas: list(client_cas),
            warnings: Detail::list(warnings),
        }
    }
}

impl From<ListedCertificate> for ListedCertificateBody {
    fn from(listed: ListedCertificate) -> Self {
        Self {
            subject: listed.subject,
            fingerprint: listed.fingerprint,
            not_after: wire_time::to_the_second(listed.not_after.to_time()),
        }
    }
}
