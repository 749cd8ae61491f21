use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// A text that is made once, at the start, and sent as often as it is asked for.
///
/// Clients keep it and ask whether it has changed (RFC 9110 §13.1.2).
#[derive(Debug)]
pub(crate) struct StaticDocument {
    content_type: &'static str,
    text: &'static str,
    etag: String,
}

const NOSNIFF: (HeaderName, HeaderValue) =
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
/// Kept, and used after the server has confirmed it: an upgrade shows at once.
const CACHE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));

impl StaticDocument {
    pub(crate) fn new(content_type: &'static str, text: &'static str) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        Self { content_type, text, etag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest)) }
    }

    /// 304 if the client has it.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = match self.is_known(request) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(header::CONTENT_TYPE, self.content_type)], self.text).into_response(),
        };
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(&self.etag).map(|etag| (header::ETAG, etag)));
        headers.extend([NOSNIFF, CACHE]);
        response
    }

    /// By weak comparison (RFC 9110 §8.8.3.2).
    fn is_known(&self, request: &HeaderMap) -> bool {
        let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_it_is_not_sent_it_again() {
        let document = StaticDocument::new("text/plain", "text");
        let etag = document.etag.clone();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 45, "{etag}");
        for (value, status) in [
            (None, 200),
            (Some(etag.clone()), 304),
            (Some(format!("W/{etag}")), 304),
            (Some(format!("\"other\", {etag}")), 304),
            (Some("*".to_owned()), 304),
            (Some("\"other\"".to_owned()), 200),
            (Some(etag.trim_matches('"').to_owned()), 200),
            (Some(String::new()), 200),
        ] {
            let headers = value.iter().map(|value| (header::IF_NONE_MATCH, value.parse().unwrap())).collect();
            let answer = document.answer(&headers);
            assert_eq!(answer.status(), status, "{value:?}");
            assert_eq!(answer.headers()[header::ETAG], etag);
        }
    }
}
