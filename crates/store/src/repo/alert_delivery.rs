//! Deliveries: an alert on its way to a channel, at least once.
//!
//! Taking one counts the attempt and sets the time of the next: if the node dies while it sends,
//! another node sends again then, with the same id.

use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    AlertId, ChannelId, DeploymentId, EndingKind, ProjectId, Reader, Store, StoreError, Timestamp,
    engine::{lock, row},
    model::ending,
    repo::known_kind::is_known_alert,
};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Attempts remain.
    Pending,
    /// The receiver accepted it.
    Delivered,
    /// No attempt remains.
    Failed,
    /// What ends was replaced before, or the stopped change made.
    Cancelled,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Cancelled];

    /// Its name in store and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An alert on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The alert.
    pub alert: AlertId,
    /// The channel.
    pub channel: ChannelId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next one is due, or the last one was made.
    pub next_at: Timestamp,
    /// Why the last attempt failed: a code.
    pub failure: Option<String>,
}

/// What an attempt led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Accepted.
    Delivered,
    /// Not accepted: a code. The next attempt remains due.
    Retried(String),
    /// Not accepted, and no attempt remains.
    Failed(String),
}

const COLUMNS: &str = "SELECT alert, channel, state, attempts, next_at, failure FROM alert_delivery";

impl Delivery {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let state = row::text(row, "state")?;
        let state = DeliveryState::ALL.into_iter().find(|known| known.as_str() == state);
        Ok(Self {
            alert: AlertId::parse(&row::text(row, "alert")?).map_err(|_| row::unreadable("alert"))?,
            channel: ChannelId::parse(&row::text(row, "channel")?).map_err(|_| row::unreadable("channel"))?,
            state: state.ok_or_else(|| row::unreadable("state"))?,
            attempts: u32::try_from(row::integer(row, "attempts")?)
                .map_err(|_| row::unreadable("attempts"))?,
            next_at: Timestamp(row::integer(row, "next_at")?),
            failure: row::text_or_null(row, "failure")?,
        })
    }
}

impl Reader {
    /// Deliveries of alerts, at most a page of them, by alert and channel.
    pub async fn deliveries(&self, alerts: &[&AlertId]) -> Result<Vec<Delivery>, StoreError> {
        let places: Vec<String> = (1..=alerts.len()).map(|place| format!("${place}")).collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{COLUMNS} WHERE alert IN ({}) ORDER BY alert, channel", places.join(", "));
        self.run(async |conn| {
            // Safe: placeholders.
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for alert in alerts {
                query = query.bind(alert.as_str().to_owned());
            }
            query.fetch_all(conn).await?.iter().map(Delivery::read).collect()
        })
        .await
    }
}

impl Store {
    /// Takes at most `limit` deliveries that are due by `now`, for one attempt each. `retry_at`
    /// gives the time of the attempt after it. Those of kinds that this program does not know are
    /// left to nodes of a newer release.
    pub async fn take_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
        mut retry_at: impl FnMut(u32) -> Timestamp,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut tx = self.begin().await?;
        let taken = tx.step(async |conn| {
            lock::expiry(conn).await?;
            // A removal of the alert or channel may hold it, and wait for another one.
            let lock = if lock::is_postgres(conn) { " FOR UPDATE SKIP LOCKED" } else { "" };
            let known = is_known_alert("a.kind");
            let sql = format!(
                "{COLUMNS} WHERE state = 'pending' AND next_at <= $1
                     AND EXISTS (SELECT 1 FROM alert a WHERE a.id = alert_delivery.alert AND {known})
                 ORDER BY next_at, alert, channel LIMIT $2{lock}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(now.0)
                .bind(i64::from(limit))
                .fetch_all(&mut *conn)
                .await?;
            let mut taken = rows.iter().map(Delivery::read).collect::<Result<Vec<_>, _>>()?;
            for delivery in &mut taken {
                delivery.attempts += 1;
                delivery.next_at = retry_at(delivery.attempts);
                sqlx::query(
                    "UPDATE alert_delivery SET attempts = $3, next_at = $4 WHERE alert = $1 AND channel = $2",
                )
                .bind(delivery.alert.as_str())
                .bind(delivery.channel.as_str())
                .bind(i64::from(delivery.attempts))
                .bind(delivery.next_at.0)
                .execute(&mut *conn)
                .await?;
            }
            Ok(taken)
        });
        let taken = taken.await?;
        tx.commit().await?;
        Ok(taken)
    }

    /// Records an attempt's outcome at `now`; nothing if the delivery was cancelled in between.
    pub async fn finish_delivery(
        &self,
        delivery: &Delivery,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (state, next_at, failure) = match outcome {
            DeliveryOutcome::Delivered => (DeliveryState::Delivered, now, None),
            DeliveryOutcome::Retried(code) => (DeliveryState::Pending, delivery.next_at, Some(code)),
            DeliveryOutcome::Failed(code) => (DeliveryState::Failed, now, Some(code)),
        };
        let mut tx = self.begin().await?;
        let finish = tx.step(async |conn| {
            sqlx::query(
                "UPDATE alert_delivery SET state = $3, next_at = $4, failure = $5
                 WHERE alert = $1 AND channel = $2 AND state = 'pending'",
            )
            .bind(delivery.alert.as_str())
            .bind(delivery.channel.as_str())
            .bind(state.as_str())
            .bind(next_at.0)
            .bind(failure.cloned())
            .execute(&mut *conn)
            .await?;
            match outcome {
                DeliveryOutcome::Retried(_) => postpone(conn, &delivery.channel, delivery.next_at, now).await,
                DeliveryOutcome::Delivered | DeliveryOutcome::Failed(_) => Ok(()),
            }
        });
        finish.await?;
        tx.commit().await
    }
}

