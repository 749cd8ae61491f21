use anyhow::Context;
use tokio::signal::unix::{self, SignalKind};

/// What the outside asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

/// The signals that certward obeys.
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// From now on no signal of these ends the process by itself, and none is lost.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn catch() -> anyhow::Result<Self> {
        let catch = |kind| unix::signal(kind).context("signals cannot be caught");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// The next one. May be cancelled without losing one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// Resolves when the end is asked for.
    pub(super) async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}
