use thiserror::Error;

/// The largest TLS record sent to devices, in bytes of plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordBytes(u16);

/// Out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be a whole number from 512 to 16384")]
pub struct RecordBytesError;

impl RecordBytes {
    /// The smallest `max_fragment_length` (RFC 6066 §4).
    pub const MIN: u16 = 512;
    /// The largest TLS record (RFC 8446 §5.1).
    pub const MAX: u16 = 16 * 1024;

    /// Reads a number from [`RecordBytes::MIN`] to [`RecordBytes::MAX`].
    pub fn parse(number: i64) -> Result<Self, RecordBytesError> {
        let bytes = u16::try_from(number).map_err(|_| RecordBytesError)?;
        (Self::MIN..=Self::MAX).contains(&bytes).then_some(Self(bytes)).ok_or(RecordBytesError)
    }

    /// In bytes.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for RecordBytes {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_from_512_to_16384() {
        for (number, is_one) in [
            (511, false),
            (512, true),
            (1000, true),
            (16384, true),
            (16385, false),
            (0, false),
            (-512, false),
            (65536 + 512, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            let read = RecordBytes::parse(number).map(|bytes| i64::from(bytes.get()));
            assert_eq!(read, if is_one { Ok(number) } else { Err(RecordBytesError) }, "{number}");
        }
    }
}
