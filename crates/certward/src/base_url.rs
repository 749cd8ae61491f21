use reqwest::Url;

use crate::usage::UsageError;

/// The API's base: http or https, without a name, password, query or fragment.
///
/// # Errors
/// [`UsageError`], which never shows the URL.
pub(crate) fn base_url(text: &str) -> Result<Url, UsageError> {
    let wrong = |why: &str| {
        UsageError::new(format!(
            "{why}; --url and CERTWARD_URL are the API's base, for example https://certward.example/public_api/v1"
        ))
    };
    let url = Url::parse(text).map_err(|e| wrong(&format!("the URL cannot be read ({e})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(wrong("the URL is not http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "the URL holds a name or password, and they belong into CERTWARD_API_KEY and CERTWARD_SECRET_KEY",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the URL has a query or fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_http_or_https_and_holds_no_secret() {
        for text in
            ["http://127.0.0.1:8080/public_api/v1", "https://c.example/public_api/v1/", "http://[::1]:1/"]
        {
            assert!(base_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:8080",
            "ftp://h/",
            "mailto:a",
            "http://u:hunter2@h/",
            "http://hunter2@h/",
            "http://h/?a",
            "http://h/#a",
        ] {
            let error = base_url(text).unwrap_err().to_string();
            assert!(error.contains("CERTWARD_URL") && !error.contains("hunter2"), "{error}");
        }
    }
}
