use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::load::Workload;

/// A server, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// The program itself
    Certward,
    /// tokio-rustls and `copy_bidirectional`, no more
    Rustls,
    /// nginx's stream module with AES-128-GCM alone and one ticket
    NginxTuned,
    /// nginx's stream module
    Nginx,
    /// HAProxy in TCP mode with AES-128-GCM alone
    HaproxyTuned,
    /// HAProxy in TCP mode
    Haproxy,
    /// Mosquitto's own TLS
    Mosquitto,
    /// hitch
    Hitch,
    /// stunnel
    Stunnel,
    /// A relay of plain TCP that holds no buffers: what no relay can go below
    Plain,
}

impl Peer {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Certward => "certward",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx tuned",
            Self::Haproxy => "haproxy",
            Self::HaproxyTuned => "haproxy tuned",
            Self::Stunnel => "stunnel",
            Self::Hitch => "hitch",
            Self::Mosquitto => "mosquitto",
            Self::Rustls => "bare rustls",
            Self::Plain => "no TLS",
        }
    }

    /// With Debian's settings.
    pub(crate) fn is_stock(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Stunnel | Self::Hitch | Self::Mosquitto)
    }

    /// Tuned for speed.
    pub(crate) fn is_tuned(self) -> bool {
        matches!(self, Self::NginxTuned | Self::HaproxyTuned)
    }

    pub(crate) fn supports(self, workload: Workload) -> bool {
        match workload {
            _ if self == Self::Plain => {
                matches!(workload, Workload::Throughput | Workload::Small | Workload::Idle)
            }
            // OpenSSL 3.0 has no X25519MLKEM768.
            Workload::Hybrid => matches!(self, Self::Certward | Self::Rustls),
            // Others do not cache verified certificates.
            Workload::TwoWayFirst => matches!(self, Self::Certward | Self::Rustls | Self::NginxTuned),
            // Mosquitto relays nothing.
            Workload::Throughput | Workload::Small => self != Self::Mosquitto,
            _ => true,
        }
    }
}
