/// What a server said of the body that it sent last, to be asked with the next time: whether there
/// is another one (RFC 9110 §13.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchConditions {
    etag: Option<String>,
    last_modified: Option<String>,
}

impl FetchConditions {
    /// In bytes, of each: far above what servers make of a file.
    pub const BYTES_MAX: usize = 256;

    /// From the headers `ETag` and `Last-Modified`. What is longer, or no text of a header, is left
    /// out: the body is then sent whole.
    pub fn of(etag: Option<&str>, last_modified: Option<&str>) -> Self {
        Self { etag: usable(etag), last_modified: usable(last_modified) }
    }

    /// For `If-None-Match`, quotes included.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// For `If-Modified-Since`, as the server wrote it.
    pub fn last_modified(&self) -> Option<&str> {
        self.last_modified.as_deref()
    }

    /// Whether the server said neither.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

fn usable(text: Option<&str>) -> Option<String> {
    let is_header = |text: &&str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let fits = |text: &&str| (1..=FetchConditions::BYTES_MAX).contains(&text.len());
    text.filter(fits).filter(is_header).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_back_is_left_out() {
        let (longest, too_long) = ("a".repeat(256), "a".repeat(257));
        for (text, is_kept) in [
            ("\"5d8c72a5edda8\"", true),
            ("W/\"a b\"", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("a\r\nx-more: b", false),
            ("\u{e4}", false),
        ] {
            let expected = is_kept.then_some(text);
            assert_eq!(FetchConditions::of(Some(text), None).etag(), expected, "{text}");
            let conditions = FetchConditions::of(None, Some(text));
            assert_eq!((conditions.last_modified(), conditions.is_empty()), (expected, !is_kept), "{text}");
        }
    }
}
