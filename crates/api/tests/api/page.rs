//! docs/errors.md lists all codes of this crate, and no others.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn column(page: &str, column: usize) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(column));
    cells.filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`')).collect()
}

#[test]
fn every_code_has_a_row_and_every_row_a_code() {
    let page = file("../../docs/errors.md");
    let listed: BTreeSet<&str> = column(&page, 2).into_iter().filter(|code| !code.starts_with('/')).collect();
    let findings = file("../../docs/findings.md");
    let document: Value = serde_json::from_str(certward_api::openapi()).unwrap();
    let codes = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap());
    let (of_findings, others): (BTreeSet<_>, BTreeSet<_>) =
        codes.partition(|code| findings.contains(&format!("### {code}\n")));
    assert_eq!(listed, others, "docs/errors.md (left) and the OpenAPI document (right)");
    assert!(of_findings.len() > 50, "{}", of_findings.len());
}
