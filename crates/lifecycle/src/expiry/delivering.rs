//! Delivers alerts, each at least once to each channel, by any node.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use certward_store::{
    Alert, AlertChannel, AlertId, ChannelId, Delivery, DeliveryOutcome, Store, StoreError, Timestamp,
};
use tokio::task::JoinSet;

use crate::{
    Entropy,
    expiry::alert_message::AlertMessage,
    ports::{AlertSender, Undelivered},
};

/// A round takes as long as its slowest receiver: half a minute at most.
const SENT_AT_ONCE: u32 = 64;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// Pauses after the attempts, in seconds: three days and a half in all. The first is longer than an
/// attempt takes.
const PAUSES: [u64; 9] =
    [45, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// Longer than an attempt takes.
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Of a pause: receivers that come back are not met by all alerts at once.
const JITTER_PERCENT: u64 = 20;

/// Delivers alerts.
#[derive(Debug, Clone)]
pub struct AlertDelivery {
    store: Store,
    sender: Arc<dyn AlertSender>,
    entropy: Arc<dyn Entropy>,
}

/// What a round of attempts led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Accepted by the receiver.
    pub delivered: u64,
    /// Another attempt is due later.
    pub retried: u64,
    /// No attempt remains.
    pub failed: u64,
}

impl AlertDelivery {
    /// With what sends.
    pub fn new(store: Store, sender: Arc<dyn AlertSender>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, sender, entropy }
    }

    /// Whether this node may reach any receiver.
    pub fn may_send(&self) -> bool {
        self.sender.may_reach_any()
    }

    /// One attempt for each delivery that is due.
    pub async fn turn(&self) -> Result<Delivered, StoreError> {
        let mut done = Delivered::default();
        // Another node may be able to send.
        if !self.may_send() {
            return Ok(done);
        }
        loop {
            // Attempts take a while: each batch has its own time.
            let now = self.store.now().await?;
            if !self.store.read().expiry_work(now).await?.deliveries {
                return Ok(done);
            }
            let due = self.store.take_deliveries(now, SENT_AT_ONCE, |attempt| self.retry_at(now, attempt));
            self.send(due.await?, now, &mut done).await?;
        }
    }

    /// The first error of the store, once everything else is sent.
    async fn send(&self, due: Vec<Delivery>, now: Timestamp, done: &mut Delivered) -> Result<(), StoreError> {
        let (mut alerts, mut channels) = (HashMap::new(), HashMap::new());
        let (mut attempts, mut failed) = (JoinSet::new(), Ok(()));
        for delivery in due {
            let read = async {
                let alert = self.alert(&mut alerts, &delivery.alert).await?;
                let channel = self.channel(&mut channels, &delivery.channel).await?;
                Ok::<_, StoreError>(alert.zip(channel))
            };
            let (alert, channel) = match read.await {
                Ok(Some(found)) => found,
                // Removed in between.
                Ok(None) => continue,
                Err(error @ (StoreError::Corrupt(_) | StoreError::Sealed(_))) => {
                    tracing::error!(alert = %delivery.alert, "an alert cannot be sent: {error}");
                    let outcome = DeliveryOutcome::Failed("unreadable".to_owned());
                    done.failed += 1;
                    failed = failed.and(self.store.finish_delivery(&delivery, &outcome, now).await);
                    continue;
                }
                Err(error) => {
                    failed = failed.and(Err(error));
                    continue;
                }
            };
            let sender = Arc::clone(&self.sender);
            attempts.spawn(async move {
                let message = AlertMessage::of(&alert);
                let sent = sender.send(&channel.receiver, &message, now).await;
                (delivery, channel, sent)
            });
        }
        let mut said = HashSet::new();
        while let Some(attempt) = attempts.join_next().await {
            // A panic is logged, and the next attempt remains due.
            let Ok((delivery, channel, sent)) = attempt else { continue };
            let outcome = outcome(&delivery, sent.as_ref().err());
            match &outcome {
                DeliveryOutcome::Delivered => done.delivered += 1,
                DeliveryOutcome::Retried(_) => done.retried += 1,
                DeliveryOutcome::Failed(_) => done.failed += 1,
            }
            // Once for each channel: GET /alerts has the rest.
            let is_worth = matches!(outcome, DeliveryOutcome::Failed(_)) || delivery.attempts == 1;
            if let Err(undelivered) = sent
                && is_worth
                && said.insert(delivery.channel.clone())
            {
                say(&delivery, &channel, &outcome, &undelivered);
            }
            let now = self.store.clock().now();
            failed = failed.and(self.store.finish_delivery(&delivery, &outcome, now).await);
        }
        failed
    }

    async fn alert(
        &self,
        read: &mut HashMap<AlertId, Option<Arc<Alert>>>,
        id: &AlertId,
    ) -> Result<Option<Arc<Alert>>, StoreError> {
        if let Some(alert) = read.get(id) {
            return Ok(alert.clone());
        }
        let alert = self.store.read().alert(id).await?.map(Arc::new);
        Ok(read.entry(id.clone()).or_insert(alert).clone())
    }

    async fn channel(
        &self,
        read: &mut HashMap<ChannelId, Option<Arc<AlertChannel>>>,
        id: &ChannelId,
    ) -> Result<Option<Arc<AlertChannel>>, StoreError> {
        if let Some(channel) = read.get(id) {
            return Ok(channel.clone());
        }
        let channel = self.store.read().alert_channel(id).await?.map(Arc::new);
        Ok(read.entry(id.clone()).or_insert(channel).clone())
    }

    fn retry_at(&self, now: Timestamp, attempt: u32) -> Timestamp {
        let mut bytes = [0; 4];
        self.entropy.fill(&mut bytes);
        // After the last attempt for as long as it takes, should its node die.
        now.after(pause(attempt, u32::from_le_bytes(bytes)).unwrap_or(LAST_PAUSE))
    }
}

