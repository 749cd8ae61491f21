//! Comments and documents are plain and fit a screen.

use std::{
    fs,
    path::{Path, PathBuf},
};

use certward_tests::{files_of, workspace_root};

/// Columns of a comment or of a line of a document.
const WIDTH_MAX: usize = 100;
/// Lines of a module's documentation.
const MODULE_DOC_MAX: usize = 8;

/// Words of a literary voice, each with what to say instead.
const BANNED: [(&str, &str); 12] = [
    ("whoever", "the client, the peer, the caller"),
    ("nobody", "no client, no node"),
    ("somebody", "a client, another process"),
    ("anybody", "any client"),
    ("anew", "again"),
    ("meanwhile", "in the meantime, or nothing"),
    ("is told", "receives, is notified"),
    ("are told", "receive, are notified"),
    ("lets go", "closes, releases"),
    ("seen off", "disconnected"),
    ("by lot", "at random"),
    ("in vain", "without effect"),
];

#[test]
fn comments_fit_a_screen() {
    let mut wide = Vec::new();
    for_each_comment(|place, line, _| {
        if line.chars().count() > WIDTH_MAX {
            wide.push(place.to_owned());
        }
    });
    assert!(wide.is_empty(), "{} comments over {WIDTH_MAX} columns:\n{}", wide.len(), wide.join("\n"));
}

#[test]
fn comments_and_documents_use_plain_words() {
    let mut found = Vec::new();
    let mut look = |place: &str, text: &str| {
        let text = without_code(text).to_lowercase();
        found.extend(
            BANNED
                .iter()
                .filter(|(word, _)| has_word(&text, word))
                .map(|(word, instead)| format!("{place}: «{word}»; say {instead}")),
        );
    };
    for_each_comment(|place, _, text| look(place, text));
    for page in documents() {
        for (at, line) in read(&page).lines().enumerate() {
            look(&place(&page, at), line);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn lines_of_documents_fit_a_screen() {
    let mut wide = Vec::new();
    for page in documents() {
        // bench/ writes what stands between its markers.
        let (mut in_code, mut in_measured) = (false, false);
        for (at, line) in read(&page).lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if line.starts_with("<!--") {
                in_measured = !line.starts_with("<!-- end of");
            }
            let is_prose = !in_code && !in_measured && !line.starts_with('|') && !line.contains("](");
            if is_prose && line.chars().count() > WIDTH_MAX {
                wide.push(place(&page, at));
            }
        }
    }
    assert!(wide.is_empty(), "{} lines over {WIDTH_MAX} columns:\n{}", wide.len(), wide.join("\n"));
}

#[test]
fn a_modules_documentation_is_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|file| module_doc_lines(&read(file)) > MODULE_DOC_MAX)
        .map(|file| file.display().to_string())
        .collect();
    assert!(long.is_empty(), "module documentation over {MODULE_DOC_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn a_word_is_found_as_a_word_alone() {
    assert!(has_word("built anew.", "anew") && has_word("anew", "anew"));
    assert!(!has_word("in a new process, renewed", "anew"));
    assert!(!has_word("manewed", "anew"));
    assert!(has_word("the device is told so", "is told"));
}

/// Lines of a module's documentation; diagrams do not count.
fn module_doc_lines(text: &str) -> usize {
    let mut in_diagram = false;
    let doc = text.lines().map_while(|line| line.strip_prefix("//!"));
    doc.filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_diagram ^= is_fence;
        !is_fence && !in_diagram
    })
    .count()
}

/// Calls `look` with the place, the line and the text of each comment.
fn for_each_comment(mut look: impl FnMut(&str, &str, &str)) {
    for file in sources() {
        for (at, line) in read(&file).lines().enumerate() {
            if let Some(text) = line.trim_start().strip_prefix("//") {
                look(&place(&file, at), line, text);
            }
        }
    }
}

fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

fn sources() -> Vec<PathBuf> {
    let files: Vec<PathBuf> = ["crates", "tests", "bench", "fuzz"]
        .iter()
        .flat_map(|folder| files_of(&workspace_root().join(folder), "rs"))
        .collect();
    assert!(files.len() > 300, "only {} sources are found", files.len());
    // These words stand here.
    files.into_iter().filter(|file| !file.ends_with("tests/tests/language.rs")).collect()
}

fn documents() -> Vec<PathBuf> {
    let root = workspace_root();
    let mut pages = files_of(&root.join("docs"), "md");
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|page| root.join(page)));
    assert!(pages.len() > 15, "only {} pages are found", pages.len());
    pages
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn place(file: &Path, at: usize) -> String {
    format!("{}:{}", file.strip_prefix(workspace_root()).unwrap_or(file).display(), at + 1)
}
