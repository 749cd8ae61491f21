//! Judges an upload without a server: the same judgement, the same findings.

use std::process::ExitCode;

use certward_pki::{Circumstances, HostName, Judgement, Material, Text, Upload, judge};
use certward_store::{Clock, SystemClock};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    answer::{Check, Finding, Served},
    cli::CheckArgs,
    findings, input, output,
    usage::Usage,
};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let hosts = args
        .hosts
        .iter()
        .map(|host| HostName::parse(host).map_err(|rule| Usage::new(format!("--host {host:?}: {rule}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let upload = Upload {
        tls_type: given(if args.client_ca.is_some() { "two-way" } else { "one-way" }),
        cert: Text::Given(input::read_text(&args.cert)?),
        key: Text::Given(input::read_text(&args.key)?),
        cacert: match &args.client_ca {
            Some(path) => Text::Given(input::read_text(path)?),
            None => Text::Absent,
        },
    };
    // Whether a device has a way in is for the server to know.
    let circumstances = Circumstances { now: SystemClock.now().to_time(), hosts: &hosts, has_way_in: true };
    let Judgement { findings, material } = judge(&upload, &circumstances);
    let check = Check {
        accepted: material.is_some(),
        findings: findings.iter().map(Finding::from).collect(),
        serves: material.as_ref().map(served),
    };
    if args.json {
        output::say_json(&check)?;
    } else {
        output::say(&findings::report(&check))?;
    }
    Ok(if check.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn given(text: &str) -> Text {
    Text::Given(zeroize::Zeroizing::new(text.to_owned()))
}

fn served(material: &Material) -> Served {
    let bundle = &material.bundle;
    Served {
        tls_type: material.tls_type().as_str().to_owned(),
        cn: bundle.common_name().map(str::to_owned),
        not_before: Some(show(bundle.not_before())),
        expire: show(bundle.not_after()),
        chain_length: bundle.chain().len(),
        client_cas: material.client_trust.as_ref().map_or(0, |trust| trust.anchors().len()),
    }
}

/// As the API writes times.
fn show(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))
        .unwrap_or_default()
}
