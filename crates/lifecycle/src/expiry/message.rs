//! What is sent of an alert: a function of the recorded alert alone, so that each attempt sends the
//! same.

use std::fmt::Write as _;

use certward_store::{
    Alert, AlertCause, AppliedRule, ChannelId, DeploymentId, Ending, EndingKind, ListedEnding, Timestamp,
};
use serde::Serialize;
use time::macros::format_description;

use crate::{
    client_cas::unused_message,
    expiry::{
        alert_message::{AlertMessage, json, rfc3339},
        rules::ExpiryRule,
        span::{relative, span},
    },
    impact::stopped_message,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExpiryData<'a> {
    #[serde(rename = "alertID")]
    alert_id: &'a str,
    kind: &'static str,
    rule: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    begins_at: String,
    ends_at: String,
    days_left: i64,
    ended: bool,
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployments: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<&'a [String]>,
    summary: String,
    consequence: &'static str,
    remedy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
}

#[derive(Serialize)]
struct TestData<'a> {
    #[serde(rename = "channelID")]
    channel_id: &'a str,
    summary: &'a str,
}

impl AlertMessage {
    /// Of a recorded alert, as of that moment.
    pub fn of(alert: &Alert) -> Self {
        match &alert.cause {
            AlertCause::Ending(applied) => Self::of_ending(alert, applied),
            AlertCause::StoppedChange { detail } => stopped_message::message(alert, detail),
            AlertCause::UnusedClientCa { detail } => unused_message::message(alert, detail),
        }
    }

    fn of_ending(alert: &Alert, applied: &AppliedRule) -> Self {
        let ended = applied.ends_at <= alert.at;
        let of_deployments = EndingKind::OF_DEPLOYMENTS.contains(&applied.kind);
        let is_key = applied.kind == EndingKind::ApiKey;
        let summary = Statement::of_rule(alert, applied).summary();
        let clock = clock(applied.clock_jump);
        let remedy = remedy(alert, applied.kind);
        let data = ExpiryData {
            alert_id: alert.id.as_str(),
            kind: applied.kind.as_str(),
            rule: &applied.rule,
            subject: &alert.subject,
            fingerprint: (!is_key).then_some(alert.item.as_str()),
            api_key: is_key.then_some(alert.item.as_str()),
            begins_at: rfc3339(applied.begins_at),
            ends_at: rfc3339(applied.ends_at),
            days_left: days_left(applied.ends_at, alert.at),
            ended,
            project_id: alert.project.as_ref().map(|project| project.as_str()),
            deployments: of_deployments.then_some(&alert.owners),
            deployment_count: of_deployments.then_some(alert.owner_count),
            nodes: (applied.kind == EndingKind::ApiCertificate).then_some(&alert.owners),
            summary: summary.clone(),
            consequence: applied.kind.consequence(),
            remedy: remedy.clone(),
            clock: clock.clone(),
        };
        let r#type = if ended { "expiry.reached" } else { "expiry.approaching" };
        Self {
            id: alert.id.to_string(),
            json: json(r#type, alert.at, data),
            subject: format!("[certward] {summary}"),
            text: text(alert, applied, &summary, &remedy, clock.as_deref()),
        }
    }

    /// To try a channel.
    pub fn test(id: String, channel: &ChannelId, now: Timestamp) -> Self {
        let summary = "This is a test of an alert channel of certward.";
        let data = TestData { channel_id: channel.as_str(), summary };
        Self {
            id,
            json: json("channel.test", now, data),
            subject: "[certward] test of an alert channel".to_owned(),
            text: format!("{summary}\n\nThe channel is {channel}. Nothing is to be done.\n"),
        }
    }
}

/// What an alert says, in one sentence without a full stop, as of the moment it was recorded.
pub fn alert_summary(alert: &Alert) -> String {
    match &alert.cause {
        AlertCause::Ending(applied) => Statement::of_rule(alert, applied).summary(),
        AlertCause::StoppedChange { detail } => stopped_message::summary(alert, detail),
        AlertCause::UnusedClientCa { .. } => unused_message::summary(alert),
    }
}

/// Whole days, rounded down; negative after the end.
pub fn days_left(ends_at: Timestamp, now: Timestamp) -> i64 {
    ends_at.0.saturating_sub(now.0).div_euclid(24 * 60 * 60 * 1000)
}

/// What is said of something that ends, as of a moment.
pub(crate) struct Statement<'a> {
    pub(crate) kind: EndingKind,
    pub(crate) item: &'a str,
    subject: &'a str,
    /// The first one.
    pub(crate) owner: &'a str,
    owner_count: u64,
    ends_at: Timestamp,
    at: Timestamp,
}

