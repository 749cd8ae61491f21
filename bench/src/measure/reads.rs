use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use certward_tests::{Api, Scene};

const SPAN: Duration = Duration::from_secs(3);

/// GETs of a certificate per second over kept connections, authenticated and counted.
pub(crate) fn measure() {
    let scene = Scene::new();
    scene.run_one_way();
    println!("## GET of a certificate\n");
    println!("| connections | answers a second |\n|---|---|");
    for connections in [1, 8] {
        let api = scene.api();
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let api = api.clone();
                std::thread::spawn(move || answers_on_one_connection(&api))
            })
            .collect();
        let answers: u32 = workers.into_iter().map(|worker| worker.join().expect("a worker")).sum();
        println!("| {connections} | {:.0} |", f64::from(answers) / SPAN.as_secs_f64());
    }
    println!();
}

fn answers_on_one_connection(api: &Api) -> u32 {
    let user = BASE64_STANDARD.encode(format!("{}:{}", api.key, api.secret));
    let request = format!(
        "GET /public_api/v1/deployments/{}/tls HTTP/1.1\r\nHost: certward\r\nAuthorization: Basic {user}\r\n\r\n",
        Scene::DEPLOYMENT
    );
    let mut stream = TcpStream::connect(api.address).expect("the API");
    stream.set_nodelay(true).expect("a socket");
    let (begin, mut answers, mut buffer) = (Instant::now(), 0, vec![0; 16 * 1024]);
    while begin.elapsed() < SPAN {
        stream.write_all(request.as_bytes()).expect("the API");
        let length = stream.read(&mut buffer).expect("an answer");
        // A short answer arrives in one piece on loopback.
        assert!(
            buffer[..length].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..length])
        );
        answers += 1;
    }
    answers
}
