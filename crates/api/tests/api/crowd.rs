//! All connection places are taken: which connection is evicted, waits, or is answered.
//!
//! Clients have addresses in 127.0.0.0/8; `127.0.0.1` is the local machine.

use std::{io, time::Duration};

use certward_api::ApiDeadlines;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::support::{Answer, TLS, World, read_to_end, upload};

const STRANGER: u8 = 2;
const ATTACKER: u8 = 3;
const NEIGHBOUR: u8 = 4;

const LONG_DEADLINE: Duration = Duration::from_secs(600);
/// Below any deadline that could free a place.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

async fn world(connections_max: usize) -> World {
    World::with(|settings| {
        settings.connections_max = connections_max;
        settings.deadlines = ApiDeadlines {
            headers: LONG_DEADLINE,
            body: LONG_DEADLINE,
            idle: LONG_DEADLINE,
            answer: LONG_DEADLINE,
            ..settings.deadlines
        };
    })
    .await
}

async fn answered(request: impl Future<Output = Answer>) -> Answer {
    timeout(ANSWER_TIMEOUT, request).await.expect("an answer")
}

async fn say(stream: &mut TcpStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

/// Also by a reset.
async fn is_closed(stream: &mut TcpStream) -> bool {
    match timeout(Duration::from_millis(1), stream.read_u8()).await {
        Err(_elapsed) => false,
        Ok(Err(error)) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
        }
        Ok(Ok(byte)) => panic!("{byte} where there is nothing to say"),
    }
}

/// Served as long as the certificate is pending.
async fn served(world: &World, count: i64) -> Vec<JoinHandle<Answer>> {
    world.request("POST", TLS).json(&upload()).send().await;
    let get = || world.request("GET", TLS).header("Prefer", "wait=60").from(STRANGER).send();
    let held = (0..count).map(|_| tokio::spawn(get())).collect();
    let counted = async { while world.counted_requests().await < 1 + count {} };
    timeout(ANSWER_TIMEOUT, counted).await.expect("all of them are served");
    held
}

