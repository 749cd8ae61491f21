use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;

use crate::document::StaticDocument;

/// What describes the API, without a key.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) openapi: StaticDocument,
    pub(crate) page: StaticDocument,
    /// Permits the page its one style and nothing else.
    pub(crate) page_policy: HeaderValue,
}

impl Documents {
    /// `style`: the text of the page's one style element.
    pub(crate) fn new(openapi: &'static str, page: &'static str, style: &str) -> Self {
        let style = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            STANDARD.encode(style)
        );
        Self {
            openapi: StaticDocument::new("application/json", openapi),
            page: StaticDocument::new("text/html; charset=utf-8", page),
            // Base64 is plain; without a style the page is still readable.
            page_policy: HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}
