//! Closed lists of metric labels: why connections are closed, or refused by a limit of the node.

use std::fmt;

use certward_pki::ClientRefusal;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use rustls::Error;

macro_rules! reasons {
    ($(#[doc = $doc:literal] $list:ident { $($reason:ident $name:literal,)+ })+) => { $(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $list { $($reason,)+ }

        impl $list {
            pub(crate) const ALL: &[Self] = &[$(Self::$reason,)+];

            /// A stable name.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$reason => $name,)+ }
            }
        }

        impl EncodeLabelValue for $list {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                self.as_str().encode(encoder)
            }
        }
    )+ };
}

reasons! {
    /// Why a connection was closed after its handshake.
    ClosedReason {
        Ended "ended",
        ClientBroken "client_broken",
        ClientSilent "client_silent",
        ClientStalled "client_stalled",
        Deleted "deleted",
        Displaced "displaced",
        Expired "expired",
        FirstPacketTimeout "first_packet_timeout",
        IdentityRefused "identity_refused",
        Idle "idle",
        Requested "requested",
        RevocationUnknown "revocation_unknown",
        Revoked "revoked",
        SessionAge "session_age",
        Shutdown "shutdown",
        TlsError "tls_error",
        Untrusted "untrusted",
        UpstreamBroken "upstream_broken",
        UpstreamFailed "upstream_failed",
        UpstreamStalled "upstream_stalled",
        WrongProtocol "wrong_protocol",
    }

    /// Why the node refused a connection, whatever its deployment.
    RefusedReason {
        AcceptFailed "accept_failed",
        ConnectionsMax "connections_max",
        ConnectionsPerAddressMax "connections_per_address_max",
        Displaced "displaced",
    }

    /// What of devices was not recorded, because a bound in memory is reached.
    Unrecorded {
        Device "device",
        Host "host",
        Session "session",
    }

    /// A limit that refused or closed a connection; docs/limits.md says how each is set.
    GatewayLimit {
        ConnectionsMax "connections_max",
        ConnectionsPerAddressMax "connections_per_address_max",
        UnfinishedConnections "unfinished_connections",
        DeploymentConnectionsMax "deployment_connections_max",
        DeploymentConnectionRate "deployment_connection_rate",
        UpstreamConnects "upstream_connects",
        OpenFiles "open_files",
        SourcePorts "source_ports",
    }
}

impl ClosedReason {
    /// Of a live session whose client is not verified again.
    pub(crate) fn of_refusal(refusal: &Error) -> Self {
        let Error::InvalidCertificate(refusal) = refusal else { return Self::Untrusted };
        match ClientRefusal::of(refusal) {
            ClientRefusal::Revoked => Self::Revoked,
            ClientRefusal::RevocationUnknown => Self::RevocationUnknown,
            _ => Self::Untrusted,
        }
    }
}
