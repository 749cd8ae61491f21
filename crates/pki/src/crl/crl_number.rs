use std::fmt;

use super::der_reader::{DerReader, INTEGER, is_shortest_integer};

/// cRLNumber (RFC 5280 §5.2.3): at most 20 bytes, without leading zeros. Ordered by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CrlNumber<'a>(&'a [u8]);

const BYTES_MAX: usize = 20;

impl<'a> CrlNumber<'a> {
    /// Of the extension's value; `None` if it is negative or too long.
    pub(super) fn read(value: &'a [u8]) -> Option<Self> {
        let content =
            DerReader::new(value).take_last(INTEGER).filter(|content| is_shortest_integer(content))?;
        match content {
            [first, ..] if *first >= 0x80 => None,
            [0, magnitude @ ..] => Some(magnitude),
            magnitude => Some(magnitude),
        }
        .filter(|magnitude| magnitude.len() <= BYTES_MAX)
        .map(Self)
    }
}

impl Ord for CrlNumber<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), self.0).cmp(&(other.0.len(), other.0))
    }
}

impl PartialOrd for CrlNumber<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Decimal up to 16 bytes, then hexadecimal, as OpenSSL shows them.
impl fmt::Display for CrlNumber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= size_of::<u128>() {
            let number = self.0.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
            return write!(f, "{number}");
        }
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::wrap;

    #[test]
    fn numbers_are_ordered_by_value_and_bounded() {
        let values =
            [vec![0], vec![1], vec![0, 0x80], vec![1, 0], vec![0x7f; 20], [&[0], &[0x80; 20][..]].concat()];
        let ders: Vec<_> = values.iter().map(|content| wrap(INTEGER, content)).collect();
        let numbers: Vec<_> = ders.iter().map(|der| CrlNumber::read(der).unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let shown: Vec<_> = numbers[..4].iter().map(|number| number.to_string()).collect();
        assert_eq!(shown, ["0", "1", "128", "256"]);
        assert_eq!(numbers[4].to_string(), format!("0x{}", "7f".repeat(20)));
        for wrong in [&[][..], &[0x80], &[0, 1], &[1; 21]] {
            assert_eq!(CrlNumber::read(&wrap(INTEGER, wrong)), None, "{wrong:02x?}");
        }
        assert_eq!(CrlNumber::read(&[2, 1, 1, 0]), None);
    }
}
