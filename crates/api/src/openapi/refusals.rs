//! The refusals of every operation. Codes, statuses and example bodies come from the errors that
//! the routes answer with.

use std::{collections::BTreeMap, time::Duration};

use axum::http::Uri;
use certward_lifecycle::{
    AlertChannelError, CrlError, DeploymentError, DeviceError, Impact, ImpactSeverity, KeyError, OutOfBounds,
    ProjectError, RefusedRevocation, RefusedShare, RejectedDevice, RevocationError, RevocationFault,
    SilentNodes, TlsError, UpstreamField,
};
use certward_pki::{ClientRefusal, DeviceId, HostName, Severity, catalogue};
use certward_store::{HostSuffix, Scope, StoreError, Timestamp, Upstream, VersionId};
use http::StatusCode;
use serde_json::Value;
use utoipa::openapi::{
    Components, Content, Ref, RefOr, Response, ResponseBuilder, example::Example,
    extensions::ExtensionsBuilder, path::Operation,
};

use super::{examples, headers};
use crate::{
    body::BODY_BYTES_MAX,
    close_rate,
    detail::Detail,
    error::{CHALLENGE, Error},
    hyper_error_body, limit,
    page::ListQuery,
    property::Properties,
    refusal_code::RefusalCode,
    routes::{crls, revocations, sessions::filter},
};

const NEVER: Duration = Duration::from_secs(60);

/// A code of an answer, with a whole body if it is an example.
struct RefusalExample {
    status: StatusCode,
    code: &'static str,
    body: Option<Value>,
}

impl RefusalExample {
    /// Without an example.
    fn named(code: RefusalCode) -> Self {
        Self { status: code.status(), code: code.as_str(), body: None }
    }
}

/// Answers that operations share; the texts are their names in the document.
fn shared() -> Vec<(&'static str, &'static str, Vec<Error>)> {
    let bad_request = || Error::BadRequest("The request has no Host header.");
    let no_json =
        || Error::InvalidJson("The body is not valid JSON: expected value at line 1 column 1.".to_owned());
    vec![
        ("BadRequest", "The request is not valid HTTP/1.1.", vec![bad_request()]),
        (
            "InvalidBody",
            "The body is no JSON object, or the request is not valid HTTP/1.1.",
            vec![no_json(), bad_request()],
        ),
        ("Unauthorized", "No valid API key.", vec![Error::Unauthorized]),
        ("NoAccess", "The key may not do this.", vec![Error::NoScope(Scope::Admin)]),
        ("BodyTimeout", "The body did not arrive in time.", vec![Error::BodyTimeout]),
        (
            "BodyTooLarge",
            "The body is over 256 KiB, or over what the operation says.",
            vec![Error::BodyTooLarge(BODY_BYTES_MAX)],
        ),
        (
            "UnsupportedMediaType",
            "The body is not `application/json` in UTF-8, nor another type that the operation has; or it is encoded.",
            vec![Error::UnsupportedMediaType("Send the body as Content-Type: application/json, in UTF-8.")],
        ),
        (
            "TooManyLogins",
            "Too many requests without a valid key came from this address.",
            vec![Error::TooManyLogins { retry_after: NEVER }],
        ),
        (
            "RateLimited",
            "The window is used up, or too many requests without a valid key came from this address.",
            vec![Error::RateLimited { retry_after: NEVER }],
        ),
        ("Internal", "A defect of certward; the log says more.", vec![Error::Internal]),
        (
            "StoreUnavailable",
            "The store cannot be used. Whether a change was made, GET says once it can.",
            vec![Error::Store(StoreError::Unavailable(String::new()))],
        ),
    ]
}

