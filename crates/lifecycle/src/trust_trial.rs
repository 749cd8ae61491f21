use std::fmt;

use certward_pki::{ClientChainJudge, ClientRefusal, ClientTrust, IssuerPath, TlsType};
use time::OffsetDateTime;

use crate::{ProposedTrust, TrustChange};

/// Judges devices by today's client trust and by the proposed one: what today's refuses, the change
/// does not.
pub struct TrustTrial {
    today: TrustJudge,
    proposed: TrustJudge,
    may_refuse: bool,
}

/// What a change means for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialVerdict {
    /// Today's client trust refuses it.
    RefusedToday,
    /// Accepted, today and then.
    Accepted,
    /// Accepted today and refused then.
    Refused(ClientRefusal),
}

enum TrustJudge {
    /// One-way: no certificate is asked for.
    AnyClient,
    Cas(ClientChainJudge),
    /// The client CAs cannot be used: no device is accepted.
    NoClient,
}

impl TrustTrial {
    /// Of a change of client trust.
    pub fn new(change: &TrustChange) -> Self {
        let TrustChange { today, proposed } = change;
        Self {
            today: TrustJudge::new(today),
            proposed: TrustJudge::new(proposed),
            may_refuse: proposed.may_refuse_more_than(today),
        }
    }

    /// Whether a device may be refused that is accepted today: not if each client CA stays.
    pub fn may_refuse(&self) -> bool {
        self.may_refuse
    }

    /// Whether a device without a certificate is accepted today.
    pub fn accepts_any_client_today(&self) -> bool {
        matches!(self.today, TrustJudge::AnyClient)
    }

    /// Of the devices of a path whose own certificates are valid at `now`. Their example may have
    /// ended before: it is judged as of its end. Some 0.1 ms for each trust: not on an async
    /// thread.
    pub fn judge(&self, path: &IssuerPath, now: OffsetDateTime) -> TrialVerdict {
        let at = now.min(path.example_not_after);
        if self.today.refusal(&path.example, at).is_some() {
            return TrialVerdict::RefusedToday;
        }
        let refusal = if self.may_refuse { self.proposed.refusal(&path.example, at) } else { None };
        refusal.map_or(TrialVerdict::Accepted, TrialVerdict::Refused)
    }
}

impl fmt::Debug for TrustTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustTrial").field("may_refuse", &self.may_refuse).finish_non_exhaustive()
    }
}

impl TrustJudge {
    fn new(trust: &ProposedTrust) -> Self {
        if trust.tls_type == TlsType::OneWay {
            return Self::AnyClient;
        }
        let anchors = trust.client_cas.iter().map(|der| der.clone().into()).collect();
        let judge = ClientTrust::new(anchors).and_then(|trust| ClientChainJudge::new(&trust));
        judge.map_or(Self::NoClient, Self::Cas)
    }

    fn refusal(&self, example: &[Vec<u8>], at: OffsetDateTime) -> Option<ClientRefusal> {
        match self {
            Self::AnyClient => None,
            Self::Cas(judge) => judge.verify(example, at).err(),
            Self::NoClient => Some(ClientRefusal::UnknownIssuer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certward_pki::{DeviceCertificate, DeviceIdentity};
    use certward_store::Timestamp;
    use certward_test_support::{Authority, Leaf};

    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn path(leaf: &Leaf, ca: &Authority) -> IssuerPath {
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let sent = std::iter::once(&leaf.der).chain(&leaf.intermediates);
        let chain: Vec<_> = sent.map(|der| der.clone().into()).collect();
        (*DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap().path).clone()
    }

    #[test]
    fn a_path_is_judged_as_of_its_examples_end_but_by_whom_today_accepts() {
        let (ca, other) = (Authority::new("clients"), Authority::new("other"));
        let ended = |params: &mut rcgen::CertificateParams| params.not_after = NOW.before(DAY).to_time();
        let of_ended_example = path(&ca.client_with("a", ended), &ca);
        let of_ended_intermediate = path(&ca.intermediate_with("ended", ended).client("b"), &ca);
        let two_way = |cas: &[&Authority]| ProposedTrust {
            tls_type: TlsType::TwoWay,
            client_cas: cas.iter().map(|ca| ca.der().to_vec()).collect(),
        };
        let one_way = ProposedTrust { tls_type: TlsType::OneWay, client_cas: Vec::new() };
        let judged = |today: &ProposedTrust, proposed: &ProposedTrust| {
            let change = TrustChange { today: today.clone(), proposed: proposed.clone() };
            let trial = TrustTrial::new(&change);
            let verdicts =
                [&of_ended_example, &of_ended_intermediate].map(|path| trial.judge(path, NOW.to_time()));
            (trial.may_refuse(), verdicts)
        };
        let (of_ca, of_other, of_both) = (two_way(&[&ca]), two_way(&[&other]), two_way(&[&other, &ca]));
        let (accepted, today) = (TrialVerdict::Accepted, TrialVerdict::RefusedToday);
        let refused = TrialVerdict::Refused(ClientRefusal::UnknownIssuer);
        for (before, after, expected) in [
            (&of_ca, &of_ca, (false, [accepted, today])),
            (&of_ca, &of_both, (false, [accepted, today])),
            (&of_ca, &one_way, (false, [accepted, today])),
            (&of_ca, &of_other, (true, [refused, today])),
            (&of_both, &of_ca, (true, [accepted, today])),
            (&one_way, &of_other, (true, [refused, TrialVerdict::Refused(ClientRefusal::Expired)])),
            (&of_other, &of_ca, (true, [today, today])),
        ] {
            assert_eq!(judged(before, after), expected);
        }
    }
}
