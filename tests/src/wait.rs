use std::time::{Duration, Instant};

/// How long a test waits for what must come: far above what it takes, for two busy cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives a value, at most [`DEADLINE`].
///
/// # Panics
/// When the deadline passes; `what` says what was waited for.
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, condition)
}

/// As [`wait_until`], with a deadline of the caller's.
///
/// # Panics
/// When the deadline passes.
pub fn wait_within<T>(deadline: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    came_within(deadline, condition).unwrap_or_else(|| panic!("within {deadline:?} there was no {what}"))
}

/// Waits until `condition` gives a value; `None` when the deadline passes before.
pub fn came_within<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if begin.elapsed() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
