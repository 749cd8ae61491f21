//! Bytes between a device and its broker.

use std::{fs, net::SocketAddr, time::Duration};

use certward_gateway::Settings;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::stage::{
    Authority, Broker, CONNECT, Device, TEST_TIMEOUT, TLS12, TLS13, World, eventually, id, settings,
};

/// More than all buffers on the path.
const MUCH: usize = 10 * 1024 * 1024;

async fn world_with(broker: &Broker) -> (World, Authority) {
    world_of(broker, settings()).await
}

async fn world_of(broker: &Broker, settings: Settings) -> (World, Authority) {
    let (world, ca) = (World::with(settings).await, Authority::new("servers"));
    let deployment = world.deploy_with("d", broker.address, Some(broker.address), &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    (world, ca)
}

fn hold_little(stream: &TcpStream) {
    SockRef::from(stream).set_send_buffer_size(64 * 1024).unwrap();
    SockRef::from(stream).set_recv_buffer_size(64 * 1024).unwrap();
}

async fn flood(mut to: impl AsyncWrite + Unpin) {
    let piece = pattern(16 * 1024);
    while to.write_all(&piece).await.is_ok() {}
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Queues {
    unsent: usize,
    unread: usize,
}

/// Once they no longer change.
async fn in_the_end(peer: SocketAddr, kind: impl Fn(Queues) -> usize) -> usize {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match kind(queues_to(peer)) {
            same if same == last && same > 0 => return same,
            other => last = other,
        }
    }
}

/// From proc(5).
fn queues_to(peer: SocketAddr) -> Queues {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", peer.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let waiting = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().filter(|remote| remote.ends_with(&port))?;
        fields.next().filter(|state| *state == ESTABLISHED)?;
        let (unsent, unread) = fields.next()?.split_once(':')?;
        let bytes = |text| usize::from_str_radix(text, 16).ok();
        Some(Queues { unsent: bytes(unsent)?, unread: bytes(unread)? })
    });
    // Other processes may use the same port elsewhere, with empty queues.
    waiting.fold(Queues::default(), |most, one| Queues {
        unsent: most.unsent.max(one.unsent),
        unread: most.unread.max(one.unread),
    })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_goes_each_way_at_once_though_readers_are_slow_to_begin() {
    // Both sides first send everything: both directions fill up, and nothing may be lost or stall.
    let broker = Broker::new(|stream| async move {
        let (mut from, mut to) = stream.into_split();
        let mut connect = vec![0; CONNECT.len()];
        from.read_exact(&mut connect).await.unwrap();
        let sending = tokio::spawn(async move {
            to.write_all(&pattern(MUCH)).await.unwrap();
            to
        });
        let mut all = vec![0; MUCH];
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        from.read_exact(&mut all).await.unwrap();
        assert!(all == pattern(MUCH));
        sending.await.unwrap().write_all(b"done").await.unwrap();
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    for version in [TLS13, TLS12] {
        let device = Device::new(&ca, None, &[version]);
        let connection = device.connect(world.mqtts(), "d.test").await.unwrap();
        let (mut from, mut to) = tokio::io::split(connection.0);
        to.write_all(CONNECT).await.unwrap();
        let sending = tokio::spawn(async move {
            to.write_all(&pattern(MUCH)).await.unwrap();
            to.flush().await.unwrap();
            to
        });
        let mut all = vec![0; MUCH];
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        from.read_exact(&mut all).await.unwrap();
        assert!(all == pattern(MUCH));
        let mut done = [0; 4];
        tokio::time::timeout(TEST_TIMEOUT, from.read_exact(&mut done)).await.unwrap().unwrap();
        assert_eq!(&done, b"done");
        sending.await.unwrap();
    }
    world.shut_down().await;
}

#[tokio::test]
async fn the_system_buffers_little_for_a_peer_that_does_not_read() {
    /// 128 KiB, and the last accepted write.
    const UNSENT_MAX: usize = 256 * 1024;
    let broker = Broker::new(|mut stream| async move {
        hold_little(&stream);
        stream.read_exact(&mut [0; CONNECT.len()]).await.unwrap();
        flood(stream).await;
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    let device = connection.0.get_ref().0.local_addr().unwrap();
    hold_little(connection.0.get_ref().0);
    connection.0.write_all(CONNECT).await.unwrap();
    let flooding = tokio::spawn(flood(connection.0));
    for (who, peer) in [("device", device), ("broker", broker.address)] {
        let unsent = timeout(TEST_TIMEOUT, in_the_end(peer, |queues| queues.unsent)).await;
        let unsent = unsent.unwrap_or_else(|_| panic!("nothing waits for the {who}, or more and more"));
        assert!(unsent <= UNSENT_MAX, "{unsent} bytes wait for the {who}");
    }
    flooding.abort();
    world.shut_down().await;
}

#[tokio::test]
async fn the_system_buffers_little_ahead_of_a_fast_reader() {
    /// 256 KiB, and as much for the system.
    const UNREAD_MAX: usize = 512 * 1024;
    /// Reads much, then nothing; writes all the time.
    async fn talk(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let (from, to) = tokio::io::split(stream);
        let flooding = tokio::spawn(flood(to));
        tokio::io::copy(&mut from.take(4 * MUCH as u64), &mut tokio::io::sink()).await.unwrap();
        flooding.await.unwrap();
    }
    let broker = Broker::new(talk).await;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    let device = connection.0.get_ref().0.local_addr().unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let talking = tokio::spawn(talk(connection.0));
    for (who, peer) in [("device", device), ("broker", broker.address)] {
        let unread = timeout(TEST_TIMEOUT, in_the_end(peer, |queues| queues.unread)).await;
        let unread = unread.unwrap_or_else(|_| panic!("nothing waits from the {who}, or more and more"));
        assert!(unread <= UNREAD_MAX, "{unread} bytes wait from the {who}");
    }
    talking.abort();
    world.shut_down().await;
}

fn stalled_within(stalled: Duration) -> Settings {
    let mut settings = settings();
    settings.deadlines.stalled = stalled;
    settings
}

#[tokio::test]
async fn a_device_that_takes_nothing_is_closed_though_it_goes_on_sending() {
    let (gone, knows) = tokio::sync::oneshot::channel();
    let gone = std::sync::Mutex::new(Some(gone));
    let broker = Broker::new(move |stream| {
        let gone = gone.lock().unwrap().take().unwrap();
        async move {
            let (mut from, to) = stream.into_split();
            let flooding = tokio::spawn(flood(to));
            let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
            flooding.abort();
            gone.send(()).unwrap();
        }
    })
    .await;
    let (world, ca) = world_of(&broker, stalled_within(Duration::from_millis(300))).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let (_unread, mut to) = tokio::io::split(connection.0);
    let talking = tokio::spawn(async move {
        while to.write_all(b"\xc0\0").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    timeout(TEST_TIMEOUT, knows).await.expect("the broker is told").unwrap();
    assert_eq!(world.metric(r#"certward_gateway_closed_total{reason="client_stalled"}"#), 1);
    talking.abort();
    world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_is_gone_while_its_broker_takes_nothing_is_forgotten() {
    let broker = Broker::new(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let (world, ca) = world_of(&broker, stalled_within(Duration::from_millis(300))).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    // Until the socket is full.
    while timeout(Duration::from_millis(100), connection.0.write_all(&pattern(MUCH / 10))).await.is_ok() {}
    drop(connection);
    let stalled = r#"certward_gateway_closed_total{reason="upstream_stalled"}"#;
    eventually("it is let go", || async { world.metric(stalled) == 1 }).await;
    eventually("it is forgotten", || async { world.connections(&id("d")) == 0 }).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_takes_little_at_a_time_stays() {
    let broker = Broker::new(|stream| async move {
        let (_from, to) = stream.into_split();
        flood(to).await;
    })
    .await;
    let (world, ca) = world_of(&broker, stalled_within(Duration::from_secs(2))).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    hold_little(connection.0.get_ref().0);
    connection.0.write_all(CONNECT).await.unwrap();
    let begin = std::time::Instant::now();
    let mut some = vec![0; 64 * 1024];
    while begin.elapsed() < Duration::from_secs(5) {
        timeout(TEST_TIMEOUT, connection.0.read_exact(&mut some)).await.unwrap().expect("still served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(connection);
    world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_ends_its_half_still_receives_all_from_the_broker() {
    let broker = Broker::new(|mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        // After the device's end.
        stream.write_all(&pattern(1024 * 1024)).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.0.write_all(b"last words").await.unwrap();
    connection.0.shutdown().await.unwrap();
    let mut all = Vec::new();
    connection.0.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 1024 * 1024 + CONNECT.len() + b"last words".len());
    assert!(all.ends_with(b"last words"));
    world.shut_down().await;
}

#[tokio::test]
async fn a_broker_that_ends_its_half_still_receives_all_from_the_device() {
    let (heard, hears) = tokio::sync::oneshot::channel();
    let heard = std::sync::Mutex::new(Some(heard));
    let broker = Broker::new(move |mut stream| {
        let heard = heard.lock().unwrap().take().unwrap();
        async move {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            heard.send(all).unwrap();
        }
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let mut all = Vec::new();
    connection.0.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"bye", "with a close_notify, else this read fails");
    let more = pattern(1024 * 1024);
    connection.0.write_all(&more).await.unwrap();
    connection.0.shutdown().await.unwrap();
    let heard = tokio::time::timeout(TEST_TIMEOUT, hears).await.unwrap().unwrap();
    assert!(heard == [CONNECT, &more].concat());
    world.shut_down().await;
}

#[tokio::test]
async fn the_last_bytes_of_a_broker_that_resets_the_connection_arrive() {
    let broker = Broker::new(|mut stream| async move {
        let mut connect = vec![0; CONNECT.len()];
        stream.read_exact(&mut connect).await.unwrap();
        stream.write_all(b"refused").await.unwrap();
        // Closed with unread data: a reset.
        stream.readable().await.unwrap();
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    let device = Device::trusting(&ca);
    for _ in 0..20 {
        let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
        connection.0.write_all(CONNECT).await.unwrap();
        connection.0.write_all(&pattern(32 * 1024)).await.unwrap();
        let mut words = [0; 7];
        tokio::time::timeout(TEST_TIMEOUT, connection.0.read_exact(&mut words)).await.unwrap().unwrap();
        assert_eq!(&words, b"refused");
    }
    world.shut_down().await;
}

#[tokio::test]
async fn a_broker_that_resets_the_connection_ends_an_idle_device_cleanly() {
    let broker = Broker::new(|mut stream| async move {
        let mut part = [0; 3];
        stream.read_exact(&mut part).await.unwrap();
        // Closed with unread data: a reset.
    })
    .await;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.ends_cleanly().await;
    assert_eq!(world.metric(r#"certward_gateway_closed_total{reason="upstream_broken"}"#), 1);
    world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_vanishes_without_close_notify_ends_the_brokers_connection() {
    let (ended, ends) = tokio::sync::mpsc::channel(1);
    let broker = Broker::new(move |mut stream| {
        let ended = ended.clone();
        async move {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            ended.send(all).await.unwrap();
        }
    })
    .await;
    let mut ends = ends;
    let (world, ca) = world_with(&broker).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.0.flush().await.unwrap();
    drop(connection);
    let heard = tokio::time::timeout(TEST_TIMEOUT, ends.recv()).await.unwrap().unwrap();
    assert_eq!(heard, CONNECT);
    world.shut_down().await;
}

#[tokio::test]
async fn the_first_packet_that_comes_with_the_finished_is_not_forgotten() {
    let broker = Broker::echo().await;
    let (world, ca) = world_with(&broker).await;
    // Finished and the first bytes leave in one packet.
    let stream = tokio::net::TcpStream::connect(world.mqtts()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("d.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Device::new(&ca, None, &[TLS13]).config());
    let mut written = false;
    let connecting = connector.connect_with(name, stream, |tls| {
        // Buffered before the handshake is done.
        written = std::io::Write::write_all(&mut tls.writer(), CONNECT).is_ok();
    });
    let mut stream = connecting.await.unwrap();
    assert!(written);
    let mut back = vec![0; CONNECT.len()];
    tokio::time::timeout(TEST_TIMEOUT, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, CONNECT);
    world.shut_down().await;
}

#[tokio::test]
async fn wss_speaks_http_and_only_offers_http_1_1() {
    let broker = Broker::echo().await;
    let (world, ca) = world_with(&broker).await;
    let mut config = rustls::ClientConfig::clone(&Device::trusting(&ca).config());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(world.wss()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("d.test").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let request = b"GET /mqtt HTTP/1.1\r\nHost: d.test\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut back = vec![0; request.len()];
    tokio::time::timeout(TEST_TIMEOUT, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, request);
    world.shut_down().await;
}

#[tokio::test]
async fn what_is_not_the_listeners_protocol_never_reaches_the_broker() {
    let broker = Broker::new(|_| async { panic!("the broker was reached") }).await;
    let (world, ca) = world_with(&broker).await;
    let device = Device::trusting(&ca);
    for (to, first) in [(world.mqtts(), b"GET / HTTP/1.1\r\n\r\n".as_slice()), (world.wss(), CONNECT)] {
        let mut connection = device.connect(to, "d.test").await.unwrap();
        connection.0.write_all(first).await.unwrap();
        connection.ends_cleanly().await;
    }
    assert_eq!(world.metric(r#"certward_gateway_closed_total{reason="wrong_protocol"}"#), 2);
    world.shut_down().await;
}
