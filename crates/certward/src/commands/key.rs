use std::process::ExitCode;

use anyhow::Context;
use certward_store::{ApiKey, Clock, SystemClock, Timestamp};
use reqwest::Method;
use serde_json::{Map, Value};

use super::project_id;
use crate::{
    api_time,
    api_types::{CreatedKey, KeyAnswer},
    cli::KeyCommand,
    client::Client,
    output::{self, plain},
    style::{Style, Tone},
    table::TextTable,
    usage::UsageError,
};

pub(super) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Create { name, scopes, projects, expires, connect } => {
            for project in &projects {
                project_id(project)?;
            }
            let mut body = Map::new();
            body.insert("name".into(), name.into());
            body.insert("scopes".into(), scopes.into());
            if !projects.is_empty() {
                body.insert("projects".into(), projects.into());
            }
            if let Some(end) = expires {
                let end = end.at(SystemClock.now());
                body.insert("expiresAt".into(), api_time::show(end.to_time()).into());
            }
            let answer =
                Client::new(&connect)?.change(Method::POST, &["keys"], Some(&Value::Object(body))).await?;
            let key: CreatedKey = serde_json::from_value(answer.clone())?;
            let lost =
                || format!("the secret is lost; `certward key revoke {}` ends the key", plain(&key.api_key));
            if connect.json {
                output::say_json_once(&answer).with_context(lost)?;
            } else {
                output::note("The secret key is shown this once: keep it like a password.");
                let mut table = TextTable::new(["api key", &key.api_key]);
                table.row(["secret key", &key.secret_key]);
                if let Some(end) = &key.expires_at {
                    table.row(["ends", &api_time::end_with_words(end, SystemClock.now())]);
                }
                output::say_once(&table.text()).with_context(lost)?;
            }
        }
        KeyCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["keys"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                let keys: Vec<KeyAnswer> = serde_json::from_value(answer)?;
                output::say(&table(&keys, SystemClock.now()).styled(Style::of_stdout()))?;
            }
        }
        KeyCommand::Revoke { key, connect } => {
            let key = ApiKey::parse(&key).ok_or_else(|| {
                UsageError::new("an API key is 1 to 64 letters and digits; `certward key list` shows them")
            })?;
            Client::new(&connect)?.change(Method::DELETE, &["keys", key.as_str()], None).await?;
            if !connect.json {
                output::say(&format!("Revoked the API key {key}."))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(keys: &[KeyAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new(["API KEY", "NAME", "SCOPES", "PROJECTS", "CREATED", "ENDS"]);
    for key in keys {
        let projects = key.projects.as_ref().map_or_else(|| "all".to_owned(), |projects| projects.join(" "));
        let end = key.expires_at.as_deref();
        let ends = end.map_or_else(|| "never".to_owned(), |end| api_time::end_with_words(end, now));
        let ended = end.and_then(api_time::parse).is_some_and(|end| end <= now);
        table.toned_row([
            (&key.api_key, None),
            (&key.name, None),
            (&key.scopes.join(" "), None),
            (&projects, None),
            (&key.create_at, None),
            (&ends, ended.then_some(Tone::Bad)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_list_says_when_a_key_ends() {
        let key = |name: &str, expires_at: Option<&str>| KeyAnswer {
            api_key: name.to_uppercase(),
            name: name.to_owned(),
            scopes: vec!["tls".to_owned(), "tls:read".to_owned()],
            projects: None,
            create_at: "2026-11-02 12:00".to_owned(),
            expires_at: expires_at.map(str::to_owned),
        };
        let keys =
            [key("a", None), key("b", Some("2027-01-31 00:00:00")), key("c", Some("2026-11-02 09:00:00"))];
        let now = Timestamp::from_time(datetime!(2026-11-02 12:00:00 UTC));
        assert_eq!(
            table(&keys, now).text(),
            "API KEY  NAME  SCOPES        PROJECTS  CREATED           ENDS\n\
             A        a     tls tls:read  all       2026-11-02 12:00  never\n\
             B        b     tls tls:read  all       2026-11-02 12:00  2027-01-31 00:00:00 (in 89 days)\n\
             C        c     tls tls:read  all       2026-11-02 12:00  2026-11-02 09:00:00 (expired 3 hours ago)"
        );
    }
}
