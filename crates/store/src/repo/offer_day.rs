//! What ClientHellos of a deployment's devices offered, summed by day over nodes and hours.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use certward_pki::ClientOffer;
use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    DeploymentId, OfferDay, OfferHour, Reader, StoreError, Timestamp,
    engine::{many_rows, row},
    model::seen_device::DEVICE_KEPT_FOR,
};

/// Offers recorded of one deployment and day. The heaviest are kept: a stranger from one network
/// may offer much, but with little weight.
pub const OFFERS_A_DAY_MAX: usize = 64;

impl Reader {
    /// What devices of a deployment offered from `since_day` on, by day, the heaviest first.
    pub async fn offer_days(
        &self,
        deployment: &DeploymentId,
        since_day: i64,
    ) -> Result<Vec<OfferDay>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT day, content, sessions, networks, weight, largest, hours FROM offer_day
                 WHERE deployment = $1 AND day >= $2 ORDER BY day, weight DESC, offer",
            )
            .bind(deployment.as_str())
            .bind(since_day)
            .fetch_all(conn)
            .await?;
            rows.iter().map(OfferDay::read).collect()
        })
        .await
    }
}

impl OfferDay {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            day: row::integer(row, "day")?,
            offer: serde_json::from_str(&row::text(row, "content")?)
                .map_err(|_| row::unreadable("content"))?,
            sessions: row::count(row, "sessions")?,
            networks: row::count(row, "networks")?,
            weight: row::count(row, "weight")?,
            largest: row::count(row, "largest")?,
            hours: row::count(row, "hours")?,
        })
    }
}

/// Hours of one batch, by day and offer.
#[derive(Debug, Default)]
pub(crate) struct BatchOffers<'a>(BTreeMap<(i64, &'a ClientOffer), OfferSums>);

#[derive(Debug, Default)]
struct OfferSums {
    sessions: u64,
    networks: u64,
    weight: u64,
    largest: u64,
    hours: u64,
}

impl<'a> BatchOffers<'a> {
    pub(crate) fn add(&mut self, hour: &'a OfferHour) {
        let sums = self.0.entry((hour.day, &hour.offer)).or_default();
        sums.sessions = sums.sessions.max(hour.sessions);
        sums.networks = sums.networks.max(hour.networks);
        sums.weight = sums.weight.saturating_add(hour.weight);
        sums.largest = sums.largest.saturating_add(hour.largest);
        sums.hours += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Returns how many were not recorded, or not kept.
pub(crate) async fn record(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    offers: &BatchOffers<'_>,
) -> Result<u64, StoreError> {
    let mut rows = Vec::with_capacity(offers.len());
    for ((day, offer), sums) in &offers.0 {
        let content = serde_json::to_string(offer).map_err(|_| row::unreadable("content"))?;
        rows.push((*day, content, sums));
    }
    let insert =
        "INSERT INTO offer_day (deployment, day, offer, content, sessions, networks, weight, largest, hours)";
    // `max` of two values is an aggregate on PostgreSQL.
    let update = "ON CONFLICT (deployment, day, offer) DO UPDATE SET
        sessions = CASE WHEN excluded.sessions > offer_day.sessions THEN excluded.sessions ELSE offer_day.sessions END,
        networks = CASE WHEN excluded.networks > offer_day.networks THEN excluded.networks ELSE offer_day.networks END,
        weight = offer_day.weight + excluded.weight, largest = offer_day.largest + excluded.largest,
        hours = offer_day.hours + excluded.hours";
    many_rows::insert(conn, (insert, update), 9, &rows, |query, (day, content, sums)| {
        query
            .bind(deployment.to_string())
            .bind(*day)
            .bind(digest(&SHA256, content.as_bytes()).as_ref()[..16].to_vec())
            .bind(content.clone())
            .bind(row::bound(sums.sessions))
            .bind(row::bound(sums.networks))
            .bind(row::bound(sums.weight))
            .bind(row::bound(sums.largest))
            .bind(row::bound(sums.hours))
    })
    .await?;
    let mut over = 0;
    let mut days: Vec<i64> = rows.iter().map(|(day, ..)| *day).collect();
    days.dedup();
    for day in days {
        over += keep_heaviest(conn, deployment, day).await?;
    }
    Ok(over)
}

async fn keep_heaviest(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    day: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM offer_day WHERE deployment = $1 AND day = $2 AND offer NOT IN
         (SELECT offer FROM offer_day WHERE deployment = $1 AND day = $2 ORDER BY weight DESC, offer LIMIT $3)",
    )
    .bind(deployment.as_str())
    .bind(day)
    .bind(OFFERS_A_DAY_MAX as i64)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM offer_day WHERE day < $1")
        .bind(now.before(DEVICE_KEPT_FOR).day())
        .execute(conn)
        .await?;
    Ok(())
}
