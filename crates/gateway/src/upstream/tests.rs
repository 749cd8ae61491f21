//! Against real sockets on loopback.

use std::{collections::HashSet, fs, net::Ipv4Addr, process::Command};

use certward_store::Nat64;
use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{JoinHandle, JoinSet},
};

use super::*;

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn upstreams(sources: &[&str]) -> Arc<Upstreams> {
    let policy = UpstreamPolicy { allow: None, own: Vec::new(), nat64: Nat64::default() };
    let sources: Vec<IpAddr> = sources.iter().map(|source| source.parse().unwrap()).collect();
    Arc::new(Upstreams::new(policy, &sources, Arc::default(), 7))
}

fn list(addresses: &[SocketAddr]) -> UpstreamList {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    UpstreamList::parse(&texts.join(",")).unwrap()
}

/// Accepts connections and keeps them.
struct Broker {
    address: SocketAddr,
    peers: Arc<std::sync::Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Broker {
    async fn new() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    async fn at(address: SocketAddr) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let peers = Arc::<std::sync::Mutex<Vec<SocketAddr>>>::default();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::clone(&peers);
        let task = tokio::spawn(async move {
            let mut streams = Vec::new();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                accepted.lock().unwrap().push(peer);
                streams.push(stream);
            }
        });
        Self { address, peers, task }
    }

    fn accepted(&self) -> usize {
        self.peers.lock().unwrap().len()
    }

    async fn sources(&self, connections: usize) -> HashSet<IpAddr> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while self.accepted() < connections {
            assert!(Instant::now() < deadline, "{} are accepted", self.accepted());
            sleep(Duration::from_millis(1)).await;
        }
        self.peers.lock().unwrap().iter().map(SocketAddr::ip).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Refuses connects. No other test listens on this address.
fn dead() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap().local_addr().unwrap()
}

/// Accepts nothing; queues one more than `queue`.
fn deaf(queue: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket.listen(queue).unwrap()
}

/// Its queue is full: connects get no answer.
async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let listener = deaf(1);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        timeout_at(Instant::now() + Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

fn is_down(upstreams: &Upstreams, address: SocketAddr) -> bool {
    upstreams.endpoints.at(address).is_down()
}

async fn peer(upstreams: &Upstreams, list: &UpstreamList) -> Result<SocketAddr, &'static str> {
    let connected = upstreams.connect(list, None, Duration::from_secs(5)).await;
    connected.map(|stream| stream.peer_addr().unwrap()).map_err(|failure| failure.reason())
}

