use std::hash::{DefaultHasher, Hash, Hasher};

use certward_store::{DeploymentId, DeploymentSpec, ProxyProtocol, UpstreamList};

use crate::Protocol;

/// A deployment's broker for devices of one protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeploymentBroker<'a> {
    pub(crate) deployment: &'a DeploymentId,
    pub(crate) protocol: Protocol,
    pub(crate) spec: &'a DeploymentSpec,
}

/// The settings that decide what the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BrokerSettings {
    /// As configured; empty without any.
    pub(crate) upstream: String,
    pub(crate) proxy: ProxyProtocol,
}

impl<'a> DeploymentBroker<'a> {
    pub(crate) fn upstream(self) -> Option<&'a UpstreamList> {
        match self.protocol {
            Protocol::Mqtts => Some(&self.spec.upstream),
            Protocol::Wss => self.spec.ws_upstream.as_ref(),
        }
    }

    pub(crate) fn settings(self) -> BrokerSettings {
        let upstream = self.upstream().map(ToString::to_string).unwrap_or_default();
        BrokerSettings { upstream, proxy: self.spec.proxy.protocol }
    }

    pub(crate) fn is_of(self, settings: &BrokerSettings) -> bool {
        self.settings() == *settings
    }
}

impl BrokerSettings {
    /// Never 0.
    pub(crate) fn digest(&self) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        (hasher.finish() as u32).max(1)
    }
}
