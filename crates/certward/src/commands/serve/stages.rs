use tokio_util::sync::CancellationToken;

/// Each token is cancelled when its stage begins.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    /// The API accepts.
    pub(super) open: CancellationToken,
    /// The gateway accepts.
    pub(super) serving: CancellationToken,
    /// The gateway drains; the API reports the node as not ready.
    pub(super) drain: CancellationToken,
    /// The last device is gone.
    pub(super) drained: CancellationToken,
    /// Everything else ends.
    pub(super) end: CancellationToken,
}

impl Stages {
    /// `open`: the API accepts at once.
    pub(super) fn new(open: bool) -> Self {
        let token = CancellationToken::new;
        let stages = Self { open: token(), serving: token(), drain: token(), drained: token(), end: token() };
        if open {
            stages.open.cancel();
        }
        stages
    }
}
