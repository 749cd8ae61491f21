//! Nodes that did not answer: what is missing for it is said on stderr.

use crate::output;

/// `what` is such as `their failures are missing here`. Nothing is said if none is missing.
pub(super) fn note(silent: &[String], what: &str) {
    if let Some(text) = missing(silent, what) {
        output::note(&text);
    }
}

/// `*`: all but the one that answers.
fn missing(silent: &[String], what: &str) -> Option<String> {
    let which = match silent {
        [] => return None,
        [all] if all == "*" => "the other nodes could not be asked".to_owned(),
        nodes => format!("no answer in time from {}", output::plain(&nodes.join(", "))),
    };
    Some(format!("certward: {which}; {what} (`certward nodes` shows the nodes)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_that_are_missing_are_named() {
        let text = |nodes: &[&str]| {
            let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
            missing(&nodes, "their sessions are missing here")
        };
        assert_eq!(text(&[]), None);
        let others = "certward: the other nodes could not be asked; their sessions are missing here \
                      (`certward nodes` shows the nodes)";
        assert_eq!(text(&["*"]).as_deref(), Some(others));
        assert!(text(&["n1", "n2\n"]).unwrap().contains("from n1, n2\\u{a}; their"));
    }
}
