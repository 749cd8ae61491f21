use std::net::IpAddr;

use certward_lifecycle::SessionFilter;
use certward_pki::DeviceId;

use crate::{
    error::Error,
    page::{ListQuery, wrong},
};

/// The filter of a query: `device` or `address`. `None`: neither.
pub(super) fn filter(query: &ListQuery<'_>) -> Result<Option<SessionFilter>, Error> {
    let device =
        query.parameter("device", "device is no id of a device: 32 hexadecimal digits.", DeviceId::parse)?;
    let address =
        query.parameter("address", "address is no IP address.", |text| text.parse::<IpAddr>().ok())?;
    match (device, address) {
        (None, None) => Ok(None),
        (Some(device), None) => Ok(Some(SessionFilter::Devices(vec![device]))),
        (None, Some(address)) => Ok(Some(SessionFilter::Address(address.to_canonical()))),
        (Some(_), Some(_)) => Err(two_filters()),
    }
}

pub(crate) fn two_filters() -> Error {
    wrong("address", "device and address exclude each other; give one of them.")
}

pub(crate) fn no_filter() -> Error {
    wrong("device", "Which sessions to close is not said; give device or address.")
}

pub(crate) fn no_gateway() -> Error {
    Error::NotFound("No node with a gateway runs, and so no device is connected.")
}
