//! The query parameter `closeRate` of changes that disconnect devices.

use certward_store::CloseRate;

use crate::{
    detail::Detail,
    error::Error,
    page::{ListQuery, is_number},
    refusal_code::RefusalCode,
};

pub(crate) const CLOSE_RATE: &str = "closeRate";

/// `None`: it is absent, and all are disconnected at once.
pub(crate) fn read(query: &ListQuery<'_>) -> Result<Option<CloseRate>, Error> {
    let mut given = query.values(CLOSE_RATE);
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => parse(text).map(Some).ok_or_else(invalid),
        (Some(_), Some(_)) => Err(invalid()),
    }
}

fn parse(text: &str) -> Option<CloseRate> {
    let number = Some(text).filter(|text| is_number(text))?.parse().ok()?;
    CloseRate::parse(number).ok().flatten()
}

pub(crate) fn invalid() -> Error {
    let message =
        "closeRate must be one whole number from 1 to 1000000: sessions that are closed in a second.";
    let remedy = "Give it once, for example closeRate=50, or leave it out to close all at once.";
    Error::Unprocessable(vec![Detail::property(RefusalCode::CloseRateInvalid, CLOSE_RATE, message, remedy)])
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn the_rate_is_one_whole_number_in_its_range() {
        let read = |query: &str| {
            let uri: Uri = format!("/a?{query}").parse().unwrap();
            super::read(&ListQuery::read(&uri).unwrap())
                .map(CloseRate::number)
                .map_err(|error| error.body().code)
        };
        let invalid = Err("CLOSE_RATE_INVALID".to_owned());
        for (query, expected) in [
            ("", Ok(0)),
            ("closerate=x&other=1", Ok(0)),
            ("closeRate=1", Ok(1)),
            ("closeRate=50&other=1", Ok(50)),
            ("closeRate=1000000", Ok(1_000_000)),
            ("closeRate=0", invalid.clone()),
            ("closeRate=1000001", invalid.clone()),
            ("closeRate=99999999999999999999", invalid.clone()),
            ("closeRate=-1", invalid.clone()),
            ("closeRate=%2B1", invalid.clone()),
            ("closeRate=1.5", invalid.clone()),
            ("closeRate=50%2Fs", invalid.clone()),
            ("closeRate=", invalid.clone()),
            ("closeRate", invalid.clone()),
            ("closeRate=1&closeRate=1", invalid),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }
}
