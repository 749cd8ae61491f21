//! docs/log.md has every message of the log, and no other.

use std::collections::BTreeSet;

use certward_tests::{files_of, workspace_root};

/// Messages without a text of their own; the document describes what they are.
const DESCRIBED: [&str; 4] = ["", "…", "…; …", "…: …; trying again"];
/// Messages that are put together before they are logged.
const BUILT: [&str; 11] = [
    "the broker … of … cannot be used: …",
    "… has no broker for … devices",
    "request",
    "proven on this node",
    "no device can reach it: …",
    "generation … is not proven: …",
    "generation … is proven, and not reported: …",
    "a proof cannot be reported: …",
    "a change cannot be read: …",
    "…: the certificate …",
    "the database runs with fsync = off …",
];

#[test]
fn the_reference_has_every_message_and_no_other() {
    let page = std::fs::read_to_string(workspace_root().join("docs/log.md")).unwrap();
    let documented: BTreeSet<String> = messages_of_rows(&page).collect();
    let mut logged = BTreeSet::new();
    for file in files_of(&workspace_root().join("crates"), "rs") {
        if file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        logged.extend(messages_of(code));
    }
    assert!(logged.len() > 90, "only {} messages are found", logged.len());
    let has_text = |message: &&String| !DESCRIBED.contains(&message.as_str());
    let missing: Vec<_> = logged.difference(&documented).filter(has_text).collect();
    assert!(missing.is_empty(), "docs/log.md lacks: {missing:#?}");
    let built =
        |message: &&String| !BUILT.contains(&message.as_str()) && !DESCRIBED.contains(&message.as_str());
    let stale: Vec<_> = documented.difference(&logged).filter(built).collect();
    assert!(stale.is_empty(), "no code logs: {stale:#?}");
}

/// The last text of each call at `info` and above; what is filled in is `…`.
fn messages_of(code: &str) -> Vec<String> {
    let calls = ["tracing::error!(", "tracing::warn!(", "tracing::info!("];
    calls
        .iter()
        .flat_map(|call| code.match_indices(call).map(|(at, call)| &code[at + call.len()..]))
        .map(|rest| with_gaps(&last_text(rest)))
        .collect()
}

/// Of the texts up to the parenthesis that closes the call.
fn last_text(call: &str) -> String {
    let (mut text, mut last, mut depth) = (None::<String>, String::new(), 1);
    let mut chars = call.chars();
    while let Some(c) = chars.next() {
        match (&mut text, c) {
            (Some(open), '\\') => match chars.next() {
                // Continues on the next line, without its indent.
                Some('\n') => chars = chars.as_str().trim_start().chars(),
                Some(escaped) => open.push(escaped),
                None => {}
            },
            (Some(_), '"') => last = text.take().unwrap_or_default(),
            (Some(open), c) => open.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            (None, _) => {}
        }
    }
    last
}

fn with_gaps(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |message, part| message + "…" + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// What stands in backticks in the second column.
fn messages_of_rows(page: &str) -> impl Iterator<Item = String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    rows.flat_map(|cell| {
        let double: Vec<_> = cell.split("``").collect();
        let messages: Vec<String> = match double[..] {
            [_, message, _] => vec![message.to_owned()],
            _ => cell.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        };
        messages
    })
}

#[test]
fn the_last_text_of_a_call_is_its_message() {
    for (call, message) in [
        (r#"a = "x", "broken: {why}");"#, "broken: …"),
        ("\"two \\\n    lines {} and {b:?}\", c(1))", "two lines … and …"),
        (r#"%error, "said \"so\"")"#, "said \"so\""),
        ("kind, why)", ""),
    ] {
        assert_eq!(with_gaps(&last_text(call)), message, "{call}");
    }
}