pub(super) fn add_shared(components: &mut Components) {
    for (name, description, errors) in shared() {
        let status = errors.first().map(Error::status).unwrap_or_default();
        let mut response = response(description, errors.iter().filter_map(sample).collect());
        if matches!(status.as_u16(), 400 | 401 | 403 | 408 | 413 | 415 | 429 | 500 | 503)
            && name != "TooManyLogins"
        {
            limit::HEADERS.into_iter().for_each(|(header, _)| headers::add(&mut response, header));
        }
        if matches!(status.as_u16(), 429 | 503) {
            headers::add(&mut response, limit::RETRY_AFTER.0);
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = headers::text("The challenge of HTTP Basic (RFC 7617).", "^Basic ", CHALLENGE);
            response.headers.insert("WWW-Authenticate".to_owned(), RefOr::T(challenge));
        }
        components.responses.insert(name.to_owned(), RefOr::T(response));
    }
}

/// Those of hyper, without a request id.
pub(super) fn add_shared_of_http(components: &mut Components) {
    for (name, status, description) in [
        ("UriTooLong", StatusCode::URI_TOO_LONG, "The path is too long."),
        (
            "HeadersTooLarge",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The head is over 16 KiB, or has over 100 headers.",
        ),
    ] {
        let body = hyper_error_body::refusal(status);
        let code =
            RefusalCode::ALL.iter().find(|code| code.as_str() == body.code).map_or("", |code| code.as_str());
        let refused = RefusalExample { status, code, body: serde_json::to_value(body).ok() };
        components.responses.insert(name.to_owned(), RefOr::T(response(description, vec![refused])));
    }
}

/// Of the one that may need a key.
pub(super) fn add_beside_base(operation: &mut Operation) {
    if operation.operation_id.as_deref() == Some("metrics") {
        for (status, name) in [("401", "Unauthorized"), ("429", "TooManyLogins"), ("503", "StoreUnavailable")]
        {
            let shared = RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.insert(status.to_owned(), shared);
        }
    }
}

/// In the order of the checks.
pub(super) fn add(operation: &mut Operation, path: &str, scope: Option<Scope>, limited: bool) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let has_body = operation.request_body.is_some();
    let shared = [
        (true, "400", if has_body { "InvalidBody" } else { "BadRequest" }),
        (true, "401", "Unauthorized"),
        (scope.is_some(), "403", "NoAccess"),
        (has_body, "408", "BodyTimeout"),
        (has_body, "413", "BodyTooLarge"),
        (true, "414", "UriTooLong"),
        (has_body, "415", "UnsupportedMediaType"),
        (true, "429", if limited { "RateLimited" } else { "TooManyLogins" }),
        (true, "431", "HeadersTooLarge"),
        (true, "500", "Internal"),
        (true, "503", "StoreUnavailable"),
    ];
    let responses = &mut operation.responses.responses;
    for (_, status, name) in shared.into_iter().filter(|(applies, ..)| *applies) {
        responses.insert(status.to_owned(), RefOr::Ref(Ref::from_response_name(name)));
    }
    let mut own = BTreeMap::<u16, Vec<RefusalExample>>::new();
    for refused in own_refusals(&id, path) {
        own.entry(refused.status.as_u16()).or_default().push(refused);
    }
    for (status, refused) in own {
        let description = description(&id, &refused);
        responses.insert(status.to_string(), RefOr::T(response(&description, refused)));
    }
}

fn description(operation: &str, refused: &[RefusalExample]) -> String {
    match operation {
        "setCrl" if refused.len() > 10 => {
            "The CRL is refused: `code` is that of the most important finding. Or the id, the address, `stale` or `closeRate` is wrong."
                .to_owned()
        }
        "createTls" if refused.len() > 10 => {
            "The upload is refused: `code` is that of the most important finding.".to_owned()
        }
        "replaceTls" | "rollbackTls" | "removeClientCA" if refused.len() > 10 => {
            "The upload is refused: `code` is that of the most important finding. Or `IMPACT_SEVERE`, if the request is strict; or `CLOSE_RATE_INVALID`."
                .to_owned()
        }
        "addClientCAs" if refused.len() > 10 => {
            "The upload is refused: `code` is that of the most important finding. Or `IMPACT_SEVERE`, if the request is strict."
                .to_owned()
        }
        _ => {
            let codes: Vec<_> = refused.iter().map(|refused| format!("`{}`", refused.code)).collect();
            format!("{}.", codes.join(", "))
        }
    }
}

