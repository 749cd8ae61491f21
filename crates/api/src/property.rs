//! Properties of our own resources: all errors are collected, then refused together.
//!
//! Unknown fields are ignored; `null` counts as absent unless a property can be removed.

use certward_pki::HostName;
use certward_store::{
    DeploymentId, HostSuffix, ProjectId, Scope, Timestamp, UpstreamAllow, UpstreamList, VersionId,
};
use serde_json::Value;

use crate::{
    detail::{Detail, TIME_REMEDY},
    error::Error,
    json::Fields,
    refusal_code::RefusalCode,
    wire_time,
};

/// For people: a list stays readable.
const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 1000;
/// 1000 × 253 bytes is about a full body.
const HOSTS_MAX: usize = 1000;
const PROJECTS_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Properties {
    fields: Fields,
    wrong: Vec<Detail>,
}

impl Properties {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self { fields: crate::json::object(bytes)?, wrong: Vec::new() })
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Error::Unprocessable(self.wrong)) }
    }

    pub(crate) fn name(&mut self, field: &str) -> Option<String> {
        self.free_text(field, NAME_CHARS_MAX)
    }

    pub(crate) fn required_name(&mut self, field: &str) -> Option<String> {
        self.require(field, RefusalCode::TextInvalid, TEXT_REMEDY);
        self.name(field)
    }

    pub(crate) fn description(&mut self, field: &str) -> Option<String> {
        self.free_text(field, DESCRIPTION_CHARS_MAX)
    }

    pub(crate) fn deployment_id(&mut self, field: &str) -> Option<DeploymentId> {
        self.text(field, RefusalCode::DeploymentIdInvalid, ID_REMEDY, DeploymentId::parse)
    }

    pub(crate) fn project_id(&mut self, field: &str) -> Option<ProjectId> {
        self.text(field, RefusalCode::ProjectIdInvalid, ID_REMEDY, ProjectId::parse)
    }

    pub(crate) fn upstream(&mut self, field: &str) -> Option<UpstreamList> {
        self.text(field, UPSTREAM_INVALID, UPSTREAM_REMEDY, UpstreamList::parse)
    }

    pub(crate) fn required_upstream(&mut self, field: &str) -> Option<UpstreamList> {
        self.require(field, UPSTREAM_INVALID, UPSTREAM_REMEDY);
        self.upstream(field)
    }

    /// `None` if absent, `Some(None)` if null or empty: remove.
    pub(crate) fn removable_upstream(&mut self, field: &str) -> Option<Option<UpstreamList>> {
        match self.fields.get(field) {
            None => None,
            Some(Value::Null) => Some(None),
            Some(Value::String(text)) if text.is_empty() => Some(None),
            Some(_) => Some(self.upstream(field)),
        }
    }

    pub(crate) fn hosts(&mut self, field: &str) -> Option<Vec<HostName>> {
        self.list(field, RefusalCode::HostInvalid, HOST_REMEDY, HOSTS_MAX, |text| {
            HostName::parse(text).map_err(|error| error.to_string())
        })
    }

    /// `None` if absent, `Some(None)` if null: remove. An empty list is ambiguous.
    pub(crate) fn upstream_allow(&mut self, field: &str) -> Option<Option<UpstreamAllow>> {
        if self.fields.get(field)?.is_null() {
            return Some(None);
        }
        let wrong = self.wrong.len();
        let list =
            self.list(field, UPSTREAM_ALLOW_INVALID, UPSTREAM_ALLOW_REMEDY, UpstreamAllow::MAX, |text| {
                UpstreamAllow::parse(&[text]).map(|_| text.to_owned()).map_err(|error| match error {
                    Some((_, error)) => error.to_string(),
                    None => "it is empty".to_owned(),
                })
            })?;
        if self.wrong.len() > wrong {
            return None;
        }
        let Ok(list) = UpstreamAllow::parse(&list) else {
            let message = sentence(field, "it is empty; null takes the restriction away");
            self.wrong.push(Detail::property(UPSTREAM_ALLOW_INVALID, field, message, UPSTREAM_ALLOW_REMEDY));
            return None;
        };
        Some(Some(list))
    }

    /// `None` if absent; empty if null.
    pub(crate) fn host_suffixes(&mut self, field: &str) -> Option<Vec<HostSuffix>> {
        if self.fields.get(field)?.is_null() {
            return Some(Vec::new());
        }
        let remedy = "Give a list of DNS names, for example [\"fleet.example.com\"], or null for none.";
        let list = self.list(field, RefusalCode::HostSuffixInvalid, remedy, HostSuffix::MAX, |text| {
            HostSuffix::parse(text).map_err(|error| error.to_string())
        })?;
        let mut seen = std::collections::HashSet::new();
        Some(list.into_iter().filter(|suffix| seen.insert(suffix.clone())).collect())
    }

    pub(crate) fn projects(&mut self, field: &str) -> Option<Vec<ProjectId>> {
        let remedy = "Give a list of ids from GET /projects, or leave it out for all projects.";
        let projects = self.list(field, RefusalCode::ProjectIdInvalid, remedy, PROJECTS_MAX, |text| {
            ProjectId::parse(text).map_err(|error| error.to_string())
        });
        if projects.as_ref().is_some_and(Vec::is_empty) && self.wrong.is_empty() {
            let message = "The list of projects is empty.";
            self.wrong.push(Detail::property(RefusalCode::ProjectIdInvalid, field, message, remedy));
        }
        projects
    }

    /// At least one.
    pub(crate) fn scopes(&mut self, field: &str) -> Vec<Scope> {
        let remedy = "Give at least one of tls, tls:read, deployments and admin.";
        let known = |text: &str| Scope::parse(text).ok_or_else(|| "it is no scope".to_owned());
        let before = self.wrong.len();
        let mut scopes =
            self.list(field, RefusalCode::ScopeInvalid, remedy, Scope::ALL.len(), known).unwrap_or_default();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() && self.wrong.len() == before {
            self.wrong.push(Detail::property(RefusalCode::ScopeInvalid, field, "No scope is given.", remedy));
        }
        scopes
    }

    pub(crate) fn time(&mut self, field: &str) -> Option<Timestamp> {
        self.text(field, RefusalCode::TimeInvalid, TIME_REMEDY, |text| {
            wire_time::parse(text).ok_or("it is no time")
        })
    }

    pub(crate) fn version(&mut self, field: &str) -> Option<VersionId> {
        let remedy = "Give the number of a version, as the list of versions has it, or leave it out.";
        self.value(field, RefusalCode::VersionInvalid, remedy, |value| match value.as_i64() {
            Some(number) if number > 0 => Ok(VersionId(number)),
            _ => Err("it must be a whole number from 1"),
        })
    }

    /// As [`Properties::text`]; `default` if absent.
    pub(crate) fn text_or<T, E: ToString>(
        &mut self,
        field: &str,
        code: RefusalCode,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        if self.is_given(field) { self.text(field, code, remedy, parse) } else { Some(default()) }
    }

    /// Notes a fault if absent.
    pub(crate) fn require(&mut self, field: &str, code: RefusalCode, remedy: &str) {
        if !self.is_given(field) {
            self.refuse(field, code, "it is missing", remedy);
        }
    }

    pub(crate) fn refuse(&mut self, field: &str, code: RefusalCode, fault: &str, remedy: &str) {
        self.wrong.push(Detail::property(code, field, sentence(field, fault), remedy));
    }

    pub(crate) fn is_given(&self, field: &str) -> bool {
        self.given(field).is_some()
    }

    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(Value::is_null)
    }

    fn given(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn free_text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        self.text(field, RefusalCode::TextInvalid, TEXT_REMEDY, |text| {
            if text.chars().count() > chars_max {
                Err(format!("it is longer than {chars_max} characters"))
            } else if text.chars().any(certward_pki::is_control) {
                Err("it holds control characters, or marks that turn the direction of writing".to_owned())
            } else {
                Ok(text.to_owned())
            }
        })
    }

    pub(crate) fn text<T, E: ToString>(
        &mut self,
        field: &str,
        code: RefusalCode,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.value(field, code, remedy, |value| match value {
            Value::String(text) => parse(text).map_err(|error| error.to_string()),
            _ => Err("it must be text".to_owned()),
        })
    }

    pub(crate) fn value<T, E: ToString>(
        &mut self,
        field: &str,
        code: RefusalCode,
        remedy: &str,
        parse: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Option<T> {
        let read = parse(self.given(field)?);
        read.map_err(|error| {
            let message = sentence(field, &error.to_string());
            self.wrong.push(Detail::property(code, field, message, remedy));
        })
        .ok()
    }

    pub(crate) fn list<T>(
        &mut self,
        field: &str,
        code: RefusalCode,
        remedy: &str,
        items_max: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let Some(items) = self.given(field)?.as_array() else {
            self.wrong.push(Detail::property(
                code,
                field,
                sentence(field, "it must be a list of texts"),
                remedy,
            ));
            return None;
        };
        if items.len() > items_max {
            let error = format!("it has more than {items_max} items");
            self.wrong.push(Detail::property(code, field, sentence(field, &error), remedy));
            return None;
        }
        let mut list = Vec::with_capacity(items.len());
        let mut wrong = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_str().map_or_else(|| Err("it must be text".to_owned()), &parse) {
                Ok(item) => list.push(item),
                Err(error) => {
                    let message = sentence(&format!("{field}[{index}]"), &error);
                    wrong.push(Detail::property(code, field, message, remedy).at(index));
                }
            }
        }
        self.wrong.append(&mut wrong);
        Some(list)
    }
}

