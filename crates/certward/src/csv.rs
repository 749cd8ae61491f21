//! Comma-separated values (RFC 4180), for spreadsheets.

use crate::output::plain;

/// A line, without its line break.
pub(crate) fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    cells.into_iter().map(cell).collect::<Vec<_>>().join(",")
}

/// Quoted where needed. A spreadsheet would compute what begins like a formula, and names in
/// certificates are others' texts: such a cell begins with an apostrophe.
fn cell(text: &str) -> String {
    let text = plain(text);
    let text = match text.starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    };
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        for (text, expected) in [
            ("meter-7", "meter-7"),
            ("", ""),
            ("CN=meter, O=\"X\"", "\"CN=meter, O=\"\"X\"\"\""),
            ("a\nb", "a\\u{a}b"),
            ("=HYPERLINK(1,2)", "\"'=HYPERLINK(1,2)\""),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("2034-05-22 02:43:21", "2034-05-22 02:43:21"),
        ] {
            assert_eq!(row([text]), expected, "{text}");
        }
        assert_eq!(row(["a", "b,c", ""]), "a,\"b,c\",");
    }
}