impl<'a> Statement<'a> {
    /// `None`: it is not about something that ends.
    pub(crate) fn of(alert: &'a Alert) -> Option<Self> {
        match &alert.cause {
            AlertCause::Ending(applied) => Some(Self::of_rule(alert, applied)),
            AlertCause::StoppedChange { .. } | AlertCause::UnusedClientCa { .. } => None,
        }
    }

    fn of_rule(alert: &'a Alert, applied: &AppliedRule) -> Self {
        Self {
            kind: applied.kind,
            item: &alert.item,
            subject: &alert.subject,
            owner: alert.owners.first().map_or("", String::as_str),
            owner_count: alert.owner_count,
            ends_at: applied.ends_at,
            at: alert.at,
        }
    }

    pub(crate) fn of_listed(listed: &'a ListedEnding, now: Timestamp) -> Self {
        let Ending { kind, item, subject, ends_at, .. } = &listed.ending;
        let owner = &listed.owner;
        Self { kind: *kind, item, subject, owner, owner_count: 1, ends_at: *ends_at, at: now }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ends_at <= self.at
    }

    pub(crate) fn ends_at(&self) -> String {
        shown(self.ends_at)
    }

    /// Such as `The server certificate CN=a of deployment north ends in 9 days`.
    pub(crate) fn summary(&self) -> String {
        let verb = if self.has_ended() { "ended" } else { "ends" };
        let when = relative(self.ends_at, self.at);
        // A certificate may have no subject, and a key no name.
        let name = if self.subject.is_empty() { self.item } else { self.subject };
        format!("The {} {name}{} {verb} {when}", self.kind.noun(), self.of_owners())
    }

    fn of_owners(&self) -> String {
        let Self { owner, owner_count, .. } = self;
        match (self.kind, owner_count) {
            (EndingKind::ApiKey, _) | (_, 0) => String::new(),
            (EndingKind::ApiCertificate, 1) => format!(" of node {owner}"),
            (EndingKind::ApiCertificate, count) => format!(" of {count} nodes"),
            (_, 1) => format!(" of deployment {owner}"),
            (_, count) => format!(" of {count} deployments"),
        }
    }
}

fn remedy(alert: &Alert, kind: EndingKind) -> String {
    let only = alert.owners.first().filter(|_| alert.owner_count == 1);
    kind.remedy(only.and_then(|id| DeploymentId::parse(id).ok()).as_ref())
}

/// A forward jump may be a stop: the store does not tell which.
fn clock(jump: i64) -> Option<String> {
    let by = span(jump.saturating_abs());
    match jump {
        0 => None,
        1.. => Some(format!(
            "Just before this alert the clock moved forward by {by}, or certward was stopped for that long: check the clock first."
        )),
        _ => Some(format!("Just before this alert the clock moved back by {by}: check the clock first.")),
    }
}

fn text(alert: &Alert, applied: &AppliedRule, summary: &str, remedy: &str, clock: Option<&str>) -> String {
    let ends = if applied.ends_at <= alert.at { "Ended" } else { "Ends" };
    let mut text = format!("{summary}.\n\n");
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<12} {value}");
    line(ends, &shown(applied.ends_at));
    line("Began", &shown(applied.begins_at));
    match applied.kind {
        EndingKind::ApiKey => line("API key", &alert.item),
        _ => line("SHA-256", &alert.item),
    }
    if let Some(project) = &alert.project {
        line("Project", project.as_str());
    }
    let more = alert.owner_count.saturating_sub(alert.owners.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let list = format!("{}{more}", alert.owners.join(", "));
    match applied.kind {
        EndingKind::ApiKey => {}
        EndingKind::ApiCertificate => line("Nodes", &list),
        _ => line("Deployments", &list),
    }
    line("Rule", &in_words(&applied.rule));
    let _ = write!(text, "\nWhat breaks: {}\nWhat to do: {remedy}\n", applied.kind.consequence());
    if let Some(clock) = clock {
        let _ = writeln!(text, "\n{clock}");
    }
    let _ = writeln!(text, "\nAlert {}", alert.id);
    text
}

/// A rule, by its text.
fn in_words(rule: &str) -> String {
    match rule.parse() {
        Ok(ExpiryRule::Days(1)) => "1 day is left".to_owned(),
        Ok(ExpiryRule::Days(days)) => format!("{days} days are left"),
        Ok(ExpiryRule::Share(_)) => format!("{rule} of its lifetime is left"),
        // The end is not set, and not read.
        Ok(ExpiryRule::End) | Err(_) => "it has ended".to_owned(),
    }
}

fn shown(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_time().format(format).unwrap_or_default()
}
