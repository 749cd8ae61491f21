//! `trust remove`: stops while a device that needs the client CA is connected, or was lately seen.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use certward_store::{Clock, DeploymentId, SystemClock, Timestamp};
use reqwest::Method;
use serde_json::Value;

use super::{client_cas, stragglers};
use crate::{
    api_time,
    api_types::{ClientCaAnswer, DeviceAnswer},
    cli::{CloseRateArg, ConnectArgs},
    client::Client,
    commands::{
        deployment_id,
        devices::list::table,
        paced_close::{self, ClosedCount},
        tls::accepted,
    },
    impact,
    output::{self, plain},
    wording::Typed,
};

/// A device that was seen since counts as one in use.
const IN_USE_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Devices that are printed; `trust stragglers` has all.
const PRINTED_MAX: usize = 20;

/// How it is done.
pub(super) struct RemoveMode {
    pub(super) force: bool,
    pub(super) rate: Option<CloseRateArg>,
    pub(super) wait: bool,
}

pub(super) async fn run(
    id: &str,
    fingerprint: &str,
    RemoveMode { force, rate, wait }: RemoveMode,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let ca = client_cas::find(&client, &id, fingerprint).await?;
    let needy = stragglers::read(&client, &id, &ca.fingerprint).await?;
    let needy: Vec<DeviceAnswer> = serde_json::from_value(needy.into())?;
    let now = SystemClock.now();
    if needy.iter().any(|device| is_in_use(device, now)) && !force {
        bail!("{}", refusal(&id, &ca, &needy, now));
    }
    if !needy.is_empty() {
        output::note(&described(&id, &ca, &needy, now));
    }
    let connected = needy.iter().filter(|device| device.connected == Some(true)).count() as u64;
    paced_close::announce(rate, ClosedCount::UpTo(connected));
    let path = ["deployments", id.as_str(), "tls", "client-cas", &ca.fingerprint];
    let query = CloseRateArg::query(rate);
    let removed = match force {
        true => client.change_where(Method::DELETE, &path, &query).await,
        // Devices that are not recorded, and nodes that do not answer, are the server's to judge.
        false => client.remove_strictly(&path, &query).await,
    };
    let answer = match removed {
        Ok(answer) => answer,
        Err(error) => match error.severe_impact() {
            Some(severe) => bail!(
                "the client CA {} of {id} was not removed, for this would cut devices off:\n{}\n--force removes it all the same",
                plain(&ca.subject),
                impact::indented(&impact::lines(severe))
            ),
            None => return Err(error.into()),
        },
    };
    let typed = Typed::about_what_is_kept(id.as_str());
    let answer = if connect.json { answer } else { without_named(answer, &needy) };
    let code = accepted::finish(&client, &id, answer, wait, &typed, connect).await?;
    output::note(&done(&id, &ca, needy.len()));
    Ok(code)
}

/// The impact names no device that is printed already.
fn without_named(mut answer: Value, needy: &[DeviceAnswer]) -> Value {
    let is_needy = |named: &Value| needy.iter().any(|device| named["id"] == device.id.as_str());
    if let Some(named) = answer.pointer_mut("/impact/named").and_then(Value::as_array_mut) {
        named.retain(|named| !is_needy(named));
    }
    answer
}

fn done(id: &DeploymentId, ca: &ClientCaAnswer, refused: usize) -> String {
    let devices = match refused {
        0 => "no known device is".to_owned(),
        1 => "1 known device is".to_owned(),
        more => format!("{more} known devices are"),
    };
    format!(
        "Removed the client CA {} of {id}: {devices} refused from now on. To undo: certward tls rollback {id}",
        plain(&ca.subject)
    )
}

fn is_in_use(device: &DeviceAnswer, now: Timestamp) -> bool {
    let seen = api_time::parse(&device.last_seen_at);
    device.connected == Some(true) || seen.is_none_or(|seen| seen > now.before(IN_USE_FOR))
}

