//! Asks a broker whether it understands connections as a deployment makes them: with a PROXY
//! header or without.
//!
//! It is dialled as for a device, under the same policy. If it does not answer, the other way is
//! tried on a new connection: an answer to that one proves a wrong setting, silence proves nothing.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use certward_store::{ProxyProtocol, Upstream, UpstreamAllow, UpstreamList};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Unreachable, UpstreamPolicy, Upstreams,
    mqtt_question::{AnswerSoFar, DISCONNECT, look_at, question},
};
use crate::{Protocol, Settings, session::proxy_header};

/// For the name and the connect: a lost packet costs a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For the answer, which a broker gives at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Probes the upstreams of deployments, as a node with these settings connects to them.
#[derive(Debug)]
pub struct BrokerProber {
    upstreams: Upstreams,
    seed: u64,
}

/// What a broker's address turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerVerdict {
    /// It answers connections that the deployment makes.
    Answers,
    /// It answers only behind a PROXY header, and the deployment sends none.
    ExpectsHeader,
    /// It answers only without a PROXY header, and the deployment sends one.
    ExpectsNoHeader,
    /// It accepts connections and answers neither way.
    Silent,
    /// There is no connection.
    Unreachable {
        /// A stable name; docs/brokers.md has the remedies.
        reason: &'static str,
        /// Why, in a sentence about "it".
        message: String,
    },
}

impl BrokerProber {
    /// `own`: this node's listeners, which are never an upstream. `seed`: random.
    pub fn new(settings: &Settings, seed: u64) -> Self {
        let listeners = settings.listeners.iter().map(|listener| listener.listen);
        let policy = UpstreamPolicy {
            allow: settings.upstream_allow.clone(),
            own: listeners.chain(settings.own_addresses.iter().copied()).collect(),
            nat64: settings.upstream_nat64.clone(),
        };
        Self { upstreams: Upstreams::new(policy, &settings.upstream_source, Arc::default(), seed), seed }
    }

    /// Takes up to 12 s: two connects and two answers of 3 s each.
    pub async fn probe(
        &self,
        upstream: &Upstream,
        protocol: Protocol,
        proxy: ProxyProtocol,
        allow: Option<&UpstreamAllow>,
    ) -> BrokerVerdict {
        match self.ask(upstream, protocol, proxy, allow).await {
            Ok(true) => return BrokerVerdict::Answers,
            Ok(false) => {}
            Err(failure) => return unreachable(&failure),
        }
        let (other, wrong) = match proxy {
            ProxyProtocol::None => (ProxyProtocol::V2, BrokerVerdict::ExpectsHeader),
            _ => (ProxyProtocol::None, BrokerVerdict::ExpectsNoHeader),
        };
        match self.ask(upstream, protocol, other, allow).await {
            Ok(true) => wrong,
            Ok(false) | Err(_) => BrokerVerdict::Silent,
        }
    }

    /// Whether it answers.
    async fn ask(
        &self,
        upstream: &Upstream,
        protocol: Protocol,
        proxy: ProxyProtocol,
        allow: Option<&UpstreamAllow>,
    ) -> Result<bool, Unreachable> {
        let one = UpstreamList::from(upstream.clone());
        let mut stream = self.upstreams.connect(&one, allow, CONNECT_TIMEOUT).await?;
        let asked = async {
            // No other connection may have it: a broker would close that one.
            let client_id = format!("certward{:08x}{:04x}", self.seed >> 32, stream.local_addr()?.port());
            let mut bytes = header(&stream, proxy)?;
            bytes.extend(question(protocol, &client_id, upstream.as_str()));
            stream.write_all(&bytes).await?;
            let understood = answers(&mut stream, protocol).await?;
            if understood && protocol == Protocol::Mqtts {
                // Else its log has a lost connection.
                stream.write_all(&DISCONNECT).await?;
                stream.shutdown().await?;
            }
            Ok::<_, io::Error>(understood)
        };
        // It closed, or stays silent.
        Ok(matches!(timeout(ANSWER_TIMEOUT, asked).await, Ok(Ok(true))))
    }
}

/// As of a one-way device at this end of the connection. Not the command LOCAL, which is for health
/// checks (PROXY protocol §2.2): what devices' connections need is asked, and brokers that want the
/// TLS fields refuse it.
fn header(stream: &TcpStream, proxy: ProxyProtocol) -> io::Result<Vec<u8>> {
    if proxy == ProxyProtocol::None {
        return Ok(Vec::new());
    }
    let (from, to): (SocketAddr, SocketAddr) = (stream.local_addr()?, stream.peer_addr()?);
    proxy_header::without_device(proxy, from, to).map_err(io::Error::other)
}

