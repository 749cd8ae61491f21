//! Many hellos at once from one address, and a device elsewhere.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use socket2::{Domain, Socket, Type};
use tokio::{task::yield_now, time::timeout};

use crate::{
    hello::{Hello, names},
    stage::{Broker, Ca, PATIENCE, World},
};

const MANY: usize = 100;

/// A device that has said its hello and looks for nothing.
fn hello_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(address), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(&Hello::tls13(&names(&[b"d.test"])).records()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn is_answered(device: &TcpStream) -> bool {
    device.peek(&mut [0]).is_ok()
}

// The gateway has one thread, which is this test's: while the test looks, nothing is computed, and what it sees is the order.
#[tokio::test]
async fn a_device_elsewhere_is_answered_before_most_of_those_who_came_from_one_address_before_it() {
    let (world, ca, broker) = (World::new().await, Ca::new("servers"), Broker::echo().await);
    for two_way in [false, true] {
        let deployment = world.deploy(&format!("d-{two_way}"), broker.address, &["d.test"]).await;
        let cas = if two_way { vec![&ca] } else { vec![] };
        world.run(&deployment, &ca.leaf(&["d.test"]), &cas).await;

        let many: Vec<_> = (0..MANY).map(|_| hello_from([127, 0, 0, 2], world.mqtts())).collect();
        // One of them may share the many's line, by chance; all three do once in sixteen million times.
        let elsewhere: Vec<_> = (3..6).map(|last| hello_from([127, 0, 0, last], world.mqtts())).collect();
        let answered = async {
            while !elsewhere.iter().any(is_answered) {
                yield_now().await;
            }
        };
        timeout(PATIENCE, answered).await.expect("an answer comes");
        let before = many.iter().filter(|device| is_answered(device)).count();
        assert!(before <= MANY / 4, "{before} of {MANY} went before, two-way: {two_way}");

        let all = async {
            while !many.iter().chain(&elsewhere).all(is_answered) {
                yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("everybody's turn comes");
        world.remove(&deployment).await;
    }
    world.shut_down().await;
}
