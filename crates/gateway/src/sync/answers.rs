//! Answers what other nodes ask of a deployment. Nothing is read or written while none asks. An
//! answer that waits is written apart: no other waits for it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use certward_lifecycle::{NodeRequest, NodeView};
use certward_store::{NodeId, NodeQuestion, QuestionId, Store, StoreError};
use futures_util::future::join_all;
use tokio::{task::JoinSet, time::sleep};

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
    let mut answerer = Answerer::new(view, store, node);
    let mut questions = store.questions();
    loop {
        questions.next().await;
        while !is_owned_by_other() && answerer.answer().await.unwrap_or_else(log) {
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
    }
}

struct Answerer<'a> {
    view: &'a Arc<dyn NodeView>,
    store: &'a Store,
    node: &'a NodeId,
    /// Answers that wait: as many as are asked for in the second that the longest takes.
    waiting: JoinSet<QuestionId>,
    waited_for: HashSet<QuestionId>,
}

impl<'a> Answerer<'a> {
    fn new(view: &'a Arc<dyn NodeView>, store: &'a Store, node: &'a NodeId) -> Self {
        Self { view, store, node, waiting: JoinSet::new(), waited_for: HashSet::new() }
    }

    /// `true`: more may be open.
    async fn answer(&mut self) -> Result<bool, StoreError> {
        while let Some(ended) = self.waiting.try_join_next() {
            let question = ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
            self.waited_for.remove(&question);
        }
        // Those that wait are open, too.
        let limit = ANSWERED_AT_ONCE.saturating_add(u32::try_from(self.waited_for.len()).unwrap_or(u32::MAX));
        let open = self.store.open_questions(self.node, limit).await?;
        let is_full = open.len() as u64 >= u64::from(limit);
        let mut at_once = Vec::new();
        for question in open {
            if self.waited_for.contains(&question.id) {
                continue;
            }
            match NodeRequest::parse(&question.request) {
                Some(request) if request.waits() => {
                    self.waited_for.insert(question.id);
                    self.waiting.spawn(self.wait_and_answer(question, request));
                }
                request => at_once.push(answer_to(Arc::clone(self.view), question, request)),
            }
        }
        if !at_once.is_empty() {
            self.store.answer_questions(self.node, &join_all(at_once).await).await?;
        }
        Ok(is_full)
    }

    fn wait_and_answer(
        &self,
        question: NodeQuestion,
        request: NodeRequest,
    ) -> impl Future<Output = QuestionId> + Send + 'static {
        let id = question.id;
        let (store, node) = (self.store.clone(), self.node.clone());
        let answer = answer_to(Arc::clone(self.view), question, Some(request));
        async move {
            let written = store.answer_questions(&node, &[answer.await]).await;
            written.map(|()| false).unwrap_or_else(log);
            id
        }
    }
}

/// An empty one to what this release does not know: it is not asked again.
async fn answer_to(
    view: Arc<dyn NodeView>,
    question: NodeQuestion,
    request: Option<NodeRequest>,
) -> (QuestionId, String) {
    let answer = match request {
        Some(request) => request.answer(view, question.deployment).await,
        None => String::new(),
    };
    (question.id, answer)
}

/// The asker does not wait for another attempt.
fn log(error: StoreError) -> bool {
    tracing::warn!("another node's question is not answered: {error}");
    false
}

#[cfg(test)]
mod tests {
    use certward_lifecycle::{
        CarryingOut, FailedHandshake, LiveEvidence, SessionFilter, SessionsByClientCa, SessionsOfNode,
        TrustChange, failures_answer,
    };
    use certward_pki::{DenyKey, DeviceId, NoEntryPoint};
    use certward_store::{
        Address, Deployment, DeploymentId, Generation, MasterKey, QuestionUrgency, SystemClock, Timestamp,
    };

    use tokio::sync::Notify;

    use super::*;

    /// Its deployment has one failed handshake and 7 sessions. Changes are carried out when the
    /// test says so.
    #[derive(Debug, Default)]
    struct OneFailure {
        carried_out: Notify,
    }

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
        fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
            vec![7; keys.len()]
        }
        fn carried_out(&self, _: &DeploymentId, _: Generation) -> CarryingOut<'_> {
            Box::pin(async {
                self.carried_out.notified().await;
                true
            })
        }
        fn sessions_by_client_ca(&self, _: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
            SessionsByClientCa::default()
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
        view: Arc<OneFailure>,
        node: NodeId,
        _folder: tempfile::TempDir,
    }

    impl Asked {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let address = Address::Embedded(folder.path().join("data"));
            let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.unwrap();
            let node = NodeId::parse("n1").unwrap();
            Self { store, view: Arc::default(), node, _folder: folder }
        }

        async fn ask(&self, deployment: &str, request: &str) -> QuestionId {
            let deployment = DeploymentId::parse(deployment).unwrap();
            self.store.ask_nodes(&deployment, request, QuestionUrgency::Read).await.unwrap()
        }

        /// Once.
        async fn answer(&self) -> bool {
            let view: Arc<dyn NodeView> = Arc::<OneFailure>::clone(&self.view);
            Answerer::new(&view, &self.store, &self.node).answer().await.unwrap()
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
            (
                "a",
                r#"{"kind":"deniedSessions","keys":["00000000000000000000000000000000"]}"#,
                r#"{"kind":"deniedSessions","answer":[7]}"#.to_owned(),
            ),
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

    #[tokio::test]
    async fn an_answer_that_waits_delays_no_other_and_is_asked_for_once() {
        let asked = Asked::new().await;
        let view: Arc<dyn NodeView> = Arc::<OneFailure>::clone(&asked.view);
        let mut answerer = Answerer::new(&view, &asked.store, &asked.node);
        let mut waiting = Vec::new();
        for _ in 0..2 * ANSWERED_AT_ONCE {
            waiting.push(asked.ask("a", r#"{"kind":"carriedOut","change":7}"#).await);
        }
        assert!(answerer.answer().await.unwrap() && answerer.answer().await.unwrap());
        let other = asked.ask("a", "").await;
        assert!(!answerer.answer().await.unwrap());
        assert_eq!(answerer.waiting.len(), waiting.len());
        assert!(asked.body(other).await.is_some());
        let answered = async || asked.store.answered_by(waiting[0]).await.unwrap();
        assert!(answered().await.is_empty());
        asked.view.carried_out.notify_waiters();
        while !answerer.waiting.is_empty() {
            answerer.waiting.join_next().await.unwrap().unwrap();
        }
        for question in waiting {
            let body = asked.body(question).await;
            assert_eq!(body.as_deref(), Some(r#"{"kind":"carriedOut","answer":true}"#));
        }
    }
}