async fn answers(stream: &mut TcpStream, protocol: Protocol) -> io::Result<bool> {
    let mut bytes = [0; 64];
    let mut read = 0;
    loop {
        read += match stream.read(&mut bytes[read..]).await? {
            0 => return Ok(false),
            more => more,
        };
        match look_at(protocol, &bytes[..read]) {
            AnswerSoFar::Understood => return Ok(true),
            AnswerSoFar::Foreign => return Ok(false),
            // The whole is shorter than the buffer.
            AnswerSoFar::More => {}
        }
    }
}

fn unreachable(failure: &Unreachable) -> BrokerVerdict {
    BrokerVerdict::Unreachable { reason: failure.reason(), message: failure.to_string() }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Clone, Copy)]
    enum Broker {
        Plain,
        BehindHeader,
        Mute,
        Closes,
    }

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    async fn serve(broker: Broker, answer: &'static [u8]) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        tokio::spawn(async move {
            let mut mute = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 512];
                let read = stream.read(&mut bytes).await.unwrap();
                let has_header = bytes[..read].starts_with(SIGNATURE);
                match (broker, has_header) {
                    (Broker::Plain, false) | (Broker::BehindHeader, true) => {
                        stream.write_all(answer).await.unwrap();
                    }
                    (Broker::Mute, _) => mute.push(stream),
                    _ => {}
                }
            }
        });
        upstream
    }

    fn prober() -> BrokerProber {
        BrokerProber::new(&Settings { listeners: Vec::new(), ..Settings::default() }, 7)
    }

    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    const REFUSED: &[u8] = &[0x20, 2, 0, 5];
    const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

    #[tokio::test]
    async fn a_broker_is_asked_as_the_deployment_says_and_then_the_other_way() {
        use BrokerVerdict::{Answers, ExpectsHeader, ExpectsNoHeader, Silent};
        use Protocol::{Mqtts, Wss};
        use ProxyProtocol::{Emqx, Mosquitto, None, V2};
        for (broker, answer, protocol, proxy, verdict) in [
            (Broker::Plain, CONNACK, Mqtts, None, Answers),
            (Broker::Plain, REFUSED, Mqtts, None, Answers),
            (Broker::Plain, CONNACK, Mqtts, V2, ExpectsNoHeader),
            (Broker::Plain, CONNACK, Mqtts, Mosquitto, ExpectsNoHeader),
            (Broker::BehindHeader, CONNACK, Mqtts, V2, Answers),
            (Broker::BehindHeader, CONNACK, Mqtts, Emqx, Answers),
            (Broker::BehindHeader, REFUSED, Mqtts, None, ExpectsHeader),
            (Broker::Plain, UPGRADED, Wss, None, Answers),
            (Broker::BehindHeader, UPGRADED, Wss, None, ExpectsHeader),
            (Broker::Closes, CONNACK, Mqtts, None, Silent),
            // A web server behind the MQTT address.
            (Broker::Plain, UPGRADED, Mqtts, None, Silent),
        ] {
            let upstream = serve(broker, answer).await;
            let found = prober().probe(&upstream, protocol, proxy, Option::None).await;
            assert_eq!(found, verdict, "{protocol:?} {proxy}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_broker_does_not_hold_the_probe() {
        let upstream = serve(Broker::Mute, b"").await;
        let began = tokio::time::Instant::now();
        let found = prober().probe(&upstream, Protocol::Mqtts, ProxyProtocol::None, None).await;
        assert_eq!(found, BrokerVerdict::Silent);
        assert!(began.elapsed() <= 2 * (CONNECT_TIMEOUT + ANSWER_TIMEOUT));
    }

    #[tokio::test]
    async fn the_policy_of_the_node_holds() {
        let (free, upstream) = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            (address, Upstream::parse(&address.to_string()).unwrap())
        };
        let settings = Settings { listeners: Vec::new(), ..Settings::default() };
        let own = Settings { own_addresses: vec![free], ..settings.clone() };
        let elsewhere =
            Settings { upstream_allow: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..settings.clone() };
        for (settings, expected) in [(settings, "refused"), (own, "own_listener"), (elsewhere, "not_allowed")]
        {
            let prober = BrokerProber::new(&settings, 7);
            let found = prober.probe(&upstream, Protocol::Mqtts, ProxyProtocol::None, None).await;
            assert!(
                matches!(found, BrokerVerdict::Unreachable { reason, .. } if reason == expected),
                "{found:?}"
            );
        }
    }
}
