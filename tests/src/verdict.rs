//! Judges what clients and devices saw of several nodes. It cannot be wrong about a race:
//!
//! - A change takes effect between its request and its answer; without an answer, up to
//!   [`OPEN_AFTER_LOSS`] later, or never.
//! - If the API says `running` and a list of nodes that is asked for thereafter counts a node, this
//!   node shows that change from then on, or one that took effect after the API was asked. That it
//!   counts no more, or is restarted, does not matter: what it proved is on its disk.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::ledger::{Change, ChangeId, Connection, Content, End, Event, Outcome, Read};

/// Above the fifteen seconds in which a change under way is decided, and any pause of a node.
pub const OPEN_AFTER_LOSS: Duration = Duration::from_secs(30);

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A node that has proven a change, or a deletion, shows a leaf from before it.
    FalseRunning(Evidence),
    /// A read shows a state from before an acknowledged change.
    Lost(Evidence),
    /// A device is let in that the shown change does not trust; or, by a ticket, that no possible
    /// change trusts.
    WrongTrust(Evidence),
    /// A device is refused by a node that has proven the only possible change, which trusts it.
    TurnedAway(Evidence),
    /// A leaf is shown that was not accepted.
    NeverMade(Evidence),
    /// No connection shows at the end that the node serves the settled state.
    NotServedAtTheEnd(Evidence),
    /// An answer that the documents do not allow.
    Unexpected(String),
}

impl Violation {
    /// What shows it.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::FalseRunning(evidence)
            | Self::Lost(evidence)
            | Self::WrongTrust(evidence)
            | Self::TurnedAway(evidence)
            | Self::NeverMade(evidence)
            | Self::NotServedAtTheEnd(evidence) => Some(evidence),
            Self::Unexpected(_) => None,
        }
    }
}

/// Where and when, and what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Since the start of the run.
    pub time: Duration,
    /// The deployment.
    pub deployment: usize,
    /// The node, if one is concerned.
    pub node: Option<usize>,
    /// The CA of the device's certificate.
    pub ca: Option<usize>,
    /// The change that was running, or acknowledged; `None` for a deletion that was complete.
    pub expected: Option<ChangeId>,
    /// The change that was seen.
    pub seen: Option<ChangeId>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged changes.
    pub acknowledged: usize,
    /// Changes without an answer, or with one that leaves it open.
    pub unknown: usize,
    /// Reads of a deployment.
    pub reads: usize,
    /// Those that said `running` or that a deletion is complete, with the list of nodes.
    pub checks: usize,
    /// Full handshakes.
    pub handshakes: usize,
    /// Resumed sessions that the broker answered.
    pub resumed: usize,
    /// Connections that a node refused with an alert.
    pub refused: usize,
    /// Connections that the network or a dead node ended.
    pub broken: usize,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In the order of their time.
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub counts: Counts,
}

impl Verdict {
    /// Judges the events, in any order, of a run with so many deployments and nodes.
    pub fn of(events: &[Event], deployments: usize, nodes: usize) -> Self {
        let mut ordered: Vec<&Event> = events.iter().collect();
        ordered.sort_by_key(|event| event.known_at());
        let mut judge = Judge::new(&ordered, deployments);
        for event in &ordered {
            judge.take(event);
        }
        for deployment in 0..deployments {
            judge.take_end(&ordered, deployment, nodes);
        }
        Self { violations: judge.violations, counts: judge.counts }
    }
}

/// The latest moment at which it can have taken effect.
fn latest(change: &Change) -> Duration {
    match change.outcome {
        Outcome::Made | Outcome::NotMade => change.span.to,
        Outcome::Unknown => change.span.to + OPEN_AFTER_LOSS,
    }
}

/// What a node has proven.
#[derive(Clone, Copy)]
struct Floor {
    ran: Option<ChangeId>,
    asked_at: Duration,
}

impl Floor {
    /// Whether a node may serve this change.
    fn allows(self, change: &Change) -> bool {
        self.ran == Some(change.id) || latest(change) >= self.asked_at
    }
}

struct Judge<'a> {
    changes: HashMap<ChangeId, &'a Change>,
    /// By deployment; without those that were not made.
    possible: Vec<Vec<&'a Change>>,
    /// By deployment and node.
    floors: BTreeMap<(usize, usize), Floor>,
    violations: Vec<Violation>,
    counts: Counts,
}

