use std::fmt;

use thiserror::Error;

use crate::{Upstream, UpstreamError};

/// A broker's addresses, `HOST:PORT,HOST:PORT`, 1 to [`UpstreamList::MAX`] different ones; the
/// first that accepts is used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpstreamList(Box<[Upstream]>);

/// Why a list is refused. Positions count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpstreamListError {
    /// The only address is invalid.
    #[error("{0}")]
    Only(UpstreamError),
    /// One of several is invalid.
    #[error("address {at}: {error}")]
    One {
        /// Its position.
        at: usize,
        /// Why.
        error: UpstreamError,
    },
    /// An empty address.
    #[error("address {0} is empty")]
    Empty(usize),
    /// A duplicate.
    #[error("address {0} stands there twice")]
    Twice(usize),
    /// Too many.
    #[error("there are more than 8 addresses")]
    TooMany,
}

impl UpstreamList {
    /// Each gets its share of the dial timeout.
    pub const MAX: usize = 8;

    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, UpstreamListError> {
        let count = text.split(',').count();
        if count > Self::MAX {
            return Err(UpstreamListError::TooMany);
        }
        let mut list: Vec<Upstream> = Vec::with_capacity(count);
        for (at, part) in (1..).zip(text.split(',')) {
            if part.is_empty() && count > 1 {
                return Err(UpstreamListError::Empty(at));
            }
            let upstream = Upstream::parse(part).map_err(|error| match count {
                1 => UpstreamListError::Only(error),
                _ => UpstreamListError::One { at, error },
            })?;
            if list.iter().any(|before| before.is_same_as(&upstream)) {
                return Err(UpstreamListError::Twice(at));
            }
            list.push(upstream);
        }
        Ok(Self(list.into()))
    }

    /// In the order of dialling; never empty.
    pub fn as_slice(&self) -> &[Upstream] {
        &self.0
    }
}

/// Of one.
impl From<Upstream> for UpstreamList {
    fn from(upstream: Upstream) -> Self {
        Self([upstream].into())
    }
}

impl fmt::Display for UpstreamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, upstream) in self.0.iter().enumerate() {
            write!(f, "{}{upstream}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for UpstreamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamList({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_to_eight_different_addresses_and_is_written_as_it_was_read() {
        use UpstreamListError as E;
        let nine = ["b:1"; 9].join(",");
        let (form, port) = (UpstreamError::Form, UpstreamError::Port);
        for (text, error) in [
            ("broker:1883", None),
            ("a:1883,b:1883", None),
            ("[::1]:1883,127.0.0.1:1883,broker:1883", None),
            ("b:1,b:2,b:3,b:4,b:5,b:6,b:7,b:8", None),
            ("", Some(E::Only(form))),
            ("broker", Some(E::Only(form))),
            ("broker:0", Some(E::Only(port))),
            (",", Some(E::Empty(1))),
            ("a:1,", Some(E::Empty(2))),
            (",a:1", Some(E::Empty(1))),
            ("a:1,,b:1", Some(E::Empty(2))),
            ("a:1, b:1", Some(E::One { at: 2, error: form })),
            ("a:1;b:1", Some(E::Only(form))),
            ("a:1 b:1", Some(E::Only(form))),
            ("a:1,b:x", Some(E::One { at: 2, error: port })),
            ("a:1,b:1,a:1", Some(E::Twice(3))),
            ("a:1,A:1", Some(E::Twice(2))),
            ("a:1,a:01", Some(E::Twice(2))),
            ("[::1]:1,[0:0::1]:1", Some(E::Twice(2))),
            (&nine, Some(E::TooMany)),
        ] {
            let read = UpstreamList::parse(text);
            match error {
                None => assert_eq!(read.expect(text).to_string(), text),
                Some(error) => assert_eq!(read, Err(error), "{text}"),
            }
        }
    }
}
