//! `tls rollback`.

use std::process::ExitCode;

use anyhow::bail;
use certward_store::DeploymentId;
use reqwest::Method;
use serde_json::{Value, json};

use super::{accepted, severe_impact, versions};
use crate::{
    api_types::{ImpactAnswer, VersionAnswer},
    cli::{CloseRateArg, ConnectArgs},
    client::{Client, ClientError},
    commands::{
        deployment_id,
        paced_close::{self, ClosedCount},
        question::{self, Disconnected},
    },
    output, terminal,
    wording::Typed,
};

/// How `tls rollback` goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RollbackMode {
    /// Without the question whether trust may narrow.
    pub(super) yes: bool,
    /// Also if devices would be cut off.
    pub(super) force: bool,
    /// Of devices that lose trust.
    pub(super) rate: Option<CloseRateArg>,
    pub(super) wait: bool,
}

pub(super) async fn roll_back(
    id: &str,
    to: Option<i64>,
    RollbackMode { yes, force, rate, wait }: RollbackMode,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let to = match versions::get(&client, &id).await {
        Ok(answer) => {
            let kept: Vec<VersionAnswer> = serde_json::from_value(answer)?;
            let (newest, target) = newest_and_target(&kept, to, &id)?;
            if target.narrows(newest) {
                paced_close::announce(rate, ClosedCount::up_to_now(rate, &client, &id).await);
            }
            ask_about_trust(&client, &id, newest, target, yes, force).await?;
            Some(target.version)
        }
        // What cannot be read is left to the server.
        Err(_) => to,
    };
    let typed = Typed::about_a_version(id.as_str());
    let body = json!({ "version": to });
    let answer = match send(&client, &id, &body, force, rate).await {
        Err(error) => match error.severe_impact() {
            Some(severe) => {
                if !is_way_back(severe) {
                    paced_close::announce(rate, ClosedCount::Exactly(severe.connected.refused));
                    severe_impact::decide(&id, severe)?;
                }
                send(&client, &id, &body, true, rate).await
            }
            None => Err(error),
        },
        answer => answer,
    };
    let answer = answer.map_err(|error| error.with_files(&typed.files))?;
    accepted::finish(&client, &id, answer, wait, &typed, connect).await
}

async fn send(
    client: &Client,
    id: &DeploymentId,
    body: &Value,
    force: bool,
    rate: Option<CloseRateArg>,
) -> Result<Value, ClientError> {
    let path = ["deployments", id.as_str(), "tls", "rollback"];
    client.change_at(Method::POST, &path, &CloseRateArg::query(rate), body, !force).await
}

/// From a root that devices do not know, the way back leads to another root too.
fn is_way_back(severe: &ImpactAnswer) -> bool {
    let ImpactAnswer { connected, hosts_lost, root_changed, key_kind_changed, .. } = severe;
    let loses_keys = key_kind_changed.as_ref().is_some_and(|change| change.share > 0.0);
    root_changed.is_some() && connected.refused == 0 && hosts_lost.is_empty() && !loses_keys
}

/// # Errors
/// The answer is no; or, in a script, client verification would end and this is not forced.
async fn ask_about_trust(
    client: &Client,
    id: &DeploymentId,
    newest: &VersionAnswer,
    target: &VersionAnswer,
    yes: bool,
    force: bool,
) -> anyhow::Result<()> {
    let version = target.version;
    if target.narrows(newest) && question::is_asked(yes) {
        let change = format!("goes back to version {version} of {id}, with its client CAs");
        question::ask_before(&change, Disconnected::Untrusted, id, false, client).await?;
    }
    if newest.tls_type == "two-way" && target.tls_type == "one-way" && !force {
        let what =
            format!("version {version} of {id} is one-way: devices would need no certificate any more");
        if !terminal::is_attended() {
            bail!("{what}; --force goes back all the same");
        }
        output::note(&what);
        if !terminal::confirm("Go back all the same?")? {
            bail!("nothing was changed");
        }
    }
    Ok(())
}

/// Of `kept`, newest first: so that no other one is restored than was asked about, and what the
/// server would refuse uses up none of its rollbacks. Without `to` as the server chooses: the last
/// one that was running.
fn newest_and_target<'a>(
    kept: &'a [VersionAnswer],
    to: Option<i64>,
    id: &DeploymentId,
) -> anyhow::Result<(&'a VersionAnswer, &'a VersionAnswer)> {
    let others = format!("`certward tls versions {id}` lists what is kept");
    let Some((newest, older)) = kept.split_first() else { bail!("{id} has no certificate to go back from") };
    let target = match to {
        Some(to) if to == newest.version => {
            bail!("version {to} is the newest of {id}: there is nothing to go back to; {others}")
        }
        Some(to) => versions::find(older, to, id)?,
        None => match older.iter().find(|version| version.proven) {
            Some(target) => target,
            None => bail!("no version of {id} was running before the newest; {others}"),
        },
    };
    if target.status == "erased" {
        let version = target.version;
        bail!(
            "the key of version {version} of {id} is erased: choose another one with --to, or set certificate and key again; {others}"
        );
    }
    Ok((newest, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_types::{KeyKindChangeAnswer, RefusedAnswer, RootChangeAnswer};

    #[test]
    fn without_a_version_it_is_the_last_one_that_was_running() {
        let id = DeploymentId::parse("d1").unwrap();
        let version = |version: i64, proven: bool, status: &str| VersionAnswer {
            version,
            proven,
            status: status.to_owned(),
            ..VersionAnswer::default()
        };
        let kept = [
            version(9, true, "running"),
            version(8, false, "superseded"),
            version(7, true, "superseded"),
            version(4, true, "erased"),
        ];
        let target = |kept: &[VersionAnswer], to| {
            newest_and_target(kept, to, &id)
                .map(|(newest, target)| {
                    assert_eq!(newest.version, 9);
                    target.version
                })
                .map_err(|refusal| refusal.to_string())
        };
        assert_eq!((target(&kept, None), target(&kept, Some(8))), (Ok(7), Ok(8)));
        for (kept, to, refusal) in [
            (&kept[..], Some(9), "version 9 is the newest of d1"),
            (&kept, Some(5), "version 5 of d1 does not exist"),
            (&kept, Some(4), "the key of version 4 of d1 is erased"),
            (&kept[..2], None, "no version of d1 was running before the newest"),
            (&[], None, "d1 has no certificate"),
        ] {
            let refused = target(kept, to).unwrap_err();
            assert!(refused.starts_with(refusal), "{refused}");
        }
    }

    #[test]
    fn another_root_alone_does_not_stop_the_way_back() {
        let of_root =
            || ImpactAnswer { root_changed: Some(RootChangeAnswer::default()), ..ImpactAnswer::default() };
        let refused = RefusedAnswer { refused: 1, of: 2, not_judged: None };
        let share = |share| Some(KeyKindChangeAnswer { share, ..KeyKindChangeAnswer::default() });
        for (impact, is) in [
            (of_root(), true),
            (ImpactAnswer { key_kind_changed: share(0.0), ..of_root() }, true),
            (ImpactAnswer { key_kind_changed: share(0.1), ..of_root() }, false),
            (ImpactAnswer { connected: refused, ..of_root() }, false),
            (ImpactAnswer { hosts_lost: vec!["a.example".to_owned()], ..of_root() }, false),
            (ImpactAnswer { connected: refused, ..ImpactAnswer::default() }, false),
        ] {
            assert_eq!(is_way_back(&impact), is, "{impact:?}");
        }
    }
}