#[tokio::test]
async fn one_address_is_evicted_for_others_whatever_it_has_begun() {
    let world = world(16).await;
    let body = format!(
        "POST /public_api/v1/deployments HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
        world.admin.0
    );
    for (name, begun) in [
        ("nothing", ""),
        ("one byte", "G"),
        ("a part of the head", "GET /healthz HTTP/1.1\r\nHost: t\r\n"),
        ("a part of a body", &body),
        ("a request that is answered", "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("a second request", "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\nG"),
    ] {
        let mut neighbour = world.connect_from(NEIGHBOUR).await;
        say(&mut neighbour, "GET /healthz HTTP/1.1\r\nHost: t\r\n").await;
        let mut attack = Vec::new();
        for _ in 0..40 {
            let mut socket = world.connect_from(ATTACKER).await;
            say(&mut socket, begun).await;
            attack.push(socket);
        }
        for path in ["/healthz", "/readyz", TLS] {
            let answer = answered(world.request("GET", path).from(STRANGER).send()).await;
            assert_eq!(answer.status, 200, "{name}: {path}");
        }
        // Oldest, but with less held.
        say(&mut neighbour, "Connection: close\r\n\r\n").await;
        assert!(read_to_end(&mut neighbour).await.starts_with("HTTP/1.1 200 "), "{name}");
    }
}

#[tokio::test]
async fn of_one_address_what_is_oldest_gives_way_and_the_newest_is_served() {
    let world = world(4).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut socket = world.connect_from(ATTACKER).await;
        say(&mut socket, "GET /healthz HTTP/1.1\r\n").await;
        held.push(socket);
    }
    for _ in 0..2 {
        assert_eq!(answered(world.request("GET", "/healthz").from(ATTACKER).send()).await.status, 200);
    }
    while !is_closed(&mut held[0]).await {}
    let newest = held.last_mut().unwrap();
    assert!(!is_closed(newest).await);
    say(newest, "Host: t\r\nConnection: close\r\n\r\n").await;
    assert!(read_to_end(newest).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_has_been_quiet_for_a_second_makes_room_before_a_request_under_way() {
    let world = world(3).await;
    let mut answered_before = world.connect_from(STRANGER).await;
    say(&mut answered_before, "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let mut silent = world.connect_from(STRANGER).await;
    let mut busy = world.connect_from(NEIGHBOUR).await;
    say(&mut busy, "GET /healthz HTTP/1.1\r\n").await;
    let mut newcomers = Vec::new();
    while newcomers.len() < 2 {
        // A second must pass without events.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let mut newcomer = world.connect_from(ATTACKER).await;
        say(&mut newcomer, "GET").await;
        newcomers.push(newcomer);
    }
    for quiet in [&mut answered_before, &mut silent] {
        read_to_end(quiet).await;
    }
    say(&mut busy, "Host: t\r\nConnection: close\r\n\r\n").await;
    assert!(read_to_end(&mut busy).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn connections_are_bounded_and_those_beyond_wait_while_all_others_are_served() {
    let world = world(3).await;
    let node = world.node().await;
    let held = served(&world, 3).await;
    let waiting = tokio::spawn(world.request("GET", "/healthz").from(NEIGHBOUR).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    world.report(&node, Ok(())).await;
    assert_eq!(answered(async { waiting.await.unwrap() }).await.status, 200);
    for held in held {
        assert_eq!(held.await.unwrap().json()["status"], "running");
    }
}

#[tokio::test]
async fn probes_and_this_machine_are_served_while_others_wait_for_their_turn() {
    let world = world(16).await;
    let node = world.node().await;
    // Of 16 places two are for unread requests, one for probes, one for this machine.
    let held = served(&world, 12).await;
    let mut beyond = world.connect_from(STRANGER).await;
    let authorization = &world.admin.0;
    say(
        &mut beyond,
        &format!(
            "GET {TLS} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n"
        ),
    )
    .await;
    for _ in 0..3 {
        for path in ["/healthz", "/readyz"] {
            let answer = answered(world.request("GET", path).from(STRANGER).send()).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        assert_eq!(answered(world.request("GET", TLS).send()).await.json()["status"], "pending");
    }
    assert!(!is_closed(&mut beyond).await, "it waits");
    world.report(&node, Ok(())).await;
    assert!(read_to_end(&mut beyond).await.starts_with("HTTP/1.1 200 "));
    for held in held {
        assert_eq!(held.await.unwrap().json()["status"], "running");
    }
}

#[tokio::test]
async fn many_bodies_that_end_at_once_leave_the_probes_their_places() {
    let world = world(16).await;
    let node = world.node().await;
    let held = served(&world, 11).await;
    let mut uploads = Vec::new();
    for _ in 0..3 {
        let mut upload = world.connect_from(STRANGER).await;
        let head = format!(
            "POST /public_api/v1/projects HTTP/1.1\r\nHost: t\r\nAuthorization: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            world.admin.0
        );
        say(&mut upload, &head).await;
        // Its turn is over and free while the body is awaited.
        let mut asked_for = [0; 25];
        timeout(ANSWER_TIMEOUT, upload.read_exact(&mut asked_for)).await.expect("an answer").unwrap();
        uploads.push(upload);
    }
    let last = tokio::spawn(world.request("GET", TLS).header("Prefer", "wait=60").from(STRANGER).send());
    let counted = async { while world.counted_requests().await < 1 + 12 {} };
    timeout(ANSWER_TIMEOUT, counted).await.expect("it has the turn that they have given back");
    for upload in &mut uploads {
        say(upload, "{}").await;
    }
    assert_eq!(answered(world.request("GET", "/healthz").from(NEIGHBOUR).send()).await.status, 200);
    for upload in &mut uploads {
        assert!(!is_closed(upload).await, "it waits for its turn");
    }
    world.report(&node, Ok(())).await;
    for upload in &mut uploads {
        let answer = read_to_end(upload).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
    for held in held.into_iter().chain([last]) {
        assert_eq!(held.await.unwrap().json()["status"], "running");
    }
}