impl<'a> Judge<'a> {
    fn new(events: &[&'a Event], deployments: usize) -> Self {
        let mut judge = Self {
            changes: HashMap::new(),
            possible: vec![Vec::new(); deployments],
            floors: BTreeMap::new(),
            violations: Vec::new(),
            counts: Counts::default(),
        };
        for event in events {
            if let Event::Change(change) = event {
                judge.changes.insert(change.id, change);
                if change.outcome != Outcome::NotMade {
                    judge.possible[change.deployment].push(change);
                }
            }
        }
        judge
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Change(change) => match change.outcome {
                Outcome::Made => self.counts.acknowledged += 1,
                Outcome::Unknown => self.counts.unknown += 1,
                Outcome::NotMade => {}
            },
            Event::Read(read) => {
                self.counts.reads += 1;
                self.judge_read(read);
                self.raise_floors(read);
            }
            Event::Connection(connection) => {
                self.count(connection);
                self.judge_leaf(connection);
                self.judge_trust(connection);
                self.judge_refusal(connection);
            }
            Event::Unexpected(text) => self.violations.push(Violation::Unexpected(text.clone())),
        }
    }

    fn count(&mut self, connection: &Connection) {
        let counts = &mut self.counts;
        counts.handshakes += usize::from(connection.shown.is_some());
        match connection.end {
            End::Admitted => counts.resumed += usize::from(connection.shown.is_none()),
            End::Refused => counts.refused += 1,
            End::Broken => counts.broken += 1,
        }
    }

    /// It shows a change that no acknowledged one has certainly replaced.
    fn judge_read(&mut self, read: &Read) {
        let possible = &self.possible[read.deployment];
        let replaced_by = possible
            .iter()
            .filter(|change| change.outcome == Outcome::Made && change.span.to < read.span.from)
            .max_by_key(|change| change.span.from);
        let replaced_at = replaced_by.map_or(Duration::ZERO, |change| change.span.from);
        let is_shown = |change: &Change| match read.newest {
            Some(newest) => change.id == newest,
            None => change.content == Content::Absent,
        };
        let fits = possible.iter().any(|change| {
            is_shown(change) && latest(change) >= replaced_at && change.span.from <= read.span.to
        });
        if !fits {
            self.violations.push(Violation::Lost(Evidence {
                time: read.span.from,
                deployment: read.deployment,
                node: None,
                ca: None,
                expected: replaced_by.map(|change| change.id),
                seen: read.newest,
            }));
        }
    }

    fn raise_floors(&mut self, read: &Read) {
        let Some(members) = &read.settled else { return };
        self.counts.checks += 1;
        let floor = Floor { ran: read.newest, asked_at: read.span.from };
        for node in &members.nodes {
            let place = self.floors.entry((read.deployment, *node)).or_insert(floor);
            if place.asked_at < floor.asked_at {
                *place = floor;
            }
        }
    }

    fn floor(&self, connection: &Connection) -> Option<Floor> {
        self.floors.get(&(connection.deployment, connection.node)).copied()
    }

    fn evidence(&self, connection: &Connection) -> Evidence {
        Evidence {
            time: connection.span.from,
            deployment: connection.deployment,
            node: Some(connection.node),
            ca: connection.ca,
            expected: self.floor(connection).and_then(|floor| floor.ran),
            seen: connection.shown,
        }
    }

    fn judge_leaf(&mut self, connection: &Connection) {
        let Some(shown) = connection.shown else { return };
        match self.changes.get(&shown) {
            Some(change) if change.outcome != Outcome::NotMade => {
                if self.floor(connection).is_some_and(|floor| !floor.allows(change)) {
                    self.violations.push(Violation::FalseRunning(self.evidence(connection)));
                }
            }
            _ => self.violations.push(Violation::NeverMade(self.evidence(connection))),
        }
    }

