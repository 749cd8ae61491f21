use std::time::{Duration, Instant};

/// Far above the need, as two cores are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` returns a value, at most [`DEADLINE`].
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, condition)
}

/// As [`wait_until`], with this deadline.
pub fn wait_within<T>(deadline: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    came_within(deadline, condition).unwrap_or_else(|| panic!("within {deadline:?} there was no {what}"))
}

/// As [`wait_within`]; `None` on a timeout.
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
