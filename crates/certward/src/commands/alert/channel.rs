use std::process::ExitCode;

use anyhow::Context;
use reqwest::Method;
use serde_json::{Map, Value};

use super::unknown_channel::named;
use crate::{
    api_types::ChannelAnswer,
    cli::{AlertChannelAddArgs, AlertChannelCommand},
    client::Client,
    commands::{channel_id, project_id},
    input,
    output::{self, plain},
    table::TextTable,
    usage::UsageError,
};

pub(super) async fn run(command: AlertChannelCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertChannelCommand::Add(args) => add(&args).await?,
        AlertChannelCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["alert-channels"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&list(&serde_json::from_value::<Vec<ChannelAnswer>>(answer)?))?;
            }
        }
        AlertChannelCommand::Remove { channel, connect } => {
            let id = channel_id(&channel)?;
            let client = Client::new(&connect)?;
            let removed = client.change(Method::DELETE, &["alert-channels", id.as_str()], None).await;
            removed.map_err(|error| named(error, &id))?;
            if !connect.json {
                output::say(&format!("Removed the channel {id}."))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(args: &AlertChannelAddArgs) -> anyhow::Result<()> {
    let body = Value::Object(body(args)?);
    let answer = Client::new(&args.connect)?.change(Method::POST, &["alert-channels"], Some(&body)).await?;
    let channel: ChannelAnswer = serde_json::from_value(answer.clone())?;
    let lost = || {
        format!(
            "what was made is not shown; `certward alert channel remove {}` removes it",
            plain(&channel.id)
        )
    };
    if args.connect.json {
        return output::say_json_once(&answer).with_context(lost);
    }
    if channel.secret.is_some() {
        output::note("The secret is shown this once: the receiver verifies signatures with it.");
    }
    output::say_once(&sheet(&channel)).with_context(lost)?;
    output::note(&format!("Try it: certward alert test {}", plain(&channel.id)));
    Ok(())
}

fn body(args: &AlertChannelAddArgs) -> anyhow::Result<Map<String, Value>> {
    let mut body = Map::new();
    body.extend(args.name.as_deref().map(|name| ("name".to_owned(), name.into())));
    if let Some(project) = &args.project {
        body.insert("projectID".into(), project_id(project)?.as_str().into());
    }
    if let Some(mail) = &args.mail {
        let (host, port) = host_and_port(mail)?;
        body.insert("type".into(), "mail".into());
        body.insert("host".into(), host.into());
        body.extend(port.map(|port| ("port".to_owned(), port.into())));
        body.extend(args.security.as_deref().map(|security| ("security".to_owned(), security.into())));
        body.extend(args.username.as_deref().map(|name| ("username".to_owned(), name.into())));
        body.extend(args.from.as_deref().map(|from| ("from".to_owned(), from.into())));
        body.insert("to".into(), args.to.clone().into());
        if let Some(path) = &args.password_file {
            body.insert("password".into(), input::read_password(path)?.as_str().into());
        }
        return Ok(body);
    }
    body.insert("type".into(), "webhook".into());
    body.extend(args.webhook.as_deref().map(|url| ("url".to_owned(), url.into())));
    if let Some(path) = &args.webhook_file {
        body.insert("url".into(), input::read_password(path)?.as_str().into());
    }
    if let Some(path) = &args.secret_file {
        body.insert("secret".into(), input::read_password(path)?.as_str().into());
    }
    Ok(body)
}

/// An IPv6 address with a port needs brackets.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UsageError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => return Ok((text, None)),
    };
    match port.parse() {
        Ok(port) if !host.is_empty() && port != 0 => Ok((host, Some(port))),
        _ => Err(UsageError::new(format!(
            "--mail {text:?} is no HOST or HOST:PORT, for example smtp.example.com:587"
        ))),
    }
}

fn list(channels: &[ChannelAnswer]) -> String {
    if channels.is_empty() {
        return "No alert channels. `certward alert channel add` adds one.".to_owned();
    }
    let mut table = TextTable::new(["ID", "NAME", "TYPE", "TO", "PROJECT", "CREATED"]);
    for channel in channels {
        table.row([
            &channel.id,
            &channel.name,
            &channel.kind,
            &receiver(channel),
            channel.project_id.as_deref().unwrap_or("all"),
            &channel.create_at,
        ]);
    }
    table.text()
}

fn sheet(channel: &ChannelAnswer) -> String {
    let mut table = TextTable::new(["channel", &channel.id]);
    if !channel.name.is_empty() {
        table.row(["name", &channel.name]);
    }
    table.row(["type", &channel.kind]);
    table.row(["to", &receiver(channel)]);
    table.row(["project", channel.project_id.as_deref().unwrap_or("all")]);
    if let Some(secret) = &channel.secret {
        table.row(["secret", secret]);
    }
    table.text()
}

/// Such as `https://h.example/…`, or `a@b.example by smtp.b.example:587 (starttls)`.
fn receiver(channel: &ChannelAnswer) -> String {
    if let Some(url) = &channel.url {
        return url.clone();
    }
    let mut text = channel.to.join(" ");
    if let Some(host) = &channel.host {
        text.push_str(&format!(" by {host}"));
    }
    if let Some(port) = channel.port {
        text.push_str(&format!(":{port}"));
    }
    if let Some(security) = &channel.security {
        text.push_str(&format!(" ({security})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mail_server_may_have_a_port() {
        for (text, host, port) in [
            ("smtp.example.com", "smtp.example.com", None),
            ("smtp.example.com:465", "smtp.example.com", Some(465)),
            ("192.0.2.1:25", "192.0.2.1", Some(25)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[2001:db8::1]:25", "[2001:db8::1]", Some(25)),
        ] {
            assert_eq!(host_and_port(text).unwrap(), (host, port), "{text}");
        }
        for text in ["h:", "h:x", "h:0", "h:65536", ":25"] {
            assert!(host_and_port(text).unwrap_err().to_string().contains("HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn channels_are_shown_with_where_they_lead() {
        let channels: Vec<ChannelAnswer> = serde_json::from_value(json!([
            {"channelID": "c1", "name": "Chat", "createAt": "2034-01-01 00:00", "type": "webhook",
             "url": "https://h.example/…"},
            {"channelID": "c2", "name": "", "projectID": "lab", "createAt": "2034-01-02 00:00", "type": "mail",
             "host": "smtp.example", "port": 587, "security": "starttls", "from": "a@b.c", "to": ["d@e.f", "g@h.i"]},
        ]))
        .unwrap();
        assert_eq!(
            list(&channels),
            "ID  NAME  TYPE     TO                                          PROJECT  CREATED\n\
             c1  Chat  webhook  https://h.example/…                         all      2034-01-01 00:00\n\
             c2  -     mail     d@e.f g@h.i by smtp.example:587 (starttls)  lab      2034-01-02 00:00"
        );
        assert!(list(&[]).contains("certward alert channel add"));
    }
}