    /// Leaf and client CAs are those of one change. A resumed session shows no leaf, so that any
    /// change that the node may serve can have let it in.
    fn judge_trust(&mut self, connection: &Connection) {
        if connection.end != End::Admitted {
            return;
        }
        let floor = self.floor(connection);
        let may_be = |change: &Change| match connection.shown {
            Some(shown) => change.id == shown,
            None => change.span.from <= connection.span.to && floor.is_none_or(|floor| floor.allows(change)),
        };
        let mut possible = self.possible[connection.deployment].iter();
        if !possible.any(|change| may_be(change) && change.content.admits(connection.ca)) {
            self.violations.push(Violation::WrongTrust(self.evidence(connection)));
        }
    }

    fn judge_refusal(&mut self, connection: &Connection) {
        let Some(Floor { ran: Some(ran), asked_at }) = self.floor(connection) else { return };
        let trusts = |change: &&Change| change.content.admits(connection.ca);
        let is_open = |change: &Change| latest(change) >= asked_at && change.span.from <= connection.span.to;
        let mut others = self.possible[connection.deployment].iter().filter(|change| change.id != ran);
        if connection.end == End::Refused
            && self.changes.get(&ran).is_some_and(trusts)
            && !others.any(|change| is_open(change))
        {
            self.violations.push(Violation::TurnedAway(self.evidence(connection)));
        }
    }

    /// After its last change the deployment has settled, and every node has shown that state since,
    /// or one that can be later.
    fn take_end(&mut self, ordered: &[&Event], deployment: usize, nodes: usize) {
        let last_change = self.possible[deployment].iter().map(|change| change.span.to).max();
        let settled = ordered.iter().rev().find_map(|event| match event {
            Event::Read(read) if read.deployment == deployment => {
                Some((read, read.settled.as_ref()?.known_at))
            }
            _ => None,
        });
        let settled = settled.filter(|(read, _)| Some(read.span.from) >= last_change);
        for node in 0..nodes {
            let is_served = settled.is_some_and(|(read, known_at)| {
                ordered.iter().any(|event| match event {
                    Event::Connection(it) => {
                        (it.deployment, it.node) == (deployment, node)
                            && it.span.from >= known_at
                            && self.shows(it, read)
                    }
                    _ => false,
                })
            });
            if !is_served {
                self.violations.push(Violation::NotServedAtTheEnd(Evidence {
                    time: settled.map_or(Duration::ZERO, |(_, known_at)| known_at),
                    deployment,
                    node: Some(node),
                    ca: None,
                    expected: settled.and_then(|(read, _)| read.newest),
                    seen: None,
                }));
            }
        }
    }

