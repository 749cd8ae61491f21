//! How many GETs of a certificate a second are answered.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use certward_tests::{Api, Scene};

use crate::results::{Report, Table};

const SPAN: Duration = Duration::from_secs(3);

/// Over kept connections, authenticated and counted.
pub(crate) fn measure() -> Report {
    let mut report = Report::new("reads");
    let scene = Scene::new();
    scene.run_one_way();
    let api = scene.api();
    let mut table = Table::default();
    for connections in [1, 8_usize] {
        let answers: u32 = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| answers_on_one_connection(&api))).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
        });
        table.row([
            ("connections", connections.into()),
            ("answers a second", (f64::from(answers) / SPAN.as_secs_f64()).into()),
        ]);
    }
    report.table(table);
    report
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
