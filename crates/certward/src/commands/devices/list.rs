use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use crate::{
    api_time,
    api_types::DeviceAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::{deployment_id, silent_nodes},
    csv, output,
    style::{Style, Tone},
    table::TextTable,
};

pub(in crate::commands) const PAGE: &str = "limit=1000";
pub(in crate::commands) const MISSING: &str = "a device that is connected there may seem not to be";

pub(super) async fn run(id: &str, as_csv: bool, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    if as_csv {
        return print_csv(&client, &["deployments", id.as_str(), "devices"]).await;
    }
    let (found, silent) = client.pages_of_nodes(&["deployments", id.as_str(), "devices"], PAGE).await?;
    silent_nodes::note(&silent, MISSING);
    if connect.json {
        output::say_json(&found)?;
    } else if found.is_empty() {
        output::say(&format!(
            "No device with a client certificate was seen in the last 90 days. `certward devices summary {id}` \
             shows what is known of all."
        ))?;
    } else {
        let devices: Vec<DeviceAnswer> = serde_json::from_value(found.into())?;
        output::say(&table(&devices, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page at a time: 100,000 devices are 40 MB.
pub(in crate::commands) async fn print_csv(client: &Client, path: &[&str]) -> anyhow::Result<ExitCode> {
    output::say(&csv::row(COLUMNS))?;
    let mut silent = Vec::new();
    let mut query = Some(PAGE.to_owned());
    while let Some(wanted) = query {
        let page = client.list_page(path, &wanted).await?;
        let devices: Vec<DeviceAnswer> = serde_json::from_value(page.items.into())?;
        let rows: Vec<String> = devices.iter().map(|device| csv::row(cells(device))).collect();
        if !rows.is_empty() {
            output::say(&rows.join("\n"))?;
        }
        if silent.is_empty() {
            silent = page.silent_nodes;
        }
        query = page.next;
    }
    silent_nodes::note(&silent, MISSING);
    Ok(ExitCode::SUCCESS)
}

/// As the API names them.
const COLUMNS: [&str; 13] = [
    "id",
    "name",
    "issuer",
    "serial",
    "fingerprint",
    "clientCA",
    "notAfter",
    "firstSeenAt",
    "lastSeenAt",
    "host",
    "tlsVersion",
    "connected",
    "address",
];

fn cells(device: &DeviceAnswer) -> [&str; COLUMNS.len()] {
    [
        &device.id,
        &device.name,
        &device.issuer,
        &device.serial,
        &device.fingerprint,
        &device.client_ca,
        &device.not_after,
        &device.first_seen_at,
        &device.last_seen_at,
        &device.host,
        &device.tls_version,
        device.connected.map_or("", |connected| if connected { "true" } else { "false" }),
        &device.address,
    ]
}

pub(in crate::commands) fn table(devices: &[DeviceAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new([
        "ID",
        "NAME",
        "CONNECTED",
        "LAST SEEN",
        "CERTIFICATE ENDS",
        "HOST",
        "TLS",
        "ADDRESS",
    ]);
    for device in devices {
        let connected = match device.connected {
            Some(true) => ("yes", Some(Tone::Good)),
            Some(false) => ("no", None),
            None => ("", None),
        };
        let has_ended = api_time::parse(&device.not_after).is_some_and(|end| end <= now);
        table.toned_row([
            (&device.id, None),
            (&device.name, None),
            connected,
            (&api_time::ago(&device.last_seen_at, now), None),
            (&api_time::ends_in_words(&device.not_after, now), has_ended.then_some(Tone::Bad)),
            (&device.host, None),
            (&device.tls_version, None),
            (&device.address, None),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn devices_are_shown_with_what_is_known() {
        let devices: Vec<DeviceAnswer> = serde_json::from_value(json!([
            {"id": "01", "name": "meter-1", "connected": true, "lastSeenAt": "2034-04-11 02:00:00",
             "notAfter": "2034-05-22 03:00:00", "host": "a.example", "tlsVersion": "1.3", "address": "192.0.2.1"},
            {"id": "02", "name": "m\u{1b}", "connected": false, "lastSeenAt": "2034-04-01 03:00:00",
             "notAfter": "2034-04-10 03:00:00", "tlsVersion": "1.2"},
            {"id": "03", "name": "m", "lastSeenAt": "2034-04-01 03:00:00",
             "notAfter": "2034-04-12 03:00:00", "tlsVersion": "1.2"},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&devices, now).text(),
            "ID  NAME     CONNECTED  LAST SEEN    CERTIFICATE ENDS   HOST       TLS  ADDRESS\n\
             01  meter-1  yes        1 hour ago   in 41 days         a.example  1.3  192.0.2.1\n\
             02  m\\u{1b}  no         10 days ago  expired 1 day ago  -          1.2  -\n\
             03  m        -          10 days ago  in 1 day           -          1.2  -"
        );
    }
}
