use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A measurement of a server, with its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Full TLS 1.3 handshake, MQTT CONNECT and CONNACK, P-256
    Full,
    /// The same with a session ticket
    Resumed,
    /// The same in full, with a client certificate
    TwoWay,
    /// The same, each client for the first time: no verdict on its certificate can be at hand
    TwoWayFirst,
    /// Full TLS 1.2 handshake (ECDHE-ECDSA)
    Tls12,
    /// Full TLS 1.3 handshake with an RSA-2048 certificate
    Rsa,
    /// Full TLS 1.3 handshake with X25519MLKEM768
    Hybrid,
    /// Bytes echoed by the broker, over a few connections
    Throughput,
    /// Messages of 100 bytes echoed, over 64 connections
    Small,
    /// Connections that say nothing
    Idle,
    /// The same with client certificates
    IdleTwoWay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    Resumed,
    Tls12,
    Hybrid,
}

/// Where a server listens, each with a certificate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    OneWay,
    TwoWay,
    Rsa,
}

impl Listener {
    pub(crate) const ALL: [Self; 3] = [Self::OneWay, Self::TwoWay, Self::Rsa];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneWay => "one-way",
            Self::TwoWay => "two-way",
            Self::Rsa => "rsa",
        }
    }

    pub(crate) fn host(self) -> &'static str {
        match self {
            Self::OneWay => "one-way.example.com",
            Self::TwoWay => "two-way.example.com",
            Self::Rsa => "rsa.example.com",
        }
    }
}

impl Workload {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Full => "full TLS 1.3 handshake and CONNECT, P-256",
            Self::Resumed => "resumed TLS 1.3 handshake and CONNECT",
            Self::TwoWay => "two-way TLS 1.3 handshake and CONNECT, P-256",
            Self::TwoWayFirst => "two-way handshake and CONNECT, a client's first",
            Self::Tls12 => "full TLS 1.2 handshake and CONNECT, P-256",
            Self::Rsa => "full TLS 1.3 handshake and CONNECT, RSA-2048",
            Self::Hybrid => "full TLS 1.3 handshake and CONNECT, X25519MLKEM768",
            Self::Throughput => "throughput",
            Self::Small => "message of 100 bytes, 64 connections",
            Self::Idle => "idle connection",
            Self::IdleTwoWay => "idle connection, two-way",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "CPU s/GB",
            Self::Idle | Self::IdleTwoWay => "KiB",
            _ => "CPU µs",
        }
    }

    /// Many rounds of a fraction of a second are better than a few long ones if the machine's speed
    /// varies.
    pub(crate) fn count(self, quick: bool) -> usize {
        match self {
            Self::Full | Self::Resumed | Self::Tls12 | Self::Hybrid => 500,
            Self::TwoWay | Self::TwoWayFirst | Self::Rsa => 400,
            Self::Throughput => 150,
            Self::Small => 30_000,
            Self::Idle | Self::IdleTwoWay if quick => 1_000,
            Self::Idle | Self::IdleTwoWay => 4_000,
        }
    }

    pub(crate) fn is_idle(self) -> bool {
        matches!(self, Self::Idle | Self::IdleTwoWay)
    }

    pub(crate) fn handshake(self) -> Handshake {
        match self {
            Self::Resumed => Handshake::Resumed,
            Self::Tls12 => Handshake::Tls12,
            Self::Hybrid => Handshake::Hybrid,
            _ => Handshake::Full,
        }
    }

    pub(crate) fn listener(self) -> Listener {
        match self {
            Self::TwoWay | Self::TwoWayFirst | Self::IdleTwoWay => Listener::TwoWay,
            Self::Rsa => Listener::Rsa,
            _ => Listener::OneWay,
        }
    }
}
