use std::fs;

use anyhow::{Context, Result};
use certward_tests::workspace_root;

/// The document that shows what a command measures.
pub(crate) fn of(name: &str) -> Option<&'static str> {
    match name {
        "peers" | "connack" | "growth" | "profile" => Some("docs/lab/performance.md"),
        "million sqlite" | "million postgres" | "nodes" | "expiry" => Some("docs/scale.md"),
        "attacks" | "api-attacks" | "costly-uploads" | "crowd" | "hour" => Some("docs/lab/worst-day.md"),
        _ => None,
    }
}

/// Replaces what is between the section's markers.
pub(crate) fn write_section(path: &'static str, name: &str, text: &str) -> Result<()> {
    let file = workspace_root().join(path);
    let document = fs::read_to_string(&file).context(path)?;
    let replaced = replace(&document, name, text).with_context(|| format!("{path} has no section {name}"))?;
    Ok(fs::write(file, replaced)?)
}

/// Beside the document.
pub(crate) fn write_plot(document: &str, name: &str, svg: &str) -> Result<()> {
    Ok(fs::write(workspace_root().join(document).with_file_name(name), svg)?)
}

fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) =
        (format!("<!-- measured by bench/run {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_markers_is_replaced() {
        let document = "a\n<!-- measured by bench/run peers -->\nold\n<!-- end of peers -->\nb\n";
        let expected = "a\n<!-- measured by bench/run peers -->\n\nnew\n\n<!-- end of peers -->\nb\n";
        assert_eq!(replace(document, "peers", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(expected, "peers", "new").as_deref(), Some(expected));
        assert_eq!(replace(document, "growth", "new"), None);
    }

    #[test]
    fn each_document_has_its_sections() {
        let names = [
            "peers",
            "connack",
            "growth",
            "profile",
            "million sqlite",
            "million postgres",
            "nodes",
            "expiry",
        ];
        let worst_day = ["attacks", "api-attacks", "costly-uploads", "crowd", "hour"];
        for name in names.into_iter().chain(worst_day) {
            let text = fs::read_to_string(workspace_root().join(of(name).unwrap())).unwrap();
            assert!(replace(&text, name, "").is_some(), "{name}");
        }
    }
}
