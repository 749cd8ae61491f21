use certward_pki::RootChange;
use certward_store::Timestamp;

use crate::{RejectedDevice, SilentNodes};

/// What a change would do to devices now connected or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impact {
    /// How bad it is.
    pub severity: ImpactSeverity,
    /// Sessions now whose devices would be refused.
    pub connected: RefusedShare,
    /// Known devices that would be refused: of those with a certificate that is valid, and accepted
    /// today.
    pub known: RefusedShare,
    /// Known devices besides, of which this is not known: client CAs go, or are asked for, and no
    /// certificate of their path is at hand.
    pub not_judged: u64,
    /// Some that would be refused: at most [`NAMED_MAX`](crate::NAMED_MAX).
    pub named: Vec<RejectedDevice>,
    /// Hosts that devices ask for, covered by today's leaf and not by the new one; sorted.
    pub hosts_lost: Vec<String>,
    /// Devices that trust the old root cannot verify the new chain by it.
    pub root_changed: Option<RootChange>,
    /// Another kind of key, or one that devices did not offer to verify.
    pub key_kind_changed: Option<KeyKindChange>,
    /// When the evidence was read.
    pub as_of: Timestamp,
    /// Nodes whose sessions are not in it.
    pub silent: SilentNodes,
}

/// How bad an impact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImpactSeverity {
    /// No device is affected, as far as is known.
    None,
    /// Known devices are affected or cannot be judged, few offers are, or there is another kind of
    /// key.
    Notable,
    /// Connected devices would be refused, a host in use is lost, devices may not know the new
    /// root, or a share of them cannot verify the new key.
    Severe,
}

/// How many would be refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedShare {
    /// So many.
    pub refused: u64,
    /// Of so many.
    pub of: u64,
}

/// Chains with different keys or signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyKindChange {
    /// The old leaf's key, such as `RSA 2048`; if the new one is of the same kind, the chain's
    /// signatures too.
    pub from: String,
    /// The new leaf's.
    pub to: String,
    /// The share of offers, by network, that can verify the old chain and not the new one, in
    /// millionths.
    pub share_millionths: u32,
}

/// What to do about a severe impact (RFC 7240 §4.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Handling {
    /// Report it.
    #[default]
    Lenient,
    /// Refuse the change.
    Strict,
}

impl Handling {
    /// The word of the preference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lenient => "lenient",
            Self::Strict => "strict",
        }
    }
}

impl Impact {
    /// Whether a strict change stops.
    pub fn is_severe(&self) -> bool {
        self.severity == ImpactSeverity::Severe
    }

    /// What of it is severe: sentences without a first capital and a full stop. No device is named.
    pub fn severe_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let RefusedShare { refused, of } = self.connected;
        if refused > 0 {
            reasons.push(format!("{refused} of {of} connected devices would be refused"));
        }
        match &self.hosts_lost[..] {
            [] => {}
            [host] => reasons.push(format!("the host {host} is in use and would not be covered any more")),
            hosts => {
                reasons.push(format!("{} hosts are in use and would not be covered any more", hosts.len()));
            }
        }
        if let Some(change) = &self.root_changed {
            reasons.push(format!("the root would be {} instead of {}", change.to, change.from));
        }
        if let Some(change) = &self.key_kind_changed
            && change.share_millionths > 0
        {
            let percent = change.share() * 100.0;
            reasons.push(format!(
                "{percent:.1} % of what devices offer, by network, cannot verify the new key or chain"
            ));
        }
        if reasons.is_empty() {
            reasons.push(
                "nodes have not answered, or could not judge all devices: some may be refused".to_owned(),
            );
        }
        reasons
    }
}

impl KeyKindChange {
    /// The share of offers, 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.share_millionths) / 1_000_000.0
    }
}

impl ImpactSeverity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Notable, Self::Severe];

    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Notable => "notable",
            Self::Severe => "severe",
        }
    }
}
