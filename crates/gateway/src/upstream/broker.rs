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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerSettings {
    pub(crate) upstream: Option<UpstreamList>,
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
        BrokerSettings { upstream: self.upstream().cloned(), proxy: self.spec.proxy.protocol }
    }

    pub(crate) fn is_of(self, settings: &BrokerSettings) -> bool {
        self.upstream() == settings.upstream.as_ref() && self.spec.proxy.protocol == settings.proxy
    }

    /// Of the settings; never 0.
    pub(crate) fn digest(self) -> u32 {
        let mut hasher = DefaultHasher::new();
        (self.upstream(), self.spec.proxy.protocol).hash(&mut hasher);
        (hasher.finish() as u32).max(1)
    }
}

impl BrokerSettings {
    /// As configured; empty without any.
    pub(crate) fn upstream(&self) -> String {
        self.upstream.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}
