use std::sync::Arc;

use certward_lifecycle::Lifecycle;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    ApiMetrics, ApiSettings, documents::Documents, large_bodies::LargeBodies, login_guard::LoginGuard,
    readiness::Readiness, refusal_recorder::RefusalRecorder, store_trouble::StoreTrouble,
};

/// State of all handlers.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: ApiSettings,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: ApiMetrics,
    pub(crate) registry: Arc<Registry>,
    pub(crate) login_guard: LoginGuard,
    pub(crate) large_bodies: LargeBodies,
    pub(crate) readiness: Readiness,
    pub(crate) store_trouble: StoreTrouble,
    pub(crate) refusals: RefusalRecorder,
    pub(crate) documents: Documents,
    /// No new requests; delayed answers are sent at once.
    pub(crate) shutdown: CancellationToken,
}

pub(crate) type Shared = Arc<Context>;
