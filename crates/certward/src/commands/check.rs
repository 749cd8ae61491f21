//! Judges an upload without a server.

use std::process::ExitCode;

use certward_pki::{Circumstances, HostName, Judgement, Material, Profile, describe};
use certward_store::{Clock, SystemClock};

use crate::{
    api_time,
    api_types::{self, CheckAnswer, ServedAnswer, ServedCertificate},
    cli::CheckArgs,
    findings,
    local_upload::{LocalUpload, UploadPaths},
    output,
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
    let tls_type = if args.client_ca.is_some() { "two-way" } else { "one-way" };
    let paths = UploadPaths {
        cert: &args.cert,
        key: &args.key,
        key_password: args.key_password_file.as_deref(),
        client_ca: args.client_ca.as_deref(),
    };
    let local = LocalUpload::read(Typed::default(), tls_type, &paths)?;
    // Only the server knows the entry points.
    let circumstances = Circumstances {
        now: SystemClock.now().to_time(),
        hosts: &hosts,
        entry_point: Ok(()),
        replaces: None,
        profile,
    };
    let Judgement { findings, material, chain } = local.judge(&circumstances);
    let check = CheckAnswer {
        accepted: material.is_some(),
        findings: findings.iter().map(api_types::FindingAnswer::from).collect(),
        serves: material.as_ref().map(served),
        found: chain.into_iter().map(ServedCertificate::from).collect(),
        impact: None,
    };
    if args.json {
        output::say_json(&check)?;
    } else {
        output::say(&findings::report(&check, &local.typed, Style::of_stdout()))?;
    }
    Ok(if check.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn served(material: &Material) -> ServedAnswer {
    let bundle = &material.bundle;
    ServedAnswer {
        tls_type: material.tls_type().as_str().to_owned(),
        cn: bundle.common_name().map(str::to_owned),
        expire: api_time::show(bundle.not_after()),
        chain_length: bundle.chain().len(),
        client_cas: material.client_trust.as_ref().map_or(0, |trust| trust.anchors().len()),
        chain: bundle.chain().iter().filter_map(|der| describe(der)).map(ServedCertificate::from).collect(),
    }
}
