/// Where a PEM block begins in its file, and which of its kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PemPlace {
    kind: &'static str,
    /// Among the blocks of its kind, from 1.
    nth: usize,
    /// From 1.
    line: usize,
}

impl PemPlace {
    /// Of the blocks of a file, in their order: the API counts them from 0.
    pub(crate) fn list(text: &str) -> Vec<Self> {
        let mut places: Vec<Self> = Vec::new();
        let (mut line, mut counted) = (1, 0);
        for (at, _) in text.match_indices(BEGIN) {
            line += text[counted..at].matches('\n').count();
            counted = at;
            let label = text[at + BEGIN.len()..].split("-----").next().unwrap_or_default();
            let kind = match label {
                label if label.ends_with("PRIVATE KEY") => "private key",
                "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => "certificate",
                _ => "other block",
            };
            let nth = 1 + places.iter().filter(|place| place.kind == kind).count();
            places.push(Self { kind, nth, line });
        }
        places
    }

    /// `1st certificate (line 1)`.
    pub(crate) fn words(self) -> String {
        format!("{} {} (line {})", ordinal(self.nth), self.kind, self.line)
    }
}

const BEGIN: &str = "-----BEGIN ";

/// `1st`, `22nd`, `113th`.
pub(crate) fn ordinal(number: usize) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        PemPlace::list(text).into_iter().map(PemPlace::words).collect()
    }

    #[test]
    fn blocks_are_counted_by_their_kind_and_found_by_their_line() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
        let leaf = block("CERTIFICATE");
        assert_eq!(words(&leaf), ["1st certificate (line 1)"]);
        let text =
            format!("subject=CN = a\n\n{leaf}{}{}{leaf}", block("EC PARAMETERS"), block("EC PRIVATE KEY"));
        assert_eq!(
            words(&text),
            [
                "1st certificate (line 3)",
                "1st other block (line 6)",
                "1st private key (line 9)",
                "2nd certificate (line 12)",
            ]
        );
        let joined = format!("{}{leaf}", leaf.trim_end());
        assert_eq!(words(&joined), ["1st certificate (line 1)", "2nd certificate (line 3)"]);
        assert_eq!(words(&leaf.replace('\n', "\r\n").repeat(2))[1], "2nd certificate (line 4)");
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn ordinals_are_english() {
        let all = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(ordinal);
        assert_eq!(
            all,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]
        );
    }
}
