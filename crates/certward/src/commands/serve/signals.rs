use anyhow::Context;
use tokio::signal::unix::{self, SignalKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessSignal {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

pub(super) struct ProcessSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl ProcessSignals {
    /// From now on no signal is lost or ends the process.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn catch() -> anyhow::Result<Self> {
        let catch = |kind| unix::signal(kind).context("signals cannot be caught");
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> ProcessSignal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => ProcessSignal::End,
            _ = self.interrupt.recv() => ProcessSignal::End,
            _ = self.hang_up.recv() => ProcessSignal::Reload,
        }
    }

    pub(super) async fn end(&mut self) {
        while self.next().await != ProcessSignal::End {}
    }
}
