use crate::{Reader, StoreError, Timestamp, Tx, engine::row};

/// What the expiry tasks of all nodes remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryMarks {
    /// The newest time that was seen; 0 before the first.
    pub clock: Timestamp,
    /// A hash of the rules that [`Tx::set_due`] was computed with; 0 before the first.
    pub rules: i64,
}

impl Reader {
    /// The marks.
    pub async fn expiry_marks(&self) -> Result<ExpiryMarks, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query(
                "SELECT (SELECT value FROM counter WHERE name = 'clock') AS clock,
                        (SELECT value FROM counter WHERE name = 'expiry_rules') AS rules",
            )
            .fetch_one(conn)
            .await?;
            Ok(ExpiryMarks {
                clock: Timestamp(row::integer(&row, "clock")?),
                rules: row::integer(&row, "rules")?,
            })
        })
        .await
    }
}

impl Tx {
    /// Sets the newest time that was seen, also back.
    pub async fn set_clock_mark(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.set_mark("clock", now.0).await
    }

    /// Sets the hash of the rules.
    pub async fn set_rules_mark(&mut self, rules: i64) -> Result<(), StoreError> {
        self.set_mark("expiry_rules", rules).await
    }

    async fn set_mark(&mut self, name: &'static str, value: i64) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("UPDATE counter SET value = $2 WHERE name = $1")
                .bind(name)
                .bind(value)
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }
}
