//! Nodes that did not answer: what is missing from an answer is named in it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use certward_lifecycle::{Lifecycle, SilentNodes};
use certward_store::{DeploymentId, Generation, NodeId};

/// Where the body is an array.
const SILENT_NODES: HeaderName = HeaderName::from_static("certward-silent-nodes");
const ANONYMOUS_NODES: HeaderName = HeaderName::from_static("certward-anonymous-nodes");
/// Not an id.
const ALL_OTHERS: &str = "*";

/// In an object.
pub(crate) fn named(silent: &SilentNodes) -> Vec<String> {
    match silent {
        SilentNodes::AllOthers => vec![ALL_OTHERS.to_owned()],
        SilentNodes::These(nodes) => nodes.iter().map(ToString::to_string).collect(),
    }
}

/// The nodes that have not acknowledged a change. It is stored: an answer without them is better
/// than an error.
pub(crate) async fn without(
    lifecycle: &Lifecycle,
    deployment: &DeploymentId,
    change: Generation,
) -> Vec<String> {
    match lifecycle.nodes_without(deployment, change).await {
        Ok(Some(silent)) => named(&silent),
        Ok(None) => Vec::new(),
        Err(_) => named(&SilentNodes::AllOthers),
    }
}

/// Absent if none is missing.
pub(crate) fn add_header(headers: &mut HeaderMap, silent: &SilentNodes) {
    let value = match silent {
        SilentNodes::AllOthers => HeaderValue::from_static(ALL_OTHERS),
        SilentNodes::These(nodes) if nodes.is_empty() => return,
        SilentNodes::These(nodes) => list(nodes),
    };
    headers.insert(SILENT_NODES, value);
}

/// Nodes that record no devices; absent if there is none.
pub(crate) fn add_anonymous_header(headers: &mut HeaderMap, nodes: &[NodeId]) {
    if !nodes.is_empty() {
        headers.insert(ANONYMOUS_NODES, list(nodes));
    }
}

fn list(nodes: &[NodeId]) -> HeaderValue {
    let ids: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    // Ids are letters, digits and `-`.
    HeaderValue::from_str(&ids.join(", ")).unwrap_or(HeaderValue::from_static(ALL_OTHERS))
}
