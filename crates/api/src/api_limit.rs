/// A limit that refused a request or closed a connection; docs/limits.md says how each is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiLimit {
    /// Bytes of a body.
    Body,
    /// Places for connections.
    Connections,
    /// Deployments of a project.
    Deployments,
    /// Bodies over 256 KiB at once.
    LargeBodies,
    /// Failed logins of an address.
    Logins,
    /// Requests of a key in the window.
    Requests,
    /// Uploads of a key that wait to be judged.
    Uploads,
}

impl ApiLimit {
    pub(crate) const ALL: [Self; 7] = [
        Self::Body,
        Self::Connections,
        Self::Deployments,
        Self::LargeBodies,
        Self::Logins,
        Self::Requests,
        Self::Uploads,
    ];

    /// A stable name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Connections => "connections",
            Self::Deployments => "deployments",
            Self::LargeBodies => "large_bodies",
            Self::Logins => "logins",
            Self::Requests => "requests",
            Self::Uploads => "uploads",
        }
    }
}