/// After attempt 1, 2, …, longer by up to a fifth; `None` after the last.
fn pause(attempt: u32, random: u32) -> Option<Duration> {
    let seconds = PAUSES.get(attempt.checked_sub(1)? as usize)?;
    let jitter_ms = seconds * 10 * JITTER_PERCENT * u64::from(random) / u64::from(u32::MAX);
    Some(Duration::from_millis(seconds * 1000 + jitter_ms))
}

fn outcome(delivery: &Delivery, undelivered: Option<&Undelivered>) -> DeliveryOutcome {
    let Some(undelivered) = undelivered else { return DeliveryOutcome::Delivered };
    let text = match undelivered.status {
        Some(status) => format!("{} {status}", undelivered.code),
        None => undelivered.code.to_owned(),
    };
    match undelivered.is_final || pause(delivery.attempts, 0).is_none() {
        true => DeliveryOutcome::Failed(text),
        false => DeliveryOutcome::Retried(text),
    }
}

fn say(delivery: &Delivery, channel: &AlertChannel, outcome: &DeliveryOutcome, undelivered: &Undelivered) {
    let (alert, id, name) = (delivery.alert.as_str(), channel.id.as_str(), channel.name.as_str());
    let reason = &undelivered.sentence;
    match outcome {
        DeliveryOutcome::Failed(_) => {
            tracing::error!(
                alert,
                channel = id,
                name,
                "alerts cannot be delivered, and are not tried again: {reason}"
            );
        }
        DeliveryOutcome::Delivered | DeliveryOutcome::Retried(_) => {
            tracing::warn!(
                alert,
                channel = id,
                name,
                "alerts cannot be delivered yet: {reason}; trying again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_ten_over_three_days_with_jitter() {
        let pauses: Vec<_> = (1..20).map_while(|attempt| pause(attempt, 0)).collect();
        assert_eq!(pauses.len(), 9, "ten attempts");
        assert!(pauses.is_sorted());
        let all: Duration = pauses.iter().sum();
        assert_eq!(all.as_secs() / 3_600, 75);
        for (attempt, shortest) in (1..).zip(pauses) {
            let longest = pause(attempt, u32::MAX).unwrap();
            assert_eq!(longest, shortest.mul_f64(1.2), "attempt {attempt}");
        }
        assert_eq!(pause(0, 0), None);
    }
}
