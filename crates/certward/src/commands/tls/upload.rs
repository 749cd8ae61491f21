//! `tls check` and `tls set`. What `set` uploads is judged here, then by the server's check: a
//! typing error costs none of the changes that are limited. Where no person can be asked, the check
//! is strict: the server then records an alert about the change that is stopped.

use std::process::ExitCode;

use anyhow::bail;
use certward_pki::{Circumstances, KEEP, Profile, Replaced, TlsType};
use certward_store::{Clock, DeploymentId, SystemClock};
use reqwest::Method;
use serde_json::Value;

use super::{accepted, severe_impact};
use crate::{
    api_types::{CheckAnswer, FindingAnswer, ImpactAnswer, TlsAnswer},
    cli::{CloseRateArg, ConnectArgs, UploadArgs},
    client::{Client, ClientError},
    commands::{
        deployment_id,
        paced_close::{self, ClosedCount},
    },
    findings,
    local_upload::{LocalUpload, UploadPaths},
    output,
    style::Style,
    terminal,
    wording::Typed,
};

/// The server's clock decides these: this machine's may be wrong.
const JUDGED_BY_THE_CLOCK: [&str; 4] = ["LEAF_EXPIRED", "LEAF_NOT_YET_VALID", "CA_EXPIRED", "CA_NONE_VALID"];

pub(super) async fn check(id: &str, upload: &UploadArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let local = read(&id, upload)?;
    let (client, path) = (Client::new(connect)?, ["deployments", id.as_str(), "tls", "check"]);
    let before: TlsAnswer = serde_json::from_value(client.get(&path[..3]).await?)?;
    require_a_decision_on_client_cas(&id, &before, upload)?;
    let answer = client.change(Method::POST, &path, Some(&local.body())).await;
    let answer = answer.map_err(|error| error.with_files(&local.typed.files))?;
    let check: CheckAnswer = serde_json::from_value(answer.clone())?;
    if connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&findings::report(&check, &local.typed, Style::of_stdout()))?;
        if check.accepted && check.impact.is_none() && before.is_set() {
            output::say("\nImpact: not known, for no device has been seen yet.")?;
        }
    }
    Ok(if check.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How `tls set` goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetMode {
    /// Also if devices would be cut off.
    pub(super) force: bool,
    /// Of devices that lose trust.
    pub(super) rate: Option<CloseRateArg>,
    pub(super) wait: bool,
}

/// What is sent.
struct UploadChange<'a> {
    /// In place of a certificate that is set.
    next: Option<&'a Value>,
    /// Where none is.
    first: &'a Value,
    rate: Option<CloseRateArg>,
}

/// PUT, or POST without a certificate.
pub(super) async fn set(
    id: &str,
    upload: &UploadArgs,
    SetMode { force, rate, wait }: SetMode,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let local = read(&id, upload)?;
    let client = Client::new(connect)?;
    refuse_here(&local)?;
    let path = ["deployments", id.as_str(), "tls"];
    let before: TlsAnswer = serde_json::from_value(client.get(&path).await?)?;
    require_a_decision_on_client_cas(&id, &before, upload)?;
    let first = local.body();
    let mut next = first.clone();
    if is_undecided(upload) {
        // One-way was read; if it has become two-way since, it stays so.
        next["tlsType"] = KEEP.into();
    }
    let change = UploadChange { next: before.is_set().then_some(&next), first: &first, rate };
    let stored = change.make(&client, &path, &id, force, &local.typed).await?;
    accepted::finish(&client, &id, stored, wait, &local.typed, connect).await
}

fn read(id: &DeploymentId, upload: &UploadArgs) -> anyhow::Result<LocalUpload> {
    let tls_type = match (&upload.client_ca, upload.keep_client_ca) {
        (Some(_), _) => "two-way",
        (None, true) => KEEP,
        (None, false) => "one-way",
    };
    let paths = UploadPaths {
        cert: &upload.cert,
        key: &upload.key,
        key_password: upload.key_password_file.as_deref(),
        client_ca: upload.client_ca.as_deref(),
    };
    Ok(LocalUpload::read(Typed::about(id.as_str()), tls_type, &paths)?)
}

