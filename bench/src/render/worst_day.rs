//! docs/lab/worst-day.md, of which each measurement writes its own part.

use std::{fs, path::PathBuf};

use certward_tests::workspace_root;

pub(crate) fn document(name: &str) -> PathBuf {
    workspace_root().join("docs/lab").join(name)
}

/// Prints a part and puts it between its markers.
pub(crate) fn write(part: &str, text: &str) {
    println!("{text}");
    let (path, begin, end) =
        (document("worst-day.md"), format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->"));
    let page = fs::read_to_string(&path).expect("docs/lab/worst-day.md");
    let (before, rest) = page.split_once(&begin).expect("the marker of the part");
    let (_, after) = rest.split_once(&end).expect("the marker of its end");
    fs::write(&path, format!("{before}{begin}{text}{end}{after}"))
        .expect("docs/lab/worst-day.md can be written");
}

pub(crate) fn circumstances() -> String {
    let output = |program: &str, arguments: &[&str]| {
        let output =
            std::process::Command::new(program).args(arguments).current_dir(workspace_root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "Measured on {} at commit {}, {cores} cores, with clients, brokers and certward on the same ones.",
        output("date", &["+%Y-%m-%d"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
    )
}
