use certward_alerts::{AlertTransport, AlertTransportSettings, SendFailure};
use certward_outbound::OutboundAllow;
use certward_store::Nat64;
use certward_test_support::{Authority, Leaf};
pub(crate) use certward_test_support::{CANARY, Receiver};

/// A CA, which `outbound` trusts, with a server of the loopback address.
pub(crate) fn authority() -> (Authority, Leaf) {
    let authority = Authority::new("Alerts CA");
    let leaf = authority.server(&["localhost", "127.0.0.1"]);
    (authority, leaf)
}

/// Settings with these networks; without the system's proxy or roots in the way.
pub(crate) fn settings(networks: &[&str], authority: &Authority) -> AlertTransportSettings {
    let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
    let allow = OutboundAllow { networks, nat64: Nat64::default() };
    AlertTransportSettings {
        ca: Some(authority.pem().as_bytes().to_vec()),
        ..AlertTransportSettings::new(allow)
    }
}

pub(crate) fn outbound(authority: &Authority) -> AlertTransport {
    AlertTransport::new(settings(&["127.0.0.0/8"], authority)).unwrap()
}

/// That a failure shows nothing of the receiver.
pub(crate) fn without_canary(sent: Result<(), SendFailure>) -> Result<(), SendFailure> {
    if let Err(failure) = sent {
        let shown = format!("{failure} {failure:?} {}", failure.code());
        assert!(!shown.contains(CANARY), "{shown}");
    }
    sent
}
