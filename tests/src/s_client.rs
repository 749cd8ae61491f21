use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::Packet;

/// Sends CONNECT through `openssl s_client`: whether CONNACK arrived, and the output up to it.
pub fn reaches_broker(s_client: &mut Command) -> (bool, String) {
    s_client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = s_client.spawn().unwrap();
    let mut to = client.stdin.take().unwrap();
    // Ignored: the process may have exited.
    let _ = to.write_all(Packet::connect("device").bytes());
    let mut printed = Vec::new();
    let mut from = client.stdout.take().unwrap();
    let mut piece = [0; 4096];
    let connack = |printed: &[u8]| printed.windows(4).any(|four| four == Packet::CONNACK);
    while !connack(&printed) {
        match from.read(&mut piece) {
            Ok(length @ 1..) => printed.extend_from_slice(&piece[..length]),
            _ => break,
        }
    }
    drop(to);
    let _ = client.kill();
    let _ = client.wait();
    (connack(&printed), String::from_utf8_lossy(&printed).into_owned())
}
