//! A deployment in JSON: the answer, and the settings of POST and PATCH.

use std::slice;

use certward_pki::{DeviceIdentity, Profile};
use certward_store::{
    ConnectionLimit, ConnectionLimitError, Deployment, DeploymentPatch, ProxyProtocol, RecordBytes,
    RecordBytesError, SessionAge, SessionAgeError, UploadEnd,
};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    broker_trouble::BrokerTroubleBody,
    certificate::{CertificateBody, LastFailureBody},
};
use crate::{
    context::Context,
    detail::Detail,
    error::Error,
    openapi::vocabulary::{
        DeploymentIdText, HostText, LabelText, ProfileWord, ProjectIdText, ProxyIdentityWord,
        ProxyProtocolWord, UpstreamText, UtcMinuteText,
    },
    property::Properties,
    refusal_code::RefusalCode,
    wire_time,
};

/// A deployment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deployment)]
pub(crate) struct DeploymentBody {
    #[serde(rename = "deploymentID")]
    #[schema(value_type = DeploymentIdText)]
    deployment_id: String,
    /// For people; may be empty.
    #[serde(rename = "deploymentName")]
    #[schema(value_type = LabelText)]
    deployment_name: String,
    /// Always `dedicated`.
    #[serde(rename = "deploymentType")]
    #[schema(example = "dedicated", pattern = "^dedicated$")]
    deployment_type: &'static str,
    #[serde(rename = "projectID")]
    #[schema(value_type = ProjectIdText)]
    project_id: String,
    /// As configured.
    #[schema(example = "certward")]
    platform: String,
    /// As configured.
    #[schema(example = "local")]
    region: String,
    status: DeploymentStatus,
    /// How many connections each node accepts at once, 0 for no limit.
    #[schema(minimum = 0, maximum = 1_000_000)]
    connections: i64,
    /// How many new connections each node accepts a second, 0 for no limit.
    #[serde(rename = "connectionRate")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    connection_rate: i64,
    /// The largest TLS record that devices are sent, in bytes of plaintext.
    #[serde(rename = "recordBytes")]
    #[schema(example = 16384, minimum = 512, maximum = 16384)]
    record_bytes: u16,
    /// How long a session may last, in seconds; 0 for no limit.
    #[serde(rename = "maxSessionAge")]
    #[schema(minimum = 0, maximum = 31_536_000)]
    max_session_age: i64,
    /// Always 0: there is no limit of messages.
    #[schema(minimum = 0, maximum = 0)]
    tps: i64,
    /// When it was made, UTC.
    #[serde(rename = "createAt")]
    #[schema(value_type = UtcMinuteText)]
    create_at: String,
    /// The broker's plain MQTT addresses, separated by commas, in the order in which they are
    /// tried.
    #[schema(value_type = UpstreamText)]
    upstream: String,
    /// The broker's plain WebSocket addresses, if it has any.
    #[serde(rename = "wsUpstream", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UpstreamText>)]
    ws_upstream: Option<String>,
    /// The names that lead here by SNI.
    #[schema(value_type = Vec<HostText>, max_items = 1000)]
    hosts: Vec<String>,
    #[schema(value_type = ProfileWord)]
    profile: &'static str,
    #[serde(rename = "proxyProtocol")]
    #[schema(value_type = ProxyProtocolWord)]
    proxy_protocol: &'static str,
    #[serde(rename = "proxyIdentity")]
    #[schema(value_type = ProxyIdentityWord)]
    proxy_identity: &'static str,
    /// Its certificate; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tls: Option<CertificateBody>,
    /// How many devices are connected now, through the node that is asked.
    #[schema(example = 3)]
    connected: u64,
    /// The newest handshake that failed at the node that is asked; absent without one.
    #[serde(rename = "lastFailure", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_failure: Option<LastFailureBody>,
    /// Its brokers that devices cannot use, as the nodes notice it; absent if none is known.
    #[serde(rename = "brokerTroubles", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    broker_troubles: Vec<BrokerTroubleBody>,
    /// What the boundaries of projects would refuse of it today; GET of one deployment shows it,
    /// and leaves it out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) warnings: Vec<Detail>,
}

