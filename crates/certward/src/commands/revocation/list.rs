use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use crate::{
    api_time, api_types::RevocationAnswer, cli::ConnectArgs, client::Client, commands::deployment_id, csv,
    output, style::Style, table::TextTable,
};

pub(super) const PAGE: &str = "limit=1000";

pub(super) async fn run(id: &str, as_csv: bool, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let found = client.pages(&["deployments", id.as_str(), "tls", "revocations"], PAGE).await?;
    if connect.json {
        output::say_json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let revocations: Vec<RevocationAnswer> = serde_json::from_value(found.into())?;
    if as_csv {
        let rows = revocations.iter().map(|revocation| csv::row(cells(revocation)));
        output::say(&std::iter::once(csv::row(COLUMNS)).chain(rows).collect::<Vec<_>>().join("\n"))?;
    } else if revocations.is_empty() {
        output::say("Nothing is revoked by the deny-list.")?;
    } else {
        output::say(&table(&revocations, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// As the API names them.
const COLUMNS: [&str; 10] =
    ["id", "by", "device", "fingerprint", "issuer", "serial", "name", "reason", "revokedBy", "revokedAt"];

fn cells(revocation: &RevocationAnswer) -> [&str; COLUMNS.len()] {
    let RevocationAnswer {
        id,
        by,
        device,
        fingerprint,
        issuer,
        serial,
        name,
        reason,
        revoked_by,
        revoked_at,
        ..
    } = revocation;
    [id, by, device, fingerprint, issuer, serial, name, reason, revoked_by, revoked_at]
}

fn table(revocations: &[RevocationAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new(["ID", "REVOKED", "BY KEY", "WHAT", "REASON"]);
    for revocation in revocations {
        let RevocationAnswer { id, revoked_at, revoked_by, reason, .. } = revocation;
        table.row([id, &api_time::ago(revoked_at, now), revoked_by, &revocation.what(), reason]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_revocation_is_listed_with_what_it_refuses_and_why() {
        let revocations: Vec<RevocationAnswer> = serde_json::from_value(json!([
            {"id": "01", "by": "serial", "issuer": "CN=Meters", "serial": "0a", "reason": "stolen, again", "revokedBy": "k1",
             "revokedAt": "2034-04-11 02:00:00"},
            {"id": "02", "by": "name", "name": "=meter", "issuer": "CN=Meters", "reason": "", "revokedBy": "k1",
             "revokedAt": "2034-04-10 03:00:00"},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&revocations, now).text(),
            "ID  REVOKED     BY KEY  WHAT                                          REASON\n\
             01  1 hour ago  k1      the serial number 0a of CN=Meters             stolen, again\n\
             02  1 day ago   k1      the name =meter in certificates of CN=Meters  -"
        );
        assert_eq!(
            csv::row(cells(&revocations[0])),
            "01,serial,,,CN=Meters,0a,,\"stolen, again\",k1,2034-04-11 02:00:00"
        );
        assert_eq!(csv::row(cells(&revocations[1])), "02,name,,,CN=Meters,,'=meter,,k1,2034-04-10 03:00:00");
    }
}
