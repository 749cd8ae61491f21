//! The reference as a page: no script, no other file, one style.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

pub(super) const STYLE: &str = include_str!("page.css");

pub(super) fn page(markdown: &str) -> String {
    let mut body = String::new();
    html::push_html(&mut body, with_names(Parser::new_ext(markdown, Options::ENABLE_TABLES)).into_iter());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>certward: API reference</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

/// Headings with the names that GitHub gives them, so that one set of links works in both; links to
/// other pages, which only the repository has, are plain text.
fn with_names<'a>(events: impl Iterator<Item = Event<'a>>) -> Vec<Event<'a>> {
    let mut is_inside = false;
    let mut events: Vec<Event<'a>> = events
        .filter(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                is_inside = dest_url.starts_with('#');
                is_inside
            }
            Event::End(TagEnd::Link) => is_inside,
            _ => true,
        })
        .collect();
    let mut seen = BTreeMap::<String, usize>::new();
    let mut at = 0;
    while at < events.len() {
        if let Event::Start(Tag::Heading { level, .. }) = &events[at] {
            let level = *level;
            let name = unique(anchor(&title(&events[at + 1..], level)), &mut seen);
            if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
                *id = Some(CowStr::from(name));
            }
        }
        at += 1;
    }
    events
}

fn title(events: &[Event<'_>], level: HeadingLevel) -> String {
    let mut title = String::new();
    for event in events {
        match event {
            Event::End(TagEnd::Heading(ended)) if *ended == level => break,
            Event::Text(text) | Event::Code(text) => title.push_str(text),
            _ => {}
        }
    }
    title
}

pub(super) fn anchor(title: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn unique(name: String, seen: &mut BTreeMap<String, usize>) -> String {
    let count = seen.entry(name.clone()).or_default();
    *count += 1;
    if *count == 1 { name } else { format!("{name}-{}", *count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_names_and_text_is_no_markup() {
        let page = page("# A\n\n## GET `/a/{id}`\n\n## A\n\n[x](#get-aid) [y](other.md) `<script>` & <b>\n");
        for part in [
            "<h1 id=\"a\">A</h1>",
            "<h2 id=\"get-aid\">GET <code>/a/{id}</code></h2>",
            "<h2 id=\"a-1\">A</h2>",
            "<a href=\"#get-aid\">x</a> y <code>",
            "<code>&lt;script&gt;</code> &amp;",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