#[tokio::test]
async fn the_first_address_that_answers_is_used_in_the_order_of_preference() {
    let (upstreams, first, second) = (upstreams(&[]), Broker::new().await, Broker::new().await);
    let (dead, dead_too) = (dead(), dead());
    for (addresses, expected) in [
        (&[first.address, second.address][..], Ok(first.address)),
        (&[second.address, first.address], Ok(second.address)),
        (&[dead, first.address], Ok(first.address)),
        (&[dead, dead_too, second.address, first.address], Ok(second.address)),
        (&[dead], Err("refused")),
        (&[dead, dead_too], Err("refused")),
    ] {
        assert_eq!(peer(&upstreams, &list(addresses)).await, expected, "{addresses:?}");
    }
    assert!(is_down(&upstreams, dead) && !is_down(&upstreams, first.address));
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_passed_over() {
    let (upstreams, broker) = (upstreams(&[]), Broker::new().await);
    let names = UpstreamList::parse(&format!("no-such-broker.invalid:1883,{}", broker.address)).unwrap();
    assert_eq!(peer(&upstreams, &names).await, Ok(broker.address));
    let only = UpstreamList::parse("no-such-broker.invalid:1883").unwrap();
    assert_eq!(peer(&upstreams, &only).await, Err("not_resolved"));
}

#[tokio::test]
async fn a_project_connects_where_its_rule_says_on_the_resolved_address_and_this_nodes_rule_says_too() {
    let (upstreams, broker) = (upstreams(&[]), Broker::new().await);
    let port = broker.address.port();
    let name = format!("broker.test:{port}");
    for (rule, upstream, resolved, expected) in [
        (&["127.0.0.0/8"][..], &name, "127.0.0.1", Ok(())),
        (&["10.0.0.0/8"], &name, "127.0.0.1", Err("not_allowed_by_project")),
        (&["10.0.0.0/8", &name], &name, "127.0.0.1", Ok(())),
        (&["10.0.0.0/8", "broker.test:1"], &name, "127.0.0.1", Err("not_allowed_by_project")),
        // The node's rule comes first.
        (&["169.254.0.0/16", &name], &name, "169.254.169.254", Err("not_allowed")),
    ] {
        let allow = UpstreamAllow::parse(rule).unwrap();
        let list = UpstreamList::parse(upstream).unwrap();
        upstreams
            .look_ups
            .answer_next(&list.as_slice()[0], &[SocketAddr::new(resolved.parse().unwrap(), port)]);
        let connected = upstreams.connect(&list, Some(&allow), TEST_TIMEOUT).await;
        assert_eq!(connected.map(drop).map_err(|failure| failure.reason()), expected, "{rule:?} {resolved}");
    }
    // The first allowed address is used.
    let both = UpstreamList::parse(&format!("127.0.0.2:{port},127.0.0.1:{port}")).unwrap();
    let allow = UpstreamAllow::parse(&["127.0.0.1"]).unwrap();
    let connected = upstreams.connect(&both, Some(&allow), TEST_TIMEOUT).await.unwrap();
    assert_eq!(connected.peer_addr().unwrap(), broker.address);
}

#[tokio::test]
async fn the_addresses_of_a_name_share_its_connections() {
    let upstreams = upstreams(&[]);
    let brokers = [Broker::new().await, Broker::new().await, Broker::new().await];
    let addresses = brokers.each_ref().map(|broker| broker.address);
    let name = UpstreamList::parse("brokers.test:1883").unwrap();
    for _ in 0..300 {
        upstreams.look_ups.answer_next(&name.as_slice()[0], &addresses);
        peer(&upstreams, &name).await.unwrap();
    }
    let counts = brokers.each_ref().map(Broker::accepted);
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn an_address_that_is_back_is_used_at_once_where_there_is_no_other() {
    let (upstreams, address) = (upstreams(&[]), dead());
    assert_eq!(peer(&upstreams, &list(&[address])).await, Err("refused"));
    assert_eq!(peer(&upstreams, &list(&[address])).await, Err("refused"));
    assert!(is_down(&upstreams, address));
    let _back = Broker::at(address).await;
    assert_eq!(peer(&upstreams, &list(&[address])).await, Ok(address));
    assert!(!is_down(&upstreams, address));
}

#[tokio::test]
async fn an_address_that_is_back_is_preferred_again_after_its_wait() {
    let (upstreams, address, other) = (upstreams(&[]), dead(), Broker::new().await);
    let both = list(&[address, other.address]);
    assert_eq!(peer(&upstreams, &both).await, Ok(other.address));
    let _back = Broker::at(address).await;
    assert_eq!(peer(&upstreams, &both).await, Ok(other.address), "it waits");
    let deadline = Instant::now() + TEST_TIMEOUT;
    while peer(&upstreams, &both).await != Ok(address) {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!is_down(&upstreams, address));
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_the_others_their_time() {
    let (upstreams, broker) = (upstreams(&[]), Broker::new().await);
    let (hole, _queued) = black_hole().await;
    let hole = hole.local_addr().unwrap();
    let within = Duration::from_secs(2);
    assert!(upstreams.connect(&list(&[hole, broker.address]), None, within).await.is_ok());
    assert!(is_down(&upstreams, hole));
    let alone = upstreams.connect(&list(&[hole]), None, Duration::from_millis(600)).await;
    assert_eq!(alone.unwrap_err().reason(), "timeout");
}

#[tokio::test]
async fn no_time_to_speak_of_says_nothing_about_an_address() {
    let upstreams = upstreams(&[]);
    let (hole, _queued) = black_hole().await;
    let hole = hole.local_addr().unwrap();
    let failed = upstreams.connect(&list(&[hole]), None, Duration::from_millis(50)).await;
    assert_eq!(failed.unwrap_err().reason(), "timeout");
    assert!(!is_down(&upstreams, hole));
}

/// Sockets in SYN_SENT, by their local address.
fn begun_sockets(to: SocketAddr) -> HashSet<String> {
    const SYN_SENT: &str = "02";
    let port = format!(":{:04X}", to.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let begun = lines.filter(|words| words[2].ends_with(&port) && words[3] == SYN_SENT);
    begun.map(|words| words[1].to_owned()).collect()
}

fn begun(to: SocketAddr) -> usize {
    begun_sockets(to).len()
}

/// At least so many were in SYN_SENT at one moment. The table is not read at once: a socket counts
/// if two reads have it, for then it was there between them.
fn begun_at_one_moment(to: SocketAddr) -> usize {
    begun_sockets(to).intersection(&begun_sockets(to)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_are_connected_and_never_more_than_the_bound_is_begun() {
    let (upstreams, listener) = (upstreams(&[]), deaf(128));
    let address = listener.local_addr().unwrap();
    let mut connects = JoinSet::new();
    for _ in 0..1000 {
        let upstreams = Arc::clone(&upstreams);
        connects.spawn(async move { upstreams.connect(&list(&[address]), None, 3 * TEST_TIMEOUT).await });
    }
    let deadline = Instant::now() + TEST_TIMEOUT;
    while begun(address) < endpoint::CONNECTS_AT_ONCE {
        assert!(Instant::now() < deadline, "{} are begun", begun(address));
        sleep(Duration::from_millis(5)).await;
    }
    // The number holds until the broker accepts.
    for _ in 0..10 {
        assert!(begun_at_one_moment(address) <= endpoint::CONNECTS_AT_ONCE);
        sleep(Duration::from_millis(5)).await;
    }
    let _broker = Broker::on(listener);
    let mut streams = Vec::new();
    while let Some(connected) = connects.join_next().await {
        streams.push(connected.unwrap().unwrap());
        // On a busy machine the system's table is long.
        if streams.len().is_multiple_of(100) {
            assert!(begun_at_one_moment(address) <= endpoint::CONNECTS_AT_ONCE);
        }
    }
    assert_eq!(streams.len(), 1000);
    assert!(!is_down(&upstreams, address));
}

#[tokio::test]
async fn a_connect_that_waits_too_long_for_a_slot_is_reported() {
    let upstreams = upstreams(&[]);
    let (hole, _queued) = black_hole().await;
    let hole = list(&[hole.local_addr().unwrap()]);
    let mut before = JoinSet::new();
    for _ in 0..endpoint::CONNECTS_AT_ONCE {
        let (upstreams, hole) = (Arc::clone(&upstreams), hole.clone());
        before.spawn(async move { upstreams.connect(&hole, None, 3 * TEST_TIMEOUT).await });
    }
    let deadline = Instant::now() + TEST_TIMEOUT;
    while begun(hole.as_slice()[0].socket_address().unwrap()) < endpoint::CONNECTS_AT_ONCE {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(5)).await;
    }
    let failed = upstreams.connect(&hole, None, Duration::from_millis(100)).await;
    assert_eq!(failed.unwrap_err().reason(), "crowded");
}

#[tokio::test]
async fn a_broker_on_this_machine_is_not_waited_for() {
    let (sources, jitter, broker) = (UpstreamSources::new(&[]), Jitter::new(7), Broker::new().await);
    let connected = |address| sources.connect(address, &jitter).now_or_never().expect("it is known at once");
    assert_eq!(connected(broker.address).unwrap().peer_addr().unwrap(), broker.address);
    assert_eq!(connected(dead()).unwrap_err().reason(), "refused");
}

#[tokio::test]
async fn connections_come_from_all_sources_of_the_family() {
    let (upstreams, broker) = (upstreams(&["127.0.0.2", "127.0.0.3", "::1"]), Broker::new().await);
    for _ in 0..40 {
        peer(&upstreams, &list(&[broker.address])).await.unwrap();
    }
    assert_eq!(broker.sources(40).await, ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse().unwrap()).into());
}

#[tokio::test]
async fn a_family_without_a_source_is_left_to_the_system() {
    let (upstreams, broker) = (upstreams(&["::1"]), Broker::new().await);
    peer(&upstreams, &list(&[broker.address])).await.unwrap();
    // Mapped or not, it is IPv4.
    let mapped = UpstreamList::parse(&format!("[::ffff:127.0.0.1]:{}", broker.address.port())).unwrap();
    peer(&upstreams, &mapped).await.unwrap();
    assert_eq!(broker.sources(2).await, [IpAddr::from(Ipv4Addr::LOCALHOST)].into());
}

#[tokio::test]
async fn a_source_that_is_not_this_machines_is_passed_over_and_named_when_it_is_the_only_one() {
    let broker = Broker::new().await;
    let one_of_two = upstreams(&["192.0.2.1", "127.0.0.2"]);
    for _ in 0..10 {
        peer(&one_of_two, &list(&[broker.address])).await.unwrap();
    }
    assert_eq!(peer(&upstreams(&["192.0.2.1"]), &list(&[broker.address])).await, Err("source_unusable"));
    assert!(!is_down(&one_of_two, broker.address));
}

/// Set in a test's own process.
const ALONE: &str = "CERTWARD_TEST_ALONE";

/// True in the test's own process; else starts it by `through`, after `prepare`.
fn alone(test: &str, through: &[&str], prepare: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let test = format!("upstream::tests::{test}");
    let output = Command::new(through[0])
        .args(&through[1..])
        .arg(format!("{prepare} exec \"$0\" --exact \"$1\" --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .arg(&test)
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[tokio::test]
async fn a_source_has_its_own_ports_to_each_broker_and_running_out_of_them_is_named() {
    // A network namespace with four ports.
    let through = ["unshare", "--map-root-user", "--net", "sh", "-c"];
    if !Command::new(through[0]).args(&through[1..]).arg("true").status().is_ok_and(|status| status.success())
    {
        eprintln!("not tested: network namespaces are not permitted here");
        return;
    }
    let prepare = "ip link set lo up && ip address add 10.1.2.3/32 dev lo && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range &&";
    if !alone("a_source_has_its_own_ports_to_each_broker_and_running_out_of_them_is_named", &through, prepare)
    {
        return;
    }
    let at = |port| Broker::at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (broker, other) = (at(50_001).await, at(50_002).await);
    let mut held = Vec::new();
    let mut used_up = async |sources: &[&str], broker: &Broker| {
        let (upstreams, mut connected) = (upstreams(sources), 0);
        let failure = loop {
            match upstreams.connect(&list(&[broker.address]), None, TEST_TIMEOUT).await {
                Ok(stream) => held.push(stream),
                Err(failure) => break failure.reason(),
            }
            connected += 1;
        };
        assert!(!is_down(&upstreams, broker.address), "it is no fault of the broker's");
        (connected, failure)
    };
    assert_eq!(used_up(&["127.0.0.2"], &broker).await, (4, "source_ports_exhausted"));
    assert_eq!(
        used_up(&["127.0.0.2"], &other).await,
        (4, "source_ports_exhausted"),
        "another broker, the same ports"
    );
    assert_eq!(
        used_up(&["127.0.0.2", "127.0.0.3"], &broker).await,
        (4, "source_ports_exhausted"),
        "the other source's"
    );
    // Other tests have loopback only. A wildcard listener is recognised on each address.
    let policy =
        UpstreamPolicy { allow: None, own: vec!["[::]:50001".parse().unwrap()], nat64: Nat64::default() };
    for (address, own) in [("10.1.2.3:50001", true), ("10.1.2.3:50002", false), ("10.1.2.4:50001", false)] {
        assert_eq!(policy.check(address.parse().unwrap()).is_err(), own, "{address}");
    }
    assert_eq!(used_up(&[], &broker).await, (4, "source_ports_exhausted"), "the system's choice");
}

#[tokio::test]
async fn running_out_of_files_is_named_and_passes() {
    if !alone("running_out_of_files_is_named_and_passes", &["sh", "-c"], "ulimit -n 64 &&") {
        return;
    }
    let (upstreams, broker) = (upstreams(&[]), Broker::new().await);
    let both = list(&[broker.address, dead()]);
    let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert_eq!(peer(&upstreams, &both).await, Err("out_of_files"));
    assert!(!is_down(&upstreams, broker.address));
    files.truncate(1);
    assert_eq!(peer(&upstreams, &list(&[broker.address])).await, Ok(broker.address));
}