/// `starting` until the node that is asked serves.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeploymentStatus {
    Running,
    Starting,
    #[expect(dead_code, reason = "part of the contract; a deployment cannot be stopped yet")]
    Stopped,
}

impl Context {
    /// With its newest upload.
    pub(super) async fn deployment_body_now(&self, deployment: Deployment) -> Result<DeploymentBody, Error> {
        let uploads = self.uploads(&deployment.project, slice::from_ref(&deployment)).await?;
        let upload = uploads.get(&deployment.id);
        let mut troubles = self.broker_troubles(&deployment.project, slice::from_ref(&deployment)).await?;
        let troubles = troubles.remove(&deployment.id).unwrap_or_default();
        Ok(self.deployment_body(deployment, upload, troubles))
    }

    pub(super) fn deployment_body(
        &self,
        deployment: Deployment,
        upload: Option<&UploadEnd>,
        broker_troubles: Vec<BrokerTroubleBody>,
    ) -> DeploymentBody {
        let view = self.lifecycle.node_view();
        let (ready, connected) = (view.ready(), view.connections(&deployment.id));
        let tls = self.certificate_body(&deployment, upload);
        let last_failure = self.last_failure(&deployment.id);
        let spec = deployment.spec;
        DeploymentBody {
            deployment_id: deployment.id.to_string(),
            deployment_name: spec.name,
            deployment_type: "dedicated",
            project_id: deployment.project.to_string(),
            platform: self.settings.platform.clone(),
            region: self.settings.region.clone(),
            status: if ready { DeploymentStatus::Running } else { DeploymentStatus::Starting },
            connections: ConnectionLimit::number(spec.limits.at_once),
            connection_rate: ConnectionLimit::number(spec.limits.per_second),
            record_bytes: spec.record_bytes.get(),
            max_session_age: SessionAge::number(spec.max_session_age),
            tps: 0,
            create_at: wire_time::to_the_minute(deployment.created_at),
            upstream: spec.upstream.to_string(),
            ws_upstream: spec.ws_upstream.map(|upstream| upstream.to_string()),
            hosts: spec.hosts.iter().map(ToString::to_string).collect(),
            profile: spec.profile.as_str(),
            proxy_protocol: spec.proxy.protocol.as_str(),
            proxy_identity: spec.proxy.identity.as_str(),
            tls,
            connected,
            last_failure,
            broker_troubles,
            warnings: Vec::new(),
        }
    }
}

/// The settings with their schema in POST; PATCH describes some itself. Null counts as absent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct DeploymentSettings {
    /// The broker's plain WebSocket address, `HOST:PORT`; or up to 8, separated by commas.
    #[schema(
        rename = "wsUpstream",
        pattern = r"^([^,\s]+:[0-9]+(,[^,\s]+:[0-9]+){0,7})?$",
        max_length = 2100,
        example = "127.0.0.1:8083"
    )]
    ws_upstream: Option<String>,
    /// DNS names in A-labels; a wildcard only as the whole first label.
    #[schema(value_type = Option<Vec<HostText>>, max_items = 1000)]
    hosts: Option<Vec<String>>,
    #[schema(value_type = Option<ProfileWord>)]
    profile: Option<String>,
    #[schema(rename = "proxyProtocol", value_type = Option<ProxyProtocolWord>)]
    proxy_protocol: Option<String>,
    #[schema(rename = "proxyIdentity", value_type = Option<ProxyIdentityWord>)]
    proxy_identity: Option<String>,
    /// How many connections each node accepts at once; 0 for no limit.
    #[schema(minimum = 0, maximum = 1_000_000)]
    connections: Option<u32>,
    /// How many new connections each node accepts a second; 0 for no limit. After a quiet second as
    /// many may come at once.
    #[schema(rename = "connectionRate", minimum = 0, maximum = 1_000_000)]
    connection_rate: Option<u32>,
    /// The largest TLS record that devices are sent, in bytes of plaintext; 16384 when absent or
    /// null. A device that asks for smaller ones gets those.
    #[schema(rename = "recordBytes", minimum = 512, maximum = 16384)]
    record_bytes: Option<u16>,
    /// How long a session may last, in seconds from 10 to a year; 0, or null, for no limit.
    /// Sessions are closed evenly over the last tenth of it, and devices may connect again.
    #[schema(rename = "maxSessionAge", minimum = 0, maximum = 31_536_000)]
    max_session_age: Option<u32>,
}