/// With what every server would refuse: hosts, profile and client CAs that are kept are its own.
fn refuse_here(local: &LocalUpload) -> anyhow::Result<()> {
    let circumstances = Circumstances {
        now: SystemClock.now().to_time(),
        hosts: &[],
        entry_point: Ok(()),
        replaces: Some(Replaced { leaf: &[], tls_type: TlsType::OneWay, client_cas: &[] }),
        profile: Profile::Default,
    };
    let findings: Vec<FindingAnswer> =
        local.judge(&circumstances).findings.iter().map(FindingAnswer::from).collect();
    let is_certain = |finding: &FindingAnswer| {
        finding.severity == "error" && !JUDGED_BY_THE_CLOCK.contains(&finding.code.as_str())
    };
    if findings.iter().any(is_certain) {
        return Err(ClientError::refused_before(findings, local.typed.clone()).into());
    }
    Ok(())
}

impl UploadChange<'_> {
    /// After the server's check, which costs no change. A severe impact is decided on before.
    async fn make(
        &self,
        client: &Client,
        path: &[&str; 3],
        id: &DeploymentId,
        mut force: bool,
        typed: &Typed,
    ) -> anyhow::Result<Value> {
        let with_files = |error: ClientError| error.with_files(&typed.files);
        let is_strict = !force && !terminal::is_attended();
        let impact = self.check(client, path, is_strict, typed).await.map_err(with_files)?;
        if self.next.is_some() {
            let refused = impact.as_ref().map(|impact| ClosedCount::Exactly(impact.connected.refused));
            paced_close::announce(self.rate, refused.unwrap_or(ClosedCount::Unknown));
        }
        if let Some(severe) = impact.filter(|impact| !force && impact.is_severe()) {
            severe_impact::decide(id, &severe)?;
            force = true;
        }
        let refused = match self.send(client, path, force).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // The check was used up, or devices have connected since.
        let Some(severe) = refused.severe_impact() else { return Err(with_files(refused).into()) };
        severe_impact::decide(id, severe)?;
        self.send(client, path, true).await.map_err(|error| with_files(error).into())
    }

    /// The server's check is limited apart from its changes. If it is used up, the upload decides.
    async fn check(
        &self,
        client: &Client,
        path: &[&str; 3],
        is_strict: bool,
        typed: &Typed,
    ) -> Result<Option<ImpactAnswer>, ClientError> {
        let path = [&path[..], &["check"]].concat();
        let body = self.next.unwrap_or(self.first);
        let answer = match is_strict {
            true => client.change_strictly(Method::POST, &path, body).await,
            false => client.change(Method::POST, &path, Some(body)).await,
        };
        let answer = match answer {
            Err(error) if error.is_code("RATE_LIMITED") => return Ok(None),
            Err(error) => match error.severe_impact() {
                Some(severe) => return Ok(Some(severe.clone())),
                None => return Err(error),
            },
            Ok(answer) => answer,
        };
        let check: CheckAnswer = serde_json::from_value(answer).unwrap_or_default();
        match check.accepted {
            true => Ok(check.impact),
            false => Err(ClientError::refused_before(check.findings, typed.clone())),
        }
    }

    async fn send(&self, client: &Client, path: &[&str], force: bool) -> Result<Value, ClientError> {
        if let Some(next) = self.next {
            let query = CloseRateArg::query(self.rate);
            match client.change_at(Method::PUT, path, &query, next, !force).await {
                // Deleted since it was read.
                Err(error) if error.is_code("TLS_NOT_FOUND") => {}
                done => return done,
            }
        }
        client.change_at(Method::POST, path, "", self.first, !force).await
    }
}

/// A renewal that omits the client CA must not turn client verification off.
fn require_a_decision_on_client_cas(
    id: &DeploymentId,
    before: &TlsAnswer,
    upload: &UploadArgs,
) -> anyhow::Result<()> {
    if upload.keep_client_ca && !before.is_set() {
        bail!(
            "{id} has no certificate yet, and so no client CAs to keep; set the first one with --client-ca FILE, or with --one-way"
        );
    }
    if before.is_set() && before.tls_type.as_deref() == Some("two-way") && is_undecided(upload) {
        bail!(
            "{id} asks devices for a certificate (two-way), and without --client-ca that would end; give --keep-client-ca to go on \
             with the same CAs, --client-ca FILE for others, or --one-way to end it"
        );
    }
    Ok(())
}

fn is_undecided(upload: &UploadArgs) -> bool {
    upload.client_ca.is_none() && !upload.one_way && !upload.keep_client_ca
}