const TEXT_REMEDY: &str = "Give one line of text, not too long.";
const ID_REMEDY: &str = "Use 1 to 63 of a-z, 0-9 and '-', not '-' as the first.";
const UPSTREAM_INVALID: RefusalCode = RefusalCode::UpstreamInvalid;
const UPSTREAM_REMEDY: &str = "Give the broker's plain address as HOST:PORT, for example 127.0.0.1:1883, or up to 8 different ones with commas and no \
     spaces in between.";
const UPSTREAM_ALLOW_INVALID: RefusalCode = RefusalCode::UpstreamAllowInvalid;
const UPSTREAM_ALLOW_REMEDY: &str = "Give a list of networks (10.0.0.0/8), addresses, or names or addresses with ports (broker.example:1883), or null for \
     no restriction.";
const HOST_REMEDY: &str = "Give a list of DNS names, for example [\"mqtt.example.com\"].";

/// Never contains the value.
fn sentence(field: &str, error: &str) -> String {
    format!("The property {field} is wrong: {error}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(body: &str, read: impl FnOnce(&mut Properties)) -> Vec<(String, String, Option<usize>)> {
        let mut properties = Properties::read(body.as_bytes()).unwrap();
        read(&mut properties);
        let wrong = properties.wrong.into_iter();
        wrong.map(|it| (it.code, it.field, it.item.map(|item| item.index))).collect()
    }

    #[test]
    fn names_and_descriptions_hold_no_character_that_acts_on_the_text_around_it() {
        for c in
            ['\u{0}', '\n', '\u{1b}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}']
        {
            let body = serde_json::json!({"it": format!("a{c}b")}).to_string();
            for (at, read) in
                [Properties::name, Properties::required_name, Properties::description].iter().enumerate()
            {
                let found = codes(&body, |it| drop(read(it, "it")));
                assert_eq!(
                    found,
                    [("TEXT_INVALID".to_owned(), "it".to_owned(), None)],
                    "{} {at}",
                    c.escape_unicode()
                );
            }
        }
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            let body = serde_json::json!({"it": format!("user{c}nimda")}).to_string();
            assert_eq!(codes(&body, |it| drop(it.name("it"))).len(), 1, "{}", c.escape_unicode());
        }
        for text in ["Müller – Café", "第二", "می\u{200c}خواهم", "👩\u{200d}🔧"] {
            let body = serde_json::json!({"it": text}).to_string();
            assert!(codes(&body, |it| assert_eq!(it.name("it").as_deref(), Some(text))).is_empty(), "{text}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent_but_takes_away_what_can_be_taken_away() {
        let body = r#"{"deploymentName":null,"upstream":null,"hosts":null,"a":null,"b":"","c":"h:1"}"#;
        let mut it = Properties::read(body.as_bytes()).unwrap();
        assert_eq!(
            (it.name("deploymentName"), it.upstream("upstream"), it.hosts("hosts")),
            (None, None, None)
        );
        assert_eq!(it.removable_upstream("a"), Some(None));
        assert_eq!(it.removable_upstream("b"), Some(None));
        assert_eq!(it.removable_upstream("c"), Some(Some(UpstreamList::parse("h:1").unwrap())));
        assert_eq!(it.removable_upstream("d"), None);
        assert!(it.finish().is_ok());
    }

    #[test]
    fn a_key_has_at_least_one_scope_and_no_empty_list_of_projects() {
        for body in [
            r#"{}"#,
            r#"{"scopes":[]}"#,
            r#"{"scopes":null}"#,
            r#"{"scopes":"tls"}"#,
            r#"{"scopes":["root"]}"#,
        ] {
            let found = codes(body, |it| assert!(it.scopes("scopes").is_empty()));
            assert_eq!(found.len(), 1, "{body}");
            assert_eq!(found[0].0, "SCOPE_INVALID", "{body}");
        }
        assert!(
            codes(r#"{"scopes":["tls","tls"]}"#, |it| assert_eq!(it.scopes("scopes"), [Scope::Tls]))
                .is_empty()
        );
        assert_eq!(codes(r#"{"projects":[]}"#, |it| drop(it.projects("projects"))).len(), 1);
    }
}
