//! A question to all gateway nodes, and their answers. Nodes meet in the store alone.
//!
//! A question is a row; its commit wakes the other nodes, which write one answer each. The asking
//! node takes the answers and removes the question. An answer that comes later is pruned.

use std::time::Duration;

use sqlx::AnyConnection;

use crate::{
    DeploymentId, NodeId, Store, StoreError, Timestamp, engine::row, postgres::listen, sealed::random,
    topic::Topic,
};

/// An older question is not answered: its asker has stopped waiting.
pub const QUESTION_OPEN_FOR: Duration = Duration::from_secs(3);
/// Long over for the slowest node.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A question's random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionId(i64);

/// Which questions a node answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionUrgency {
    /// A change waits for the answers.
    Change,
    /// Something is only read.
    Read,
}

/// An open question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeQuestion {
    /// Its number.
    pub id: QuestionId,
    /// The deployment that it is about.
    pub deployment: DeploymentId,
    /// What is asked; the store does not read it.
    pub request: String,
}

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionAnswer {
    /// The node.
    pub node: NodeId,
    /// Its answer; the store does not read it.
    pub body: String,
}

/// The texts of requests are read last: those of many questions are long.
const OPEN: &str = "
    WITH open AS (
        SELECT q.id, q.urgency, q.asked_at, d.project, row_number() OVER (
            PARTITION BY q.urgency, q.deployment ORDER BY q.asked_at, q.id) AS deployment_turn
        FROM node_question q LEFT JOIN deployment d ON d.id = q.deployment
        WHERE q.asked_at > $1 AND NOT EXISTS
            (SELECT 1 FROM node_answer a WHERE a.question = q.id AND a.node = $2)),
    turns AS (
        SELECT id, urgency, asked_at, row_number() OVER (
            PARTITION BY urgency, project ORDER BY deployment_turn, asked_at, id) AS project_turn
        FROM open),
    chosen AS (
        SELECT * FROM turns ORDER BY urgency DESC, project_turn, asked_at, id LIMIT $3)
    SELECT q.id, q.deployment, q.request FROM chosen c JOIN node_question q ON q.id = c.id
    ORDER BY c.urgency DESC, c.project_turn, c.asked_at, c.id";

impl Store {
    /// Asks all nodes; its commit wakes them.
    pub async fn ask_nodes(
        &self,
        deployment: &DeploymentId,
        request: &str,
        urgency: QuestionUrgency,
    ) -> Result<QuestionId, StoreError> {
        let id = QuestionId(random::nonzero());
        let mut tx = self.begin().await?;
        let now = tx.now();
        tx.step(async |conn| {
            sqlx::query(
                "INSERT INTO node_question (id, deployment, request, urgency, asked_at)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(id.0)
            .bind(deployment.as_str())
            .bind(request)
            .bind(match urgency {
                QuestionUrgency::Change => 1_i64,
                QuestionUrgency::Read => 0,
            })
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
            listen::notify(conn, Topic::Questions, &self.inner.notify_source).await
        })
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Questions that the node has not answered, at most `limit`. Those for changes first; then
    /// projects in turn, and their deployments in turn: many questions of one do not delay another.
    pub async fn open_questions(&self, node: &NodeId, limit: u32) -> Result<Vec<NodeQuestion>, StoreError> {
        let engine = self.inner.engine()?;
        let open = async |conn: &mut AnyConnection| {
            let now = engine.now(conn, self.inner.clock.as_ref()).await?;
            let rows = sqlx::query(OPEN)
                .bind(now.before(QUESTION_OPEN_FOR).0)
                .bind(node.as_str())
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await?;
            let question = |row| {
                let id = QuestionId(row::integer(row, "id")?);
                let deployment = row::deployment_id(row, "deployment")?;
                Ok(NodeQuestion { id, deployment, request: row::text(row, "request")? })
            };
            rows.iter().map(question).collect()
        };
        self.read().run(open).await
    }

    /// Writes the node's answers in one transaction, whose commit wakes the nodes that asked. A
    /// question that is gone gets none.
    pub async fn answer_questions(
        &self,
        node: &NodeId,
        answers: &[(QuestionId, String)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now();
        tx.step(async |conn| {
            for (question, body) in answers {
                answer(conn, *question, node, body, now).await?;
            }
            listen::notify(conn, Topic::Answers, &self.inner.notify_source).await
        })
        .await?;
        tx.commit().await
    }

    /// The nodes that have answered, by id.
    pub async fn answered_by(&self, question: QuestionId) -> Result<Vec<NodeId>, StoreError> {
        let answered = async |conn: &mut AnyConnection| {
            let rows = sqlx::query("SELECT node FROM node_answer WHERE question = $1 ORDER BY node")
                .bind(question.0)
                .fetch_all(conn)
                .await?;
            rows.iter().map(|row| row::node_id(row, "node")).collect()
        };
        self.read().run(answered).await
    }

    /// Removes a question, and returns its answers by node.
    pub async fn take_answers(&self, question: QuestionId) -> Result<Vec<QuestionAnswer>, StoreError> {
        let mut tx = self.begin().await?;
        let taken = tx.step(async |conn| take(conn, question).await).await?;
        tx.commit().await?;
        Ok(taken)
    }
}

async fn answer(
    conn: &mut AnyConnection,
    question: QuestionId,
    node: &NodeId,
    body: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO node_answer (question, node, body, answered_at)
         SELECT id, $2, $3, $4 FROM node_question WHERE id = $1
         ON CONFLICT (question, node) DO NOTHING",
    )
    .bind(question.0)
    .bind(node.as_str())
    .bind(row::storable(body).into_owned())
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// The question first: an answer written later finds none.
async fn take(conn: &mut AnyConnection, question: QuestionId) -> Result<Vec<QuestionAnswer>, StoreError> {
    sqlx::query("DELETE FROM node_question WHERE id = $1").bind(question.0).execute(&mut *conn).await?;
    let rows = sqlx::query("DELETE FROM node_answer WHERE question = $1 RETURNING node, body")
        .bind(question.0)
        .fetch_all(conn)
        .await?;
    let answer = |row| Ok(QuestionAnswer { node: row::node_id(row, "node")?, body: row::text(row, "body")? });
    let mut answers: Vec<QuestionAnswer> = rows.iter().map(answer).collect::<Result<_, StoreError>>()?;
    answers.sort_unstable_by(|one, other| one.node.cmp(&other.node));
    Ok(answers)
}

/// What a killed node has left, and answers that came too late: few.
pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    for sql in
        ["DELETE FROM node_question WHERE asked_at <= $1", "DELETE FROM node_answer WHERE answered_at <= $1"]
    {
        sqlx::query(sql).bind(now.before(KEPT_FOR).0).execute(&mut *conn).await?;
    }
    Ok(())
}
