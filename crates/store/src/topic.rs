use tokio::sync::watch;

/// What a process wakes others for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A commit that readers of the feed wait for.
    Changes,
    /// A question to all nodes.
    Questions,
    /// An answer to one.
    Answers,
}

impl Topic {
    pub(crate) const ALL: [Self; 3] = [Self::Changes, Self::Questions, Self::Answers];

    /// PostgreSQL's channel; part of the protocol between nodes of two releases.
    pub(crate) fn channel(self) -> &'static str {
        match self {
            Self::Changes => "certward",
            Self::Questions => "certward_questions",
            Self::Answers => "certward_answers",
        }
    }

    pub(crate) fn of_channel(channel: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.channel() == channel)
    }
}

/// Wakes this process's tasks. Clones share the topics.
#[derive(Debug, Clone)]
pub(crate) struct WakeUps {
    changes: watch::Sender<()>,
    questions: watch::Sender<()>,
    answers: watch::Sender<()>,
}

impl WakeUps {
    pub(crate) fn new() -> Self {
        let topic = || watch::channel(()).0;
        Self { changes: topic(), questions: topic(), answers: topic() }
    }

    pub(crate) fn wake(&self, topic: Topic) {
        self.sender(topic).send_replace(());
    }

    pub(crate) fn listen(&self, topic: Topic) -> WakeUp {
        WakeUp(self.sender(topic).subscribe())
    }

    fn sender(&self, topic: Topic) -> &watch::Sender<()> {
        match topic {
            Topic::Changes => &self.changes,
            Topic::Questions => &self.questions,
            Topic::Answers => &self.answers,
        }
    }
}

/// Wakes on commits of other processes since it was made, or since it last woke; may be late,
/// spurious or lost.
#[derive(Debug)]
pub struct WakeUp(watch::Receiver<()>);

impl WakeUp {
    /// Resolves after the next one.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Closed: never wakes, and does not spin.
            std::future::pending::<()>().await;
        }
    }
}