fn refusal(id: &DeploymentId, ca: &ClientCaAnswer, needy: &[DeviceAnswer], now: Timestamp) -> String {
    let in_use = needy.iter().filter(|device| is_in_use(device, now)).count();
    let connected = needy.iter().filter(|device| device.connected == Some(true)).count();
    format!(
        "the client CA {} of {id} was not removed: of the devices that need it, {in_use} {} connected or seen in the last 30 \
         days, {connected} of them connected now.\n{}\n--force removes it all the same",
        plain(&ca.subject),
        if in_use == 1 { "is" } else { "are" },
        described(id, ca, needy, now)
    )
}

/// Those that would be refused, in use first.
fn described(id: &DeploymentId, ca: &ClientCaAnswer, needy: &[DeviceAnswer], now: Timestamp) -> String {
    let (in_use, others): (Vec<_>, Vec<_>) = needy.iter().partition(|device| is_in_use(device, now));
    let printed: Vec<DeviceAnswer> = in_use.into_iter().chain(others).take(PRINTED_MAX).cloned().collect();
    let mut text = format!("{} would be refused:\n{}", count(needy.len()), table(&printed, now).text());
    let more = needy.len() - printed.len();
    if more > 0 {
        let digits = &ca.fingerprint.get(..client_cas::DIGITS_SHOWN).unwrap_or_default();
        text += &format!("\nand {more} more; `certward trust stragglers {id} {digits}` lists all");
    }
    text
}

fn count(devices: usize) -> String {
    if devices == 1 { "1 known device".to_owned() } else { format!("{devices} known devices") }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_was_done_is_said_with_the_way_back() {
        let id = DeploymentId::parse("d1").unwrap();
        let ca = ClientCaAnswer { subject: "CN=Old\u{7}".to_owned(), ..Default::default() };
        for (refused, devices) in
            [(0, "no known device is"), (1, "1 known device is"), (20, "20 known devices are")]
        {
            assert_eq!(
                done(&id, &ca, refused),
                format!(
                    "Removed the client CA CN=Old\\u{{7}} of d1: {devices} refused from now on. To undo: certward tls rollback d1"
                )
            );
        }
    }

    #[test]
    fn devices_in_use_are_printed_first_and_the_rest_is_counted() {
        let now = Timestamp::from_time(datetime!(2034-05-11 03:00:00 UTC));
        let device = |name: &str, last_seen_at: &str, connected| DeviceAnswer {
            name: name.to_owned(),
            last_seen_at: last_seen_at.to_owned(),
            connected,
            ..DeviceAnswer::default()
        };
        let (old, new) = ("2034-04-11 03:00:00", "2034-04-11 03:00:01");
        for (seen, connected, in_use) in [
            (old, Some(false), false),
            (old, None, false),
            (new, Some(false), true),
            (old, Some(true), true),
            ("", None, true),
        ] {
            assert_eq!(is_in_use(&device("a", seen, connected), now), in_use, "{seen} {connected:?}");
        }
        let id = DeploymentId::parse("d1").unwrap();
        let ca = ClientCaAnswer {
            fingerprint: "1f".repeat(32),
            subject: "CN=Old".to_owned(),
            ..Default::default()
        };
        let mut needy: Vec<_> = (0..20).map(|n| device(&format!("idle-{n}"), old, Some(false))).collect();
        needy.push(device("busy", new, Some(true)));
        let text = refusal(&id, &ca, &needy, now);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "the client CA CN=Old of d1 was not removed: of the devices that need it, 1 is connected or seen in the last 30 days, 1 of them connected now.",
                "21 known devices would be refused:"
            ]
        );
        assert!(lines[3].contains("busy"), "{text}");
        assert!(text.ends_with(
            "and 1 more; `certward trust stragglers d1 1f1f1f1f1f1f1f1f` lists all\n--force removes it all the same"
        ));
    }
}
