use std::fmt::Write as _;

use serde::Serialize;

use super::check::{Check, Verdict};
use crate::{
    output::plain,
    style::{Style, Tone},
};

/// A line a check, its fix below it, and a summary.
pub(super) fn text(checks: &[Check], style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let (word, tone) = match check.verdict {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warning => ("warning", Tone::Doubtful),
            Verdict::Error => ("error", Tone::Bad),
        };
        let verdict = style.paint(tone, word);
        let gap = " ".repeat("warning".len() - word.len());
        let _ = writeln!(text, "{verdict}{gap}  {:<13}  {}", check.kind.area(), plain(&check.sentence));
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "{:24}Do: {}", "", plain(fix));
        }
    }
    text + &summary(checks)
}

fn summary(checks: &[Check]) -> String {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (count(Verdict::Error), count(Verdict::Warning)) {
        (0, 0) => format!("all well: {}", counted(checks.len(), "check")),
        (errors, warnings) => format!(
            "{}, {}, of {}",
            counted(errors, "error"),
            counted(warnings, "warning"),
            counted(checks.len(), "check")
        ),
    }
}

#[derive(Serialize)]
pub(super) struct Json<'a> {
    errors: usize,
    warnings: usize,
    checks: Vec<JsonCheck<'a>>,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    code: &'static str,
    area: &'static str,
    verdict: Verdict,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

impl<'a> Json<'a> {
    pub(super) fn of(checks: &'a [Check]) -> Self {
        let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let one = |check: &'a Check| JsonCheck {
            code: check.kind.code(),
            area: check.kind.area(),
            verdict: check.verdict,
            message: &check.sentence,
            fix: check.fix.as_deref(),
        };
        Self {
            errors: count(Verdict::Error),
            warnings: count(Verdict::Warning),
            checks: checks.iter().map(one).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::CheckKind;

    fn checks() -> [Check; 3] {
        [
            Check::ok(CheckKind::Configuration, "certward.toml is read"),
            Check::error(CheckKind::MasterKeyFile, "a\u{1b}b can be read by others", "chmod 600 a"),
            Check::unknown(CheckKind::Deployment, "not checked"),
        ]
    }

    #[test]
    fn a_line_says_the_verdict_the_area_and_the_fix() {
        assert_eq!(
            text(&checks(), Style::Plain),
            "ok       configuration  certward.toml is read\n\
             error    files          a\\u{1b}b can be read by others\n                        Do: chmod 600 a\n\
             warning  deployments    not checked\n\
             1 error, 1 warning, of 3 checks"
        );
        assert!(text(&checks()[..1], Style::Plain).ends_with("\nall well: 1 check"));
    }

    #[test]
    fn json_has_a_stable_code_for_each() {
        let json = serde_json::to_value(Json::of(&checks())).unwrap();
        assert_eq!((&json["errors"], &json["warnings"]), (&1.into(), &1.into()));
        assert_eq!(json["checks"][1]["code"], "MASTER_KEY_FILE");
        assert_eq!(json["checks"][1]["verdict"], "error");
        assert_eq!(json["checks"][1]["fix"], "chmod 600 a");
        assert!(json["checks"][0].get("fix").is_none());
    }
}