/// The others wait with the one that failed: a receiver that hangs must not hold up all alerts.
const POSTPONED_MAX_MS: i64 = 5 * 60 * 1000;

async fn postpone(
    conn: &mut AnyConnection,
    channel: &ChannelId,
    to: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_delivery SET next_at = $2 WHERE channel = $1 AND state = 'pending' AND next_at < $2",
    )
    .bind(channel.as_str())
    .bind(to.0.min(now.0.saturating_add(POSTPONED_MAX_MS)))
    .execute(conn)
    .await?;
    Ok(())
}

/// To each channel of its project and of the operator; what was cancelled is due again.
pub(crate) async fn insert(
    conn: &mut AnyConnection,
    alert: &AlertId,
    project: Option<&ProjectId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO alert_delivery (alert, channel, state, attempts, next_at)
         SELECT $1, id, 'pending', 0, $3 FROM alert_channel WHERE project IS NULL OR project = $2
         ON CONFLICT (alert, channel) DO UPDATE SET state = 'pending', attempts = 0, next_at = excluded.next_at
         WHERE alert_delivery.state = 'cancelled'",
    )
    .bind(alert.as_str())
    .bind(ending::project_text(project))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// What a new channel begins with.
const BEGUN_WITH: i64 = 100;

/// Of each certificate that is not replaced, its newest alert. That a change was stopped, or that a
/// client CA is not used, is not said later: it may be outdated.
pub(crate) async fn insert_newest(
    conn: &mut AnyConnection,
    channel: &ChannelId,
    project: Option<&ProjectId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO alert_delivery (alert, channel, state, attempts, next_at)
         SELECT id, $1, 'pending', 0, $3 FROM alert a
         WHERE withdrawn_at IS NULL AND kind NOT IN ('stoppedChange', 'unusedClientCA') AND ($2 = '' OR project = $2)
             AND NOT EXISTS (SELECT 1 FROM alert b WHERE b.project = a.project AND b.kind = a.kind
                             AND b.item = a.item AND (b.at, b.id) > (a.at, a.id))
         ORDER BY at DESC, id DESC LIMIT $4",
    )
    .bind(channel.as_str())
    .bind(ending::project_text(project))
    .bind(now.0)
    .bind(BEGUN_WITH)
    .execute(conn)
    .await?;
    Ok(())
}

/// What is still on its way of a certificate's other alerts: a later one says more.
pub(crate) async fn supersede(conn: &mut AnyConnection, by: &AlertId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_delivery SET state = 'cancelled' WHERE state NOT IN ('delivered', 'failed', 'cancelled')
         AND alert IN (SELECT b.id FROM alert a JOIN alert b
                       ON b.project = a.project AND b.kind = a.kind AND b.item = a.item AND b.id <> a.id
                       WHERE a.id = $1)",
    )
    .bind(by.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Longer than any pause between attempts.
const PAUSE_MAX_MS: i64 = 29 * 60 * 60 * 1000;

/// Attempts of a time that a clock ahead has set.
pub(crate) async fn bring_back(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE alert_delivery SET next_at = $1 WHERE state = 'pending' AND next_at > $2")
        .bind(now.0)
        .bind(now.0.saturating_add(PAUSE_MAX_MS))
        .execute(conn)
        .await?;
    Ok(())
}

// By alert: the planner must not read all that is pending.
pub(crate) async fn cancel(
    conn: &mut AnyConnection,
    project: &str,
    kind: EndingKind,
    item: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_delivery SET state = 'cancelled' WHERE state NOT IN ('delivered', 'failed', 'cancelled')
         AND alert IN
             (SELECT id FROM alert WHERE project = $1 AND kind = $2 AND item = $3 AND withdrawn_at IS NULL)",
    )
    .bind(project)
    .bind(kind.as_str())
    .bind(item)
    .execute(conn)
    .await?;
    Ok(())
}

/// What is still on its way of one alert.
pub(crate) async fn cancel_alert(conn: &mut AnyConnection, alert: &AlertId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_delivery SET state = 'cancelled'
         WHERE alert = $1 AND state NOT IN ('delivered', 'failed', 'cancelled')",
    )
    .bind(alert.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// `leaf` is empty for all of the deployment.
pub(crate) async fn cancel_stopped(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    leaf: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_delivery SET state = 'cancelled' WHERE state NOT IN ('delivered', 'failed', 'cancelled')
         AND alert IN (SELECT id FROM alert WHERE kind = 'stoppedChange' AND rule = $1
                           AND ($2 = '' OR item = $2) AND withdrawn_at IS NULL)",
    )
    .bind(deployment.as_str())
    .bind(leaf)
    .execute(conn)
    .await?;
    Ok(())
}