/// Adds the settings that the body's own schema does not describe.
pub(crate) fn add_settings(body: &mut RefOr<Schema>) {
    if let (RefOr::T(Schema::Object(body)), RefOr::T(Schema::Object(settings))) =
        (body, DeploymentSettings::schema())
    {
        for (name, schema) in settings.properties {
            body.properties.entry(name).or_insert(schema);
        }
    }
}

/// POST and PATCH read name and upstream in their own ways.
pub(super) fn read_settings(it: &mut Properties) -> DeploymentPatch {
    DeploymentPatch {
        name: None,
        upstream: None,
        ws_upstream: it.removable_upstream("wsUpstream"),
        hosts: it.hosts("hosts"),
        profile: it.text("profile", RefusalCode::ProfileInvalid, PROFILE_REMEDY, |text| {
            Profile::parse(text).ok_or("there is no such profile")
        }),
        proxy_protocol: it.text("proxyProtocol", RefusalCode::ProxyInvalid, PROTOCOL_REMEDY, |text| {
            ProxyProtocol::parse(text).ok_or("there is no such protocol")
        }),
        proxy_identity: it.text("proxyIdentity", RefusalCode::ProxyInvalid, IDENTITY_REMEDY, |text| {
            DeviceIdentity::parse(text).ok_or("there is no such identity")
        }),
        connections_at_once: connection_limit(it, "connections"),
        connections_per_second: connection_limit(it, "connectionRate"),
        record_bytes: record_bytes(it, "recordBytes"),
        max_session_age: max_session_age(it, "maxSessionAge"),
    }
}

/// `None` if absent, `Some(None)` for 0: no limit.
fn connection_limit(it: &mut Properties, field: &str) -> Option<Option<ConnectionLimit>> {
    // A fraction or exponent is as wrong as text.
    it.value(field, RefusalCode::LimitInvalid, LIMIT_REMEDY, |value| {
        value.as_i64().ok_or(ConnectionLimitError).and_then(ConnectionLimit::parse)
    })
}

/// `None` if absent; the default if null.
fn record_bytes(it: &mut Properties, field: &str) -> Option<RecordBytes> {
    if it.is_null(field) {
        return Some(RecordBytes::default());
    }
    it.value(field, RefusalCode::RecordBytesInvalid, RECORD_BYTES_REMEDY, |value| {
        value.as_i64().ok_or(RecordBytesError).and_then(RecordBytes::parse)
    })
}

/// `None` if absent, `Some(None)` for 0 or null: no limit.
fn max_session_age(it: &mut Properties, field: &str) -> Option<Option<SessionAge>> {
    if it.is_null(field) {
        return Some(None);
    }
    it.value(field, RefusalCode::SessionAgeInvalid, SESSION_AGE_REMEDY, |value| {
        value.as_i64().ok_or(SessionAgeError).and_then(SessionAge::parse)
    })
}

const PROFILE_REMEDY: &str = "Use default or emqx-cloud, exactly as written here.";
const PROTOCOL_REMEDY: &str = "Use none, v2, emqx or mosquitto.";
const IDENTITY_REMEDY: &str = "Use cn, dn, san or fingerprint.";
const LIMIT_REMEDY: &str = "Give a whole number, for example 1000, or 0 for no limit.";
const RECORD_BYTES_REMEDY: &str =
    "Give a whole number from 512 to 16384, for example 4096, or null for the default, 16384.";
const SESSION_AGE_REMEDY: &str =
    "Give a whole number of seconds, for example 604800 for a week, or 0 for no limit.";
