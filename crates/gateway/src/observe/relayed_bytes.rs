//! Counts relayed bytes. Each thread adds to a cache line that it shares with few others, if any;
//! a scrape sums them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// More threads than a node's processors have share shards; the sums stay exact.
const SHARDS: usize = 64;

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

#[derive(Debug)]
pub(crate) struct RelayedBytes(Box<[ByteShard]>);

/// Two lines of 64 bytes: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ByteShard {
    to_broker: AtomicU64,
    to_device: AtomicU64,
}

impl Default for RelayedBytes {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| ByteShard::default()).collect())
    }
}

impl RelayedBytes {
    pub(crate) fn to_broker(&self, bytes: usize) {
        add(&self.shard().to_broker, bytes);
    }

    pub(crate) fn to_device(&self, bytes: usize) {
        add(&self.shard().to_device, bytes);
    }

    fn shard(&self) -> &ByteShard {
        &self.0[SHARD.with(|shard| *shard)]
    }

    /// To brokers and to devices.
    fn sums(&self) -> (u64, u64) {
        let sum = |of: fn(&ByteShard) -> &AtomicU64| {
            self.0.iter().map(|shard| of(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        (sum(|shard| &shard.to_broker), sum(|shard| &shard.to_device))
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Sums at each scrape.
#[derive(Debug)]
pub(crate) struct RelayedBytesCollector(pub(crate) Arc<RelayedBytes>);

impl Collector for RelayedBytesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Application bytes relayed, without TLS and PROXY headers, by direction.";
        let unit = Unit::Bytes;
        let mut metric = encoder.encode_descriptor("relayed", help, Some(&unit), MetricType::Counter)?;
        let (to_broker, to_device) = self.0.sums();
        for (direction, sum) in [("to_broker", to_broker), ("to_device", to_device)] {
            let labels = [("direction", direction)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&sum, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_any_thread_is_lost_also_where_threads_share_a_shard() {
        let bytes = RelayedBytes::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        bytes.to_broker(3);
                        bytes.to_device(5);
                    }
                });
            }
        });
        let threads = (SHARDS + 8) as u64;
        assert_eq!(bytes.sums(), (threads * 3000, threads * 5000));
    }
}
