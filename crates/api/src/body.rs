//! Reads a body: steps 5 to 7 of `access.rs`, without parsing.
//!
//! It may hold a private key, so outgrown buffers are wiped too; not hyper's (at most 16 KiB) and
//! serde_json's scratch space.

use std::{ops::Deref, time::Duration};

use axum::{body::Body, extract::Request};
use certward_pki::CRL_BYTES_MAX;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use zeroize::Zeroizing;

use crate::{
    context::Context,
    error::Error,
    framing,
    large_bodies::{LargeBodies, LargeBodyPlace},
};

/// Ten certificates and a hundred client CAs are under 200 KiB in PEM.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;
/// A thousand certificates of devices in PEM, of up to 4 KiB each.
pub(crate) const REVOCATIONS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A large body may take so many times as long as others: 16 MiB at 280 KiB a second.
const LARGE_BODY_TIMES: u32 = 3;

pub(crate) async fn read(request: Request, deadline: Duration) -> Result<Zeroizing<Vec<u8>>, Error> {
    let reading = BodyIntake { bytes_max: BODY_BYTES_MAX, deadline, places: None };
    let (headers, body) = reading.begin(request)?;
    check_media_type(&headers, is_json).ok_or(NO_JSON)?;
    Ok(reading.finish(body).await?.bytes)
}

/// A body with the place that it takes while it is kept.
pub(crate) struct LargeBody {
    bytes: Zeroizing<Vec<u8>>,
    _place: Option<LargeBodyPlace>,
}

/// A body of a CRL, by its media type.
pub(crate) enum UploadedCrl {
    /// JSON, of the usual size.
    Json(Zeroizing<Vec<u8>>),
    /// DER or PEM.
    Crl(LargeBody),
}

impl Context {
    /// JSON of many revocations.
    pub(crate) async fn revocations_body(&self, request: Request) -> Result<LargeBody, Error> {
        let reading = self.large_body(REVOCATIONS_BYTES_MAX);
        let (headers, body) = reading.begin(request)?;
        check_media_type(&headers, is_json).ok_or(NO_JSON)?;
        reading.finish(body).await
    }

    pub(crate) async fn crl_body(&self, request: Request) -> Result<UploadedCrl, Error> {
        let reading = self.large_body(CRL_BYTES_MAX);
        let (headers, body) = reading.begin(request)?;
        if check_media_type(&headers, is_json).is_some() {
            let reading = BodyIntake { bytes_max: BODY_BYTES_MAX, ..reading };
            reading.check_declared(&body)?;
            return Ok(UploadedCrl::Json(reading.finish(body).await?.bytes));
        }
        check_media_type(&headers, is_crl).ok_or(NO_CRL)?;
        Ok(UploadedCrl::Crl(reading.finish(body).await?))
    }

    fn large_body(&self, bytes_max: usize) -> BodyIntake<'_> {
        let deadline = self.settings.deadlines.body * LARGE_BODY_TIMES;
        BodyIntake { bytes_max, deadline, places: Some(&self.large_bodies) }
    }
}

impl LargeBody {
    /// Its bytes, without a copy; the place stays taken.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes)
    }
}

impl Deref for LargeBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

struct BodyIntake<'a> {
    bytes_max: usize,
    deadline: Duration,
    /// For a body of more than [`BODY_BYTES_MAX`].
    places: Option<&'a LargeBodies>,
}

impl BodyIntake<'_> {
    fn begin(&self, request: Request) -> Result<(HeaderMap, Body), Error> {
        let (parts, body) = request.into_parts();
        self.check_declared(&body)?;
        if framing::has_content_coding(&parts.headers) {
            return Err(Error::UnsupportedMediaType("Send the body without a Content-Encoding."));
        }
        Ok((parts.headers, body))
    }

    fn check_declared(&self, body: &Body) -> Result<(), Error> {
        // `Content-Length`, or 0 for a chunked body.
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        self.check_length(declared)
    }

    fn check_length(&self, length: usize) -> Result<(), Error> {
        if length > self.bytes_max { Err(Error::BodyTooLarge(self.bytes_max)) } else { Ok(()) }
    }

    async fn finish(&self, body: Body) -> Result<LargeBody, Error> {
        tokio::time::timeout(self.deadline, self.collect(body)).await.unwrap_or(Err(Error::BodyTimeout))
    }

    async fn collect(&self, mut body: Body) -> Result<LargeBody, Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        let mut place = None;
        while let Some(frame) = body.frame().await {
            // The cause (disconnect, bad chunk) does not help the client.
            let frame = frame.map_err(|_| Error::BodyUnreadable)?;
            let Some(data) = frame.data_ref() else { continue };
            let length = bytes.len() + data.len();
            self.check_length(length)?;
            if length > BODY_BYTES_MAX
                && place.is_none()
                && let Some(places) = self.places
            {
                place = Some(places.take().ok_or(Error::TooManyLargeBodies)?);
            }
            append(&mut bytes, data);
        }
        Ok(LargeBody { bytes, _place: place })
    }
}

/// Small: a declared length alone allocates nothing.
const FIRST_CAPACITY: usize = 4 * 1024;

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

const NO_JSON: Error =
    Error::UnsupportedMediaType("Send the body as Content-Type: application/json, in UTF-8.");
const NO_CRL: Error = Error::UnsupportedMediaType(
    "Send the CRL, DER or PEM, as Content-Type: application/pkix-crl, or where to fetch it as application/json.",
);

/// `None`: it is none of them, or given twice.
fn check_media_type(headers: &HeaderMap, is_known: fn(&str) -> bool) -> Option<()> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().filter(|value| is_known(value)).map(drop)
}

/// Which of DER and PEM it is, its first bytes say: clients confuse the two.
fn is_crl(value: &str) -> bool {
    let media_type = value.split(';').next().unwrap_or_default().trim();
    ["application/pkix-crl", "application/x-pem-file"].iter().any(|it| media_type.eq_ignore_ascii_case(it))
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
    fn a_crl_comes_as_der_or_pem() {
        for right in [
            "application/pkix-crl",
            "Application/PKIX-CRL",
            "application/x-pem-file",
            "application/x-pem-file; charset=us-ascii",
        ] {
            assert!(is_crl(right) && !is_json(right), "{right}");
        }
        for wrong in
            ["", "application/json", "application/pkix-cert", "application/octet-stream", "text/plain"]
        {
            assert!(!is_crl(wrong), "{wrong}");
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
