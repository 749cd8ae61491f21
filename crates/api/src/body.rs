//! Reads a body: steps 5 to 7 of `access.rs`, without parsing.
//!
//! It may hold a private key, so outgrown buffers are wiped too; not hyper's (at most 16 KiB) and
//! serde_json's scratch space.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use zeroize::Zeroizing;

use crate::{error::Error, framing};

/// Ten certificates and a hundred client CAs are under 200 KiB in PEM.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

pub(crate) async fn read(request: Request, deadline: Duration) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (parts, body) = request.into_parts();
    // `Content-Length`, or 0 for a chunked body.
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > BODY_BYTES_MAX {
        return Err(Error::BodyTooLarge);
    }
    check_media_type(&parts.headers)?;
    tokio::time::timeout(deadline, collect(body)).await.unwrap_or(Err(Error::BodyTimeout))
}

/// Small: a declared length alone allocates nothing.
const FIRST_CAPACITY: usize = 4 * 1024;

async fn collect(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        // The cause (disconnect, bad chunk) does not help the client.
        let frame =
            frame.map_err(|_| Error::InvalidJson("The body could not be read to its end.".to_owned()))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(Error::BodyTooLarge);
        }
        append(&mut bytes, data);
    }
    Ok(bytes)
}

/// As `Vec::extend`, but wipes an outgrown buffer.
fn append(bytes: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let length = bytes.len() + data.len();
    if length > bytes.capacity() {
        let capacity = length.max(2 * bytes.capacity()).max(FIRST_CAPACITY);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(data);
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    if framing::has_content_coding(headers) {
        return Err(Error::UnsupportedMediaType("Send the body without a Content-Encoding."));
    }
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let only = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    if only.is_some_and(is_json) {
        Ok(())
    } else {
        Err(Error::UnsupportedMediaType("Send the body as Content-Type: application/json, in UTF-8."))
    }
}

/// `application/json` in any case, `charset` absent or UTF-8.
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            let value = value.trim().trim_matches('"');
            // `utf8` is not registered, but common.
            let is_utf_8 = ["utf-8", "utf8"].iter().any(|name| value.eq_ignore_ascii_case(name));
            !name.trim().eq_ignore_ascii_case("charset") || is_utf_8
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_about_the_memory_of_what_has_come_of_it() {
        let mut bytes = Zeroizing::new(Vec::new());
        for length in 1..=BODY_BYTES_MAX {
            append(&mut bytes, b"x");
            assert_eq!(bytes.len(), length);
            assert!(bytes.capacity() <= FIRST_CAPACITY.max(2 * length), "{} of {length}", bytes.capacity());
        }
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        for right in [
            "application/json",
            "Application/JSON",
            " application/json ",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; CharSet = utf-8",
            "application/json; charset=utf8",
            "application/json; charset=\"UTF8\"",
            "application/json;",
            "application/json; v=1",
        ] {
            assert!(is_json(right), "{right}");
        }
        for wrong in [
            "",
            "application/jsonx",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/json; charset=utf-88",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json, application/json",
            "application/problem+json",
        ] {
            assert!(!is_json(wrong), "{wrong}");
        }
    }
}
