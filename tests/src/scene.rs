use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use serde_json::json;

use crate::{Api, Authority, Broker, Certward, Device, Leaf, Process, Route, Setup};

/// A broker, certward, the seed's deployment and an authority.
#[derive(Debug)]
pub struct Scene {
    /// The program under test.
    pub certward: Certward,
    /// Its upstream.
    pub broker: Broker,
    /// The issuer of the server certificates.
    pub authority: Authority,
}

impl Scene {
    /// The seed's deployment.
    pub const DEPLOYMENT: &str = "ge6a1a75";
    /// Its host.
    pub const HOST: &str = "localhost";

    /// A scene with the defaults of [`Setup`].
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// A scene with this setup.
    pub fn with(setup: Setup) -> Self {
        let certward = Certward::start_with(setup);
        let broker = Broker::start(certward.folder());
        certward.api().create_deployment_with(json!({
            "deploymentID": Self::DEPLOYMENT,
            "upstream": broker.upstream(),
            "wsUpstream": broker.ws_upstream(),
            "hosts": [Self::HOST],
        }));
        Self { certward, broker, authority: Authority::new("Test Server CA") }
    }

    /// An API client.
    pub fn api(&self) -> Api {
        self.certward.api()
    }

    /// A new certificate for the host.
    pub fn leaf(&self) -> Leaf {
        self.authority.server(&[Self::HOST])
    }

    /// Sets a one-way certificate and waits for `running`.
    #[track_caller]
    pub fn run_one_way(&self) -> Leaf {
        let leaf = self.leaf();
        self.api().post_tls(Self::DEPLOYMENT, &leaf.one_way()).expect(200);
        self.api().wait_running(Self::DEPLOYMENT);
        leaf
    }

    /// Sets a two-way certificate with this client CA and waits for `running`.
    #[track_caller]
    pub fn run_two_way(&self, clients: &Authority) -> Leaf {
        let leaf = self.leaf();
        self.api().post_tls(Self::DEPLOYMENT, &leaf.two_way(clients.pem())).expect(200);
        self.api().wait_running(Self::DEPLOYMENT);
        leaf
    }

    /// A device that trusts the authority.
    pub fn device(&self) -> Device {
        Device::trusting(&self.authority)
    }

    /// Connects a device up to CONNACK.
    ///
    /// # Errors
    ///
    /// Of the network, TLS or MQTT.
    pub fn connect(&self, device: &Device, client_id: &str) -> std::io::Result<crate::Session> {
        device.connect(self.certward.mqtts(), Self::HOST, client_id)
    }

    /// A fleet's route from these addresses.
    pub fn route(&self, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Route {
        Route {
            target: self.certward.mqtts(),
            host: Self::HOST.to_owned(),
            addresses: addresses.into_iter().map(IpAddr::from).collect(),
            device: self.device(),
        }
    }

    /// Kills the broker and starts it again after `gone`.
    pub fn restart_broker(&mut self, gone: impl FnOnce()) {
        self.broker.kill();
        gone();
        self.broker.start_again(self.certward.folder());
    }

    /// `mosquitto_pub` or `mosquitto_sub`, trusting the authority.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        self.aim(&mut command, arguments);
        command
    }

    fn aim(&self, command: &mut Command, arguments: &[&str]) {
        let ca = self.authority.write(self.certward.folder(), "server-ca.pem");
        let port = self.certward.mqtts().port().to_string();
        command.args(["-h", Self::HOST, "-p", &port]).arg("--cafile").arg(ca).args(arguments);
    }

    /// Starts `mosquitto_sub` and waits for its subscription.
    pub fn subscribe(&self, name: &str, topic: &str, arguments: &[&str]) -> Process {
        // Else mosquitto_sub reports its subscription to a file only with the first message.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub"]);
        self.aim(&mut command, arguments);
        command.args(["-d", "-i", name, "-t", topic, "-q", "1"]);
        let subscriber = Process::start(name, self.certward.folder(), &mut command);
        subscriber.wait_for("Subscribed (mid", 1);
        subscriber
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}
