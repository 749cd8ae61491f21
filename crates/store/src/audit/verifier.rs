//! Verification of the chain, row by row from the oldest, without I/O.

use super::{
    chain::{self, START_ACTION},
    checkpoint::AuditCheckpoint,
    fault::AuditFault,
    head::AuditHead,
    record::{AuditLink, AuditRecord},
};
use crate::sealed::audit_key::AuditKey;

/// A chain read so far.
pub(crate) struct Verifier {
    /// The newest verified row's number, or the checkpoint's.
    number: i64,
    /// Its MAC; empty before the first row.
    mac: Vec<u8>,
    /// The rest, oldest first.
    heads: Vec<AuditHead>,
    pub(crate) seen: VerifiedRows,
}

/// What was verified.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct VerifiedRows {
    pub(crate) rows: u64,
    pub(crate) first: Option<i64>,
    /// As the chain's first row says.
    pub(crate) counted_before: Option<i64>,
    /// The first row's place in the list, or the checkpoint's.
    pub(crate) list_start: Option<i64>,
    /// Noted heads of pruned rows.
    pub(crate) too_old: Vec<AuditHead>,
}

impl Verifier {
    /// From a verified checkpoint, or from the first row. The noted heads in any order.
    pub(crate) fn new(
        checkpoint: Option<&AuditCheckpoint>,
        mut heads: Vec<AuditHead>,
    ) -> Result<Self, AuditFault> {
        heads.sort_by_key(|head| std::cmp::Reverse(head.number));
        let (number, mac) = match checkpoint {
            Some(checkpoint) => (checkpoint.number, checkpoint.row_mac.clone()),
            None => (0, Vec::new()),
        };
        let list_start = checkpoint.map(|checkpoint| checkpoint.row);
        let mut verifier =
            Self { number, mac, heads, seen: VerifiedRows { list_start, ..VerifiedRows::default() } };
        verifier.compare_heads()?;
        Ok(verifier)
    }

    /// The number of the next row.
    pub(crate) fn expected(&self) -> i64 {
        self.number + 1
    }

    /// The next row, in the order of numbers; `key` is that of its master key.
    pub(crate) fn take(
        &mut self,
        record: &AuditRecord,
        link: &AuditLink,
        key: Option<&AuditKey>,
    ) -> Result<(), AuditFault> {
        let number = link.number;
        if number > self.expected() {
            return Err(AuditFault::Missing(self.expected()));
        }
        if number < self.expected() {
            return Err(AuditFault::Inserted(number));
        }
        let Some(key) = key else {
            let master_key = link.master_key.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(AuditFault::UnknownKey { number, master_key });
        };
        let message = chain::row_message(&self.mac, number, &link.master_key, record);
        if !key.verifies(&message, &link.mac) {
            return Err(AuditFault::Changed(number));
        }
        if number == 1 && record.action == START_ACTION {
            let counted = record.detail.split(' ').next().and_then(|count| count.parse().ok());
            self.seen.counted_before = counted;
            self.seen.list_start = Some(record.row);
        }
        self.number = number;
        self.mac.clone_from(&link.mac);
        self.seen.rows += 1;
        self.seen.first.get_or_insert(number);
        self.compare_heads()
    }

    /// The end: nothing may be missing of what the stored head and the noted ones have seen.
    pub(crate) fn finish(
        self,
        stored: Option<&AuditHead>,
    ) -> Result<(Option<AuditHead>, VerifiedRows), AuditFault> {
        let until = self.heads.iter().chain(stored).map(|head| head.number).max().unwrap_or(0);
        if until > self.number {
            return Err(AuditFault::CutOff { after: self.number, until });
        }
        let head = (self.number > 0).then(|| AuditHead::of(self.number, &self.mac));
        if stored != head.as_ref() {
            return Err(AuditFault::Head(self.number));
        }
        Ok((head, self.seen))
    }

    /// Takes the noted heads up to the current row.
    fn compare_heads(&mut self) -> Result<(), AuditFault> {
        while let Some(head) = self.heads.pop_if(|head| head.number <= self.number) {
            if head.number < self.number {
                self.seen.too_old.push(head);
            } else if head != AuditHead::of(self.number, &self.mac) {
                return Err(AuditFault::Rewritten(head));
            }
        }
        Ok(())
    }
}
