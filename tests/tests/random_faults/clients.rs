//! Clients of the API: they make changes, and look whether `running` is true.

use std::{io, thread, time::Duration};

use certward_tests::{
    Answer, ClusterNode, Leaf, Seeded, came_within,
    ledger::{Change, ChangeId, Content, Event, Members, Outcome, Read, Span},
    wait_within,
};
use serde_json::json;

use crate::{
    NODES, PAUSE, Run,
    deployments::{DEPLOYMENTS, Deployment},
};

/// Of a client that waits for `running` before its next change.
const PATIENCE_MAX: Duration = Duration::from_secs(3);
/// Shorter than a pause: the node may carry out the request when it continues.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For the last lease to end, all nodes to join, and the proofs.
const HEAL_TIMEOUT: Duration = Duration::from_secs(120);
const UPLOAD: &str = "Content-Type: application/json\r\n";

/// A change before it is sent.
pub(crate) struct Attempt {
    id: ChangeId,
    deployment: usize,
    content: Content,
    /// Its common name is the number of the change.
    pub(crate) leaf: Leaf,
}

/// Which node is asked, with these header fields.
#[derive(Clone, Copy)]
struct Ask<'a> {
    node: &'a ClusterNode,
    fields: &'static str,
}

impl Run {
    /// Changes a deployment until the end.
    pub(crate) fn operate(&self, deployment: usize, mut random: Seeded) {
        let mut exists = true;
        while !self.is_over() {
            let content = match DEPLOYMENTS[deployment].habit.next(&mut random) {
                Content::Absent if !exists => Content::OneWay,
                content => content,
            };
            exists = self.change(&self.attempt(deployment, content), exists, &mut random);
            let patience = random.between(PAUSE, PATIENCE_MAX);
            came_within(patience, || {
                (self.is_over() || self.check_patiently(deployment, &mut random).is_some()).then_some(())
            });
        }
    }

    pub(crate) fn attempt(&self, deployment: usize, content: Content) -> Attempt {
        let mut leaves = self.leaves.lock().unwrap();
        let id = ChangeId(leaves.len());
        let leaf = self.servers.server_named(&id.0.to_string(), &DEPLOYMENTS[deployment].hosts);
        leaves.insert(leaf.der.clone(), id);
        Attempt { id, deployment, content, leaf }
    }

    /// Whether there is a certificate thereafter, as far as the client knows.
    pub(crate) fn change(&self, attempt: &Attempt, exists: bool, random: &mut Seeded) -> bool {
        let Attempt { id, deployment, ref content, .. } = *attempt;
        let node = if random.one_in(20) { self.any_node(random) } else { self.awake_node(random) };
        let method = match (content, exists) {
            (Content::Absent, _) => "DELETE",
            (_, true) => "PUT",
            (_, false) => "POST",
        };
        let (fields, body) = self.body(attempt);
        let from = self.now();
        let answer = send(node, method, &tls(deployment), fields, &body);
        let span = Span { from, to: self.now() };
        let (outcome, exists) = match &answer {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => (Outcome::NotMade, exists),
            Err(_) => (Outcome::Unknown, exists),
            Ok(answer) => match answer.status {
                200 | 204 => (Outcome::Made, *content != Content::Absent),
                503 if answer.code() == "STORE_UNAVAILABLE" => (Outcome::Unknown, exists),
                404 if answer.code() == "TLS_NOT_FOUND" => {
                    self.note(Event::Read(Read { deployment, span, newest: None, settled: None }));
                    (Outcome::NotMade, false)
                }
                422 if answer.code() == "TLS_ALREADY_EXISTS" => (Outcome::NotMade, true),
                _ => {
                    self.unexpected(method, answer);
                    (Outcome::Unknown, exists)
                }
            },
        };
        self.note(Event::Change(Change { id, deployment, content: content.clone(), span, outcome }));
        exists
    }

    fn body(&self, attempt: &Attempt) -> (&'static str, String) {
        match &attempt.content {
            Content::Absent => ("", String::new()),
            Content::OneWay => (UPLOAD, attempt.leaf.one_way().to_string()),
            Content::TwoWay(cas) => {
                let trust: String = cas.iter().map(|ca| self.cas[*ca].pem()).collect();
                (UPLOAD, attempt.leaf.two_way(&trust).to_string())
            }
        }
    }

