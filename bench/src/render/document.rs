use std::fs;

use anyhow::{Context, Result};
use certward_tests::workspace_root;

const DOCUMENT: &str = "docs/lab/performance.md";
const PLOT: &str = "docs/lab/performance.svg";

/// Replaces a section of docs/lab/performance.md, between its markers.
pub(crate) fn write_section(name: &str, text: &str) -> Result<()> {
    write_section_of(DOCUMENT, name, text)
}

/// In another document.
pub(crate) fn write_section_of(path: &'static str, name: &str, text: &str) -> Result<()> {
    let file = workspace_root().join(path);
    let document = fs::read_to_string(&file).context(path)?;
    let replaced = replace(&document, name, text).with_context(|| format!("{path} has no section {name}"))?;
    Ok(fs::write(file, replaced)?)
}

pub(crate) fn write_plot(svg: &str) -> Result<()> {
    Ok(fs::write(workspace_root().join(PLOT), svg)?)
}

fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) =
        (format!("<!-- bench/run {name} writes this -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let document = "a\n<!-- bench/run peers writes this -->\nold\n<!-- end of peers -->\nb\n";
        let expected = "a\n<!-- bench/run peers writes this -->\n\nnew\n\n<!-- end of peers -->\nb\n";
        assert_eq!(replace(document, "peers", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(expected, "peers", "new").as_deref(), Some(expected));
        assert_eq!(replace(document, "growth", "new"), None);
    }

    #[test]
    fn the_document_has_every_section() {
        let document = fs::read_to_string(workspace_root().join(DOCUMENT)).unwrap();
        for name in ["peers", "connack", "growth", "profile"] {
            assert!(replace(&document, name, "").is_some(), "{name}");
        }
    }
}
