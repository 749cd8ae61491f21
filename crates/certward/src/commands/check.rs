//! Judges an upload without a server: same rehearsal, same findings.

use std::{path::Path, process::ExitCode, sync::Arc};

use certward_gateway::NoGateway;
use certward_lifecycle::Rehearsal;
use certward_pki::{
    CertificateFacts, Circumstances, Finding, HostName, Judgement, Material, Profile, Text, Upload, describe,
    judge,
};
use certward_store::{Clock, SystemClock};
use zeroize::Zeroizing;

use crate::{
    api_time::show,
    api_types::{self, CheckAnswer, ServedAnswer, ServedCertificate},
    cli::CheckArgs,
    findings, input, output,
    style::Style,
    usage::UsageError,
    wording::Typed,
};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let hosts = args
        .hosts
        .iter()
        .map(|host| HostName::parse(host).map_err(|rule| UsageError::new(format!("--host {host:?}: {rule}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let profile = Profile::parse(&args.profile).ok_or_else(|| {
        UsageError::new(format!("--profile {:?}: it is default or emqx-cloud", args.profile))
    })?;
    let mut typed = Typed::default();
    let upload = Upload {
        tls_type: given(if args.client_ca.is_some() { "two-way" } else { "one-way" }),
        cert: Text::Given(read(&args.cert, "cert", &mut typed)?),
        key: Text::Given(read(&args.key, "key", &mut typed)?),
        key_password: match &args.key_password_file {
            Some(path) => Text::Given(input::read_password(path)?),
            None => Text::Absent,
        },
        cacert: match &args.client_ca {
            Some(path) => Text::Given(read(path, "cacert", &mut typed)?),
            None => Text::Absent,
        },
    };
    // Only the server knows the entry points.
    let circumstances = Circumstances {
        now: SystemClock.now().to_time(),
        hosts: &hosts,
        entry_point: Ok(()),
        replaces: None,
        profile,
    };
    let Judgement { findings, material, chain } = rehearse(judge(&upload, &circumstances));
    let check = CheckAnswer {
        accepted: material.is_some(),
        findings: findings.iter().map(api_types::FindingAnswer::from).collect(),
        serves: material.as_ref().map(served),
        found: chain.into_iter().map(certificate).collect(),
    };
    if args.json {
        output::say_json(&check)?;
    } else {
        output::say(&findings::report(&check, &typed, Style::of_stdout()))?;
    }
    Ok(if check.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path, property: &'static str, typed: &mut Typed) -> Result<Zeroizing<String>, UsageError> {
    let text = input::read_text(path)?;
    typed.files.add(property, path, &text);
    Ok(text)
}

fn given(text: &str) -> Text {
    Text::Given(Zeroizing::new(text.to_owned()))
}

/// Builds the configuration; opens nothing.
fn rehearse(mut judgement: Judgement) -> Judgement {
    let Some(material) = &judgement.material else { return judgement };
    if let Err(reason) = NoGateway::new(Arc::new(SystemClock)).rehearse(material) {
        judgement.findings.insert(0, Finding::not_servable(&reason));
        judgement.material = None;
    }
    judgement
}

fn served(material: &Material) -> ServedAnswer {
    let bundle = &material.bundle;
    ServedAnswer {
        tls_type: material.tls_type().as_str().to_owned(),
        cn: bundle.common_name().map(str::to_owned),
        expire: show(bundle.not_after()),
        chain_length: bundle.chain().len(),
        client_cas: material.client_trust.as_ref().map_or(0, |trust| trust.anchors().len()),
        chain: bundle.chain().iter().filter_map(|der| describe(der)).map(certificate).collect(),
    }
}

fn certificate(facts: CertificateFacts) -> ServedCertificate {
    ServedCertificate {
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
        key: facts.key_kind.to_string(),
        not_before: show(facts.not_before),
        expire: show(facts.not_after),
    }
}
