//! What the MACs cover. Every part has a presence byte and a length, against collisions; a column
//! added later needs another domain.

use super::{checkpoint::AuditCheckpoint, record::AuditRecord};

const ROW: &[u8] = b"certward audit row 1";
const CHECKPOINT: &[u8] = b"certward audit checkpoint 1";

/// The first row of a chain; its detail begins with the number of rows before, which have no MAC.
pub(crate) const START_ACTION: &str = "audit.start";

/// The message of a row at `number` of the chain; `before` is the MAC of the row before, empty for
/// the first.
pub(crate) fn row_message(before: &[u8], number: i64, master_key: &[u8], record: &AuditRecord) -> Vec<u8> {
    let mut message = MacMessage::new(ROW);
    message.bytes(before);
    message.number(number);
    message.bytes(master_key);
    message.number(record.row);
    message.number(record.at.0);
    for text in [&record.actor, &record.action, &record.subject, &record.detail] {
        message.bytes(text.as_bytes());
    }
    for text in [
        &record.project,
        &record.deployment,
        &record.address,
        &record.request,
        &record.refusal,
        &record.certificate.before,
        &record.certificate.after,
    ] {
        message.part(text.as_deref().map(str::as_bytes));
    }
    message.0
}

pub(crate) fn checkpoint_message(checkpoint: &AuditCheckpoint) -> Vec<u8> {
    let mut message = MacMessage::new(CHECKPOINT);
    message.number(checkpoint.number);
    message.bytes(&checkpoint.row_mac);
    message.number(checkpoint.row);
    message.number(checkpoint.at.0);
    message.bytes(&checkpoint.master_key);
    message.0
}

struct MacMessage(Vec<u8>);

impl MacMessage {
    fn new(domain: &[u8]) -> Self {
        let mut message = Self(Vec::with_capacity(512));
        message.bytes(domain);
        message
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.part(Some(bytes));
    }

    fn part(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.0.push(0) };
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CertificateChange, Timestamp};

    fn record() -> AuditRecord {
        AuditRecord {
            row: 7,
            at: Timestamp(1_000),
            actor: "key".into(),
            action: "tls.replace".into(),
            subject: "north".into(),
            detail: "version 3".into(),
            project: Some("default".into()),
            deployment: Some("north".into()),
            address: Some("192.0.2.1".into()),
            request: Some("0011223344556677".into()),
            refusal: None,
            certificate: CertificateChange { before: Some("aa".into()), after: Some("bb".into()) },
            link: None,
        }
    }

    #[test]
    fn no_two_rows_have_one_message() {
        let moved = |change: fn(&mut AuditRecord)| {
            let mut record = record();
            change(&mut record);
            row_message(b"before", 3, b"master", &record)
        };
        let mut messages = vec![
            row_message(b"before", 3, b"master", &record()),
            row_message(b"befor", 3, b"emaster", &record()),
            row_message(b"before", 4, b"master", &record()),
            moved(|row| row.row = 8),
            moved(|row| row.at = Timestamp(1_001)),
            moved(|row| row.actor = "other".into()),
            moved(|row| row.action = "tls.create".into()),
            // Bytes moved from one column to the next.
            moved(|row| (row.subject, row.detail) = ("northv".into(), "ersion 3".into())),
            moved(|row| row.project = None),
            moved(|row| row.project = Some(String::new())),
            moved(|row| row.deployment = None),
            moved(|row| row.address = None),
            moved(|row| row.request = None),
            moved(|row| row.refusal = Some(String::new())),
            moved(|row| row.refusal = Some("NO_ACCESS".into())),
            moved(|row| row.certificate = CertificateChange { before: None, after: Some("bb".into()) }),
            moved(|row| row.certificate.before = Some("bb".into())),
            moved(|row| row.certificate.after = None),
        ];
        let count = messages.len();
        messages.sort();
        messages.dedup();
        assert_eq!(messages.len(), count);
    }
}