fn response(description: &str, refused: Vec<RefusalExample>) -> Response {
    let mut content = Content::new(Some(Ref::from_schema_name("Error")));
    let codes: Vec<&str> = refused.iter().map(|refused| refused.code).collect();
    let extension = ExtensionsBuilder::new().add("x-codes", codes).build();
    for RefusalExample { code, body, .. } in refused {
        if let Some(body) = body {
            let mut example = Example::new();
            example.value = Some(body);
            content.examples.insert(code.to_owned(), RefOr::T(example));
        }
    }
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .extensions(Some(extension))
        .build()
}

/// With the body that the error is answered with.
fn sample(error: &Error) -> Option<RefusalExample> {
    let body = error.body();
    let code = RefusalCode::ALL.iter().find(|code| code.as_str() == body.code)?;
    Some(RefusalExample {
        status: error.status(),
        code: code.as_str(),
        body: serde_json::to_value(body).ok(),
    })
}

/// Beside what [`add`] gives all.
fn own_refusals(operation: &str, path: &str) -> Vec<RefusalExample> {
    let mut errors = Vec::new();
    if path.starts_with("/deployments/{id}") {
        errors.push(Error::DeploymentNotFound);
    }
    let mut more: &[RefusalCode] = &[];
    match operation {
        "createTls" => errors.extend([Error::TlsAlreadyExists, TlsError::KeepsChanging.into()]),
        "replaceTls" => {
            errors.extend([Error::TlsNotFound, TlsError::KeepsChanging.into(), severe_impact()]);
            errors.push(close_rate::invalid());
        }
        "checkTls" => errors.push(severe_impact()),
        "deleteTls" => {
            errors.extend([Error::TlsNotFound, Error::Unprocessable(vec![Detail::unexpected_query()])]);
            errors.push(close_rate::invalid());
        }
        "rollbackTls" => {
            errors.extend([
                Error::TlsNotFound,
                Error::NoEarlierVersion,
                TlsError::VersionInService(VersionId(9)).into(),
                TlsError::KeepsChanging.into(),
                Error::VersionErased(VersionId(7)),
                severe_impact(),
                close_rate::invalid(),
            ]);
            errors.extend(wrong(r#"{"version":"seven"}"#, |it| {
                it.version("version");
            }));
        }
        "listClientCAs" => errors.push(Error::TlsNotFound),
        "listStragglers" => {
            errors.extend([Error::TlsNotFound, Error::ClientCaNotFound]);
            errors.extend(wrong_query());
        }
        "addClientCAs" => {
            errors.extend([
                Error::TlsNotFound,
                TlsError::KeepsChanging.into(),
                Error::NotTwoWay,
                severe_impact(),
            ]);
        }
        "removeClientCA" => errors.extend([
            Error::TlsNotFound,
            Error::ClientCaNotFound,
            TlsError::KeepsChanging.into(),
            Error::NotTwoWay,
            Error::LastClientCa,
            severe_impact(),
        ]),
        "eraseTlsVersion" => {
            errors.extend([Error::VersionNotFound, TlsError::VersionInService(VersionId(9)).into()]);
        }
        "listTlsFailures" => {
            errors.push(Error::NotFound("No node with a gateway runs, and so no device is refused."));
        }
        "createDeployment" => {
            errors.extend([
                DeploymentError::Exists.into(),
                DeploymentError::OutOfBounds(OutOfBounds::Quota(100)).into(),
                DeploymentError::NoProject.into(),
            ]);
            errors.extend(of_deployments());
            more = &DEPLOYMENT_PROPERTIES;
        }
        "changeDeployment" => {
            errors.extend(of_deployments());
            more = &DEPLOYMENT_PROPERTIES[2..];
        }
        "createProject" => {
            errors.push(ProjectError::Exists.into());
            errors.extend(of_projects());
            more =
                &[RefusalCode::ProjectIdInvalid, RefusalCode::TextInvalid, RefusalCode::UpstreamAllowInvalid];
        }
        "changeProject" => {
            errors.push(ProjectError::NotFound.into());
            errors.extend(of_projects());
            more = &[RefusalCode::TextInvalid, RefusalCode::UpstreamAllowInvalid];
        }
        "getProject" => errors.push(ProjectError::NotFound.into()),
        "deleteProject" => errors.extend([
            ProjectError::NotFound.into(),
            ProjectError::NotEmpty(3).into(),
            ProjectError::Default.into(),
        ]),
        "createKey" => {
            errors.push(KeyError::EndsInThePast.into());
            errors.extend(wrong(r#"{"name":"x","scopes":["root"]}"#, |it| drop(it.scopes("scopes"))));
            more = &[RefusalCode::TextInvalid, RefusalCode::ProjectIdInvalid, RefusalCode::ProjectUnknown];
        }
        "deleteKey" => errors.extend([KeyError::NotFound.into(), KeyError::LastAdmin.into()]),
        "createAlertChannel" => {
            errors.extend([
                AlertChannelError::TooMany(20).into(),
                AlertChannelError::NothingAllowed.into(),
                Error::Unprocessable(vec![Detail::unknown_project("projectID")]),
            ]);
            more = &CHANNEL_PROPERTIES;
        }
        "deleteAlertChannel" | "testAlertChannel" => errors.push(AlertChannelError::NotFound.into()),
        "listExpiring" | "listAlerts" | "listAudit" | "listDevices" | "listRevocations" => {
            errors.extend(wrong_query());
        }
        "addRevocations" => {
            errors.extend(revocations::new::read(br#"{"revocations": [{"serial": "4d0b6a1f"}]}"#).err());
            errors.extend([
                revocations::new::refused(&[RefusedRevocation {
                    index: 0,
                    fault: RevocationFault::UnknownFingerprint,
                }]),
                RevocationError::Full { listed: 99_999, room: 1, wanted: 2 }.into(),
                close_rate::invalid(),
            ]);
            more = &[RefusalCode::TextInvalid];
        }
        "removeRevocation" => errors.push(Error::RevocationNotFound),
        "getCrl" | "removeCrl" => errors.push(Error::CrlNotFound),
        "setCrl" => {
            errors.extend(
                crls::set::read_source(br#"{"url": "ldap://pki.example.com", "stale": "hard"}"#).err(),
            );
            errors.extend([
                CrlError::TooMany.into(),
                CrlError::StaleInService.into(),
                CrlError::KeepsChanging.into(),
                crls::set::wrong_id(),
                Error::Unprocessable(vec![crls::set::nothing_allowed()]),
                close_rate::invalid(),
            ]);
            more = &[RefusalCode::StalePolicyInvalid];
        }
        "getDeviceSummary" => errors.extend(wrong_query()),
        "listSessions" => errors.extend([filter::no_gateway(), filter::two_filters()]),
        "closeSessions" => errors.extend([filter::no_gateway(), filter::no_filter()]),
        "forgetDevice" => errors.push(DeviceError::NotFound.into()),
        _ => {}
    }
    let samples = errors.iter().filter_map(sample);
    let mut refused: Vec<_> = samples.chain(more.iter().copied().map(RefusalExample::named)).collect();
    if matches!(operation, "createTls" | "replaceTls" | "rollbackTls" | "addClientCAs" | "removeClientCA") {
        refused.extend(of_uploads(|code| !is_of_crls(code)));
    }
    if operation == "setCrl" {
        let is_of_form = |code: &str| code.starts_with("FORMAT_") || code.starts_with("PEM_");
        refused.extend(of_uploads(|code| is_of_crls(code) || is_of_form(code) || code == "TOO_MANY_BLOCKS"));
    }
    refused
}

/// Of client CAs without that of the connected devices.
fn severe_impact() -> Error {
    let id = DeviceId::parse("5d41402abc4b2a76b9719d911017c592").unwrap_or(DeviceId([0; 16]));
    let named = RejectedDevice::with_certificate(id, "meter-7".into(), ClientRefusal::UnknownIssuer);
    let impact = Impact {
        severity: ImpactSeverity::Severe,
        connected: RefusedShare { refused: 1, of: 1 },
        known: RefusedShare { refused: 1, of: 1 },
        not_judged: 0,
        named: vec![named],
        hosts_lost: Vec::new(),
        root_changed: None,
        key_kind_changed: None,
        as_of: Timestamp(1_795_608_000_000),
        silent: SilentNodes::These(Vec::new()),
    };
    Error::ImpactSevere(impact.into())
}

/// The first two are of POST alone.
const DEPLOYMENT_PROPERTIES: [RefusalCode; 9] = [
    RefusalCode::DeploymentIdInvalid,
    RefusalCode::ProjectIdInvalid,
    RefusalCode::TextInvalid,
    RefusalCode::HostInvalid,
    RefusalCode::ProfileInvalid,
    RefusalCode::ProxyInvalid,
    RefusalCode::LimitInvalid,
    RefusalCode::RecordBytesInvalid,
    RefusalCode::SessionAgeInvalid,
];

const CHANNEL_PROPERTIES: [RefusalCode; 7] = [
    RefusalCode::ChannelTypeInvalid,
    RefusalCode::TextInvalid,
    RefusalCode::ProjectIdInvalid,
    RefusalCode::WebhookUrlInvalid,
    RefusalCode::WebhookSecretInvalid,
    RefusalCode::MailServerInvalid,
    RefusalCode::MailAddressInvalid,
];

fn of_deployments() -> Vec<Error> {
    let mut errors: Vec<Error> =
        wrong(r#"{"upstream":"nowhere"}"#, |it| drop(it.upstream("upstream"))).into_iter().collect();
    let list = UpstreamField::Upstream;
    if let Ok(upstream) = Upstream::parse("10.0.0.7:1883") {
        errors.push(
            DeploymentError::OutOfBounds(OutOfBounds::UpstreamTaken { list, upstream: upstream.clone() })
                .into(),
        );
        errors.push(DeploymentError::OutOfBounds(OutOfBounds::UpstreamNotAllowed { list, upstream }).into());
    }
    if let (Ok(host), Ok(wide)) = (HostName::parse("mqtt.example.com"), HostName::parse("*.co.uk")) {
        errors.push(DeploymentError::HostTaken(host.clone()).into());
        errors.push(DeploymentError::OutOfBounds(OutOfBounds::HostNotAllowed(host)).into());
        errors.push(DeploymentError::OutOfBounds(OutOfBounds::HostPublicSuffix(wide)).into());
    }
    errors
}

fn of_projects() -> Vec<Error> {
    let mut errors: Vec<Error> = vec![ProjectError::SuffixInUse { outside: 2, of_others: 1 }.into()];
    errors.extend(
        HostSuffix::parse("fleet.example.com").map(|suffix| ProjectError::SuffixTaken(suffix).into()),
    );
    errors
        .extend(wrong(r#"{"hostSuffixes":["*.example.com"]}"#, |it| drop(it.host_suffixes("hostSuffixes"))));
    errors
}

/// `FORMAT_CRL` is of a certificate's upload, too.
fn is_of_crls(code: &str) -> bool {
    code.contains("CRL") && code != "FORMAT_CRL"
}

fn of_uploads(is_one: impl Fn(&str) -> bool) -> Vec<RefusalExample> {
    let errors = catalogue().filter(|code| code.severity == Severity::Error);
    errors
        .filter(|code| is_one(code.name))
        .map(|code| RefusalExample {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: code.name,
            body: examples::refused_upload(code.name),
        })
        .collect()
}

/// What reading a wrong body is answered with.
fn wrong(body: &str, read: impl FnOnce(&mut Properties)) -> Option<Error> {
    let mut properties = Properties::read(body.as_bytes()).ok()?;
    read(&mut properties);
    properties.finish().err()
}

fn wrong_query() -> Option<Error> {
    ListQuery::read(&Uri::from_static("/?limit=0")).ok()?.limit().err()
}
