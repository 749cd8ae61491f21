use std::borrow::Cow;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{FailuresOfNodes, NodeFailure};
use certward_pki::{ClientCertificate, ClientCertificateFacts, NeededCa};
use certward_store::{DeploymentId, Method, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        AddressText, CauseText, CertificateNameText, DeploymentIdText, FingerprintText, NodeIdText,
        SentenceText, UtcTimeText,
    },
    path_id::PathId,
    silent_nodes, wire_time,
};

/// A handshake that failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TlsFailure)]
pub(crate) struct FailureBody {
    /// When, UTC, by the clock of the node.
    #[schema(value_type = UtcTimeText)]
    at: String,
    /// The node that saw it.
    #[schema(value_type = NodeIdText)]
    node: String,
    /// The address that the device came from.
    #[schema(value_type = AddressText)]
    address: String,
    /// The server name that the device sent, if it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1024, example = "mqtt.example.com")]
    server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once it was agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^1[.][0-3]$", example = "1.3")]
    tls_version: Option<Cow<'static, str>>,
    /// The cause, from the list in docs/handshake-failures.md.
    #[schema(value_type = CauseText)]
    cause: Cow<'static, str>,
    /// What came, where the cause alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "MQTT level 6", max_length = 4096)]
    detail: Option<Box<str>>,
    /// What that means.
    #[schema(value_type = SentenceText)]
    message: Cow<'static, str>,
    /// What to do about it.
    #[schema(value_type = SentenceText)]
    remedy: Cow<'static, str>,
    /// The certificate that the device sent. Absent if it sent none, or was refused before it
    /// could.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_certificate: Option<ClientCertificateBody>,
    /// The CA that the certificate needs, if that is the cause and the CA's name is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    needed_ca: Option<NeededCaBody>,
}

/// A device's certificate. Control characters and all but ASCII are escaped (`\u{1b}`), long names
/// are cut. One that cannot be read has a fingerprint alone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClientCertificate)]
pub(crate) struct ClientCertificateBody {
    /// At most 160 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    subject: Option<Box<str>>,
    /// At most 160 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    issuer: Option<Box<str>>,
    /// Lower-case hexadecimal digits, two for each byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "4d0b6a1f", pattern = "^([0-9a-f]{2})*$", max_length = 64)]
    serial: Option<Box<str>>,
    /// Its end, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    not_after: Option<String>,
    /// SHA-256 of its DER, 64 lower-case hexadecimal digits.
    #[schema(value_type = FingerprintText)]
    fingerprint: Box<str>,
}

/// The issuer of the last certificate on the path that the device sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NeededCa)]
pub(crate) struct NeededCaBody {
    /// Its name, at most 160 characters.
    #[schema(value_type = CertificateNameText)]
    name: Box<str>,
    /// Whether a client CA of the deployment has this name: then it has another key.
    name_known: bool,
}

/// The newest failed handshakes of a deployment on all nodes with a gateway, newest first, at most
/// 50 of each. Nodes that do not answer within a second are named in a header. Counted on its own.
/// 404 `NOT_FOUND` if no node has a gateway.
#[utoipa::path(get, path = "/deployments/{id}/tls/failures", tag = "tls", operation_id = "listTlsFailures",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 200, description = "The failures, newest first.", body = Vec<FailureBody>,
        headers(("Certward-Silent-Nodes" = Option<String>, description = "The nodes with a gateway that have not \
            answered, separated by commas; `*` for all but the one that answers. Absent if none is missing.")))))]
pub(crate) async fn failures(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    // Counted apart, so that debugging uses up no other limit.
    let subject = format!("{}/tls/failures", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        // An empty list would mean no failures.
        let no_gateway = || Error::NotFound("No node with a gateway runs, and so no device is refused.");
        let FailuresOfNodes { failures, silent } =
            api.lifecycle.failures_of_nodes(&deployment.id).await?.ok_or_else(no_gateway)?;
        let failures: Vec<_> =
            failures.into_iter().map(|failed| FailureBody::of(failed, &deployment.id)).collect();
        let mut answer = Json(failures).into_response();
        silent_nodes::add_header(answer.headers_mut(), &silent);
        Ok(answer)
    })
    .await
}

impl FailureBody {
    fn of(NodeFailure { node, failure }: NodeFailure, deployment: &DeploymentId) -> Self {
        let remedy = failure.remedy_for(deployment);
        let (client_certificate, needed_ca) = match failure.client_certificate {
            Some(certificate) => {
                let ClientCertificate { fingerprint, facts, needed_ca } = *certificate;
                let body = ClientCertificateBody::of(fingerprint, facts);
                (Some(body), needed_ca.map(NeededCaBody::from))
            }
            None => (None, None),
        };
        Self {
            at: wire_time::to_the_second(failure.at.to_time()),
            node: node.to_string(),
            address: failure.peer.to_string(),
            server_name: failure.server_name,
            tls_version: failure.tls_version,
            cause: failure.cause,
            detail: failure.detail,
            message: failure.meaning,
            remedy,
            client_certificate,
            needed_ca,
        }
    }
}

impl ClientCertificateBody {
    fn of(fingerprint: Box<str>, facts: Option<ClientCertificateFacts>) -> Self {
        let Some(ClientCertificateFacts { subject, issuer, serial, not_after }) = facts else {
            return Self { subject: None, issuer: None, serial: None, not_after: None, fingerprint };
        };
        Self {
            subject: Some(subject),
            issuer: Some(issuer),
            serial: Some(serial),
            not_after: Some(wire_time::to_the_second(not_after)),
            fingerprint,
        }
    }
}

impl From<NeededCa> for NeededCaBody {
    fn from(needed: NeededCa) -> Self {
        Self { name: needed.name, name_known: needed.is_name_known }
    }
}
