//! Answers other nodes that ask for the failed handshakes of a deployment. Nothing is read or
//! written while none asks.

use std::time::Duration;

use certward_lifecycle::failures_answer;
use certward_store::{NodeId, Store, StoreError};
use tokio::time::sleep;

use crate::observe::failures::Failures;

/// Of 128 KiB at most, in one transaction.
const ANSWERED_AT_ONCE: u32 = 10;
/// Between two reads of the questions: 40 answers a second at most. An asker waits four times as
/// long.
const PAUSE: Duration = Duration::from_millis(250);

/// Answers until it is dropped, but for times when another process has the node.
pub(crate) async fn keep_answering(
    failures: &Failures,
    store: &Store,
    node: &NodeId,
    is_owned_by_other: impl Fn() -> bool,
) {
    let mut questions = store.questions();
    loop {
        questions.next().await;
        while !is_owned_by_other() && answer(failures, store, node).await.unwrap_or_else(log) {
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
    }
}

/// `true`: more may be open.
async fn answer(failures: &Failures, store: &Store, node: &NodeId) -> Result<bool, StoreError> {
    let open = store.open_questions(node, ANSWERED_AT_ONCE).await?;
    if open.is_empty() {
        return Ok(false);
    }
    let is_full = open.len() as u64 >= u64::from(ANSWERED_AT_ONCE);
    let answers: Vec<_> = open
        .into_iter()
        .map(|question| (question.id, failures_answer(&failures.all(&question.deployment))))
        .collect();
    store.answer_questions(node, &answers).await?;
    Ok(is_full)
}

/// The asker does not wait for another attempt.
fn log(error: StoreError) -> bool {
    tracing::warn!("another node's question for failed handshakes is not answered: {error}");
    false
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use certward_store::{Address, DeploymentId, MasterKey, QuestionId, SystemClock, Timestamp};

    use super::*;
    use crate::observe::{cause::Cause, failures::Seen};

    struct Asked {
        store: Store,
        failures: Failures,
        node: NodeId,
        _folder: tempfile::TempDir,
    }

    impl Asked {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let address = Address::Embedded(folder.path().join("data"));
            let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.unwrap();
            let node = NodeId::parse("n1").unwrap();
            Self { store, failures: Failures::default(), node, _folder: folder }
        }

        fn fails(&self, deployment: &str, at: i64) {
            let peer = SocketAddr::from(([192, 0, 2, 7], 1));
            let id = DeploymentId::parse(deployment).unwrap();
            self.failures.note(&id, Timestamp(at), peer, Cause::Timeout, &Seen::default());
        }

        async fn ask(&self, deployment: &str) -> QuestionId {
            self.store.ask_nodes(&DeploymentId::parse(deployment).unwrap()).await.unwrap()
        }

        async fn answer(&self) -> bool {
            answer(&self.failures, &self.store, &self.node).await.unwrap()
        }

        async fn body(&self, question: QuestionId) -> Option<String> {
            self.store.take_answers(question).await.unwrap().pop().map(|answer| answer.body)
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_with_the_failures_of_its_deployment() {
        let asked = Asked::new().await;
        asked.fails("a", 1);
        asked.fails("a", 2);
        asked.fails("b", 3);
        let (of_a, of_none) = (asked.ask("a").await, asked.ask("none").await);
        assert!(!asked.answer().await);
        let kept = asked.failures.all(&DeploymentId::parse("a").unwrap());
        assert_eq!(kept.len(), 2);
        assert_eq!(asked.body(of_a).await, Some(failures_answer(&kept)));
        assert_eq!(asked.body(of_none).await, Some(failures_answer(&[])));
    }

    #[tokio::test]
    async fn many_questions_are_answered_some_at_a_time_the_oldest_first() {
        let asked = Asked::new().await;
        let mut questions = Vec::new();
        for _ in 0..ANSWERED_AT_ONCE + 1 {
            questions.push(asked.ask("a").await);
        }
        assert!(asked.answer().await, "more are open");
        assert!(!asked.answer().await);
        assert!(!asked.answer().await);
        for question in questions {
            assert!(asked.body(question).await.is_some());
        }
    }
}