    fn shows(&self, connection: &Connection, read: &Read) -> bool {
        let floor = Floor { ran: read.newest, asked_at: read.span.from };
        match connection.shown {
            Some(shown) => self.changes.get(&shown).is_some_and(|change| floor.allows(change)),
            None => read.newest.is_none() && connection.end == End::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Members, Span};

    const ONE: ChangeId = ChangeId(1);
    const TWO: ChangeId = ChangeId(2);
    const NODES: usize = 2;

    fn span(from: u64, to: u64) -> Span {
        Span { from: Duration::from_secs(from), to: Duration::from_secs(to) }
    }

    fn change(id: ChangeId, content: Content, span: Span, outcome: Outcome) -> Event {
        Event::Change(Change { id, deployment: 0, content, span, outcome })
    }

    fn made(id: ChangeId, content: Content, from: u64, to: u64) -> Event {
        change(id, content, span(from, to), Outcome::Made)
    }

    fn read(newest: Option<ChangeId>, from: u64, to: u64) -> Event {
        Event::Read(Read { deployment: 0, span: span(from, to), newest, settled: None })
    }

    /// Asked and answered in one second, with the nodes in the next.
    fn settled(newest: Option<ChangeId>, from: u64, nodes: &[usize]) -> Event {
        let members = Members { nodes: nodes.to_vec(), known_at: Duration::from_secs(from + 2) };
        Event::Read(Read { deployment: 0, span: span(from, from + 1), newest, settled: Some(members) })
    }

    fn connection(node: usize, ca: Option<usize>, shown: Option<ChangeId>, at: u64, end: End) -> Event {
        Event::Connection(Connection { deployment: 0, node, span: span(at, at + 1), ca, shown, end })
    }

    fn shown(node: usize, shown: ChangeId, at: u64) -> Event {
        connection(node, None, Some(shown), at, End::Admitted)
    }

    /// Two one-way changes, the second replaces the first; at 10 the first ran, at 30 the second.
    fn history(middle: &[Event]) -> Vec<Event> {
        let mut events = vec![
            made(ONE, Content::OneWay, 0, 1),
            settled(Some(ONE), 10, &[0, 1]),
            shown(0, ONE, 13),
            shown(1, ONE, 13),
            made(TWO, Content::OneWay, 20, 22),
            settled(Some(TWO), 30, &[0, 1]),
            shown(0, TWO, 33),
            shown(1, TWO, 33),
        ];
        events.extend_from_slice(middle);
        events
    }

    fn violations(events: &[Event]) -> Vec<Violation> {
        Verdict::of(events, 1, NODES).violations
    }

    #[track_caller]
    fn assert_finds(events: &[Event], is: fn(&Violation) -> bool) {
        let found = violations(events);
        assert!(found.len() == 1 && is(&found[0]), "{found:?}");
    }

    fn is_false_running(violation: &Violation) -> bool {
        matches!(violation, Violation::FalseRunning(_))
    }

    fn is_lost(violation: &Violation) -> bool {
        matches!(violation, Violation::Lost(_))
    }

    fn is_wrong_trust(violation: &Violation) -> bool {
        matches!(violation, Violation::WrongTrust(_))
    }

    fn is_turned_away(violation: &Violation) -> bool {
        matches!(violation, Violation::TurnedAway(_))
    }

    #[test]
    fn an_honest_history_is_accepted_and_counted() {
        let verdict = Verdict::of(&history(&[read(Some(ONE), 15, 16)]), 1, NODES);
        let counts = Counts { acknowledged: 2, reads: 3, checks: 2, handshakes: 4, ..Counts::default() };
        assert_eq!(verdict, Verdict { violations: vec![], counts });
    }

    #[test]
    fn an_old_leaf_at_a_node_that_counted_after_running_is_a_false_running() {
        assert_finds(&history(&[shown(1, ONE, 34)]), is_false_running);
        // Whether it still counts does not matter.
        let uncounted = [settled(Some(TWO), 40, &[0]), shown(1, ONE, 50)];
        let end = [shown(0, TWO, 51), shown(1, TWO, 51)];
        assert_finds(&history(&[&uncounted[..], &end[..]].concat()), is_false_running);
    }

    #[test]
    fn an_old_leaf_at_a_node_that_did_not_count_is_allowed() {
        let events = [
            made(ONE, Content::OneWay, 0, 1),
            made(TWO, Content::OneWay, 20, 22),
            settled(Some(TWO), 30, &[0]),
            shown(1, ONE, 34),
            settled(Some(TWO), 50, &[0, 1]),
            shown(0, TWO, 60),
            shown(1, TWO, 60),
        ];
        assert_eq!(violations(&events), []);
    }

    #[test]
    fn a_handshake_that_began_before_the_nodes_were_known_is_allowed() {
        assert_eq!(violations(&history(&[shown(1, ONE, 31)])), []);
    }

    #[test]
    fn a_change_that_can_be_later_than_the_running_one_is_allowed() {
        let three = ChangeId(3);
        let unknown = change(three, Content::OneWay, span(14, 16), Outcome::Unknown);
        // Without an answer at 16, made by 46, thus perhaps after 30.
        assert_eq!(violations(&history(&[unknown.clone(), shown(1, three, 34)])), []);
        let much_later = [unknown, settled(Some(TWO), 60, &[0, 1]), shown(1, three, 70)];
        let end = [shown(0, TWO, 70), shown(1, TWO, 71)];
        assert_finds(&history(&[&much_later[..], &end[..]].concat()), is_false_running);
    }

    #[test]
    fn a_deleted_certificate_that_is_shown_is_a_false_running() {
        let events = [
            made(ONE, Content::OneWay, 0, 1),
            made(TWO, Content::Absent, 20, 22),
            settled(None, 30, &[0, 1]),
            connection(0, None, None, 33, End::Refused),
            connection(1, None, None, 33, End::Refused),
            shown(1, ONE, 35),
        ];
        assert_finds(&events, is_false_running);
    }

    #[test]
    fn a_read_from_before_an_acknowledged_change_is_a_loss() {
        assert_finds(&history(&[read(Some(ONE), 23, 24)]), is_lost);
        assert_finds(&history(&[read(None, 23, 24)]), is_lost);
        // The change was under way.
        assert_eq!(violations(&history(&[read(Some(ONE), 21, 24)])), []);
    }

    #[test]
    fn a_last_change_that_is_gone_at_the_end_is_a_loss() {
        let three = ChangeId(3);
        let events = [
            made(three, Content::OneWay, 40, 41),
            settled(Some(TWO), 50, &[0, 1]),
            shown(0, TWO, 53),
            shown(1, TWO, 53),
        ];
        assert_finds(&history(&events), is_lost);
    }

    #[test]
    fn a_node_that_shows_nothing_at_the_end_is_missed() {
        let events = [settled(Some(TWO), 40, &[0, 1]), shown(0, TWO, 43)];
        assert_finds(
            &history(&events),
            |violation| matches!(violation, Violation::NotServedAtTheEnd(of) if of.node == Some(1)),
        );
        assert_eq!(violations(&[made(ONE, Content::OneWay, 0, 1)]).len(), NODES);
    }

    #[test]
    fn a_change_without_an_answer_may_take_effect_after_the_last_read() {
        let three = ChangeId(3);
        let late = change(three, Content::OneWay, span(36, 38), Outcome::Unknown);
        let events = [late, settled(Some(TWO), 40, &[0, 1]), shown(0, TWO, 43), shown(1, three, 44)];
        assert_eq!(violations(&history(&events)), []);
    }

    /// The second change removes the CA 0 and adds the CA 1.
    fn narrowed(end: &[Event]) -> Vec<Event> {
        let admitted = |node, ca, id, at| connection(node, Some(ca), Some(id), at, End::Admitted);
        let mut events = vec![
            made(ONE, Content::TwoWay(vec![0]), 0, 1),
            settled(Some(ONE), 10, &[0, 1]),
            admitted(0, 0, ONE, 13),
            connection(0, Some(1), Some(ONE), 13, End::Refused),
            made(TWO, Content::TwoWay(vec![1]), 20, 22),
            settled(Some(TWO), 30, &[0, 1]),
            admitted(0, 1, TWO, 33),
            admitted(1, 1, TWO, 33),
            connection(1, Some(0), Some(TWO), 34, End::Refused),
        ];
        events.extend_from_slice(end);
        events
    }

    #[test]
    fn a_device_of_a_removed_ca_that_is_let_in_is_found() {
        assert_eq!(violations(&narrowed(&[])), []);
        assert_finds(&narrowed(&[connection(1, Some(0), Some(TWO), 35, End::Admitted)]), is_wrong_trust);
        assert_finds(&narrowed(&[connection(1, None, Some(TWO), 35, End::Admitted)]), is_wrong_trust);
        // A ticket shows no leaf.
        assert_finds(&narrowed(&[connection(1, Some(0), None, 35, End::Admitted)]), is_wrong_trust);
        assert_eq!(violations(&narrowed(&[connection(1, Some(0), None, 25, End::Admitted)])), []);
        assert_eq!(violations(&narrowed(&[connection(1, Some(1), None, 35, End::Admitted)])), []);
    }

    #[test]
    fn a_device_that_the_only_possible_change_trusts_is_turned_away_by_no_proven_node() {
        assert_finds(&narrowed(&[connection(1, Some(1), Some(TWO), 35, End::Refused)]), is_turned_away);
        assert_finds(&narrowed(&[connection(1, Some(1), None, 35, End::Refused)]), is_turned_away);
        assert_eq!(violations(&narrowed(&[connection(1, Some(1), None, 35, End::Broken)])), []);
        // A change that is not settled may close it.
        assert_eq!(violations(&narrowed(&[connection(1, Some(0), None, 25, End::Refused)])), []);
    }

    #[test]
    fn a_leaf_that_was_refused_or_never_sent_is_found() {
        let three = ChangeId(3);
        let refused = change(three, Content::OneWay, span(14, 15), Outcome::NotMade);
        let found = violations(&history(&[refused, shown(0, three, 16)]));
        assert!(found.iter().any(|it| matches!(it, Violation::NeverMade(_))), "{found:?}");
        assert!(!violations(&history(&[shown(0, ChangeId(4), 16)])).is_empty());
    }
}
