use std::{process::ExitCode, sync::Arc};

use certward_store::{AuditFault, AuditReport, Store, SystemClock};
use serde::Serialize;

use crate::{
    api_time,
    cli::AuditVerifyArgs,
    commands::block_on,
    config::{ConfigSource, LoadedConfig},
    output, store_remedy,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationOutput {
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    rows: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<i64>,
    /// Rows of the chain that were pruned.
    pruned: i64,
    rows_before_chain: i64,
    rows_without_mac: i64,
    heads_too_old: Vec<String>,
}

pub(super) fn run(args: AuditVerifyArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    let AuditVerifyArgs { heads, known_without_mac, json, .. } = args;
    let keys = config.read_master_keys()?.ring();
    let verified = block_on(async {
        let store = Store::open_to_read(&config.store_address(), &keys, Arc::new(SystemClock)).await;
        let store = store.map_err(store_remedy::explain)?;
        let verified = store.verify_audit(heads, known_without_mac).await;
        store.close().await;
        verified.map_err(store_remedy::explain)
    })?;
    match (json, &verified) {
        (true, verified) => output::say_json(&VerificationOutput::of(verified))?,
        (false, Ok(report)) => output::say(&describe(report))?,
        (false, Err(fault)) => {
            output::complain_text(&format!("the audit is not sound: {fault}; {}", remedy(fault)))
        }
    }
    Ok(if verified.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl VerificationOutput {
    fn of(verified: &Result<AuditReport, AuditFault>) -> Self {
        let report = verified.as_ref().ok();
        Self {
            sound: report.is_some(),
            fault: verified.as_ref().err().map(ToString::to_string),
            head: report.and_then(|report| report.head.as_ref()).map(ToString::to_string),
            rows: report.map_or(0, |report| report.rows),
            first: report.and_then(|report| report.first),
            pruned: report
                .and_then(|report| report.checkpoint.as_ref())
                .map_or(0, |checkpoint| checkpoint.number),
            rows_before_chain: report.map_or(0, |report| report.before_chain),
            rows_without_mac: report.map_or(0, |report| report.without_mac),
            heads_too_old: report
                .map_or_else(Vec::new, |report| report.too_old.iter().map(ToString::to_string).collect()),
        }
    }
}

fn describe(report: &AuditReport) -> String {
    let AuditReport { head, rows, first, checkpoint, before_chain, without_mac, too_old } = report;
    let (Some(head), Some(first)) = (head, first) else {
        return format!(
            "The chain has not begun: no change since the upgrade. {before_chain} rows have no MAC."
        );
    };
    let mut text = format!("The audit is sound: {rows} rows, {first} to {}.\nhead {head}", head.number);
    if let Some(checkpoint) = checkpoint {
        text += &format!(
            "\nRows up to {} were pruned, last at {} UTC.",
            checkpoint.number,
            api_time::show(checkpoint.at.to_time())
        );
    }
    if *before_chain > 0 {
        text += &format!("\n{before_chain} rows before the chain, of an earlier release, prove nothing.");
    }
    if *without_mac > 0 {
        text += &format!("\n{without_mac} rows among them have no MAC and prove nothing.");
    }
    for head in too_old {
        text += &format!("\nThe head {head} is of a pruned row and could not be compared.");
    }
    text
}

fn remedy(fault: &AuditFault) -> &'static str {
    match fault {
        AuditFault::WithoutMac { .. } => {
            "if a node of the release before wrote them during an upgrade, give their number with --known-without-mac"
        }
        AuditFault::UnknownKey { .. } => "verify it with the store and the master key that belong together",
        AuditFault::CutOff { .. } | AuditFault::Rewritten(_) => {
            "a restored backup does that too; else keep the store as it is, and compare it with an export or a backup"
        }
        _ => "keep the store as it is, and compare it with an export or a backup from before",
    }
}
