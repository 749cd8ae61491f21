use std::fs;

use crate::workspace_root;

/// The block of code of a document that begins with this line, without it.
///
/// So a test runs what users read.
pub fn printed(document: &str, first_line: &str) -> String {
    let text = fs::read_to_string(workspace_root().join(document)).unwrap();
    let begin = format!("```text\n{first_line}\n");
    let (_, block) =
        text.split_once(&begin).unwrap_or_else(|| panic!("{document} has no block {first_line:?}"));
    let (block, _) = block.split_once("```").expect("the end of a block");
    block.to_owned()
}
