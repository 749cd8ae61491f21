//! The contract's limits: exact under parallel requests, kept over a restart.

use std::{sync::Barrier, thread};

use certward_tests::{Scene, Setup};
use serde_json::json;

#[test]
fn of_fifty_parallel_changes_exactly_six_pass_and_the_window_outlasts_a_restart() {
    let mut scene = Scene::with(Setup::with_contract_limits());
    scene.run_one_way();
    let (api, leaf) = (scene.api(), scene.leaf());
    let barrier = Barrier::new(50);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).status
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (6, 44), "{statuses:?}");

    scene.certward.stop();
    scene.certward.serve();
    let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(429);
    assert_eq!(answer.code(), "RATE_LIMITED");
    scene.certward.kill();
    scene.certward.serve();
    api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(429);
    api.delete_tls(Scene::DEPLOYMENT).expect(204);
}

#[test]
fn every_admitted_request_counts_and_no_other() {
    let scene = Scene::with(Setup { changes: 2, ..Setup::with_contract_limits() });
    let (api, leaf) = (scene.api(), scene.leaf());
    let stranger = certward_tests::Api { secret: "wrong".into(), ..api.clone() };
    for _ in 0..5 {
        stranger.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(401);
        api.put_tls("another", &leaf.one_way()).expect(404);
    }
    // No certificate, and no readable body: both count.
    let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(404);
    assert_eq!((answer.code(), answer.header("ratelimit-remaining")), ("TLS_NOT_FOUND".into(), Some("1")));
    let answer = api.put_tls(Scene::DEPLOYMENT, &json!("no object")).expect(400);
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(429);
    api.post_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
}

#[test]
fn an_unauthenticated_body_is_never_read() {
    let scene = Scene::new();
    let stranger = certward_tests::Api { key: "nobody".into(), ..scene.api() };
    // The announced body is never sent; a server that reads it waits for ever.
    let fields = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let request = format!(
        "PUT /public_api/v1/deployments/ge6a1a75/tls HTTP/1.1\r\nHost: localhost\r\n{fields}\
         Authorization: Basic bm9ib2R5Om5vdGhpbmc=\r\nConnection: close\r\n\r\n"
    );
    let mut stream = std::net::TcpStream::connect(stranger.address).unwrap();
    stream.set_read_timeout(Some(certward_tests::DEADLINE)).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let begin = std::time::Instant::now();
    let mut start = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
    assert!(begin.elapsed().as_secs() < 5, "it waited for the body");
}
