use std::{
    sync::OnceLock,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{Client, Endpoint, Generator, Handshake};
use crate::judge::Series;

/// One replacement of a certificate, under handshakes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swap {
    /// From the request or signal.
    pub(crate) answered_ms: f64,
    /// From the answer to the last handshake with the old certificate.
    pub(crate) old_until_ms: f64,
    /// Handshakes with the old certificate after the answer.
    pub(crate) stale: usize,
    pub(crate) failed: usize,
    pub(crate) handshakes: usize,
}

const CLIENTS: usize = 4;
const LOAD_LEAD: Duration = Duration::from_millis(50);
/// Then the old certificate is gone.
const NEW_IN_A_ROW: usize = 100;
const GONE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Seen {
    began: Instant,
    /// `None`: it failed.
    new: Option<bool>,
}

impl Swap {
    /// `leaf` is the new one (DER).
    pub(crate) fn watch(
        generator: &Generator,
        endpoint: &Endpoint,
        leaf: &[u8],
        change: impl FnOnce() -> Result<()> + Send,
    ) -> Result<Self> {
        let changed = OnceLock::new();
        let endpoint = Endpoint { leaf: None, ..endpoint.clone() };
        let clients = vec![Client::new(&endpoint, Handshake::Full, None)?; CLIENTS];
        let seen = thread::scope(|scope| {
            scope.spawn(|| {
                sleep(LOAD_LEAD);
                let asked = Instant::now();
                let outcome = change();
                changed.get_or_init(|| (asked, Instant::now(), outcome))
            });
            generator.run(shake_until_new(clients, leaf.to_vec(), &changed))
        })?;
        match changed.into_inner() {
            Some((asked, answered, Ok(()))) => Ok(Self::of(&seen, asked, answered)),
            Some((_, _, Err(error))) => Err(error),
            None => bail!("the change has not ended"),
        }
    }

    /// Until the answer, and from there to the last handshake with the old certificate.
    pub(crate) fn times(swaps: &[Self]) -> [Series; 2] {
        let series = |of: fn(&Self) -> f64| swaps.iter().map(of).collect();
        [series(|swap| swap.answered_ms), series(|swap| swap.old_until_ms)]
    }

    fn of(seen: &[Seen], asked: Instant, answered: Instant) -> Self {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let stale = seen.iter().filter(|seen| seen.began >= answered && seen.new == Some(false));
        Self {
            answered_ms: ms(answered - asked),
            old_until_ms: ms(stale.clone().map(|seen| seen.began - answered).max().unwrap_or_default()),
            stale: stale.count(),
            failed: seen.iter().filter(|seen| seen.new.is_none()).count(),
            handshakes: seen.len(),
        }
    }
}

async fn shake_until_new<T>(clients: Vec<Client>, leaf: Vec<u8>, changed: &OnceLock<T>) -> Result<Vec<Seen>> {
    let (mut seen, mut in_a_row) = (Vec::new(), 0);
    let began = Instant::now();
    // Few clients in sequence would miss a short gap.
    while in_a_row < NEW_IN_A_ROW || changed.get().is_none() {
        if began.elapsed() > GONE_WITHIN {
            bail!("the old certificate is still shown after {GONE_WITHIN:?}");
        }
        let mut shaking = tokio::task::JoinSet::new();
        for client in &clients {
            let (client, leaf) = (client.clone(), leaf.clone());
            shaking.spawn_local(async move {
                let began = Instant::now();
                let Ok(session) = client.handshake().await else { return Seen { began, new: None } };
                let new = Some(session.leaf() == leaf);
                session.close().await;
                Seen { began, new }
            });
        }
        for one in shaking.join_all().await {
            in_a_row = if one.new == Some(true) { in_a_row + 1 } else { 0 };
            seen.push(one);
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_after_the_answer_is_stale() {
        let asked = Instant::now();
        let at = |ms: u64| asked + Duration::from_millis(ms);
        let met = |ms, new| Seen { began: at(ms), new };
        let seen = [
            met(1, Some(false)),
            met(5, None),
            met(12, Some(false)),
            met(13, Some(true)),
            met(14, Some(false)),
        ];
        let swap = Swap::of(&seen, asked, at(10));
        assert_eq!((swap.stale, swap.failed, swap.handshakes), (2, 1, 5));
        assert_eq!((swap.answered_ms, swap.old_until_ms), (10.0, 4.0));
    }
}
