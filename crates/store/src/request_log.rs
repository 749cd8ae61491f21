use std::time::Duration;

/// A method that is limited on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET and HEAD of the certificate.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// POST of `/check`.
    Check,
    /// GET of the neighbours (projects, deployments).
    Neighbours,
}

/// How many requests within which window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// At most so many within any window; at least 1.
    pub requests: u32,
    /// The window's length.
    pub window: Duration,
}

/// What the request log said of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Whether the request is admitted; then it has been counted.
    pub admitted: bool,
    /// The limit.
    pub limit: u32,
    /// How many more would be admitted now.
    pub remaining: u32,
    /// Until the oldest counted request leaves the window.
    pub reset: Duration,
}
