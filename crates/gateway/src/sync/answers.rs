//! Answers what other nodes ask of a deployment. Nothing is read or written while none asks.

use std::{sync::Arc, time::Duration};

use certward_lifecycle::{NodeRequest, NodeView};
use certward_store::{NodeId, NodeQuestion, QuestionId, Store, StoreError};
use tokio::{task::spawn_blocking, time::sleep};

/// In one transaction.
const ANSWERED_AT_ONCE: u32 = 10;
/// Between two reads of the questions: 40 answers a second at most. An asker waits four times as
/// long.
const PAUSE: Duration = Duration::from_millis(250);

/// Answers until it is dropped, but for times when another process has the node.
pub(crate) async fn keep_answering(
    view: &Arc<dyn NodeView>,
    store: &Store,
    node: &NodeId,
    is_owned_by_other: impl Fn() -> bool,
) {
    let mut questions = store.questions();
    loop {
        questions.next().await;
        while !is_owned_by_other() && answer(view, store, node).await.unwrap_or_else(log) {
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
    }
}

/// `true`: more may be open.
async fn answer(view: &Arc<dyn NodeView>, store: &Store, node: &NodeId) -> Result<bool, StoreError> {
    let open = store.open_questions(node, ANSWERED_AT_ONCE).await?;
    if open.is_empty() {
        return Ok(false);
    }
    let is_full = open.len() as u64 >= u64::from(ANSWERED_AT_ONCE);
    let answers = {
        let view = Arc::clone(view);
        // It may verify certificates.
        spawn_blocking(move || open.iter().map(|question| answer_to(&*view, question)).collect::<Vec<_>>())
    };
    let answers = answers.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
    store.answer_questions(node, &answers).await?;
    Ok(is_full)
}

/// An empty one to what this release does not know: it is not asked again.
fn answer_to(view: &dyn NodeView, question: &NodeQuestion) -> (QuestionId, String) {
    let request = NodeRequest::parse(&question.request);
    (question.id, request.map_or_else(String::new, |request| request.answer(view, &question.deployment)))
}

/// The asker does not wait for another attempt.
fn log(error: StoreError) -> bool {
    tracing::warn!("another node's question is not answered: {error}");
    false
}

#[cfg(test)]
mod tests {
    use certward_lifecycle::{
        FailedHandshake, LiveEvidence, SessionFilter, SessionsOfNode, TrustChange, failures_answer,
    };
    use certward_pki::{DeviceId, NoEntryPoint};
    use certward_store::{
        Address, Deployment, DeploymentId, MasterKey, QuestionUrgency, SystemClock, Timestamp,
    };

    use super::*;

    /// Its deployment has one failed handshake and 7 sessions.
    #[derive(Debug)]
    struct OneFailure;

    impl NodeView for OneFailure {
        fn ready(&self) -> bool {
            true
        }
        fn entry_point(&self, _: &Deployment) -> Result<(), NoEntryPoint> {
            Ok(())
        }
        fn connections(&self, _: &DeploymentId) -> u64 {
            0
        }
        fn gateway_node(&self) -> Option<NodeId> {
            None
        }
        fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake> {
            if deployment.as_str() == "a" { vec![failure()] } else { Vec::new() }
        }
        fn newest_failure(&self, _: &DeploymentId) -> Option<FailedHandshake> {
            None
        }
        fn sessions(&self, _: &DeploymentId, _: &SessionFilter, _: usize) -> Option<SessionsOfNode> {
            Some(SessionsOfNode { total: 7, sessions: Vec::new() })
        }
        fn connected(&self, _: &DeploymentId, _: &[DeviceId]) -> Option<Vec<DeviceId>> {
            None
        }
        fn close_sessions(&self, _: &DeploymentId, _: &SessionFilter) -> Option<u64> {
            Some(7)
        }
        fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
            LiveEvidence { sessions: 7, ..LiveEvidence::default() }
        }
    }

    fn failure() -> FailedHandshake {
        FailedHandshake {
            at: Timestamp(1),
            peer: ([192, 0, 2, 7], 1).into(),
            cause: "timeout".into(),
            meaning: "It took too long.".into(),
            remedy: "Wait.".into(),
            server_name: None,
            tls_version: None,
            detail: None,
            client_certificate: None,
        }
    }

    struct Asked {
        store: Store,
        view: Arc<dyn NodeView>,
        node: NodeId,
        _folder: tempfile::TempDir,
    }

    impl Asked {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let address = Address::Embedded(folder.path().join("data"));
            let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.unwrap();
            let node = NodeId::parse("n1").unwrap();
            Self { store, view: Arc::new(OneFailure), node, _folder: folder }
        }

        async fn ask(&self, deployment: &str, request: &str) -> QuestionId {
            let deployment = DeploymentId::parse(deployment).unwrap();
            self.store.ask_nodes(&deployment, request, QuestionUrgency::Read).await.unwrap()
        }

        async fn answer(&self) -> bool {
            answer(&self.view, &self.store, &self.node).await.unwrap()
        }

        async fn body(&self, question: QuestionId) -> Option<String> {
            self.store.take_answers(question).await.unwrap().pop().map(|answer| answer.body)
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_with_what_is_asked_of_its_deployment() {
        let asked = Asked::new().await;
        let all = r#"{"kind":"sessions","filter":"all","limit":1}"#;
        let mut questions = Vec::new();
        for (deployment, request, expected) in [
            ("a", "", failures_answer(&[failure()])),
            ("none", "", failures_answer(&[])),
            ("a", all, r#"{"kind":"sessions","answer":{"total":7,"sessions":[]}}"#.to_owned()),
            ("a", r#"{"kind":"connected","devices":[]}"#, r#"{"kind":"connected","answer":null}"#.to_owned()),
            ("a", r#"{"kind":"closeSessions","filter":"all"}"#, r#"{"kind":"closed","answer":7}"#.to_owned()),
            ("a", r#"{"kind":"of a newer release"}"#, String::new()),
        ] {
            questions.push((asked.ask(deployment, request).await, expected));
        }
        assert!(!asked.answer().await);
        for (question, expected) in questions {
            assert_eq!(asked.body(question).await, Some(expected));
        }
    }

    #[tokio::test]
    async fn many_questions_are_answered_some_at_a_time() {
        let asked = Asked::new().await;
        let mut questions = Vec::new();
        for _ in 0..ANSWERED_AT_ONCE + 1 {
            questions.push(asked.ask("a", "").await);
        }
        let other = asked.ask("b", "").await;
        assert!(asked.answer().await, "more are open");
        assert!(asked.body(other).await.is_some(), "one deployment's questions do not delay another's");
        assert!(!asked.answer().await);
        assert!(!asked.answer().await);
        for question in questions {
            assert!(asked.body(question).await.is_some());
        }
    }
}
