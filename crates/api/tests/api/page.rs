//! docs/api.md lists all codes of this crate, and no others.

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

/// Strings of capitals and `_` in this crate, except tests.
fn codes_in(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes_in(&path, codes);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let (source, _tests) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        let lines = source.lines().filter(|line| !line.trim_start().starts_with("#[schema"));
        for text in lines.flat_map(|line| line.split('"')) {
            let capitals = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if capitals && (text.contains('_') || ["UNAUTHORIZED", "INTERNAL"].contains(&text)) {
                codes.insert(text.to_owned());
            }
        }
    }
}

#[test]
fn every_code_has_a_row_and_every_row_a_code() {
    let page = file("../../docs/errors.md");
    let listed: BTreeSet<String> = column(&page, 2).iter().map(|code| (*code).to_owned()).collect();
    let listed: BTreeSet<String> = listed.into_iter().filter(|code| !code.starts_with('/')).collect();
    let mut written = BTreeSet::new();
    codes_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
    assert_eq!(listed, written, "docs/errors.md (left) and the sources (right)");
    let findings = file("../../docs/findings.md");
    for code in &listed {
        assert!(!findings.contains(&format!("### {code}\n")), "{code} is a finding's");
    }
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let page = file("../../docs/api.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.split('|').skip(1);
        let (method, path) = (cells.next()?.trim(), cells.next()?.trim());
        Some((method.to_owned(), path.strip_prefix("`/")?.strip_suffix('`')?.to_owned()))
    });
    let document: Value = serde_json::from_str(&certward_api::openapi()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/public_api/v1/") else { continue };
        for method in methods.as_object().unwrap().keys() {
            routes.insert((method.to_ascii_uppercase(), path.to_owned()));
        }
    }
    assert_eq!(rows.collect::<BTreeSet<_>>(), routes);
}
