use std::time::Duration;

use certward_store::{
    Boundary, DeploymentId, NodeQuestion, Project, QUESTION_OPEN_FOR, QuestionAnswer, QuestionId,
    QuestionUrgency, Timestamp,
};

use crate::{
    on_both_engines,
    world::{World, deployment, id, node, project},
};

on_both_engines![
    a_question_is_open_to_each_node_until_it_has_answered,
    a_change_is_answered_first_then_projects_and_their_deployments_in_turn,
    answers_are_taken_once_and_leave_nothing_behind,
    an_answer_comes_back_as_it_was_written,
    a_late_answer_finds_no_question,
    an_old_question_is_not_answered_and_pruned,
    only_a_store_of_several_processes_is_shared,
];

const ROWS: &str =
    "SELECT CAST((SELECT count(*) FROM node_question) + (SELECT count(*) FROM node_answer) AS TEXT)";

async fn ask(world: &World, deployment: &DeploymentId) -> QuestionId {
    world.store.ask_nodes(deployment, "what", QuestionUrgency::Read).await.expect("asked")
}

async fn open(world: &World, from: &str) -> Vec<NodeQuestion> {
    world.store.open_questions(&node(from), 10).await.expect("read")
}

async fn answer(world: &World, from: &str, question: QuestionId, body: &str) {
    world.store.answer_questions(&node(from), &[(question, body.to_owned())]).await.expect("answered");
}

async fn take(world: &World, question: QuestionId) -> Vec<(String, String)> {
    let taken = world.store.take_answers(question).await.expect("taken");
    taken.into_iter().map(|QuestionAnswer { node, body }| (node.to_string(), body)).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(node, body)| (node.to_owned(), body.to_owned())).into()
}

async fn age(world: &World, by: Duration) {
    let by = by.as_millis();
    world.tamper(&format!("UPDATE node_question SET asked_at = asked_at - {by}")).await;
    world.tamper(&format!("UPDATE node_answer SET answered_at = answered_at - {by}")).await;
}

async fn a_question_is_open_to_each_node_until_it_has_answered(world: World) {
    let question = ask(&world, &id("d")).await;
    let opened = [NodeQuestion { id: question, deployment: id("d"), request: "what".to_owned() }];
    assert_eq!(open(&world, "n1").await, opened);
    answer(&world, "n1", question, "one").await;
    assert_eq!(open(&world, "n1").await, []);
    assert_eq!(open(&world, "n2").await, opened);
    assert_eq!(world.store.answered_by(question).await.expect("read"), [node("n1")]);
    ask(&world, &id("e")).await;
    assert_eq!(world.store.open_questions(&node("n2"), 1).await.expect("read").len(), 1);
}

/// Deployments `of-…` are of another project than the rest; `gone` does not exist.
async fn a_change_is_answered_first_then_projects_and_their_deployments_in_turn(world: World) {
    world.deployment("a").await;
    world.deployment("b").await;
    let mut tx = world.begin().await;
    let other = Project {
        id: project("other"),
        name: String::new(),
        description: String::new(),
        created_at: Timestamp(1),
        boundary: Boundary::default(),
    };
    assert!(tx.insert_project(&other).await.expect("written"));
    let mut of_other = deployment("of-other", "other", &[]);
    of_other.generation = tx.draw_generation(&of_other.id).await.expect("a generation");
    tx.insert_deployment(&of_other).await.expect("written").expect("no host is taken");
    tx.commit().await.expect("committed");
    let mut asked = Vec::new();
    for (age, (deployment, urgency)) in [
        ("a", QuestionUrgency::Read),
        ("a", QuestionUrgency::Read),
        ("a", QuestionUrgency::Read),
        ("b", QuestionUrgency::Read),
        ("of-other", QuestionUrgency::Read),
        ("gone", QuestionUrgency::Read),
        ("a", QuestionUrgency::Change),
        ("a", QuestionUrgency::Change),
        ("of-other", QuestionUrgency::Change),
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!("{age}");
        asked.push(world.store.ask_nodes(&id(deployment), &request, urgency).await.expect("asked"));
        // The first is the oldest.
        world.tamper("UPDATE node_question SET asked_at = asked_at - 1").await;
    }
    let requests = |open: Vec<NodeQuestion>| open.into_iter().map(|open| open.request).collect::<Vec<_>>();
    assert_eq!(requests(open(&world, "n1").await), ["6", "8", "7", "0", "4", "5", "3", "1", "2"]);
    let first = world.store.open_questions(&node("n1"), 4).await.expect("read");
    assert_eq!(requests(first), ["6", "8", "7", "0"]);
    answer(&world, "n1", asked[0], "done").await;
    assert_eq!(requests(open(&world, "n1").await), ["6", "8", "7", "1", "4", "5", "3", "2"]);
}

async fn answers_are_taken_once_and_leave_nothing_behind(world: World) {
    let (question, other) = (ask(&world, &id("d")).await, ask(&world, &id("d")).await);
    let both = [(question, "two".to_owned()), (other, "of the other".to_owned())];
    world.store.answer_questions(&node("n2"), &both).await.expect("answered");
    answer(&world, "n1", question, "one").await;
    answer(&world, "n1", question, "again").await;
    assert_eq!(take(&world, question).await, pairs([("n1", "one"), ("n2", "two")]));
    assert_eq!(take(&world, question).await, []);
    assert_eq!(take(&world, other).await, pairs([("n2", "of the other")]));
    assert_eq!(world.asked(ROWS).await, "0");
}

async fn an_answer_comes_back_as_it_was_written(world: World) {
    let question = ask(&world, &id("d")).await;
    let hostile = r#"{"subject": "CN=\u{1b}[31m', O=$1; DROP TABLE node_answer; -- 💥\\\"\u0000"}"#;
    answer(&world, "n1", question, hostile).await;
    assert_eq!(take(&world, question).await, pairs([("n1", hostile)]));
}

async fn a_late_answer_finds_no_question(world: World) {
    let question = ask(&world, &id("d")).await;
    assert_eq!(take(&world, question).await, []);
    answer(&world, "n1", question, "too late").await;
    assert_eq!(world.asked(ROWS).await, "0");
}

async fn an_old_question_is_not_answered_and_pruned(world: World) {
    let question = ask(&world, &id("d")).await;
    answer(&world, "n1", question, "one").await;
    age(&world, QUESTION_OPEN_FOR).await;
    assert_eq!(open(&world, "n2").await, []);
    world.store.prune(Duration::from_secs(60)).await.expect("pruned");
    assert_eq!(world.asked(ROWS).await, "2", "its asker may be slow");
    age(&world, Duration::from_secs(60)).await;
    world.store.prune(Duration::from_secs(60)).await.expect("pruned");
    assert_eq!(world.asked(ROWS).await, "0");
}

async fn only_a_store_of_several_processes_is_shared(world: World) {
    assert_eq!(world.store.is_shared(), world.is_postgres());
}
