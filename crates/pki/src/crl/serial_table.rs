/// A set of byte strings: for each length, the sorted bytes one after another. Exact, without a
/// pointer or a hash for each: 200,000 serial numbers of 20 bytes take 4 MB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SerialTable {
    /// Ascending by length.
    by_length: Box<[SerialsOfLength]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SerialsOfLength {
    /// At least 1.
    length: usize,
    sorted: Box<[u8]>,
}

impl SerialTable {
    pub(super) fn contains(&self, serial: &[u8]) -> bool {
        let of_length = self.by_length.binary_search_by_key(&serial.len(), |serials| serials.length);
        of_length.is_ok_and(|at| self.by_length[at].contains(serial))
    }

    pub(super) fn len(&self) -> usize {
        self.by_length.iter().map(SerialsOfLength::count).sum()
    }
}

impl SerialsOfLength {
    fn count(&self) -> usize {
        self.sorted.len() / self.length
    }

    /// Binary search.
    fn contains(&self, serial: &[u8]) -> bool {
        let (mut from, mut until) = (0, self.count());
        while from < until {
            let middle = from.midpoint(until);
            match self.sorted[middle * self.length..][..self.length].cmp(serial) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => until = middle,
            }
        }
        false
    }
}

/// Empty ones are left out: no INTEGER is empty.
impl<'a> FromIterator<&'a [u8]> for SerialTable {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(serials: I) -> Self {
        let mut serials: Vec<&[u8]> = serials.into_iter().filter(|serial| !serial.is_empty()).collect();
        serials.sort_unstable_by_key(|serial| (serial.len(), *serial));
        serials.dedup();
        let by_length = serials.chunk_by(|a, b| a.len() == b.len());
        let by_length =
            by_length.map(|of| SerialsOfLength { length: of[0].len(), sorted: of.concat().into() }).collect();
        Self { by_length }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn serials(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Few values and lengths, so that many are equal or differ by their length alone.
        let serial =
            prop_oneof![prop::collection::vec(0_u8..3, 1..4), prop::collection::vec(any::<u8>(), 1..22),];
        prop::collection::vec(serial, count)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(listed in serials(0..200), asked in serials(1..200)) {
            let set: BTreeSet<&[u8]> = listed.iter().map(Vec::as_slice).collect();
            let table: SerialTable = listed.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(table.len(), set.len());
            for serial in listed.iter().chain(&asked) {
                prop_assert_eq!(table.contains(serial), set.contains(serial.as_slice()));
            }
            prop_assert!(!table.contains(&[]));
        }
    }
}
