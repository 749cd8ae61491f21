/// The MQTT 3.1.1 packets that the tests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
    out.extend(text.as_bytes());
}

impl Packet {
    /// CONNACK that accepts.
    pub const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
    /// PINGRESP.
    pub const PINGRESP: [u8; 2] = [0xd0, 0];

    fn new(kind: u8, body: &[u8]) -> Self {
        let mut bytes = vec![kind];
        let mut left = body.len();
        loop {
            let low = u8::try_from(left % 128).expect("below 128");
            left /= 128;
            bytes.push(if left > 0 { low | 0x80 } else { low });
            if left == 0 {
                break;
            }
        }
        bytes.extend(body);
        Self(bytes)
    }

    /// CONNECT, clean session, keep-alive of ten minutes.
    pub fn connect(client_id: &str) -> Self {
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        body.extend([4, 2, 2, 88]);
        text(&mut body, client_id);
        Self::new(0x10, &body)
    }

    /// PINGREQ.
    pub fn ping() -> Self {
        Self::new(0xc0, &[])
    }

    /// SUBSCRIBE, QoS 0.
    pub fn subscribe(topic: &str) -> Self {
        let mut body = vec![0, 1];
        text(&mut body, topic);
        body.push(0);
        Self::new(0x82, &body)
    }

    /// PUBLISH, QoS 0.
    pub fn publish(topic: &str, payload: &[u8]) -> Self {
        let mut body = Vec::new();
        text(&mut body, topic);
        body.extend(payload);
        Self::new(0x30, &body)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
