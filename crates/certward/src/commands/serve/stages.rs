use tokio_util::sync::CancellationToken;

/// How far this process is; each is cancelled when it begins.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    /// The API accepts.
    pub(super) open: CancellationToken,
    /// Devices are accepted.
    pub(super) serving: CancellationToken,
    /// Devices are accepted no more, and seen off. The API goes on: whoever looks after this node is told that it is not ready.
    pub(super) drain: CancellationToken,
    /// The last device is gone.
    pub(super) drained: CancellationToken,
    /// Everything else ends.
    pub(super) end: CancellationToken,
}

impl Stages {
    /// With `open`, the API accepts from the beginning.
    pub(super) fn new(open: bool) -> Self {
        let token = CancellationToken::new;
        let stages = Self { open: token(), serving: token(), drain: token(), drained: token(), end: token() };
        if open {
            stages.open.cancel();
        }
        stages
    }
}
