//! Service from the replica while the database is cut off, slow or back.

use std::time::{Duration, Instant};

use certward_tests::{
    Authority, Certward, Detour, Device, Leaf, PostgresServer, Scene, Setup, wait_until, wait_within,
};

const OTHER: &str = "other";
const OTHER_HOST: &str = "other.localhost";
/// Loads or copies a deployment.
const READS_A_DEPLOYMENT: &str = "SELECT * FROM deployment WHERE id";
/// Above the second that it takes, below a retry pause of ten.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// Growing retry pauses reach ten seconds by then.
const OUTAGE: Duration = Duration::from_secs(20);
/// Above the three seconds of docs/database-away.md, below a start that waits for timeouts.
const START_TIMEOUT: Duration = Duration::from_secs(12);

/// One of two nodes reaches the database through a proxy that can block.
struct Two {
    scene: Scene,
    behind: Certward,
    detour: Detour,
    _server: PostgresServer,
}

impl Two {
    fn new() -> Self {
        let server = PostgresServer::start();
        let store = server.database();
        let setup = |store: &str| Setup { store: Some(store.to_owned()), ..Setup::default() };
        let scene = Scene::with(setup(&store));
        scene.run_one_way();
        scene.api().create_deployment(OTHER, &scene.broker.upstream(), &[OTHER_HOST]);
        scene.api().post_tls(OTHER, &scene.authority.server(&[OTHER_HOST]).one_way()).expect(200);
        scene.api().wait_running(OTHER);
        let detour = Detour::before(&store);
        let behind = Certward::start_beside(&scene.certward, setup(detour.url()));
        wait_until("a whole snapshot", || behind.log().contains("snapshot is whole").then_some(()));
        Self { scene, behind, detour, _server: server }
    }

    fn change(&self, client_cas: Option<&Authority>) -> Leaf {
        let leaf = self.scene.leaf();
        let upload = client_cas.map_or_else(|| leaf.one_way(), |ca| leaf.two_way(ca.pem()));
        self.scene.api().put_tls(Scene::DEPLOYMENT, &upload).expect(200);
        leaf
    }

    fn shows(&self, device: &Device, leaf: &Leaf) -> bool {
        let session = device.connect(self.behind.mqtts(), Scene::HOST, "looking");
        session.is_ok_and(|session| session.leaf() == leaf.der)
    }

    fn serves_other(&self) -> bool {
        self.scene.device().connect(self.behind.mqtts(), OTHER_HOST, "other").is_ok()
    }
}

#[test]
fn a_node_whose_line_is_cut_when_it_has_read_the_feed_refuses_what_has_changed_and_nothing_else() {
    let mut two = Two::new();
    assert!(two.behind.stop().success());
    let clients = Authority::new("Device CA");
    let narrowed = two.change(Some(&clients));
    two.scene.api().wait_running(Scene::DEPLOYMENT);

    two.detour.block_at(READS_A_DEPLOYMENT);
    two.behind.serve();
    wait_until("the cut", || two.detour.is_blocked().then_some(()));
    let (anybody, known) = (two.scene.device(), two.scene.device().with_identity(&clients.client("device")));
    // Longer than a lease and any wait for the database.
    let begin = Instant::now();
    while begin.elapsed() < OUTAGE {
        let to = two.behind.mqtts();
        anybody.connect(to, Scene::HOST, "anybody").expect_err("it is two-way by now");
        known.connect(to, Scene::HOST, "known").expect_err("how, this node cannot know");
        assert!(two.serves_other());
    }
    two.detour.free();
    wait_within(CATCH_UP_TIMEOUT, "the new certificate", || two.shows(&known, &narrowed).then_some(()));
    anybody.connect(two.behind.mqtts(), Scene::HOST, "anybody").expect_err("two-way");
    assert!(two.serves_other());
}

#[test]
fn a_node_whose_line_returns_shows_what_has_changed_at_once() {
    let two = Two::new();
    let begin = Instant::now();
    two.detour.block();
    wait_within(Duration::from_secs(60), "the end of its lease", || {
        two.scene.certward.log().contains("a node is lost").then_some(())
    });
    let newest = two.change(None);
    two.scene.api().wait_running(Scene::DEPLOYMENT);
    while begin.elapsed() < OUTAGE {
        assert!(two.serves_other());
        assert!(!two.shows(&two.scene.device(), &newest), "it cannot know of it");
    }
    two.detour.free();
    wait_within(CATCH_UP_TIMEOUT, "the new certificate", || {
        two.shows(&two.scene.device(), &newest).then_some(())
    });
}

#[test]
fn a_database_that_is_slow_delays_the_first_device_of_a_start_by_what_is_promised() {
    let mut two = Two::new();
    assert!(two.behind.stop().success());
    two.detour.slow_down(Duration::from_millis(400));
    let begin = Instant::now();
    two.behind.serve();
    assert!(two.serves_other());
    assert!(begin.elapsed() < START_TIMEOUT, "the first device was served after {:?}", begin.elapsed());
    let newest = two.change(None);
    wait_within(Duration::from_secs(60), "the new certificate", || {
        two.shows(&two.scene.device(), &newest).then_some(())
    });
}