    /// If the newest change is settled, devices connect to each counted node; how many there are.
    fn check(&self, deployment: usize, ask: Ask<'_>, random: &mut Seeded) -> Option<usize> {
        let (mut read, is_settled) = self.read(deployment, ask)?;
        if is_settled {
            read.settled = self.members(ask.node);
        }
        let counted = read.settled.as_ref().map(|members| members.nodes.clone());
        self.note(Event::Read(read));
        for node in counted.iter().flatten() {
            for devices in &self.devices {
                if !self.cluster.nodes()[*node].is_paused() {
                    self.connect(&devices.fresh, devices.ca, deployment, *node, random);
                }
            }
        }
        counted.map(|nodes| nodes.len())
    }

    /// Waits a second for a change to settle.
    fn check_patiently(&self, deployment: usize, random: &mut Seeded) -> Option<usize> {
        let ask = Ask { node: self.awake_node(random), fields: "Prefer: wait=1\r\n" };
        self.check(deployment, ask, random)
    }

    /// Devices connect to a node as soon as it counts again: it must have caught up before.
    pub(crate) fn audit(&self, mut random: Seeded) {
        let mut before: Vec<usize> = (0..NODES).collect();
        while !self.is_over() {
            thread::sleep(PAUSE / 4);
            let ask = Ask { node: self.undisturbed_node(), fields: "" };
            let Some(members) = self.members(ask.node) else { continue };
            if members.nodes.iter().any(|node| !before.contains(node)) {
                for deployment in 0..DEPLOYMENTS.len() {
                    self.check(deployment, ask, &mut random);
                }
            }
            before = members.nodes;
        }
    }

    /// With whether it is settled.
    fn read(&self, deployment: usize, ask: Ask<'_>) -> Option<(Read, bool)> {
        let from = self.now();
        let answer = self.get(ask, &tls(deployment))?;
        let span = Span { from, to: self.now() };
        let newest = answer.json()["cn"].as_str().map(|cn| ChangeId(cn.parse().expect("a number")));
        let is_settled = answer.tls_status() == "running" || answer.json() == json!({});
        Some((Read { deployment, span, newest, settled: None }, is_settled))
    }

    fn members(&self, node: &ClusterNode) -> Option<Members> {
        let answer = self.get(Ask { node, fields: "" }, "/nodes")?;
        Some(Members { nodes: self.cluster.counted(&answer), known_at: self.now() })
    }

    fn get(&self, ask: Ask<'_>, path: &str) -> Option<Answer> {
        let answer = send(ask.node, "GET", path, ask.fields, "").ok()?;
        match answer.status {
            200 => return Some(answer),
            503 => {}
            _ => self.unexpected(path, &answer),
        }
        None
    }

    fn any_node(&self, random: &mut Seeded) -> &ClusterNode {
        &self.cluster.nodes()[random.below(NODES)]
    }

    /// A paused node answers too late.
    fn awake_node(&self, random: &mut Seeded) -> &ClusterNode {
        let awake: Vec<_> = self.cluster.nodes().iter().filter(|node| !node.is_paused()).collect();
        awake[random.below(awake.len())]
    }

    /// Each deployment is settled, all nodes count, and devices connect to each.
    pub(crate) fn wait_settled(&self, random: &mut Seeded) {
        for (deployment, Deployment { id, .. }) in DEPLOYMENTS.iter().enumerate() {
            wait_within(HEAL_TIMEOUT, id, || {
                (self.check_patiently(deployment, random) == Some(NODES)).then_some(())
            });
        }
    }
}

fn tls(deployment: usize) -> String {
    format!("/deployments/{}/tls", DEPLOYMENTS[deployment].id)
}

fn send(node: &ClusterNode, method: &str, path: &str, fields: &str, body: &str) -> io::Result<Answer> {
    let path = format!("/public_api/v1{path}");
    node.api().try_send_within(REQUEST_TIMEOUT, method, &path, fields, body)
}
